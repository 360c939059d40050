/* place.h - which pod should take a guild or a shard, and when to believe nobody is dead. Pure.
 *
 * A pod's weight is what it carries per unit of its capacity. Half of what it carries is measured
 * (units a second), half counted (guilds, each as heavy as the cluster's average guild but at least
 * one unit), so that idle guilds spread by number and busy ones by work:
 *
 *     weight = (guilds × max(1, average) + load + guilds not yet in the load × average) / capacity
 *
 * THREAD: any. */
#ifndef COORDINATOR_PLACE_H
#define COORDINATOR_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place_pod {
    const char *id;
    uint32_t capacity;
    uint32_t load;     /* units a second, as it says */
    uint32_t counted;  /* guilds that load was measured with */
    uint32_t assigned; /* guilds it has now; grows as the caller places more */
    uint32_t schema;
    uint32_t shards;
    bool takes; /* active, its lease runs */
    void *user; /* the caller's */
};

struct place {
    struct place_pod *pods;
    size_t count;
    uint64_t average_milli; /* load of one guild, thousandths; set by place_prepare */
    uint64_t mean;          /* weight of all that take guilds, as if they were one; likewise */
};

/* Call once when pods are filled, before place_guild. */
void place_prepare(struct place *place);
/* What the pod carries per capacity, thousandths. */
uint64_t place_weight(const struct place *place, const struct place_pod *pod);
/* The least-loaded pod with room that can read the guild's schema, and counts the guild there. When
 * all are full the least-loaded of them, with *ret_full. NULL: none can take it. except: a pod not
 * to be taken, or NULL. */
struct place_pod *place_guild(struct place *place, uint32_t schema, const char *except,
                              bool *ret_full);
/* Counts a guild at this pod if it can take it without carrying much more than the average pod (a
 * quarter) or than its capacity. */
bool place_prefer(struct place *place, struct place_pod *pod, uint32_t schema);
/* The pod with the fewest shards, and counts the shard there. NULL: none takes any. */
struct place_pod *place_shard(struct place *place, const char *except);

/* Of at least three pods more than half went silent together: that is the network, not the pods. */
bool place_should_hold(size_t total, size_t silent);

#endif
