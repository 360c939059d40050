#include "gateway/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/idmap.h"
#include "base/log.h"
#include "base/xmem.h"
#include "gateway/capture.h"
#include "gateway/schema.h"
#include "gateway/wal.h"

struct store {
    sqlite3 *db;
    struct idmap *statements; /* by the literal's address */
    struct schema *schema;
    struct capture *capture;
    struct wal *wal;
    bool in_transaction;
    int64_t *actions;
    size_t action_count, action_capacity;
};

enum status store_failed(struct store *s, const char *doing, struct err *err)
{
    int code = sqlite3_errcode(s->db) & 0xff;
    enum status status = code == SQLITE_CONSTRAINT                         ? STATUS_CONFLICT
                         : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? STATUS_CORRUPT
                                                                           : STATUS_UNAVAILABLE;
    return err_set(err, status, "%s: SQLite: %s", doing, sqlite3_errmsg(s->db));
}

static enum status exec(struct store *s, const char *sql, struct err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? STATUS_OK
                                                                   : store_failed(s, sql, err);
}

static enum status migrate(struct store *s, struct err *err)
{
    sqlite3_stmt *q = NULL;
    int64_t version = -1;

    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        version = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    if (version < 0)
        return store_failed(s, "schema version", err);
    if (version > STORE_SCHEMA_VERSION)
        return err_set(
            err, STATUS_CONFLICT,
            "the database has schema %lld, newer than this program's %d: run the newer one",
            (long long)version, STORE_SCHEMA_VERSION);
    return schema_create(s->db, err);
}

static enum status set_up(struct store *s, const char *path, struct err *err)
{
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return store_failed(s, path, err);
    (void)sqlite3_busy_timeout(s->db, 5000);
    TRY(exec(s, "PRAGMA journal_mode=WAL", err));
    /* what an earlier process left there may be what fills the disk */
    (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    TRY(exec(s, "PRAGMA synchronous=NORMAL", err));
    TRY(exec(s, "PRAGMA temp_store=MEMORY", err));
    TRY(exec(s, "PRAGMA cache_size=-65536", err)); /* 64 MiB */
    TRY(migrate(s, err));
    TRY(schema_read(s->db, &s->schema, err));
    s->wal = wal_watch(s->db, path);
    s->capture = capture_new(s->db, s->schema);
    s->statements = idmap_new();
    return STATUS_OK;
}

/* SQLite counts its memory under a lock of the process, at each allocation; nobody asks for it. Too late
 * when SQLite is in use already, which harms nobody. */
static void configure(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum status store_open(const char *path, struct store **ret_store, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CLEANUP(store_close) struct store *s = xcalloc(1, sizeof(*s));

    pthread_once(&once, configure);
    TRY(set_up(s, path, err));
    *ret_store = TAKE(s);
    return STATUS_OK;
}

static void finalize(void *ctx UNUSED, uint64_t id UNUSED, void *statement)
{
    sqlite3_finalize(statement);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (s->statements)
        idmap_each(s->statements, finalize, NULL);
    idmap_free(s->statements);
    schema_free(s->schema);
    capture_free(s->capture);
    sqlite3_close(s->db);
    wal_free(s->wal);
    free(s->actions);
    free(s);
}

sqlite3_stmt *store_sql(struct store *s, const char *sql)
{
    sqlite3_stmt *q = idmap_get(s->statements, (uint64_t)(uintptr_t)sql);

    if (q) {
        sqlite3_reset(q);
        sqlite3_clear_bindings(q);
        return q;
    }
    if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &q, NULL) != SQLITE_OK) {
        log_error("sql_bug", "text=\"%s\" sql=\"%s\"", sqlite3_errmsg(s->db), sql);
        abort();
    }
    idmap_put(s->statements, (uint64_t)(uintptr_t)sql, q);
    return q;
}

static enum status run(struct store *s, sqlite3_stmt *q, const char *doing, struct err *err)
{
    int code = sqlite3_step(q);

    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        enum status status = store_failed(s, doing, err);
        sqlite3_reset(q);
        return status;
    }
    sqlite3_reset(q);
    return STATUS_OK;
}

/* ---- transactions and units ---- */

