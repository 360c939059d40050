#include "tests/discord-sim/calls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/xmem.h"

struct calls {
    struct call *list;
    size_t count, cap, max;
    bool bodies;
};

struct calls *calls_new(size_t max, bool bodies)
{
    struct calls *all = xcalloc(1, sizeof(*all));

    all->max = max;
    all->bodies = bodies;
    return all;
}

void calls_free(struct calls *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->count; i++) {
        free(all->list[i].path);
        free(all->list[i].body);
    }
    free(all->list);
    free(all);
}

uint64_t hash_bytes(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void calls_add(struct calls *all, const char *method, const char *path, const void *body,
               size_t size)
{
    if (all->count >= all->max)
        return;
    if (all->count == all->cap) {
        all->cap = all->cap ? all->cap * 2 : 256;
        all->list = xrealloc(all->list, all->cap * sizeof(*all->list));
    }
    all->list[all->count] = (struct call){ .number = all->count + 1,
                                           .at_ms = clock_wall_ms(),
                                           .method = method,
                                           .path = xstrdup(path),
                                           .body_hash = hash_bytes(body, size),
                                           .body_size = size,
                                           .body = all->bodies ? xmemdup(body, size) : NULL };
    all->count++;
}

const struct call *calls_get(const struct calls *all, uint64_t number)
{
    return number && number <= all->count ? &all->list[number - 1] : NULL;
}

void call_line(const struct call *c, struct out *o)
{
    char hash[17];

    (void)snprintf(hash, sizeof(hash), "%016" PRIx64, c->body_hash);
    out_json(o,
             "{'n':%u,'kind':'call','at_ms':%l,'method':%S,'path':%S,'body_hash':%S,'body_size':%u,"
             "'body':%S}\n",
             c->number, c->at_ms, c->method, c->path, hash, (uint64_t)c->body_size, c->body);
}
