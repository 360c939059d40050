#include "bench/placement/events.h"

#include <stdlib.h>

#include "base/xmem.h"

void events_release(struct events *e)
{
    free(e->heap);
    *e = (struct events){ 0 };
}

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->serial < b->serial;
}

void events_add(struct events *e, const struct event *event)
{
    if (e->count == e->room) {
        e->room = e->room ? e->room * 2 : 1024;
        e->heap = xrealloc(e->heap, e->room * sizeof(*e->heap));
    }
    struct event added = *event;
    added.serial = e->serial++;
    size_t at = e->count++;
    for (; at && is_before(&added, &e->heap[(at - 1) / 2]); at = (at - 1) / 2)
        e->heap[at] = e->heap[(at - 1) / 2];
    e->heap[at] = added;
}

int64_t events_next_us(const struct events *e)
{
    return e->count ? e->heap[0].at_us : INT64_MAX;
}

bool events_pop(struct events *e, int64_t now_us, struct event *ret_event)
{
    if (events_next_us(e) > now_us)
        return false;
    *ret_event = e->heap[0];
    const struct event last = e->heap[--e->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < e->count; at = child) {
        if (child + 1 < e->count && is_before(&e->heap[child + 1], &e->heap[child]))
            child++;
        if (!is_before(&e->heap[child], &last))
            break;
        e->heap[at] = e->heap[child];
    }
    if (e->count)
        e->heap[at] = last;
    return true;
}
