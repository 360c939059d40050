/* clock.h - the simulated time, which is all that the coordinator's code sees: clock_gettime of this
 * program tells it.
 *
 * THREAD: confined. */
#ifndef BENCH_PLACEMENT_CLOCK_H
#define BENCH_PLACEMENT_CLOCK_H

#include <stdint.h>

/* What the database's clock is ahead of the monotonic one. */
#define CLOCK_EPOCH_MS INT64_C(1800000000000)

int64_t sim_now_us(void);
/* Never goes back: an earlier moment changes nothing. */
void sim_clock_reach(int64_t at_us);
void sim_clock_pass(int64_t us);
/* CPU time of this thread, nanoseconds: the real one. */
int64_t sim_cpu_ns(void);

#endif
