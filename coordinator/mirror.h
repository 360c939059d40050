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
#include "coordinator/list.h"
#include "coordinator/place.h"
#include "coordinator/store.h"

struct mirror_pod {
    struct pod_row row;
    struct link guilds; /* those assigned to it */
    uint32_t assigned, shards;
    int64_t gone_ms;     /* monotonic: when its lease was found to have ended; 0: it did not */
    bool may_hold_stale; /* some guild may name another incarnation than the pod's */
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
    struct link wait;         /* in mirror.fresh, .claiming or .unassigned */
    struct link publish;      /* in mirror.publish */
    char prefer[POD_ID_SIZE]; /* has it warm: take this pod when the owner is dead */
    int64_t next_own_ms, next_publish_ms, no_move_before_ms;
    unsigned own_tries;
    bool own_in_flight, publish_in_flight;
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
    char (*shards)[POD_ID_SIZE];
    uint32_t shard_count;
};

struct mirror *mirror_new(void) MUST_CHECK;
void mirror_free(struct mirror *m);

struct mirror_pod *mirror_pod(const struct mirror *m, const char *pod);
struct mirror_guild *mirror_guild(const struct mirror *m, uint64_t guild_id);
struct mirror_move *mirror_move(const struct mirror *m, uint64_t move_id);

/* Adds or replaces. now_ms is monotonic. */
struct mirror_pod *mirror_put_pod(struct mirror *m, const struct pod_row *row);
void mirror_put_guild(struct mirror *m, const struct guild_row *row);
/* A move that is no longer open keeps its entry until mirror_close_move. */
void mirror_put_move(struct mirror *m, const struct move_row *row, int64_t now_ms);
/* mirror_count_shards after the last one. */
void mirror_put_shard(struct mirror *m, const struct shard_row *row);
void mirror_count_shards(struct mirror *m);
void mirror_apply(struct mirror *m, const struct plan *plan, int64_t now_ms);
void mirror_close_move(struct mirror *m, struct mirror_move *move);
void mirror_forget_pod(struct mirror *m, const char *name);
void mirror_set_shard_count(struct mirror *m, uint32_t count);
/* Its guilds name a process that is gone. */
void mirror_mark_stale(struct mirror_pod *pod);

/* Open moves that are past waiting. */
size_t mirror_moves_running(const struct mirror *m);

#endif
