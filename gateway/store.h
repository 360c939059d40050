/* store.h - the pod's one SQLite database: all guilds' rows, and how far each guild has come.
 *
 *     unit_begin ─▶ handlers write rows ─▶ preupdate hook ─▶ RowOp wire bytes ─▶ unit_keep
 *                                      └─▶ unit_undo: as if never begun
 *
 * Units of many guilds share one transaction (store_begin … store_commit). The log is the truth:
 * rows that it does not have are dropped, so commits are not fsynced one by one (WAL,
 * synchronous=NORMAL).
 *
 * THREAD: confined. */
#ifndef GATEWAY_STORE_H
#define GATEWAY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/bytes.h"
#include "base/status.h"
#include "messages/guildbus.pb-c.h"

/* Grows with each change of schema.def. A guild only moves to a pod whose schema is equal or newer.
 */
enum { STORE_SCHEMA_VERSION = 3 };

struct store;

/* Where an event came from: Discord numbers the dispatches of a session. */
struct event_source {
    char session[72]; /* "" none */
    uint64_t seq;
};

/* How far the local rows of a guild have come in its log. */
struct guild_position {
    uint64_t epoch;             /* of the last record */
    uint64_t idx;               /* of the last record whose rows are here; 0: none */
    uint64_t log_seq;           /* that record's stream sequence */
    uint64_t event_seq;         /* last event applied */
    uint64_t events_applied;    /* ever, on any pod */
    struct event_source source; /* of the last event applied */
    bool dirty;                 /* rows beyond idx are here: not to be trusted after a restart */
    bool deleting;              /* the guild is not ours any more; its rows are being removed */
};

/* path ":memory:" is for tests. Creates and migrates the schema. CONFLICT: a newer schema is there.
 */
enum status store_open(const char *path, struct store **ret_store, struct err *err) MUST_CHECK;
void store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close)

/* begin does nothing inside a transaction; commit nothing outside. A commit that fails (disk full)
 * rolls back: err says so, and the caller must not publish what it held. */
void store_begin(struct store *s);
enum status store_commit(struct store *s, struct err *err) MUST_CHECK;
void store_rollback(struct store *s);

void store_unit_begin(struct store *s, uint64_t guild_id);
/* INVALID: a row has text that is not UTF-8; the unit is undone. */
enum status store_unit_keep(struct store *s, struct err *err) MUST_CHECK;
void store_unit_undo(struct store *s);
/* After keep, until the next begin: the unit's rows as repeated Change.rows fields, and the outbox
 * ids it added. */
const struct bytes *store_unit_rows(const struct store *s);
const int64_t *store_unit_actions(const struct store *s, size_t *ret_count);

/* Applies rows of a log record. INVALID: unknown table, or more columns than this schema has. */
enum status store_apply(struct store *s, uint64_t guild_id, const Guildbus__V1__Change *change,
                        struct err *err) MUST_CHECK;

/* NOT_FOUND: nothing of this guild is here. */
enum status store_position_get(struct store *s, uint64_t guild_id, struct guild_position *ret,
                               struct err *err) MUST_CHECK;
enum status store_position_put(struct store *s, uint64_t guild_id, const struct guild_position *p,
                               struct err *err) MUST_CHECK;
/* Removes up to limit rows of the guild; *ret_left: more are there. Removes the position with the
 * last row. */
enum status store_remove_some(struct store *s, uint64_t guild_id, int limit, bool *ret_left,
                              struct err *err) MUST_CHECK;
/* One guild whose rows are being removed; NOT_FOUND: none. */
enum status store_next_removal(struct store *s, uint64_t *ret_guild_id, struct err *err) MUST_CHECK;

/* Marks the rows of guilds that is_known does not know for removal; returns how many guilds. */
size_t store_remove_strangers(struct store *s, bool (*is_known)(void *ctx, uint64_t guild_id),
                              void *ctx);

/* When this database was last in use, wall clock; 0: never. For pods without a coordinator, which
 * would know. */
int64_t store_alive_get(struct store *s);
void store_alive_put(struct store *s, int64_t now_ms);

/* For unit.c. sql must be a literal. */
sqlite3_stmt *store_sql(struct store *s, const char *sql);
enum status store_failed(struct store *s, const char *doing, struct err *err);
void store_note_action(struct store *s, int64_t action_id);

#endif
