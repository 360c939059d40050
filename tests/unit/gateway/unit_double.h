/* unit_double.h - unit.h over a plain in-memory SQLite, for tests only. Included by one file of a
 * program. */
#ifndef TESTS_UNIT_DOUBLE_H
#define TESTS_UNIT_DOUBLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/unit.h"

enum { DOUBLE_STATEMENTS = 256 };

struct store {
    sqlite3 *db;
    const char *keys[DOUBLE_STATEMENTS];
    sqlite3_stmt *statements[DOUBLE_STATEMENTS];
    size_t used;
    char *text;
};

static UNUSED void double_exec(struct unit *u, const char *sql)
{
    char *why = NULL;

    if (sqlite3_exec(u->store->db, sql, NULL, NULL, &why) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, why);
        abort();
    }
}

static UNUSED void double_open(struct unit *u)
{
    u->store = calloc(1, sizeof(*u->store));
    if (sqlite3_open(":memory:", &u->store->db) != SQLITE_OK)
        abort();
#define TABLE(name, columns) double_exec(u, "CREATE TABLE " #name "(" columns ") WITHOUT ROWID");
#define INDEX(name, table, columns, unique)                                                        \
    double_exec(u, (unique) ? "CREATE UNIQUE INDEX " #name " ON " #table "(" columns ")"           \
                            : "CREATE INDEX " #name " ON " #table "(" columns ")");
#include "gateway/schema.def"
#undef TABLE
#undef INDEX
}

static UNUSED void double_close(struct unit *u)
{
    for (size_t i = 0; i < u->store->used; i++)
        sqlite3_finalize(u->store->statements[i]);
    if (sqlite3_close(u->store->db) != SQLITE_OK)
        abort();
    free(u->store->text);
    free(u->store);
}

/* No statement may be left in the middle of its rows. */
static UNUSED void double_check_idle(struct unit *u)
{
    for (sqlite3_stmt *q = sqlite3_next_stmt(u->store->db, NULL); q;
         q = sqlite3_next_stmt(u->store->db, q))
        if (sqlite3_stmt_busy(q)) {
            fprintf(stderr, "left open: %s\n", sqlite3_sql(q));
            abort();
        }
}

static UNUSED void double_begin(struct unit *u)
{
    double_exec(u, "SAVEPOINT unit");
}
static UNUSED void double_keep(struct unit *u)
{
    double_check_idle(u);
    double_exec(u, "RELEASE unit");
}
static UNUSED void double_undo(struct unit *u)
{
    double_exec(u, "ROLLBACK TO unit; RELEASE unit");
}

static UNUSED const char *double_text(struct unit *u, const char *sql)
{
    sqlite3_stmt *q;

    if (sqlite3_prepare_v2(u->store->db, sql, -1, &q, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(u->store->db));
        abort();
    }
    free(u->store->text);
    const unsigned char *text = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_text(q, 0) : NULL;
    u->store->text = strdup(text ? (const char *)text : "");
    sqlite3_finalize(q);
    return u->store->text;
}

static UNUSED int64_t double_int(struct unit *u, const char *sql)
{
    return strtoll(double_text(u, sql), NULL, 10);
}

sqlite3_stmt *unit_sql(struct unit *u, const char *sql)
{
    struct store *s = u->store;

    for (size_t i = 0; i < s->used; i++)
        if (s->keys[i] == sql) {
            sqlite3_reset(s->statements[i]);
            sqlite3_clear_bindings(s->statements[i]);
            return s->statements[i];
        }
    if (s->used == DOUBLE_STATEMENTS ||
        sqlite3_prepare_v2(s->db, sql, -1, &s->statements[s->used], NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(s->db));
        abort();
    }
    s->keys[s->used] = sql;
    return s->statements[s->used++];
}

enum status unit_step(struct unit *u, sqlite3_stmt *q, struct err *err)
{
    int code = sqlite3_step(q);

    if (code == SQLITE_ROW)
        return STATUS_OK;
    sqlite3_reset(q);
    if (code == SQLITE_DONE)
        return STATUS_NOT_FOUND;
    return err_set(err, code == SQLITE_CONSTRAINT ? STATUS_CONFLICT : STATUS_INTERNAL, "%s",
                   sqlite3_errmsg(u->store->db));
}

enum status unit_run(struct unit *u, sqlite3_stmt *q, struct err *err)
{
    enum status status = unit_step(u, q, err);

    if (status == STATUS_OK)
        abort(); /* it has rows */
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

void unit_bind_id(sqlite3_stmt *q, int at, uint64_t id)
{
    sqlite3_bind_int64(q, at, (sqlite3_int64)id);
}
void unit_bind_int(sqlite3_stmt *q, int at, int64_t value)
{
    sqlite3_bind_int64(q, at, value);
}
void unit_bind_text(sqlite3_stmt *q, int at, const char *text)
{
    sqlite3_bind_text(q, at, text, -1, SQLITE_STATIC);
}
uint64_t unit_column_id(sqlite3_stmt *q, int at)
{
    return (uint64_t)sqlite3_column_int64(q, at);
}
const char *unit_column_text(struct unit *u, sqlite3_stmt *q, int at)
{
    const unsigned char *text = sqlite3_column_text(q, at);
    const char *copy = text ? arena_printf(u->arena, "%s", (const char *)text) : "";

    return copy ? copy : "";
}

enum status unit_act(struct unit *u, const struct action *a, struct err *err)
{
    sqlite3_stmt *q = unit_sql(
        u,
        "INSERT INTO outbox(guild_id, action_id, method, path, body, continuation, state, reason,"
        " created_ms) SELECT ?1, coalesce(max(action_id), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8"
        " FROM outbox WHERE guild_id = ?1");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, a->method);
    unit_bind_text(q, 3, a->path);
    unit_bind_text(q, 4, a->body_json);
    unit_bind_text(q, 5, a->continuation);
    unit_bind_text(q, 6, a->state);
    unit_bind_text(q, 7, a->reason);
    unit_bind_int(q, 8, u->now_ms);
    return unit_run(u, q, err);
}

#endif
