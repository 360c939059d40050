/* timer_heap.h - when to look at what again: a heap of (time, id).
 *
 * There is no cancelling: whoever is woken looks whether there still is something to do.
 *
 * THREAD: confined. */
#ifndef BASE_TIMER_HEAP_H
#define BASE_TIMER_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct timer_heap;

struct timer_heap *timer_heap_new(void) MUST_CHECK;
void timer_heap_free(struct timer_heap *h);
void timer_heap_add(struct timer_heap *h, int64_t at_ms, uint64_t id);
/* The earliest time; INT64_MAX when empty. */
int64_t timer_heap_next(const struct timer_heap *h);
/* Takes the earliest if it is due. */
bool timer_heap_pop(struct timer_heap *h, int64_t now_ms, uint64_t *ret_id);

#endif
