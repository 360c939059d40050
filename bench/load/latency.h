/* latency.h - latencies in µs as a histogram: exact below 64, within 1/32 above.
 *
 * THREAD: confined. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

enum { LATENCY_FINE_BITS = 5, LATENCY_SLOTS = (64 - LATENCY_FINE_BITS) << LATENCY_FINE_BITS };

struct latency {
    uint64_t slots[LATENCY_SLOTS];
    uint64_t count, max_us;
};
void latency_add(struct latency *l, uint64_t us);
/* permille 500: the median. 0 without any. */
uint64_t latency_at(const struct latency *l, unsigned permille);

#endif
