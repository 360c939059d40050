/* The client against an HTTP server of the test's own on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/http_server.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/xmem.h"
#include "gateway/discord_rest.h"

enum { SEEN_MAX = 64 };

/* What the server answers to the n-th request: code, and an answer body. */
struct answer {
    int code;
    const char *body, *bucket, *remaining, *reset_after;
    bool lost; /* the connection is cut instead */
};

struct bench {
    struct loop *loop;
    struct http_server *server;
    int port; /* of the server, while it is away */
    struct discord_rest *rest;
    const struct answer *answers; /* in the order of requests; the last one stays */
    size_t answer_count;
    size_t seen_count;
    struct {
        char method[8], path[128], auth[64], agent[128], reason[256], body[256];
    } seen[SEEN_MAX];
    size_t done_count, want_count;
    struct {
        uint64_t tag;
        int code;
        char body[128];
    } done[SEEN_MAX];
};

static void note_request(struct bench *b, struct http_exchange *x)
{
    static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
    size_t size, n = b->seen_count++;
    const char *body = http_body(x, &size);
    const char *auth = http_header(x, "authorization"),
               *reason = http_header(x, "x-audit-log-reason");

    assert_true(n < SEEN_MAX);
    (void)snprintf(b->seen[n].method, sizeof(b->seen[n].method), "%s", methods[http_method(x)]);
    (void)snprintf(b->seen[n].path, sizeof(b->seen[n].path), "%s", http_path(x));
    (void)snprintf(b->seen[n].auth, sizeof(b->seen[n].auth), "%s", auth ? auth : "");
    (void)snprintf(b->seen[n].agent, sizeof(b->seen[n].agent), "%s", http_header(x, "user-agent"));
    (void)snprintf(b->seen[n].reason, sizeof(b->seen[n].reason), "%s", reason ? reason : "");
    (void)snprintf(b->seen[n].body, sizeof(b->seen[n].body), "%.*s", (int)size, body ? body : "");
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct bench *b = ctx;
    size_t n = b->seen_count;
    const struct answer *a = &b->answers[n < b->answer_count ? n : b->answer_count - 1];

    note_request(b, x);
    if (a->bucket)
        http_answer_header(x, "x-ratelimit-bucket", a->bucket);
    if (a->remaining)
        http_answer_header(x, "x-ratelimit-remaining", a->remaining);
    if (a->reset_after)
        http_answer_header(x, "x-ratelimit-reset-after", a->reset_after);
    if (a->lost)
        http_mute(x);
    http_respond_json(x, a->code, a->body ? a->body : "{}");
}

static void on_done(void *ctx, uint64_t tag, const struct discord_answer *answer)
{
    struct bench *b = ctx;
    size_t n = b->done_count++;

    assert_true(n < SEEN_MAX);
    b->done[n].tag = tag;
    b->done[n].code = answer->code;
    (void)snprintf(b->done[n].body, sizeof(b->done[n].body), "%s", answer->body);
    if (b->done_count == b->want_count)
        loop_stop(b->loop);
}

static void listen_at(struct bench *b, int port)
{
    const struct http_server_config config = { .name = "discord",
                                               .bind = "127.0.0.1",
                                               .port = port,
                                               .max_body = 65536,
                                               .on_request = on_request,
                                               .ctx = b };
    assert_int_equal(http_server_listen(b->loop, &config, &b->server, NULL), STATUS_OK);
}

static void bench_start(struct bench *b, const struct answer *answers, size_t count)
{
    char url[64];

    *b = (struct bench){ .answers = answers, .answer_count = count };
    assert_int_equal(loop_new(&b->loop, NULL), STATUS_OK);
    listen_at(b, 0);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/api/v10/", http_server_port(b->server));
    const struct discord_rest_config rest = { .api_url = url, .token = "tok" };
    assert_int_equal(discord_rest_new(&rest, &b->rest, NULL), STATUS_OK);
}

static void bench_stop(struct bench *b)
{
    discord_rest_free(b->rest);
    loop_free(b->loop);
}

