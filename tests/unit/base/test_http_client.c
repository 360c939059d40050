#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/http_client.h"
#include "base/http_server.h"
#include "loop_world.h"

enum { LONG_ANSWER = 100000 };

struct world {
    struct loop_world base;
    struct http_server *server;
    struct http_client *client;
    struct http_exchange *held;
    sem_t is_held;
    _Atomic int cut; /* requests whose connection was cut */
    char url[64];
};

static void answer_parts(struct http_exchange *x)
{
    size_t size;
    const char *body = http_body(x, &size);
    const char *type = http_header(x, "content-type"), *agent = http_header(x, "user-agent");
    const char *extra = http_header(x, "x-extra");
    char *text = arena_printf(http_arena(x), "%d %s type=%s agent=%s extra=%s %zu:%.*s",
                              (int)http_method(x), http_path(x), type ? type : "-",
                              agent ? agent : "-", extra ? extra : "-", size, (int)size, body);

    http_answer_header(x, "x-limit", "first");
    http_answer_header(x, "x-limit", "  last ");
    http_respond_text(x, 201, text);
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct world *w = ctx;

    if (strcmp(http_path(x), "/hold") == 0) {
        w->held = x;
        sem_post(&w->is_held);
    } else if (strcmp(http_path(x), "/long") == 0) {
        CLEANUP(xfree) char *text = xcalloc(1, LONG_ANSWER);
        memset(text, 'l', LONG_ANSWER);
        http_respond(x, 200, NULL, text, LONG_ANSWER);
    } else if (strcmp(http_path(x), "/cut") == 0) {
        atomic_fetch_add(&w->cut, 1);
        http_mute(x);
        http_respond_text(x, 200, "");
    } else if (strcmp(http_path(x), "/moved") == 0) {
        http_redirect(x, "/elsewhere");
    } else {
        answer_parts(x);
    }
}

static int start_world(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    const struct http_server_config config = {
        .name = "test", .bind = "127.0.0.1", .max_body = 1000000, .on_request = on_request, .ctx = w
    };
    struct err err;

    sem_init(&w->is_held, 0, 0);
    must(loop_new(&w->base.loop, &err) == STATUS_OK);
    must(http_server_listen(w->base.loop, &config, &w->server, &err) == STATUS_OK);
    must(http_client_new("guildbus-test", &w->client, &err) == STATUS_OK);
    (void)snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%d", http_server_port(w->server));
    loop_world_start(&w->base);
    *state = w;
    return 0;
}

static int stop_world(void **state)
{
    struct world *w = *state;

    http_client_free(w->client);
    loop_world_stop(&w->base);
    loop_free(w->base.loop);
    sem_destroy(&w->is_held);
    free(w);
    return 0;
}

/* One call to path; the rest as in like. */
static enum status call(const struct world *w, const char *path, const struct http_call *like,
                        int *ret_code, char **ret_body, struct err *err)
{
    CLEANUP(xfree) char *url = xasprintf("%s%s", w->url, path);
    struct http_call mine = *like;

    mine.url = url;
    return http_client_wait(w->client, &mine, ret_code, ret_body, err);
}

static void test_each_method_arrives_as_it_is(void **state)
{
    static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
    static const int numbers[] = { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        const char *headers[] = { "Content-Type: application/json", "X-Extra: e", NULL };
        const struct http_call like = {
            .method = methods[i], .headers = headers, .body = "{}", .size = 2
        };
        CLEANUP(xfree) char *body = NULL;
        int code = 0;
        char expected[120];
        assert_int_equal(call(*state, "/a", &like, &code, &body, NULL), STATUS_OK);
        assert_int_equal(code, 201);
        (void)snprintf(expected, sizeof(expected),
                       "%d /a type=application/json agent=guildbus-test extra=e 2:{}", numbers[i]);
        assert_string_equal(body, expected);
    }
}

