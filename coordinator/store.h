/* store.h - the coordinator's memory: who should own which guild, and each step that led there.
 *
 *     decide ──struct plan──▶ store_commit (one fenced transaction) ──OK──▶ mirror_apply
 *
 * PostgreSQL for any number of replicas, SQLite for one; the statements are shared
 * (statements.def). One process leads: it holds a lock, and each of its transactions checks the
 * fence that it drew when it got the lock, so that a leader that lost its connection for a while
 * cannot write over its successor's decisions.
 *
 * After any status but OK from a writing call the caller no longer knows what is stored: lead
 * again, load again. UNAVAILABLE: the database is away. CONFLICT: somebody else leads, or a row is
 * not what the plan believed.
 *
 * THREAD: confined. */
#ifndef COORDINATOR_STORE_H
#define COORDINATOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/status.h"
#include "coordinator/rows.h"

struct store;

/* database_url NULL: SQLite at data_dir/coordinator.sqlite3. Creates or upgrades the tables. */
enum status store_open(const char *database_url, const char *data_dir, struct store **ret_store,
                       struct err *err) MUST_CHECK;
void store_free(struct store *store);
DEFINE_CLEANUP(struct store *, store_free)
const char *store_kind(const struct store *store); /* "postgresql" or "sqlite" */

/* Tries to become the one that writes. OK with *ret_leads false: another process leads. */
enum status store_lead(struct store *store, bool *ret_leads, struct err *err) MUST_CHECK;
/* Lets another process lead. */
void store_resign(struct store *store);
/* CONFLICT: another process leads by now, whatever this one remembers. Before an answer that was
 * taken from memory, and every second: a leader that says nothing for a few is replaced. */
enum status store_still_leads(struct store *store, struct err *err) MUST_CHECK;
/* Only the lock goes, as when a connection breaks: this process still believes that it leads. */
void store_unlock_for_test(struct store *store);

/* The database's clock, ms since 1970. */
enum status store_now(struct store *store, int64_t *ret_ms, struct err *err) MUST_CHECK;

/* ---- loading and reading; on_* is called for each row, which is valid during the call ---- */

typedef void (*store_on_guild)(void *ctx, const struct guild_row *row);
typedef void (*store_on_pod)(void *ctx, const struct pod_row *row);
typedef void (*store_on_move)(void *ctx, const struct move_row *row);
typedef void (*store_on_shard)(void *ctx, const struct shard_row *row);
typedef void (*store_on_standby)(void *ctx, const struct standby_row *row);
typedef void (*store_on_history)(void *ctx, const struct history_row *row);
typedef void (*store_on_count)(void *ctx, const char *name, uint64_t count);

struct guild_query {
    bool from_start;
    uint64_t after;  /* unless from_start */
    const char *pod; /* "": any */
    uint32_t limit;
};
/* In the order of (signed) ids. */
enum status store_guilds(struct store *store, const struct guild_query *query,
                         store_on_guild on_guild, void *ctx, struct err *err) MUST_CHECK;
/* NOT_FOUND: never seen. */
enum status store_guild(struct store *store, uint64_t guild_id, struct guild_row *ret_row,
                        struct err *err) MUST_CHECK;
enum status store_pods(struct store *store, store_on_pod on_pod, void *ctx, struct err *err)
    MUST_CHECK;
/* Newest first. */
enum status store_moves(struct store *store, uint32_t limit, store_on_move on_move, void *ctx,
                        struct err *err) MUST_CHECK;
enum status store_open_moves(struct store *store, store_on_move on_move, void *ctx, struct err *err)
    MUST_CHECK;
/* NOT_FOUND. */
enum status store_move(struct store *store, uint64_t id, struct move_row *ret_row, struct err *err)
    MUST_CHECK;
/* The latest move that gave this epoch of the guild to this pod. NOT_FOUND: none did. */
enum status store_move_of_epoch(struct store *store, uint64_t guild_id, uint64_t epoch,
                                const char *pod, struct move_row *ret_row, struct err *err)
    MUST_CHECK;
/* Of the current count, then of the next one. */
enum status store_shards(struct store *store, store_on_shard on_shard, void *ctx, struct err *err)
    MUST_CHECK;
struct standby_query {
    bool from_start;
    uint64_t after; /* the last row of the page before, unless from_start */
    const char *after_pod;
    uint32_t limit;
};
/* In the order of guilds, then pods. */
enum status store_standbys(struct store *store, const struct standby_query *query,
                           store_on_standby on_standby, void *ctx, struct err *err) MUST_CHECK;
/* By rank; only those that are standbys. */
enum status store_standbys_of(struct store *store, uint64_t guild_id, store_on_standby on_standby,
                              void *ctx, struct err *err) MUST_CHECK;
/* How many guilds each pod is a standby of; pods without any are left out. */
enum status store_count_standbys(struct store *store, store_on_count on_count, void *ctx,
                                 struct err *err) MUST_CHECK;
struct history_query {
    const uint64_t *guild_id; /* NULL: of all guilds */
    uint64_t before;          /* ids below it; 0: from the newest */
    uint32_t limit;
};
/* Newest first. */
enum status store_history(struct store *store, const struct history_query *query,
                          store_on_history on_history, void *ctx, struct err *err) MUST_CHECK;
