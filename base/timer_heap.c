#include "base/timer_heap.h"

#include <stdlib.h>

#include "base/xmem.h"

struct item {
    int64_t at_ms;
    uint64_t id;
};

struct timer_heap {
    struct item *items;
    size_t count, capacity;
};

struct timer_heap *timer_heap_new(void)
{
    return xcalloc(1, sizeof(struct timer_heap));
}

void timer_heap_free(struct timer_heap *h)
{
    if (!h)
        return;
    free(h->items);
    free(h);
}

void timer_heap_add(struct timer_heap *h, int64_t at_ms, uint64_t id)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 64;
        h->items = realloc(h->items, h->capacity * sizeof(*h->items));
        if (!h->items)
            abort(); /* out of memory ends the process */
    }
    size_t i = h->count++;
    for (; i && h->items[(i - 1) / 2].at_ms > at_ms; i = (i - 1) / 2)
        h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = (struct item){ at_ms, id };
}

int64_t timer_heap_next(const struct timer_heap *h)
{
    return h->count ? h->items[0].at_ms : INT64_MAX;
}

static void sink(struct timer_heap *h, struct item last)
{
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->items[child + 1].at_ms < h->items[child].at_ms)
            child++;
        if (h->items[child].at_ms >= last.at_ms)
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
}

bool timer_heap_pop(struct timer_heap *h, int64_t now_ms, uint64_t *ret_id)
{
    if (!h->count || h->items[0].at_ms > now_ms)
        return false;
    *ret_id = h->items[0].id;
    struct item last = h->items[--h->count];
    if (h->count)
        sink(h, last);
    return true;
}