static void send_kept(struct bench *b, const char *method, const char *path, const char *body,
                      uint64_t group)
{
    const struct discord_call call = { .method = method,
                                       .path = path,
                                       .body_json = body,
                                       .reason = NULL,
                                       .box = loop_mailbox(b->loop),
                                       .on_done = on_done,
                                       .ctx = b,
                                       .tag = ++b->want_count,
                                       .group = group };
    discord_rest_send(b->rest, &call);
}

static void send(struct bench *b, const char *method, const char *path, const char *body)
{
    send_kept(b, method, path, body, 0);
}

static void test_a_call_arrives_as_discord_wants_it(void **state UNUSED)
{
    static const struct answer ok[] = { { .code = 200, .body = "{\"id\":\"1\"}" } };
    struct bench b;
    bench_start(&b, ok, 1);
    const struct discord_call call = { .method = "PATCH",
                                       .path = "/guilds/1/members/2",
                                       .body_json = "{\"a\":1}",
                                       .reason = "spam: \xC3\xA4\r\nX: y",
                                       .box = loop_mailbox(b.loop),
                                       .on_done = on_done,
                                       .ctx = &b,
                                       .tag = 7 };
    b.want_count = 1;
    discord_rest_send(b.rest, &call);
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, 200);
    assert_int_equal(b.done[0].tag, 7);
    assert_string_equal(b.done[0].body, "{\"id\":\"1\"}");
    assert_string_equal(b.seen[0].method, "PATCH");
    assert_string_equal(b.seen[0].path, "/api/v10/guilds/1/members/2");
    assert_string_equal(b.seen[0].auth, "Bot tok");
    assert_string_equal(b.seen[0].body, "{\"a\":1}");
    assert_string_equal(b.seen[0].reason, "spam%3A%20%C3%A4%0D%0AX%3A%20y");
    assert_string_equal(b.seen[0].agent,
                        "DiscordBot (https://github.com/guildbus/guildbus, " GUILDBUS_VERSION ")");
    bench_stop(&b);
}

static void test_a_429_is_waited_out_and_repeated(void **state UNUSED)
{
    static const struct answer answers[] = {
        { .code = 429, .body = "{\"message\":\"slow\",\"retry_after\":0.02,\"global\":false}" },
        { .code = 429, .body = "{\"message\":\"slow\",\"retry_after\":0.02,\"global\":true}" },
        { .code = 200 },
    };
    struct bench b;
    bench_start(&b, answers, ARRAY_LEN(answers));
    send(&b, "POST", "/channels/1/messages", "{}");
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, 200);
    assert_int_equal(b.seen_count, 3);
    bench_stop(&b);
}

static void test_only_what_is_safe_is_repeated_after_an_error(void **state UNUSED)
{
    static const struct {
        const char *method, *body;
        size_t requests;
        int code;
    } rows[] = {
        { "PUT", "{}", 2, 200 },
        { "GET", NULL, 2, 200 },
        { "DELETE", NULL, 2, 200 },
        { "POST", "{\"content\":\"x\",\"nonce\":\"1\",\"enforce_nonce\":true}", 2, 200 },
        { "POST", "{\"content\":\"x\",\"nonce\":\"1\"}", 1, 502 },
        { "POST", "{\"content\":\"\\\"enforce_nonce\\\":true\"}", 1, 502 },
    };
    static const struct answer answers[] = { { .code = 502, .body = "bad" }, { .code = 200 } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        bench_start(&b, answers, ARRAY_LEN(answers));
        send(&b, rows[i].method, "/channels/1/messages", rows[i].body);
        loop_run(b.loop);
        assert_int_equal(b.done[0].code, rows[i].code);
        assert_int_equal(b.seen_count, rows[i].requests);
        bench_stop(&b);
    }
}

static void test_a_lost_connection_gives_code_0_when_it_may_not_be_repeated(void **state UNUSED)
{
    static const struct answer lost[] = { { .code = 200, .lost = true } };
    struct bench b;
    bench_start(&b, lost, 1);
    send(&b, "POST", "/channels/1/messages", "{}");
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, 0);
    assert_int_equal(b.seen_count, 1);
    bench_stop(&b);
}

static void on_back(void *ctx)
{
    struct bench *b = ctx;

    listen_at(b, b->port);
}

