/* report.h - a phase for people, on stderr, and all of them as JSON, on stdout.
 *
 * THREAD: any. */
#ifndef BENCH_PLACEMENT_REPORT_H
#define BENCH_PLACEMENT_REPORT_H

#include "bench/placement/phases.h"

void report_phase(const struct phase *phase);

struct report_head {
    size_t pods, guilds;
    uint64_t seed;
    double load;
};
void report_all(const struct report_head *head, const struct sim *s, const struct phase *phases,
                size_t count);

#endif
