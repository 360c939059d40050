/* reshard.h - from one count of shards to another without a gap (pure).
 *
 *     OPENING ── all next ones live with their guilds, for a few seconds ──▶ KEEPING
 *        ▲                                                                     │ all keep what they
 *        └── not all of them in time ──────────────────────────────────────────┤ receive, for a while
 *                                                                              ▼
 *     done ◀── each has caught up, left, and all it said is published ──── RETIRING the current ones
 *
 * Until RETIRING the current shards publish all, and a reshard can be given up. From KEEPING on the
 * next ones have what comes, so when the current ones have gone nothing is missing: what came to
 * both comes twice.
 *
 * THREAD: any. */
#ifndef COORDINATOR_RESHARD_H
#define COORDINATOR_RESHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/status.h"

enum reshard_stage { RESHARD_NONE, RESHARD_OPENING, RESHARD_KEEPING, RESHARD_RETIRING };
const char *reshard_stage_text(enum reshard_stage stage);

enum {
    RESHARD_SETTLE_MS = 3000,  /* all next shards are live so long before they count as reliable */
    RESHARD_OVERLAP_MS = 2000, /* so far may one of Discord's sessions be behind another */
    RESHARD_KEEP_MAX_MS = 10000, /* what is kept fills memory; all pods have heard of it by then */
    RESHARD_WARN_MS = 60000,
    RESHARD_GUILDS_MOST = 2500, /* Discord: guilds a shard, else close code 4011 */
    RESHARD_GUILDS_NEAR = 2000,
    RESHARD_POD_MOST = 1024, /* shards of each set that one pod can be told to hold */
};

struct reshard {
    enum reshard_stage stage;
    int64_t entered_ms; /* the stage */
    int64_t good_ms;    /* since when all are ready, in KEEPING also keep; 0: they do not */
    uint64_t round;     /* what pods say of an earlier one does not count; see reshard_turn_over */
};
/* How many shards are what, as their pods say. */
struct reshard_sight {
    uint32_t current, unsettled, retired; /* unsettled: neither live nor refused by Discord */
    uint32_t next, ready, keeping;
};
/* The stage that should be now; NONE: done. The caller stores it, then sets it with reshard_enter. */
enum reshard_stage reshard_step(struct reshard *r, const struct reshard_sight *sight,
                                int64_t now_ms);
void reshard_enter(struct reshard *r, enum reshard_stage stage, int64_t now_ms);
/* Pods have to hear and speak anew: a shard has another holder. */
void reshard_turn_over(struct reshard *r);

/* Whether a reshard may begin. */
struct reshard_case {
    uint32_t current, to, most; /* shards */
    uint32_t under_way;         /* the count that one leads to already; 0: none */
    uint32_t setting;           /* SHARD_COUNT that would lead back; 0: none */
    uint64_t guilds;
    uint32_t pods, pods_unable;       /* alive; of these, too old for it */
    int64_t sessions_total, sessions; /* a day, 0: not known; that may be started now */
};
/* INVALID, CONFLICT, BUSY or UNAVAILABLE, and why. */
enum status reshard_judge(const struct reshard_case *c, struct err *err) MUST_CHECK;

/* The count that it should be changed to by itself; 0: stays. */
struct reshard_reasons {
    uint32_t setting; /* SHARD_COUNT; 0: as Discord recommends */
    uint32_t current, recommended;
    uint32_t
        decided; /* what was recommended when the count was decided last: was not followed then */
    uint64_t guilds;
};
uint32_t reshard_wanted(const struct reshard_reasons *r);

#endif
