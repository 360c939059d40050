/* feature_bench.h - a guild in memory for tests of features: feeds handlers as the dispatcher
 * would, and shows what they left in the tables and in the outbox. */
#ifndef TESTS_FEATURE_BENCH_H
#define TESTS_FEATURE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/dispatch.h"
#include "gateway/features/handlers.h"
#include "gateway/store.h"

#define GUILD UINT64_C(81384788765712384)
/* 2026-03-10T12:00:00.000Z */
#define NOW_MS INT64_C(1773144000000)

enum { BENCH_ACTIONS = 64 };

struct bench {
    struct unit unit;
    struct arena *arena; /* of the last unit: what it answered lives until the next */
    struct err err;
    const char *callback;
    size_t last_rows;               /* bytes that the last unit put into the log */
    int64_t actions[BENCH_ACTIONS]; /* in the order they came */
    int action_count;
    char text[16384];
};

static UNUSED sqlite3 *bench_db(struct bench *b)
{
    return sqlite3_db_handle(store_sql(b->unit.store, "BEGIN"));
}

static UNUSED void bench_exec(struct bench *b, const char *sql)
{
    char *why = NULL;

    if (sqlite3_exec(bench_db(b), sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
}

static UNUSED void bench_start(struct bench *b)
{
    *b = (struct bench){ .unit = { .guild_id = GUILD,
                                   .now_ms = NOW_MS,
                                   .application_id = "900",
                                   .portal_url = "https://portal.test" } };
    assert_int_equal(store_open(":memory:", &b->unit.store, &b->err), STATUS_OK);
}

static UNUSED void bench_stop(struct bench *b)
{
    if (b->arena)
        arena_free(b->arena);
    store_close(b->unit.store);
}

static UNUSED void bench_begin(struct bench *b)
{
    if (b->arena)
        arena_free(b->arena);
    b->arena = b->unit.arena = arena_new(0);
    b->err = (struct err){ 0 };
    b->callback = NULL;
    store_unit_begin(b->unit.store, b->unit.guild_id);
}

/* A statement left in the middle of its rows would hold up the commit. */
static UNUSED void bench_check_idle(struct bench *b)
{
    sqlite3 *db = bench_db(b);

    for (sqlite3_stmt *q = sqlite3_next_stmt(db, NULL); q; q = sqlite3_next_stmt(db, q))
        if (sqlite3_stmt_busy(q))
            fail_msg("left open: %s", sqlite3_sql(q));
}

static UNUSED enum status bench_end(struct bench *b, enum status status)
{
    size_t count;

    if (status != STATUS_OK) {
        store_unit_undo(b->unit.store);
        return status;
    }
    bench_check_idle(b);
    assert_int_equal(store_unit_keep(b->unit.store, &b->err), STATUS_OK);
    const int64_t *added = store_unit_actions(b->unit.store, &count);
    assert_true(b->action_count + (int)count <= BENCH_ACTIONS);
    for (size_t i = 0; i < count; i++)
        b->actions[b->action_count++] = added[i];
    b->last_rows = store_unit_rows(b->unit.store)->size;
    return status;
}

/* A type of dispatch that this handler sees. */
static UNUSED const char *bench_type_of(event_handler handler)
{
    static const struct {
        event_handler handler;
        const char *type;
    } all[] = {
#define EVENT(type, handler, members) { handler, #type },
#include "gateway/events.def"
#undef EVENT
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i].handler == handler)
            return all[i].type;
    fail_msg("no row of events.def has this handler");
    return "";
}

/* The handler finds only what events.def says that it reads. */
static UNUSED enum status bench_event(struct bench *b, event_handler handler, const char *json)
{
    CLEANUP(json_decref) json_t *d = NULL;

    bench_begin(b);
    assert_int_equal(dispatch_select(bench_type_of(handler), json, b->arena, &d, &b->err),
                     STATUS_OK);
    return bench_end(b, handler(&b->unit, d, &b->err));
}

static UNUSED enum status bench_interact(struct bench *b, interaction_handler handler,
                                         const char *json)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct interaction in;
    struct err err;

    bench_begin(b);
    if (dispatch_select_interaction(json, b->arena, &root, &err) != STATUS_OK)
        fail_msg("%s in %s", err.text, json);
    enum status status = dispatch_parse(root, &in, &b->err);
    if (status != STATUS_OK)
        return bench_end(b, status);
    return bench_end(b, handler(&b->unit, &in, &b->callback, &b->err));
}

/* The first column of the first row; "" when there is none. */
static UNUSED const char *bench_text(struct bench *b, const char *sql)
{
    sqlite3_stmt *q = NULL;

    if (sqlite3_prepare_v2(bench_db(b), sql, -1, &q, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(bench_db(b)));
    const unsigned char *text = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_text(q, 0) : NULL;
    assert_true(snprintf(b->text, sizeof(b->text), "%s", text ? (const char *)text : "") <
                (int)sizeof(b->text));
    sqlite3_finalize(q);
    return b->text;
}

static UNUSED int64_t bench_int(struct bench *b, const char *sql)
{
    return strtoll(bench_text(b, sql), NULL, 10);
}

/* ---- the outbox ---- */

struct bench_action {
    char method[8], path[400], body[16384], continuation[64], state[1024];
    bool has_nonce; /* which is not shown in the body */
};

static UNUSED int bench_action_count(struct bench *b)
{
    return b->action_count;
}

static void bench_field(struct bench *b, int n, const char *column, char *to, size_t size)
{
    char sql[160];

    snprintf(sql, sizeof(sql), "SELECT %s FROM outbox WHERE action_id = %" PRId64, column,
             b->actions[n]);
    assert_true(snprintf(to, size, "%s", bench_text(b, sql)) < (int)size);
}

/* The action at place n, 0 the oldest. */
static UNUSED struct bench_action *bench_action(struct bench *b, int n)
{
    static struct bench_action a;

    if (n >= b->action_count)
        fail_msg("there is no action %d", n);
    bench_field(b, n, "method", a.method, sizeof(a.method));
    bench_field(b, n, "path", a.path, sizeof(a.path));
    bench_field(b, n, "body", a.body, sizeof(a.body));
    bench_field(b, n, "continuation", a.continuation, sizeof(a.continuation));
    bench_field(b, n, "state", a.state, sizeof(a.state));
    a.has_nonce = !strncmp(a.body, "{\"nonce\":", 9);
    if (a.has_nonce) {
        char *rest = strstr(a.body, "true,") + strlen("true,");
        memmove(a.body + 1, rest, strlen(rest) + 1);
    }
    return &a;
}

/* Discord answers the action at place n with code and body (NULL: none). */
static UNUSED enum status bench_answer(struct bench *b, int n, int code, const char *body)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct bench_action *a = bench_action(b, n);
    char sql[80];

    if (body)
        assert_int_equal(json_parse(body, strlen(body), &root, NULL), STATUS_OK);
    snprintf(sql, sizeof(sql), "DELETE FROM outbox WHERE action_id = %" PRId64, b->actions[n]);
    bench_exec(b, sql);
    b->action_count--;
    for (int i = n; i < b->action_count; i++)
        b->actions[i] = b->actions[i + 1];
    if (!*a->continuation)
        return STATUS_OK;
    struct action_result result = { .code = code, .body = root, .state = a->state };
    bench_begin(b);
    return bench_end(b, dispatch_result(&b->unit, a->continuation, &result, &b->err));
}

static UNUSED void bench_forget_actions(struct bench *b)
{
    bench_exec(b, "DELETE FROM outbox");
    b->action_count = 0;
}

#endif