void store_begin(struct store *s)
{
    struct err err;

    if (s->in_transaction)
        return;
    if (run(s, store_sql(s, "BEGIN"), "begin", &err) != STATUS_OK) {
        log_error("store_begin_failed", "text=\"%s\"", err.text);
        abort(); /* one thread, one connection: a BEGIN outside a transaction takes no lock and
                    cannot fail */
    }
    s->in_transaction = true;
}

enum status store_commit(struct store *s, struct err *err)
{
    if (!s->in_transaction)
        return STATUS_OK;
    enum status status = run(s, store_sql(s, "COMMIT"), "commit", err);
    if (status != STATUS_OK)
        store_rollback(s);
    s->in_transaction = false;
    return status;
}

void store_rollback(struct store *s)
{
    if (!s->in_transaction)
        return;
    if (!sqlite3_get_autocommit(s->db))
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->in_transaction = false;
}

void store_unit_begin(struct store *s, uint64_t guild_id)
{
    struct err err;

    store_begin(s);
    if (run(s, store_sql(s, "SAVEPOINT unit"), "savepoint", &err) != STATUS_OK)
        log_warn("savepoint_failed", "text=\"%s\"", err.text);
    s->action_count = 0;
    capture_start(s->capture, guild_id);
}

enum status store_unit_keep(struct store *s, struct err *err)
{
    capture_stop(s->capture);
    if (capture_is_broken(s->capture)) {
        store_unit_undo(s);
        return err_set(err, STATUS_INVALID, "a unit wrote text that is not UTF-8");
    }
    return run(s, store_sql(s, "RELEASE unit"), "release", err);
}

void store_unit_undo(struct store *s)
{
    struct err err;

    capture_stop(s->capture);
    s->action_count = 0;
    if (run(s, store_sql(s, "ROLLBACK TO unit"), "undo", &err) != STATUS_OK ||
        run(s, store_sql(s, "RELEASE unit"), "undo", &err) != STATUS_OK)
        log_warn("unit_undo_failed", "text=\"%s\"", err.text);
}

const struct bytes *store_unit_rows(const struct store *s)
{
    return capture_rows(s->capture);
}

const int64_t *store_unit_actions(const struct store *s, size_t *ret_count)
{
    *ret_count = s->action_count;
    return s->actions;
}

void store_note_action(struct store *s, int64_t action_id)
{
    if (s->action_count == s->action_capacity) {
        s->action_capacity = s->action_capacity ? s->action_capacity * 2 : 8;
        s->actions = realloc(s->actions, s->action_capacity * sizeof(*s->actions));
        if (!s->actions)
            abort(); /* out of memory ends the process */
    }
    s->actions[s->action_count++] = action_id;
}

/* ---- rows of a log record ---- */

enum status store_apply(struct store *s, uint64_t guild_id, const Guildbus__V1__Change *change,
                        struct err *err)
{
    store_begin(s);
    for (size_t i = 0; i < change->n_rows; i++)
        TRY(schema_apply(s->schema, s->db, guild_id, change->rows[i], err));
    return STATUS_OK;
}

/* ---- positions ---- */

enum status store_position_get(struct store *s, uint64_t guild_id, struct guild_position *ret,
                               struct err *err)
{
    sqlite3_stmt *q =
        store_sql(s, "SELECT epoch, idx, log_seq, event_seq, events_applied, dirty, deleting,"
                     " session, session_seq"
                     " FROM guild_state WHERE guild_id=?1");

    sqlite3_bind_int64(q, 1, (sqlite3_int64)guild_id);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        *ret = (struct guild_position){
            .epoch = (uint64_t)sqlite3_column_int64(q, 0),
            .idx = (uint64_t)sqlite3_column_int64(q, 1),
            .log_seq = (uint64_t)sqlite3_column_int64(q, 2),
            .event_seq = (uint64_t)sqlite3_column_int64(q, 3),
            .events_applied = (uint64_t)sqlite3_column_int64(q, 4),
            .dirty = sqlite3_column_int(q, 5),
            .deleting = sqlite3_column_int(q, 6),
            .source.seq = (uint64_t)sqlite3_column_int64(q, 8),
        };
    if (code == SQLITE_ROW)
        (void)snprintf(ret->source.session, sizeof(ret->source.session), "%s",
                       (const char *)sqlite3_column_text(q, 7));
    sqlite3_reset(q);
    if (code == SQLITE_DONE)
        return err_set(err, STATUS_NOT_FOUND, "no rows of this guild are here");
    return code == SQLITE_ROW ? STATUS_OK : store_failed(s, "position", err);
}

