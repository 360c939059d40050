/* ewma.h - a load as it is over minutes: the weight of what was measured halves every five.
 *
 * A load that swings within a few minutes hardly shows; one that stays does, after some of them. The
 * first measurements count as what they are, an average of few. What is not measured any more fades
 * by itself.
 *
 * THREAD: confined. */
#ifndef COORDINATOR_EWMA_H
#define COORDINATOR_EWMA_H

#include <math.h>
#include <stdint.h>

enum { EWMA_HALF_MS = 300000, EWMA_FIRST_MS = 1000 };

struct ewma {
    double sum, weight; /* of the measurements, as of at_ms */
    int64_t at_ms;      /* of the last one; 0: never measured */
};

static inline double ewma_left(int64_t ms)
{
    return exp2(-(double)ms / EWMA_HALF_MS);
}

static inline double ewma_at(const struct ewma *e, int64_t now_ms)
{
    return e->weight > 0 ? e->sum / e->weight * ewma_left(now_ms - e->at_ms) : 0;
}

/* measured: since the measurement before. */
static inline void ewma_add(struct ewma *e, double measured, int64_t now_ms)
{
    double left = ewma_left(e->at_ms ? now_ms - e->at_ms : EWMA_FIRST_MS);

    e->sum = e->sum * left + measured * (1 - left);
    e->weight = e->weight * left + (1 - left);
    e->at_ms = now_ms;
}

/* What is measured has become so much more, or less, as is known from elsewhere. */
static inline void ewma_shift(struct ewma *e, double by)
{
    double value = e->weight > 0 ? e->sum / e->weight + by : 0;

    e->sum = value > 0 ? value * e->weight : 0;
}

#endif