/* Discord cannot be reached for a while: what never left is made afterwards, whatever it is. */
static void test_what_never_left_is_sent_when_discord_is_back(void **state UNUSED)
{
    static const struct answer ok[] = { { .code = 200 } };
    struct loop_timer *back;
    struct bench b;
    bench_start(&b, ok, 1);
    b.port = http_server_port(b.server);
    http_server_close(b.server);
    back = loop_timer_new(b.loop, on_back, &b);
    loop_timer_start(back, 700);
    send_kept(&b, "POST", "/channels/1/threads", "{}", 7);
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, 200);
    assert_int_equal(b.seen_count, 1);
    loop_timer_free(back);
    bench_stop(&b);
}

/* libcurl repeats by itself what a reused connection swallowed. */
static void test_a_call_that_may_not_be_repeated_is_not_repeated_by_curl(void **state UNUSED)
{
    static const struct answer answers[] = { { .code = 200 }, { .code = 200, .lost = true } };
    struct bench b;
    bench_start(&b, answers, ARRAY_LEN(answers));
    send(&b, "GET", "/channels/1", NULL); /* leaves a connection */
    loop_run(b.loop);
    send(&b, "POST", "/channels/1/threads", "{}");
    loop_run(b.loop);
    assert_int_equal(b.done[1].code, 0);
    assert_int_equal(b.seen_count, 2);
    bench_stop(&b);
}

static void
test_webhooks_of_interactions_carry_no_token_and_outlast_an_early_404(void **state UNUSED)
{
    static const struct answer answers[] = { { .code = 404, .body = "{\"code\":10015}" },
                                             { .code = 200 } };
    struct bench b;
    bench_start(&b, answers, ARRAY_LEN(answers));
    send(&b, "PATCH", "/webhooks/1/secret/messages/@original", "{}");
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, 200);
    assert_int_equal(b.seen_count, 2);
    assert_string_equal(b.seen[0].auth, "");
    bench_stop(&b);
}

static void test_a_401_ends_all_calls_with_the_token(void **state UNUSED)
{
    static const struct answer no[] = { { .code = 401, .body = "{\"message\":\"401\"}" } };
    struct bench b;
    bench_start(&b, no, 1);
    send(&b, "GET", "/users/@me", NULL);
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, 401);
    send(&b, "GET", "/users/@me", NULL);
    send(&b, "GET", "/gateway/bot", NULL);
    loop_run(b.loop);
    assert_int_equal(b.done[2].code, 401);
    assert_int_equal(b.seen_count, 1);
    send(&b, "POST", "/interactions/1/secret/callback", "{}"); /* its 401 is another matter */
    loop_run(b.loop);
    assert_int_equal(b.seen_count, 2);
    bench_stop(&b);
}

static void test_what_is_in_the_outbox_outlasts_a_401(void **state UNUSED)
{
    static const struct answer no[] = { { .code = 401, .body = "{\"message\":\"401\"}" } };
    struct bench b;
    bench_start(&b, no, 1);
    send_kept(&b, "POST", "/channels/1/messages", "{}", 7);
    send_kept(&b, "DELETE", "/channels/1/messages/2", NULL, 8);
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, DISCORD_TOKEN_REFUSED);
    assert_int_equal(b.done[1].code, DISCORD_TOKEN_REFUSED);
    send_kept(&b, "POST", "/channels/1/messages", "{}", 7);
    size_t seen = b.seen_count;
    loop_run(b.loop);
    assert_int_equal(b.done[2].code, DISCORD_TOKEN_REFUSED);
    assert_int_equal(b.seen_count, seen);
    bench_stop(&b);
}

static void test_calls_of_a_bucket_stay_in_order(void **state UNUSED)
{
    static const struct answer answers[] = {
        { .code = 200, .bucket = "h", .remaining = "3", .reset_after = "0.05" },
        { .code = 429, .body = "{\"retry_after\":0.01,\"global\":false}" },
        { .code = 200, .bucket = "h", .remaining = "0", .reset_after = "0.05" },
        { .code = 200, .bucket = "h", .remaining = "5", .reset_after = "0.05" },
    };
    char body[16];
    struct bench b;
    bench_start(&b, answers, ARRAY_LEN(answers));
    for (int i = 0; i < 20; i++) {
        (void)snprintf(body, sizeof(body), "{\"n\":%d}", i);
        send(&b, "POST", "/channels/1/messages", body);
    }
    loop_run(b.loop);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(b.done[i].tag, i + 1);
        assert_int_equal(b.done[i].code, 200);
    }
    assert_int_equal(b.seen_count, 21);
    assert_string_equal(b.seen[1].body, b.seen[2].body);
    assert_string_equal(b.seen[20].body, "{\"n\":19}");
    bench_stop(&b);
}

