/* ewma.h - a load as it is over minutes: the weight of what was measured halves every five.
 *
 * A load that swings within a few minutes hardly shows; one that stays does, after some of them. What
 * is not measured any more fades by itself.
 *
 * THREAD: confined. */
#ifndef COORDINATOR_EWMA_H
#define COORDINATOR_EWMA_H

#include <math.h>
#include <stdint.h>

enum { EWMA_HALF_MS = 300000 };

struct ewma {
    double value;
    int64_t at_ms; /* 0: never measured */
};

static inline double ewma_at(const struct ewma *e, int64_t now_ms)
{
    return e->at_ms ? e->value * exp2((double)(e->at_ms - now_ms) / EWMA_HALF_MS) : 0;
}

/* Counts from the measurement before until now. The first one counts in full. */
static inline void ewma_add(struct ewma *e, double measured, int64_t now_ms)
{
    double part = e->at_ms ? 1 - exp2((double)(e->at_ms - now_ms) / EWMA_HALF_MS) : 1;

    e->value = ewma_at(e, now_ms) + measured * part;
    e->at_ms = now_ms;
}

#endif