enum status store_last_move_id(struct store *store, uint64_t *ret_id, struct err *err) MUST_CHECK;

struct store_counts {
    uint64_t guilds, guilds_owned, pods_active, moves_open, moves_done, moves_failed;
    uint64_t pause_us_p50, pause_us_max; /* of the last 1,000 moves that say how long they took */
};
enum status store_counts(struct store *store, struct store_counts *ret_counts, struct err *err)
    MUST_CHECK;

/* A number of table meta; OK with 0 when it is not set. */
enum status store_meta(struct store *store, const char *key, uint64_t *ret_value, struct err *err)
    MUST_CHECK;

/* ---- writing; the leader only ---- */

/* Rows as they shall be after the transaction. A guild, a move, a shard, and a pod as a guild's
 * standby stand in a plan once. */
struct plan {
    struct guild_row *guilds;
    struct move_row *moves;
    struct shard_row *shards;
    struct standby_row *standbys;
    size_t guild_count, guild_room, move_count, move_room, shard_count, shard_room;
    size_t standby_count, standby_room;
};
enum { PLAN_GUILDS = 1000 }; /* commit when it has that many */
void plan_release(struct plan *plan);
static inline void plan_release_at(struct plan *plan)
{
    plan_release(plan);
}
void plan_clear(struct plan *plan);
/* Adds the row or replaces the one of the same key. */
void plan_guild(struct plan *plan, const struct guild_row *row);
void plan_move(struct plan *plan, const struct move_row *row);
void plan_shard(struct plan *plan, const struct shard_row *row);
void plan_standby(struct plan *plan, const struct standby_row *row);
bool plan_has_guild(const struct plan *plan, uint64_t guild_id);
bool plan_has_move(const struct plan *plan, uint64_t move_id);
bool plan_is_empty(const struct plan *plan);

/* CONFLICT also when a guild's stored next_epoch is above the plan's: an epoch would be given
 * twice. */
enum status store_commit(struct store *store, const struct plan *plan, struct err *err) MUST_CHECK;

/* Stores what the pod says and starts its lease. *row's status, incarnation, capacity, schema,
 * version are used; heard_ms, lease_until_ms, lease_before_ms, drain_wished are filled, and status
 * is draining when that is wished. DENIED: another incarnation of this pod
 * has a lease for *ret_left_ms more; nothing was changed. */
enum status store_register(struct store *store, struct pod_row *row, int64_t lease_ms,
                           int64_t *ret_left_ms, struct err *err) MUST_CHECK;
struct store_beats {
    const struct pod_row *rows; /* a pod stands there once */
    size_t count;
    int64_t lease_ms;
};
/* Renews leases of the rows whose incarnation is stored and not offline; calls on_renewed for these
 * with heard_ms and lease_until_ms; the others got no lease. */
enum status store_heartbeats(struct store *store, const struct store_beats *beats,
                             store_on_pod on_renewed, void *ctx, struct err *err) MUST_CHECK;
/* Marks pods offline whose lease ended more than grace_ms ago; on_pod gets those (pod is set only).
 */
enum status store_expire(struct store *store, int64_t grace_ms, store_on_pod on_pod, void *ctx,
                         struct err *err) MUST_CHECK;
/* Ends the pod's lease cleanly. NOT_FOUND: no such pod and incarnation. */
enum status store_leave(struct store *store, const char *pod, uint64_t incarnation, struct err *err)
    MUST_CHECK;
/* Keeps an operator's wish over restarts. status: the pod's from now on, unless it is offline.
 * NOT_FOUND: no such pod. */
enum status store_wish_drain(struct store *store, const char *pod, bool drain,
                             enum pod_status status, struct err *err) MUST_CHECK;
/* Forgets pods that have been offline for a day, own nothing and are nobody's standby. */
enum status store_forget(struct store *store, store_on_pod on_pod, void *ctx, struct err *err)
    MUST_CHECK;
/* Deletes history and ended moves that are older than so many days, but looks at no more than limit
 * rows of each. *ret_more: there may be more. */
enum status store_prune(struct store *store, uint32_t days, uint32_t limit, bool *ret_more,
                        struct err *err) MUST_CHECK;
enum status store_set_meta(struct store *store, const char *key, uint64_t value, struct err *err)
    MUST_CHECK;
/* Drops the shards from count on. */
enum status store_cut_shards(struct store *store, uint32_t count, struct err *err) MUST_CHECK;
/* Where a reshard stands. to 0: none is under way, and the next shards are forgotten. what, why: for
 * the history; what NULL: not worth a line. */
struct reshard_row {
    uint32_t to, stage;
    const char *what, *why;
};
enum status store_reshard(struct store *store, const struct reshard_row *row, struct err *err)
    MUST_CHECK;
/* The next shards are the current ones from now on; row: none is under way. */
enum status store_reshard_commit(struct store *store, uint32_t count, const struct reshard_row *row,
                                 struct err *err) MUST_CHECK;
/* One grant per bucket and interval. *ret_wait_ms 0: granted now. */
enum status store_identify(struct store *store, uint32_t bucket, int64_t interval_ms,
                           int64_t *ret_wait_ms, struct err *err) MUST_CHECK;

#endif
