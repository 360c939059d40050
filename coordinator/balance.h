/* balance.h - which guilds should move so that pods carry alike for their capacity. Pure.
 *
 * What a pod carries is compared with the mean of all that take guilds. Each step moves one guild
 * from the heaviest pod to the lightest one that can have it, or to a standby of its that is below
 * the mean: the guild that helps most, so that there are few moves. A guild moves only when that
 * lowers the heavier of the two by at least half of its own weight: no move can be undone by the
 * next, and none moves on Monday what moves back on Friday. What weighs more than half of a pod
 * stays; the others move away from it.
 *
 *     skewed by more than the threshold, three times running ─▶ plan ─ … ─▶ even within 5 % ─▶ rest
 *
 * THREAD: any. */
#ifndef COORDINATOR_BALANCE_H
#define COORDINATOR_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/rows.h"

struct balance_pod {
    const char *id;
    double weight;           /* of its guilds; changes as moves are planned */
    uint32_t capacity;       /* guilds it has room for, and what its weight is measured by */
    uint32_t guilds, schema; /* guilds: changes, too */
    bool takes;              /* others are left alone: who drains is emptied elsewhere */
};

struct balance_guild {
    uint64_t guild_id;
    double weight;
    uint32_t schema;
    int pod;                     /* its index; changes */
    int standbys[MOST_STANDBYS]; /* -1: none */
    bool movable;
};

struct balance {
    struct balance_pod *pods;
    size_t pod_count;
    struct balance_guild *guilds; /* grouped by pod, pods in order */
    size_t guild_count;
    /* Puts a pod's guilds in their places, as many as pods[pod].guilds said at first; called when the
     * pod is first asked to give one away, because most pods never are. NULL: all are there. */
    void (*fill)(void *ctx, int pod, struct balance_guild *into);
    void *ctx;
};

/* Of the mean: 1 is even. Both 1 when nobody takes guilds or nothing weighs anything. */
struct balance_skew {
    double most, least;
};
struct balance_skew balance_skew(const struct balance *b);

struct balance_move {
    size_t guild; /* its index */
    int from, to;
    bool to_standby;
    double from_carries, to_carries; /* of the mean, before */
};
/* At most so many moves, in the order in which they should be made; b is as if they were. Stops when
 * no pod is further than even (0.05: 5 %) from the mean, or no move helps. Capacity is kept, unless
 * all pods together have less than there are guilds. */
size_t balance_plan(struct balance *b, double even, struct balance_move *ret_moves, size_t most);

enum { BALANCE_CYCLES = 3 };
struct balance_watch {
    unsigned skewed; /* cycles running */
    bool active;
};
/* Once a cycle: whether moves should be planned now. */
bool balance_watch_step(struct balance_watch *watch, struct balance_skew skew, double threshold,
                        double even);

#endif
