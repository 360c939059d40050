/* standby.h - which pods should follow a guild's log, to take it over at once. Pure.
 *
 * Rendezvous hashing, weighted by capacity: a pod has a score for each guild, and the highest has
 * it. So the guilds of one pod have their standbys spread over all others, and a pod more or less
 * changes only what it would have or had. A pod that has more than 5/4 of its share of all places
 * is passed over while others have less.
 *
 * Who stands by stays: standby_better only moves places from pods with more than their share to
 * pods with less, one of the two clearly so; so it comes to an end.
 *
 * THREAD: any. */
#ifndef COORDINATOR_STANDBY_H
#define COORDINATOR_STANDBY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct standby_pod {
    const char *id;
    uint32_t capacity, schema;
    uint32_t standing; /* guilds it stands by for; grows and falls as places are given */
    bool takes;        /* can get more */
    void *user;        /* the caller's */
    /* set by standby_prepare */
    uint64_t seed;
    double share;                  /* of all places */
    struct standby_pod *next_less; /* of those with clearly less */
};

struct standby_pods {
    struct standby_pod *pods;
    size_t count;
    struct standby_pod *less; /* clearly, when they were prepared */
};

/* places: how many are to be given in all. Call once when pods are filled, and again now and then:
 * who gets clearly less than its share meanwhile is only then seen to. */
void standby_prepare(struct standby_pods *all, uint64_t places);

struct standby_ask {
    uint64_t guild_id;
    uint32_t schema;                     /* of the guild's rows: an older pod cannot follow them */
    const struct standby_pod *except[4]; /* the owner, those that it has; NULL: fewer */
};
/* Counts the place. NULL: no pod can. */
struct standby_pod *standby_choose(struct standby_pods *all, const struct standby_ask *ask);
/* Who should have the place of at instead; counts the change. NULL: nobody. */
struct standby_pod *standby_better(struct standby_pods *all, const struct standby_ask *ask,
                                   struct standby_pod *at);
/* Some pod has clearly more or clearly less than its share: standby_better may help. */
bool standby_is_uneven(const struct standby_pods *all);

#endif
