/* storm.h - a bad day, by the seed: one trouble after the other, then the weather clears.
 *
 *     every so many ms: a trouble of the list, on a shard or on all
 *     those that last end by the seed as well, and with the storm
 *
 * The same seed, count and list of kinds make the same storm; what it meets depends on the clock.
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_STORM_H
#define SIM_STORM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/sim.h"

enum trouble {
    TROUBLE_RECONNECT,
    TROUBLE_CLOSE,
    TROUBLE_DROP,
    TROUBLE_RESUMABLE,
    TROUBLE_HEARTBEAT,
    TROUBLE_STALL,
    TROUBLE_UNKNOWN_OP,
    TROUBLE_OUTAGE,
    TROUBLE_EARLY_RECONNECT,
    TROUBLE_REFUSED_RESUME,
    TROUBLE_REFUSE,
    TROUBLE_NO_ACKS,
    TROUBLE_RESUME_HOST,
    TROUBLE_SLOW,
    TROUBLE_FRAGMENTS,
    TROUBLE_REST_500,
    TROUBLE_REST_LIMIT,
    TROUBLE_REST_SHARED,
    TROUBLE_REST_CUT,
    TROUBLE_PROBE,
    TROUBLE_COUNT
};
struct storm_order {
    uint64_t seed, count;
    int64_t every_ms;
    bool kinds[TROUBLE_COUNT];
};

struct storm *storm_new(struct sim *s);
void storm_free(struct storm *storm);
DEFINE_CLEANUP(struct storm *, storm_free)
/* All kinds when names is no array. NULL: fine; else the name that is not known. */
const char *storm_read_kinds(const json_t *list, bool kinds[TROUBLE_COUNT]);
/* Replaces what is running. */
void storm_start(struct storm *storm, const struct storm_order *order);
/* Everything is as before. */
void storm_stop(struct storm *storm);
bool storm_is_running(const struct storm *storm);
/* {"running","left","done":[{"kind","shard","met"}]} */
void storm_describe(const struct storm *storm, struct out *o);

#endif
