/* idmap.h - uint64_t keys to pointers, on uthash.
 *
 * The map never owns what it points to.
 *
 * THREAD: confined, or under the user's lock. */
#ifndef BASE_IDMAP_H
#define BASE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct idmap;

struct idmap *idmap_new(void) MUST_CHECK;
void idmap_free(struct idmap *map);
DEFINE_CLEANUP(struct idmap *, idmap_free)

/* Replaces what was there; returns it (NULL: nothing). value must not be NULL. */
void *idmap_put(struct idmap *map, uint64_t id, void *value);
void *idmap_get(const struct idmap *map, uint64_t id);
/* Returns what was there. */
void *idmap_remove(struct idmap *map, uint64_t id);
size_t idmap_count(const struct idmap *map);

/* Calls visit for each; visit may remove the entry that it is given and no other. */
void idmap_each(struct idmap *map, void (*visit)(void *ctx, uint64_t id, void *value), void *ctx);

#endif
