#include "base/idmap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"

/* The high half of a product by 2^64/φ: each bit of an id reaches it. uthash's own function falls
 * through switch labels, which clang reports. */
static unsigned hash_id(const void *key)
{
    uint64_t id;

    memcpy(&id, key, sizeof(id));
    return (unsigned)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}
#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = hash_id(keyptr))
#include <uthash.h>

/* NOLINTBEGIN(readability-function-size, clang-analyzer-unix.Malloc): what uthash expands to */
struct entry {
    uint64_t id;
    void *value;
    UT_hash_handle hh;
};

struct idmap {
    struct entry *entries;
};

struct idmap *idmap_new(void)
{
    return xcalloc(1, sizeof(struct idmap));
}

void idmap_free(struct idmap *map)
{
    struct entry *e, *next;

    if (!map)
        return;
    HASH_ITER(hh, map->entries, e, next)
    {
        HASH_DEL(map->entries, e);
        free(e);
    }
    free(map);
}

static struct entry *find(const struct idmap *map, uint64_t id)
{
    struct entry *e;

    HASH_FIND(hh, map->entries, &id, sizeof(id), e);
    return e;
}

void *idmap_put(struct idmap *map, uint64_t id, void *value)
{
    struct entry *e = find(map, id);

    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    e = xcalloc(1, sizeof(*e));
    e->id = id;
    e->value = value;
    HASH_ADD(hh, map->entries, id, sizeof(e->id), e);
    return NULL;
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
    struct entry *e = find(map, id);

    return e ? e->value : NULL;
}

void *idmap_remove(struct idmap *map, uint64_t id)
{
    struct entry *e = find(map, id);

    if (!e)
        return NULL;
    void *value = e->value;
    HASH_DEL(map->entries, e);
    free(e);
    return value;
}

size_t idmap_count(const struct idmap *map)
{
    return HASH_COUNT(map->entries);
}

void idmap_each(struct idmap *map, void (*visit)(void *ctx, uint64_t id, void *value), void *ctx)
{
    struct entry *e, *next;

    HASH_ITER(hh, map->entries, e, next)
    visit(ctx, e->id, e->value);
}
/* NOLINTEND(readability-function-size, clang-analyzer-unix.Malloc) */