static void test_a_path_with_a_blank_or_a_newline_never_leaves(void **state UNUSED)
{
    static const struct answer ok[] = { { .code = 200 } };
    struct bench b;
    bench_start(&b, ok, 1);
    send(&b, "GET", "/channels/1\r\nX: y", NULL);
    send(&b, "GET", "channels", NULL);
    loop_run(b.loop);
    assert_int_equal(b.done[0].code + b.done[1].code, 0);
    assert_int_equal(b.seen_count, 0);
    bench_stop(&b);
}

static void send_in_group(struct bench *b, uint64_t group, size_t answers_to_wait_for)
{
    const struct discord_call call = { .method = "GET",
                                       .path = "/channels/1/messages",
                                       .box = loop_mailbox(b->loop),
                                       .on_done = on_done,
                                       .ctx = b,
                                       .tag = group,
                                       .group = group };
    b->want_count = answers_to_wait_for;
    discord_rest_send(b->rest, &call);
}

static void test_what_waits_is_withdrawn_by_group_and_never_leaves(void **state UNUSED)
{
    static const struct answer last[] = { { 200, "{}", "abcd", "0", "600", false } };
    struct bench b;
    bench_start(&b, last, 1);
    send_in_group(&b, 5, 1);
    loop_run(b.loop); /* from here on the bucket is empty for ten minutes */
    send_in_group(&b, 6, 3);
    send_in_group(&b, 5, 3);
    send_in_group(&b, 5, 3);
    discord_rest_withdraw(b.rest, 5);
    loop_run(b.loop);
    assert_int_equal(b.done[0].code, 200);
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(b.done[i].tag, 5);
        assert_int_equal(b.done[i].code, DISCORD_WITHDRAWN);
    }
    b.want_count = 4;
    discord_rest_withdraw(b.rest, 6); /* it was still there */
    loop_run(b.loop);
    assert_int_equal(b.done[3].tag, 6);
    assert_int_equal(b.seen_count, 1);
    bench_stop(&b);
}

static void test_calls_under_way_end_with_the_client(void **state UNUSED)
{
    static const struct answer slow[] = { { .code = 429, .body = "{\"retry_after\":600}" } };
    struct bench b;
    bench_start(&b, slow, 1);
    for (int i = 0; i < 10; i++)
        send(&b, "GET", "/channels/1", NULL);
    bench_stop(&b);
    assert_int_equal(b.done_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_arrives_as_discord_wants_it),
        cmocka_unit_test(test_a_429_is_waited_out_and_repeated),
        cmocka_unit_test(test_only_what_is_safe_is_repeated_after_an_error),
        cmocka_unit_test(test_a_lost_connection_gives_code_0_when_it_may_not_be_repeated),
        cmocka_unit_test(test_what_never_left_is_sent_when_discord_is_back),
        cmocka_unit_test(test_a_call_that_may_not_be_repeated_is_not_repeated_by_curl),
        cmocka_unit_test(test_webhooks_of_interactions_carry_no_token_and_outlast_an_early_404),
        cmocka_unit_test(test_a_401_ends_all_calls_with_the_token),
        cmocka_unit_test(test_what_is_in_the_outbox_outlasts_a_401),
        cmocka_unit_test(test_calls_of_a_bucket_stay_in_order),
        cmocka_unit_test(test_a_path_with_a_blank_or_a_newline_never_leaves),
        cmocka_unit_test(test_what_waits_is_withdrawn_by_group_and_never_leaves),
        cmocka_unit_test(test_calls_under_way_end_with_the_client),
    };
    return cmocka_run_group_tests_name("discord_rest", tests, NULL, NULL);
}
