/* mirror.h - what the store holds, in memory, with the lists that the leader works off.
 *
 *     store ──rows──▶ mirror;   plan ──store_commit──▶ store, then ──mirror_apply──▶ mirror
 *
 * Never changed before the store was. A leader that lost the store throws it away and loads again.
 *
 * THREAD: confined to the coordinator's. */
#ifndef COORDINATOR_MIRROR_H
#define COORDINATOR_MIRROR_H

#include "base/idmap.h"
#include "coordinator/ewma.h"
#include "coordinator/list.h"
#include "coordinator/place.h"
#include "coordinator/rest_shares.h"
#include "coordinator/store.h"

struct mirror_pod {
    struct pod_row row;
    struct link guilds; /* those assigned to it */
    size_t index;       /* among mirror.pods, when it was last counted */
    uint32_t assigned, shards, next_shards;
    int64_t gone_ms;     /* monotonic: when its lease was found to have ended; 0: it did not */
    bool may_hold_stale; /* some guild may name another incarnation than the pod's */
    bool says_draining;  /* the process itself, by its last heartbeat */
    /* as a standby */
    uint32_t standing;         /* guilds it stands by for */
    uint32_t follows;          /* followers that name it, whatever their rank */
    uint32_t process;          /* grows when what it was told before does not count any more */
    uint32_t told;             /* guilds that this process confirmed to follow */
    int64_t away_since_ms;     /* monotonic: since it takes nothing; 0: it does */
    int64_t fewer_since_ms;    /* it says that it follows fewer than it confirmed; 0: no */
    int64_t not_told_until_ms; /* its word is not doubted again before */
    bool is_missed;            /* it was away for too long: others stand by instead */
    bool did_not_hear;         /* silent when it was to be told; reviewed when it is back */
    /* for the balance */
    int64_t registered_ms; /* monotonic; 0: before this process led */
    struct ewma load;      /* units a second, thousandths; goes with its guilds */
    struct rest_account rest;
    /* for resharding, as its last heartbeat says */
    bool can_reshard, is_too_old; /* neither: it has not said anything yet */
    uint64_t reshard_round;
    uint32_t shards_unsettled, recommended_shards;
    int64_t recommended_ms; /* monotonic: when Discord said so */
};

/* A pod that follows a guild's log, or should be told to stop. */
struct follower {
    struct mirror_pod *pod;
    int rank; /* of standby_row */
    bool in_flight, dropped;
    unsigned tries;
    uint32_t told; /* pod->process when it confirmed; 0: it did not */
    int64_t next_ms;
};

struct mirror_move {
    struct move_row row;
    struct link all;
    int64_t entered_ms;    /* monotonic, the state */
    int64_t next_order_ms; /* orders are sent then */
    unsigned orders;       /* of enum move_order */
    bool target_gave_up, reading_log;
};

struct mirror_guild {
    struct guild_row row;
    struct mirror_pod *pod;   /* NULL: unassigned */
    struct mirror_move *move; /* the open one */
    struct link of_pod;
    struct link wait;    /* in mirror.fresh, .claiming or .unassigned */
    struct link publish; /* in mirror.publish */
    struct link review;  /* in mirror.review or .review_later */
    struct link tell;    /* in mirror.tell */
    struct follower *followers;
    unsigned follower_count;
    struct mirror_pod *came_from; /* had it before pod: its rows are there still */
    struct ewma load;             /* units a second, thousandths */
    char prefer[POD_ID_SIZE];     /* has it warm: take this pod when the owner is dead */
    int64_t next_own_ms, next_publish_ms;
    int64_t no_move_before_ms, no_balance_before_ms; /* after a move that failed */
    unsigned own_tries;
    bool own_in_flight, publish_in_flight;
};

/* A shard of the next count, and what its pod said of it last. */
struct mirror_next {
    char pod[POD_ID_SIZE];
    bool ready, keeping;
};

struct mirror {
    struct mirror_pod **pods; /* by id */
    size_t pod_count, pod_room;
    struct idmap *guilds, *moves;
    struct link open_moves;
    struct link fresh;    /* claiming, the order was never sent */
    struct link claiming; /* the order was sent */
    struct link unassigned;
    struct link publish; /* owner not yet published */
    struct link review;  /* its standbys may be wrong */
    struct link review_later;
    struct link tell; /* some follower was not told what it is */
    size_t running;   /* open moves that are past waiting */
    int64_t now_ms;   /* monotonic, when it was changed last; 0: it is being loaded */
    char (*shards)[POD_ID_SIZE];
    uint32_t shard_count;
    bool *retired;            /* of each shard, while a reshard is under way; NULL: none is */
    struct mirror_next *next; /* the shards of the next count */
    uint32_t next_count;      /* 0: no reshard is under way */
};

struct mirror *mirror_new(void) MUST_CHECK;
void mirror_free(struct mirror *m);

struct mirror_pod *mirror_pod(const struct mirror *m, const char *pod);
struct mirror_guild *mirror_guild(const struct mirror *m, uint64_t guild_id);
struct mirror_move *mirror_move(const struct mirror *m, uint64_t move_id);

/* Units a second, thousandths: what the guild is known to cost, else its part of what its pod does.
 */
double mirror_guild_load(const struct mirror_guild *g, int64_t now_ms);
enum { LOAD_KNOWN_MS = 120000 }; /* it was among its pod's busiest so lately */

/* Adds or replaces. now_ms is monotonic. */
struct mirror_pod *mirror_put_pod(struct mirror *m, const struct pod_row *row);
void mirror_put_guild(struct mirror *m, const struct guild_row *row);
/* For a guild that is not known: nothing. */
void mirror_put_standby(struct mirror *m, const struct standby_row *row);
struct follower *mirror_follower(const struct mirror_guild *g, const struct mirror_pod *pod);
void follower_set_told(struct follower *f, uint32_t process);
/* All guilds' standbys are looked at again. */
void mirror_review_all(struct mirror *m);
/* A move that is no longer open keeps its entry until mirror_close_move. */
void mirror_put_move(struct mirror *m, const struct move_row *row, int64_t now_ms);
/* mirror_count_shards after the last one. */
void mirror_put_shard(struct mirror *m, const struct shard_row *row);
void mirror_count_shards(struct mirror *m);
struct moment {
    int64_t now_ms, db_ms; /* monotonic, and the database's clock */
};
void mirror_apply(struct mirror *m, const struct plan *plan, struct moment at);
void mirror_close_move(struct mirror *m, struct mirror_move *move);
void mirror_forget_pod(struct mirror *m, const char *name);
void mirror_set_shard_count(struct mirror *m, uint32_t count);
/* A reshard to so many begins, 0: ends without an effect. */
void mirror_set_next_count(struct mirror *m, uint32_t count);
/* The next shards are the current ones. */
void mirror_take_next(struct mirror *m);
/* Its guilds name a process that is gone. */
void mirror_mark_stale(struct mirror_pod *pod);

#endif