enum status store_position_put(struct store *s, uint64_t guild_id, const struct guild_position *p,
                               struct err *err)
{
    sqlite3_stmt *q =
        store_sql(s, "INSERT OR REPLACE INTO guild_state(guild_id, epoch, idx, log_seq, event_seq,"
                     " events_applied, dirty, deleting, session, session_seq)"
                     " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)");

    store_begin(s);
    sqlite3_bind_int64(q, 1, (sqlite3_int64)guild_id);
    sqlite3_bind_int64(q, 2, (sqlite3_int64)p->epoch);
    sqlite3_bind_int64(q, 3, (sqlite3_int64)p->idx);
    sqlite3_bind_int64(q, 4, (sqlite3_int64)p->log_seq);
    sqlite3_bind_int64(q, 5, (sqlite3_int64)p->event_seq);
    sqlite3_bind_int64(q, 6, (sqlite3_int64)p->events_applied);
    sqlite3_bind_int(q, 7, p->dirty);
    sqlite3_bind_int(q, 8, p->deleting);
    sqlite3_bind_text(q, 9, p->source.session, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 10, (sqlite3_int64)p->source.seq);
    return run(s, q, "position", err);
}

enum status store_remove_some(struct store *s, uint64_t guild_id, int limit, bool *ret_left,
                              struct err *err)
{
    int left = limit;

    store_begin(s);
    TRY(schema_remove_rows(s->schema, s->db, guild_id, &left, err));
    *ret_left = left <= 0;
    if (*ret_left)
        return STATUS_OK;
    sqlite3_stmt *q = store_sql(s, "DELETE FROM guild_state WHERE guild_id=?1");
    sqlite3_bind_int64(q, 1, (sqlite3_int64)guild_id);
    return run(s, q, "remove guild", err);
}

enum status store_next_removal(struct store *s, uint64_t *ret_guild_id, struct err *err)
{
    sqlite3_stmt *q = store_sql(s, "SELECT guild_id FROM guild_state WHERE deleting=1 LIMIT 1");
    int code = sqlite3_step(q);

    if (code == SQLITE_ROW)
        *ret_guild_id = (uint64_t)sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    if (code == SQLITE_DONE)
        return err_set(err, STATUS_NOT_FOUND, "nothing to remove");
    return code == SQLITE_ROW ? STATUS_OK : store_failed(s, "next removal", err);
}

int64_t store_alive_get(struct store *s)
{
    sqlite3_stmt *q = store_sql(s, "SELECT value FROM pod_state WHERE key='alive_ms'");
    int64_t alive_ms = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;

    sqlite3_reset(q);
    return alive_ms;
}

void store_alive_put(struct store *s, int64_t now_ms)
{
    struct err err;

    store_begin(s);
    sqlite3_stmt *q =
        store_sql(s, "INSERT OR REPLACE INTO pod_state(key, value) VALUES('alive_ms', ?1)");
    sqlite3_bind_int64(q, 1, now_ms);
    if (run(s, q, "note that the pod lives", &err) != STATUS_OK)
        log_warn("alive_not_noted", "text=%s", LOG_QUOTE(err.text)); /* the commit will say more */
}

size_t store_remove_strangers(struct store *s, bool (*is_known)(void *ctx, uint64_t guild_id),
                              void *ctx)
{
    sqlite3_stmt *all = store_sql(s, "SELECT guild_id FROM guild_state WHERE deleting=0");
    struct err err;
    size_t count = 0;

    store_begin(s);
    while (sqlite3_step(all) == SQLITE_ROW) {
        uint64_t guild_id = (uint64_t)sqlite3_column_int64(all, 0);
        if (is_known(ctx, guild_id))
            continue;
        sqlite3_stmt *q = store_sql(s, "UPDATE guild_state SET deleting=1 WHERE guild_id=?1");
        sqlite3_bind_int64(q, 1, (sqlite3_int64)guild_id);
        if (run(s, q, "mark for removal", &err) == STATUS_OK)
            count++;
    }
    sqlite3_reset(all);
    return count;
}
