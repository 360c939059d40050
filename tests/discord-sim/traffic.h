/* traffic.h - people at work: messages, edits, deletions, reactions, joins, and interactions, at a
 * rate.
 *
 * Events go out at events_per_s, or with 0 as fast as the sessions take them; the traffic waits
 * while a shard has no session, so that what it counts as sent can be received. Deterministic by
 * the seed but for the clock.
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_TRAFFIC_H
#define SIM_TRAFFIC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/sim.h"

enum traffic_kind {
    TRAFFIC_CREATE,
    TRAFFIC_UPDATE,
    TRAFFIC_DELETE,
    TRAFFIC_REACT,
    TRAFFIC_UNREACT,
    TRAFFIC_JOIN,
    TRAFFIC_TYPING,
    TRAFFIC_REPORT,
    TRAFFIC_TRACK,
    TRAFFIC_MODREPORT,
    TRAFFIC_KINDS
};
struct traffic_order {
    uint64_t events, interactions;
    int64_t events_per_s, interactions_per_s; /* 0: as fast as they are taken */
    uint64_t in_flight;                       /* most interactions at once */
    size_t guilds;                            /* the first so many; 0: all */
    uint32_t weights[TRAFFIC_KINDS];
};

struct traffic *traffic_new(struct sim *s);
void traffic_free(struct traffic *t);
DEFINE_CLEANUP(struct traffic *, traffic_free)
/* Weights from {"create":60,…}; those left out keep their default. False: one is not known or
 * negative. */
bool traffic_read_mix(const json_t *mix, uint32_t weights[TRAFFIC_KINDS]);
/* Replaces what is running. */
void traffic_start(struct traffic *t, const struct traffic_order *order);
void traffic_stop(struct traffic *t);
bool traffic_is_running(const struct traffic *t);
void traffic_describe(const struct traffic *t, struct out *o);

#endif
