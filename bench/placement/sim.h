/* sim.h - the leading coordinator as it is, on a simulated clock, store, bus and pods.
 *
 *     coordinator/turn.c and all below it ──store_commit──▶ counted, and takes its time
 *           ▲                           └──bus_request───▶ simulated pods: reply, Claimed, MoveReport
 *           └── heartbeats, registrations, guilds seen ◀── once a simulated second
 *
 * What the pods, the bus and the store take is assumed (struct sim_costs); what the leader decides,
 * when, and what that costs in CPU time is its own code's. Its CPU time does not pass on the
 * simulated clock.
 *
 * THREAD: confined. */
#ifndef BENCH_PLACEMENT_SIM_H
#define BENCH_PLACEMENT_SIM_H

#include "bench/placement/events.h"
#include "bench/placement/world.h"
#include "coordinator/state.h"

/* Microseconds; of one pod, one after the other, but for net. */
struct sim_costs {
    int64_t net;      /* there and back */
    int64_t own;      /* to claim a guild that is loaded */
    int64_t load;     /* to load and follow a small guild's log */
    int64_t take;     /* a handoff's Seal and Claim, on the target */
    int64_t commit;   /* a transaction of the store, */
    int64_t row;      /* and each row of it */
    int64_t identify; /* between shards that come up, all buckets together */
    int64_t restart;  /* a pod's process ends and the next one registers */
};
extern const struct sim_costs sim_costs;

/* Since the last sim_counts_read. */
struct sim_counts {
    uint64_t placed, to_standby, to_least, reauthorised; /* guilds */
    uint64_t drain_moves, rebalance_moves;               /* planned */
    uint64_t done, ended_early;                          /* moves */
    uint64_t standbys;                                   /* changed */
    uint64_t commits, guild_rows, history_rows, move_rows, standby_rows, beat_rows;
    uint64_t refused; /* claims and requests */
};

struct sim {
    struct world world;
    struct events events;
    struct coordinator_config config;
    struct coordinator leader;
    struct sim_counts counts;
    int64_t rebalanced_us; /* when a move was planned to even out the load, or could not be */
    int64_t quiet_from_us; /* rest before it does not count */
    size_t seen;           /* shards whose guilds were seen */
    int64_t patience_s;    /* of each phase, for the load to be even */
    bool has_failed;
};

/* INVALID: the coordinator's settings in the environment are wrong; said on stderr. */
enum status sim_open(struct sim *s, const struct world_options *o, struct err *err) MUST_CHECK;
void sim_close(struct sim *s);
/* The pods register, the shards come up one after the other. */
void sim_start(struct sim *s);

/* Machines that are gone: their processes say nothing any more. */
void sim_kill(struct sim *s, int pod);
/* A new machine's process. */
int sim_add_pod(struct sim *s);
/* SIGTERM; when the coordinator lets it go, its next process comes. */
void sim_restart(struct sim *s, int pod);
bool sim_is_restarting(const struct sim *s, int pod);

/* Turns until done says so, asked first and after each whole one; false: not within so many simulated
 * seconds. */
bool sim_run(struct sim *s, bool (*done)(const struct sim *s), int64_t most_s) MUST_CHECK;
/* Each guild has a living owner. */
bool sim_is_served(const struct sim *s);
/* Each standby is chosen and told. */
bool sim_has_standbys(const struct sim *s);
/* No guild was moved to even out the load for so long that none will be. */
bool sim_is_settled(const struct sim *s);

/* ---- between its files ---- */

/* pods.c */
void sim_order(struct sim *s, const struct bus_out *out, const struct bus_waiter *waiter);
void sim_deliver(struct sim *s, const struct event *event);
void sim_hear(struct sim *s, int number, const Guildbus__V1__HeartbeatReply *reply);
/* store.c: the one simulation of this process. */
void sim_set_current(struct sim *s);
struct sim *sim_current(void);

#endif
