#include "gateway/unit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sign.h"
#include "gateway/store.h"

sqlite3_stmt *unit_sql(struct unit *u, const char *sql)
{
    return store_sql(u->store, sql);
}

enum status unit_run(struct unit *u, sqlite3_stmt *q, struct err *err)
{
    int code = sqlite3_step(q);
    enum status status = code == SQLITE_DONE || code == SQLITE_ROW
                             ? STATUS_OK
                             : store_failed(u->store, sqlite3_sql(q), err);

    sqlite3_reset(q);
    return status;
}

enum status unit_step(struct unit *u, sqlite3_stmt *q, struct err *err)
{
    int code = sqlite3_step(q);

    if (code == SQLITE_ROW)
        return STATUS_OK;
    enum status status = code == SQLITE_DONE ? err_set(err, STATUS_NOT_FOUND, "no more rows")
                                             : store_failed(u->store, sqlite3_sql(q), err);
    sqlite3_reset(q);
    return status;
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
    const char *text = (const char *)sqlite3_column_text(q, at);
    const char *copy = text ? arena_strdup(u->arena, text) : NULL;

    return copy ? copy : "";
}

/* Discord drops a repeated message with the same nonce: a call repeated after a crash posts once.
 */
static const char *with_nonce(struct unit *u, const struct action *a, int64_t action_id)
{
    const char *end = strrchr(a->path, '/');

    if (!a->body_json || strcmp(a->method, "POST") != 0 ||
        strncmp(a->path, "/channels/", 10) != 0 || !end || strcmp(end, "/messages") != 0 ||
        a->body_json[0] != '{')
        return a->body_json;
    const char *rest = a->body_json + 1;
    return arena_printf(u->arena, "{\"nonce\":\"%" PRId64 "\",\"enforce_nonce\":true%s%s",
                        action_id, *rest == '}' ? "" : ",", rest);
}

enum status unit_act(struct unit *u, const struct action *a, struct err *err)
{
    const int64_t action_id = (int64_t)(sign_random_u64() >> 2) | 1;
    const char *body = with_nonce(u, a, action_id);
    sqlite3_stmt *q = unit_sql(
        u,
        "INSERT INTO outbox(guild_id, action_id, method, path, body, continuation, state, reason,"
        " created_ms) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)");

    if (a->body_json && !body)
        return err_set(err, STATUS_BUSY, "action over the unit's memory limit");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_int(q, 2, action_id);
    unit_bind_text(q, 3, a->method);
    unit_bind_text(q, 4, a->path);
    unit_bind_text(q, 5, body);
    unit_bind_text(q, 6, a->continuation);
    unit_bind_text(q, 7, a->state);
    unit_bind_text(q, 8, a->reason);
    unit_bind_int(q, 9, u->now_ms);
    TRY(unit_run(u, q, err));
    store_note_action(u->store, action_id);
    return STATUS_OK;
}
