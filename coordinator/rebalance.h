/* rebalance.h - when guilds move to even out what pods carry; which ones is in balance.h.
 *
 * By itself every REBALANCE_MS, unless GUILDBUS_REBALANCE is off: only what is skewed for three
 * cycles running, a fortieth of all guilds a cycle at most, no guild again within its cool-down. It
 * rests while something else is under way: silent pods, failovers, drains, pods of different
 * versions, a pod or a leader that has just come. An operator may look at a plan at any time, and
 * have one made at once.
 *
 * THREAD: the coordinator's. */
#ifndef COORDINATOR_REBALANCE_H
#define COORDINATOR_REBALANCE_H

#include "coordinator/balance.h"
#include "coordinator/state.h"

enum { REBALANCE_MOST = 1000 }; /* moves of one run that an operator asks for */

enum status rebalance_turn(struct coordinator *c, struct err *err) MUST_CHECK;

struct rebalance_wish {
    bool dry_run;
    bool force;     /* also in cool-down, right after a start, with mixed versions */
    uint32_t limit; /* 0: as many as a cycle would */
};
struct rebalance_outcome {
    struct balance b; /* as it is after the moves */
    struct balance_move *moves;
    uint64_t *move_ids; /* 0: not made */
    size_t count;
    bool has_more; /* the limit was reached */
    struct balance_skew before, after;
    char frozen[256]; /* why nothing moves by itself now; "": nothing */
};
/* CONFLICT: said in refused, nothing was stored. Release *o in any case. */
enum status rebalance_run(struct coordinator *c, const struct rebalance_wish *wish,
                          struct rebalance_outcome *o, struct err *refused, struct err *err)
    MUST_CHECK;
void rebalance_outcome_release(struct rebalance_outcome *o);
static inline void rebalance_outcome_release_at(struct rebalance_outcome *outcome)
{
    rebalance_outcome_release(outcome);
}
/* off, rests, moves guilds, or why it is frozen. */
const char *rebalance_state(const struct coordinator *c);

#endif