static void test_an_empty_post_claims_no_content_type(void **state)
{
    const struct http_call like = { .method = "POST" };
    CLEANUP(xfree) char *body = NULL;
    int code = 0;

    assert_int_equal(call(*state, "/b", &like, &code, &body, NULL), STATUS_OK);
    assert_string_equal(body, "2 /b type=- agent=guildbus-test extra=- 0:");
}

static void test_a_large_body_arrives_whole(void **state)
{
    CLEANUP(xfree) char *text = xcalloc(1, 500001);
    memset(text, 'x', 500000);
    const struct http_call like = { .method = "POST", .body = text, .size = 500000 };
    CLEANUP(xfree) char *body = NULL;
    int code = 0;

    assert_int_equal(call(*state, "/c", &like, &code, &body, NULL), STATUS_OK);
    assert_non_null(strstr(body, "500000:xxx"));
    assert_int_equal(strspn(strstr(body, ":x") + 1, "x"), 500000);
}

static void test_redirects_are_answers(void **state)
{
    const struct http_call like = { .method = "GET" };
    CLEANUP(xfree) char *body = NULL;
    int code = 0;

    assert_int_equal(call(*state, "/moved", &like, &code, &body, NULL), STATUS_OK);
    assert_int_equal(code, 303);
}

static void test_an_answer_over_its_limit_fails(void **state)
{
    const struct http_call just = { .method = "GET", .max_answer = LONG_ANSWER };
    const struct http_call over = { .method = "GET", .max_answer = LONG_ANSWER - 1 };
    CLEANUP(xfree) char *body = NULL;
    struct err err;
    int code = 0;

    assert_int_equal(call(*state, "/long", &just, &code, &body, &err), STATUS_OK);
    assert_int_equal(call(*state, "/long", &over, &code, &body, &err), STATUS_UNAVAILABLE);
    assert_non_null(strstr(err.text, "too long"));
}

static void answer_held(void *ctx)
{
    struct world *w = ctx;

    http_respond_text(TAKE(w->held), 200, "late");
}

static void test_a_call_without_an_answer_times_out(void **state)
{
    struct world *w = *state;
    const struct http_call like = { .method = "GET", .timeout_ms = 50 };
    CLEANUP(xfree) char *body = NULL;
    struct err err;
    int code = 0;

    assert_int_equal(call(w, "/hold", &like, &code, &body, &err), STATUS_TIMEOUT);
    while (sem_wait(&w->is_held) != 0)
        ;
    loop_world_call(&w->base, answer_held, w);
}

static void test_what_goes_once_is_not_repeated_by_curl(void **state)
{
    struct world *w = *state;
    const struct http_call get = { .method = "GET" };
    const struct http_call once = { .method = "POST", .body = "{}", .size = 2, .once = true };
    CLEANUP(xfree) char *body = NULL, *none = NULL;
    int code = 0;

    /* leaves a connection that could be reused */
    assert_int_equal(call(w, "/a", &get, &code, &body, NULL), STATUS_OK);
    assert_int_equal(call(w, "/cut", &once, &code, &none, NULL), STATUS_UNAVAILABLE);
    assert_int_equal(atomic_load(&w->cut), 1);
}

static void test_a_server_that_is_not_there_is_unavailable(void **state)
{
    struct world *w = *state;
    struct sockaddr_in mine = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(mine);
    CLEANUP(xfree) char *body = NULL;
    struct err err;
    int code = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* Bound but not listening: nobody else can take the port meanwhile. */
    assert_int_equal(bind(fd, (struct sockaddr *)&mine, sizeof(mine)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&mine, &size), 0);
    CLEANUP(xfree) char *url = xasprintf("http://127.0.0.1:%d/", ntohs(mine.sin_port));
    const struct http_call refused = { .method = "GET", .url = url };
    assert_int_equal(http_client_wait(w->client, &refused, &code, &body, &err), STATUS_UNAVAILABLE);
    assert_true(err.text[0]);
    close(fd);

    const struct http_call no_http = { .method = "GET", .url = "file:///etc/hostname" };
    assert_int_equal(http_client_wait(w->client, &no_http, &code, &body, &err), STATUS_UNAVAILABLE);
}

