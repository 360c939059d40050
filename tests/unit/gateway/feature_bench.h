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
#include "gateway/features/handlers.h"
#include "tests/unit/gateway/unit_double.h"

#define GUILD UINT64_C(81384788765712384)
/* 2026-03-10T12:00:00.000Z */
#define NOW_MS INT64_C(1773144000000)

struct bench {
    struct unit unit;
    struct arena *arena; /* of the last unit: what it answered lives until the next */
    struct err err;
    const char *callback;
};

static UNUSED void bench_start(struct bench *b)
{
    *b = (struct bench){ .unit = { .guild_id = GUILD,
                                   .now_ms = NOW_MS,
                                   .application_id = "900",
                                   .portal_url = "https://portal.test" } };
    double_open(&b->unit);
}

static UNUSED void bench_stop(struct bench *b)
{
    if (b->arena)
        arena_free(b->arena);
    double_close(&b->unit);
}

static UNUSED void bench_begin(struct bench *b)
{
    if (b->arena)
        arena_free(b->arena);
    b->arena = b->unit.arena = arena_new(0);
    b->err = (struct err){ 0 };
    b->callback = NULL;
    double_begin(&b->unit);
}

static UNUSED enum status bench_end(struct bench *b, enum status status)
{
    if (status == STATUS_OK)
        double_keep(&b->unit);
    else
        double_undo(&b->unit);
    return status;
}

static UNUSED enum status bench_event(struct bench *b, event_handler handler, const char *json)
{
    CLEANUP(json_decref) json_t *d = NULL;

    assert_int_equal(json_parse(json, strlen(json), &d, NULL), STATUS_OK);
    bench_begin(b);
    return bench_end(b, handler(&b->unit, d, &b->err));
}

/* Fills an interaction from Discord's JSON, as the dispatcher does. */
static UNUSED enum status bench_interact(struct bench *b, interaction_handler handler,
                                         const char *json)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct interaction in = { 0 };

    if (json_parse(json, strlen(json), &root, &b->err) != STATUS_OK)
        fail_msg("%s in %s", b->err.text, json);
    const json_t *member = json_object_get(root, "member"), *user = json_object_get(member, "user");
    in.root = root;
    in.data = json_object_get(root, "data");
    in.id = json_id(root, "id");
    in.user_id = json_id(user, "id");
    in.username = json_str(user, "username");
    in.channel_id = json_id(root, "channel_id");
    in.token = json_str(root, "token");
    in.type = (int)json_int(root, "type", 2);
    in.name = json_str(in.data, in.type == 3 ? "custom_id" : "name");
    in.command_type = (int)json_int(in.data, "type", 1);
    in.target_id = json_id(in.data, "target_id");
    in.permissions = json_id(member, "permissions");
    bench_begin(b);
    return bench_end(b, handler(&b->unit, &in, &b->callback, &b->err));
}

/* The rows' one number, or text. */
static UNUSED int64_t bench_int(struct bench *b, const char *sql)
{
    return double_int(&b->unit, sql);
}
static UNUSED const char *bench_text(struct bench *b, const char *sql)
{
    return double_text(&b->unit, sql);
}

/* ---- the outbox ---- */

struct bench_action {
    int64_t id;
    char method[8], path[400], body[16384], continuation[64], state[1024];
};

static UNUSED int bench_action_count(struct bench *b)
{
    return (int)bench_int(b, "SELECT count(*) FROM outbox");
}

static UNUSED void bench_copy(char *to, size_t size, const char *text)
{
    assert_true(snprintf(to, size, "%s", text) < (int)size);
}

/* The action at place n, 0 the oldest. */
static UNUSED struct bench_action *bench_action(struct bench *b, int n)
{
    static struct bench_action a;
    char sql[160];

#define FIELD(column)                                                                              \
    (snprintf(sql, sizeof(sql),                                                                    \
              "SELECT " column " FROM outbox ORDER BY action_id LIMIT 1 OFFSET %d", n),            \
     bench_text(b, sql))
    if (n >= bench_action_count(b))
        fail_msg("there is no action %d", n);
    a.id = strtoll(FIELD("action_id"), NULL, 10);
    bench_copy(a.method, sizeof(a.method), FIELD("method"));
    bench_copy(a.path, sizeof(a.path), FIELD("path"));
    bench_copy(a.body, sizeof(a.body), FIELD("body"));
    bench_copy(a.continuation, sizeof(a.continuation), FIELD("continuation"));
    bench_copy(a.state, sizeof(a.state), FIELD("state"));
#undef FIELD
    return &a;
}

static UNUSED continuation_handler bench_continuation(const char *name)
{
#define CONTINUATION(known, handler)                                                               \
    if (!strcmp(name, #known))                                                                     \
        return handler;
#include "gateway/continuations.def"
#undef CONTINUATION
    fail_msg("no continuation %s", name);
    return NULL;
}

/* Discord answers the action at place n with code and body (NULL: none). */
static UNUSED enum status bench_answer(struct bench *b, int n, int code, const char *body)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct bench_action *a = bench_action(b, n);
    char sql[80];

    if (body)
        assert_int_equal(json_parse(body, strlen(body), &root, NULL), STATUS_OK);
    snprintf(sql, sizeof(sql), "DELETE FROM outbox WHERE action_id = %" PRId64, a->id);
    double_exec(&b->unit, sql);
    if (!*a->continuation)
        return STATUS_OK;
    struct action_result result = { .code = code, .body = root, .state = a->state };
    continuation_handler handler = bench_continuation(a->continuation);
    bench_begin(b);
    return bench_end(b, handler(&b->unit, &result, &b->err));
}

#endif
