/* phases.h - what happens to the simulated bot, one after the other, and what came of it.
 *
 * THREAD: confined. */
#ifndef BENCH_PLACEMENT_PHASES_H
#define BENCH_PLACEMENT_PHASES_H

#include "bench/placement/meter.h"
#include "bench/placement/sim.h"

/* Of the mean of all pods that take guilds: 1 is even. */
struct spread {
    double most, least;
};
struct skew {
    struct spread guilds; /* by their number */
    struct spread load;   /* by what they cost */
    struct spread weight; /* by both, as the balance weighs them */
    double guilds_mean, load_mean;
    size_t pods;
};

/* Who got the guilds of the pods that were lost, and how many each. */
struct heirs {
    uint64_t guilds, without_standby; /* without: right after they were served again */
    size_t pods;
    uint32_t most;
    double mean;
};

struct phase {
    char name[48];
    struct skew before, after;
    double served_s, standbys_s; /* simulated, since its beginning: all owned, all followed, */
    double settled_s;   /* and the last move to even out the load begun; 0: there was none */
    double simulated_s; /* in all, with waiting for quiet */
    bool is_settled;    /* as even as it gets, before patience ended */
    struct sim_counts counts;
    struct meter meter;
    struct heirs heirs;
    uint64_t without_standby; /* in the end */
};

enum { PHASES = 7 };
/* Tells each as it ends. Returns how many; 0: the leader failed. */
size_t phases_run(struct sim *s, void (*tell)(const struct phase *phase),
                  struct phase ret_phases[PHASES]);

#endif