/* --- letters --- */

struct seen {
    int done;
    uint64_t tags;
    char limit[16];
};

static void on_done(void *ctx, uint64_t tag, const struct http_result *r)
{
    struct seen *s = ctx;
    const char *limit = http_result_header(r, "x-limit");

    assert_int_equal(r->status, STATUS_OK);
    assert_non_null(limit);
    assert_string_equal(limit, http_result_header(r, "x-limit"));
    assert_null(http_result_header(r, "x-lim"));
    (void)snprintf(s->limit, sizeof(s->limit), "%s", limit);
    s->tags |= tag;
    s->done++;
}

static void read_all(struct mailbox *box, struct seen *s, int calls)
{
    while (s->done < calls) {
        struct pollfd p = { .fd = mailbox_fd(box), .events = POLLIN };
        (void)poll(&p, 1, -1);
        mailbox_drain(box, NULL);
    }
}

static void test_many_calls_end_once_each_in_their_box(void **state)
{
    enum { CALLS = 40 };
    struct world *w = *state;
    CLEANUP(mailbox_free) struct mailbox *box = NULL;
    CLEANUP(xfree) char *url = xasprintf("%s/x", w->url);
    struct seen seen = { 0 };

    /* More answers than the box would take from strangers. */
    assert_int_equal(mailbox_new(1, &box, NULL), STATUS_OK);
    for (int i = 0; i < CALLS; i++) {
        const struct http_call one = { .method = "GET",
                                       .url = url,
                                       .box = box,
                                       .on_done = on_done,
                                       .ctx = &seen,
                                       .tag = UINT64_C(1) << i };
        http_client_send(w->client, &one);
    }
    read_all(box, &seen, CALLS);
    assert_int_equal(seen.done, CALLS);
    assert_int_equal(seen.tags, (UINT64_C(1) << CALLS) - 1);
    assert_string_equal(seen.limit, "last");
}

static void never_done(void *ctx UNUSED, uint64_t tag UNUSED, const struct http_result *r UNUSED)
{
    fail_msg("called after the client was freed");
}

static void test_calls_under_way_end_with_the_client(void **state)
{
    struct world *w = *state;
    CLEANUP(mailbox_free) struct mailbox *box = NULL;
    CLEANUP(xfree) char *url = xasprintf("%s/hold", w->url);
    struct http_client *client = NULL;

    assert_int_equal(mailbox_new(8, &box, NULL), STATUS_OK);
    assert_int_equal(http_client_new("t", &client, NULL), STATUS_OK);
    const struct http_call one = { .method = "GET", .url = url, .box = box, .on_done = never_done };
    http_client_send(client, &one);
    while (sem_wait(&w->is_held) != 0)
        ;
    http_client_send(client, &one); /* may not have been begun */
    http_client_free(client);
    assert_int_equal(mailbox_drain(box, NULL), 0);
    loop_world_call(&w->base, answer_held, w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_method_arrives_as_it_is),
        cmocka_unit_test(test_an_empty_post_claims_no_content_type),
        cmocka_unit_test(test_a_large_body_arrives_whole),
        cmocka_unit_test(test_redirects_are_answers),
        cmocka_unit_test(test_an_answer_over_its_limit_fails),
        cmocka_unit_test(test_a_call_without_an_answer_times_out),
        cmocka_unit_test(test_what_goes_once_is_not_repeated_by_curl),
        cmocka_unit_test(test_a_server_that_is_not_there_is_unavailable),
        cmocka_unit_test(test_many_calls_end_once_each_in_their_box),
        cmocka_unit_test(test_calls_under_way_end_with_the_client),
    };
    return cmocka_run_group_tests_name("http_client", tests, start_world, stop_world);
}
