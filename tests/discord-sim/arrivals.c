#include "tests/discord-sim/arrivals.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/xmem.h"

struct arrivals {
    struct arrival *list;
    size_t kept, cap, max;
    uint64_t count;
};

struct arrivals *arrivals_new(size_t max)
{
    struct arrivals *all = xcalloc(1, sizeof(*all));

    all->max = max;
    return all;
}

void arrivals_free(struct arrivals *all)
{
    if (!all)
        return;
    free(all->list);
    free(all);
}

uint64_t arrivals_add(struct arrivals *all, struct arrival a)
{
    a.number = ++all->count;
    a.at_us = clock_now_us();
    if (all->kept >= all->max)
        return a.number;
    if (all->kept == all->cap) {
        all->cap = all->cap ? all->cap * 2 : 256;
        all->list = xrealloc(all->list, all->cap * sizeof(*all->list));
    }
    all->list[all->kept++] = a;
    return a.number;
}

void arrivals_refused(struct arrivals *all, uint64_t number, const char *scope)
{
    if (number && number <= all->kept)
        all->list[number - 1].refused = scope;
}

const struct arrival *arrivals_get(const struct arrivals *all, uint64_t number)
{
    return number && number <= all->kept ? &all->list[number - 1] : NULL;
}

void arrival_line(const struct arrival *a, struct out *o)
{
    out_json(o,
             "{'n':%u,'kind':'arrival','at_us':%l,'method':%S,'route':%S,'major':%N,'global':%b,"
             "'refused':%S}\n",
             a->number, a->at_us, a->method, a->path, a->major, a->in_global, a->refused);
}
