#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>

#include "base/http_server.h"
#include "loop_world.h"

enum { MAX_BODY = 1000, TIMEOUT_MS = 300, BIG = 8 * 1024 * 1024 };

/* One server that several tests talk to. */
struct world {
    struct loop_world base;
    struct http_server *server, *second;
    int port, second_port;
    struct http_exchange *held; /* of GET /hold */
    sem_t is_held;
};

static void answer_parts(struct http_exchange *x)
{
    size_t size;
    const char *body = http_body(x, &size);
    const char *query = http_query(x, "q"), *form = http_form(x, "f[1]"),
               *cookie = http_cookie(x, "c");
    char *text =
        arena_printf(http_arena(x), "%d %s [%s] q=%s f=%s c=%s %zu:%.20s", (int)http_method(x),
                     http_path(x), http_query_raw(x), query ? query : "-", form ? form : "-",
                     cookie ? cookie : "-", size, body);

    http_answer_header(x, "x-peer", http_peer(x));
    http_respond_text(x, 200, text);
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct world *w = ctx;

    if (strcmp(http_path(x), "/hold") == 0) {
        w->held = x;
        sem_post(&w->is_held);
    } else if (strcmp(http_path(x), "/big") == 0) {
        CLEANUP(xfree) char *big = xcalloc(1, BIG);
        memset(big, 'b', BIG);
        http_respond(x, 200, "application/octet-stream", big, BIG);
    } else if (strcmp(http_path(x), "/gone") == 0) {
        http_respond_err(x, &(struct err){ STATUS_NOT_FOUND, "no \"such\" thing" });
    } else if (strcmp(http_path(x), "/other") == 0) {
        http_redirect(x, "/elsewhere");
    } else {
        answer_parts(x);
    }
}

/* Says what it hears back, in capitals. */
static int on_websocket(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                        size_t len)
{
    unsigned char out[LWS_PRE + 64];
    size_t *heard = user;
    static char text[64];

    switch ((int)reason) {
    case LWS_CALLBACK_RECEIVE:
        must(len < sizeof(text));
        for (size_t i = 0; i < len; i++)
            text[i] = (char)(((char *)in)[i] - 32);
        *heard = len;
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        memcpy(out + LWS_PRE, text, *heard);
        if (lws_write(wsi, out + LWS_PRE, *heard, LWS_WRITE_TEXT) < 0)
            return -1;
        break;
    default:
        break;
    }
    return 0;
}

static const struct lws_protocols websocket_protocols[] = {
    { .name = "shout", .callback = on_websocket, .per_session_data_size = sizeof(size_t) },
    { .name = NULL },
};

static int start_world(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct http_server_config config = { .name = "test",
                                         .bind = "127.0.0.1",
                                         .max_body = MAX_BODY,
                                         .timeout_ms = TIMEOUT_MS,
                                         .on_request = on_request,
                                         .ctx = w,
                                         .websocket_protocols = websocket_protocols };
    struct err err;

    sem_init(&w->is_held, 0, 0);
    must(loop_new(&w->base.loop, &err) == STATUS_OK);
    must(http_server_listen(w->base.loop, &config, &w->server, &err) == STATUS_OK);
    config.websocket_protocols = NULL;
    must(http_server_listen(w->base.loop, &config, &w->second, &err) == STATUS_OK);
    w->port = http_server_port(w->server);
    w->second_port = http_server_port(w->second);
    loop_world_start(&w->base);
    *state = w;
    return 0;
}

static int stop_world(void **state)
{
    struct world *w = *state;

    loop_world_stop(&w->base);
    loop_free(w->base.loop);
    sem_destroy(&w->is_held);
    free(w);
    return 0;
}

/* Sends text and gives all that comes until the server closes, or until the given end. */
static char *talk(const struct world *w, const char *text, const char *end)
{
    int fd = socket_to(w->port);

    socket_text(fd, text);
    char *answer = socket_read_until(fd, end, NULL);
    close(fd);
    return answer;
}

static void assert_answers(const struct world *w, const char *request, const char *head,
                           const char *inside)
{
    CLEANUP(xfree) char *answer = talk(w, request, NULL);

    if (strncmp(answer, head, strlen(head)) != 0 || !strstr(answer, inside))
        fail_msg("not \"%s … %s\" but: %s", head, inside, answer);
}

/* --- tests --- */

static void test_a_request_is_answered_with_its_parts(void **state)
{
    assert_answers(*state,
                   "POST /a%2Fb?q=1%2b+2 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
                   "cookie: b=1; c=x=y; d=2\r\n"
                   "content-type: application/x-www-form-urlencoded\r\n"
                   "content-length: 18\r\n\r\ng=1&f%5B1%5D=z%20z",
                   "HTTP/1.1 200 OK\r\n", "2 /a/b [q=1%2b+2] q=1+ 2 f=z z c=x=y 18:g=1");
    assert_answers(*state, "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
                   "HTTP/1.1 200 OK\r\n", "x-peer: 127.0.0.1\r\n");
    assert_answers(*state, "GET /gone HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
                   "HTTP/1.1 404 Not Found\r\n",
                   "{\"error\":{\"status\":\"NOT_FOUND\",\"text\":\"no \\\"such\\\" thing\"}}");
    assert_answers(*state, "GET /other HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
                   "HTTP/1.1 303 See Other\r\n", "location: /elsewhere\r\n");
}

static void test_requests_sent_at_once_are_answered_in_order(void **state)
{
    const struct world *w = *state;
    CLEANUP(xfree)
    char *answer = talk(w,
                        "GET /one HTTP/1.1\r\nhost: h\r\n\r\n"
                        "POST /two HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi"
                        "\r\nPOST /three HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\n0\r\n\r\n"
                        "GET /four HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
                        NULL);
    const char *one = strstr(answer, "0 /one ["), *two = strstr(answer, "2 /two [");
    const char *three = strstr(answer, "2 /three ["), *four = strstr(answer, "0 /four [");

    assert_true(one && two && three && four && one < two && two < three && three < four);
    assert_non_null(strstr(two, "2:hi"));
    assert_non_null(strstr(three, "3:abc"));
}

static void test_a_request_may_come_byte_by_byte(void **state)
{
    const struct world *w = *state;
    static const char request[] = "POST /slow HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
                                  "content-length: 3\r\n\r\nabc";
    const int on = 1;
    int fd = socket_to(w->port);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    for (size_t i = 0; i < sizeof(request) - 1; i++)
        socket_write(fd, request + i, 1);
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, NULL);
    assert_non_null(strstr(answer, "3:abc"));
    close(fd);
}

static void test_a_head_request_gets_the_length_and_no_body(void **state)
{
    CLEANUP(xfree)
    char *answer = talk(*state, "HEAD /big HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", NULL);

    assert_non_null(strstr(answer, "content-length: 8388608\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void test_a_client_that_asks_first_is_told_to_go_on(void **state)
{
    const struct world *w = *state;
    int fd = socket_to(w->port);

    socket_text(fd, "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nexpect: 100-continue\r\n"
                    "content-length: 2\r\n\r\n");
    CLEANUP(xfree) char *go_on = socket_read_until(fd, "\r\n\r\n", NULL);
    assert_string_equal(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    socket_text(fd, "hi");
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, NULL);
    assert_non_null(strstr(answer, "2:hi"));
    close(fd);
}

static void test_over_long_bodies_are_refused(void **state)
{
    const struct world *w = *state;
    CLEANUP(xfree) char *body = xcalloc(1, 300000);
    memset(body, 'x', 299999);
    CLEANUP(xfree)
    char *told = xasprintf("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 299999\r\n\r\n%s", body);
    CLEANUP(xfree)
    char *chunked = xasprintf("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
                              "493df\r\n%s",
                              body);

    assert_answers(w, "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1001\r\n\r\n",
                   "HTTP/1.1 413 Content Too Large\r\n", "connection: close\r\n");
    /* The client goes on sending while it is refused, and sees the answer all the same. */
    assert_answers(w, told, "HTTP/1.1 413 Content Too Large\r\n", "connection: close\r\n");
    assert_answers(w, chunked, "HTTP/1.1 413 Content Too Large\r\n", "connection: close\r\n");
}

static void test_a_body_at_the_limit_is_taken(void **state)
{
    CLEANUP(xfree) char *body = xcalloc(1, MAX_BODY + 1);
    memset(body, 'x', MAX_BODY);
    CLEANUP(xfree)
    char *request = xasprintf(
        "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n%s", body);

    assert_answers(*state, request, "HTTP/1.1 200 OK\r\n", "1000:xxxxx");
}

static void test_over_long_heads_are_refused(void **state)
{
    CLEANUP(xfree) char *filler = xcalloc(1, 20001);
    memset(filler, 'x', 20000);
    CLEANUP(xfree) char *path = xasprintf("GET /%s HTTP/1.1\r\nhost: h\r\n\r\n", filler);
    CLEANUP(xfree) char *field = xasprintf("GET / HTTP/1.1\r\nhost: h\r\nx: %s\r\n\r\n", filler);

    assert_answers(*state, path, "HTTP/1.1 431 Request Header Fields Too Large\r\n", "close");
    assert_answers(*state, field, "HTTP/1.1 431 Request Header Fields Too Large\r\n", "close");
}

static void test_unknown_methods_and_nonsense_are_refused(void **state)
{
    assert_answers(*state, "BREW /pot HTTP/1.1\r\nhost: h\r\n\r\n",
                   "HTTP/1.1 405 Method Not Allowed\r\n", "allow: GET, HEAD, POST");
    assert_answers(*state, "\x16\x03\x01 a TLS hello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n",
                   "close");
}

static void test_a_slow_request_is_cut_and_told(void **state)
{
    assert_answers(*state, "POST / HTTP/1.1\r\nhost:", "HTTP/1.1 408 Request Timeout\r\n", "close");
    assert_answers(*state, "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nabc",
                   "HTTP/1.1 408 Request Timeout\r\n", "close");
}

static void test_an_idle_client_is_cut_silently(void **state)
{
    const struct world *w = *state;
    CLEANUP(xfree) char *nothing = talk(w, "", NULL);
    assert_string_equal(nothing, "");

    CLEANUP(xfree) char *after_one = talk(w, "GET / HTTP/1.1\r\nhost: h\r\n\r\n", NULL);
    assert_null(strstr(after_one, "408"));
    assert_non_null(strstr(after_one, "200 OK"));
}

static void test_a_long_answer_reaches_a_slow_reader(void **state)
{
    const struct world *w = *state;
    const int small = 65536;
    size_t size;
    int fd = socket_to(w->port);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    socket_text(fd, "GET /big HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, &size);
    close(fd);
    const char *body = strstr(answer, "\r\n\r\n") + 4;
    assert_int_equal(size - (size_t)(body - answer), BIG);
    assert_int_equal(strspn(body, "b"), BIG);
}

static void answer_held(void *ctx)
{
    struct world *w = ctx;

    http_respond_text(TAKE(w->held), 200, "at last");
}

static void wait_until_held(struct world *w)
{
    while (sem_wait(&w->is_held) != 0)
        ;
}

static void test_an_exchange_may_be_answered_later(void **state)
{
    struct world *w = *state;
    int fd = socket_to(w->port);

    /* The next request waits behind it. */
    socket_text(fd, "GET /hold HTTP/1.1\r\nhost: h\r\n\r\n"
                    "GET /next HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    wait_until_held(w);
    loop_world_call(&w->base, answer_held, w);
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, NULL);
    assert_non_null(strstr(answer, "at last"));
    assert_non_null(strstr(strstr(answer, "at last"), "0 /next ["));
    close(fd);
}

static void test_an_exchange_outlives_its_client(void **state)
{
    struct world *w = *state;
    const struct linger at_once = { .l_onoff = 1 };
    int fd = socket_to(w->port);

    socket_text(fd, "GET /hold HTTP/1.1\r\nhost: h\r\n\r\n");
    wait_until_held(w);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
    /* The loop has seen the reset before it answers this. */
    assert_answers(w, "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", "HTTP/1.1 200", "");
    assert_string_equal(http_path(w->held), "/hold");
    loop_world_call(&w->base, answer_held, w);
    assert_answers(w, "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", "HTTP/1.1 200", "");
}

static void test_a_client_may_close_its_sending_side_and_read(void **state)
{
    struct world *w = *state;
    int fd = socket_to(w->port);

    socket_text(fd, "GET /hold HTTP/1.1\r\nhost: h\r\n\r\n");
    shutdown(fd, SHUT_WR);
    wait_until_held(w);
    loop_world_call(&w->base, answer_held, w);
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, NULL);
    assert_non_null(strstr(answer, "at last"));
    close(fd);
}

static void test_an_unanswered_exchange_ends_with_the_loop(void **state UNUSED)
{
    void *mine = NULL;
    start_world(&mine);
    struct world *w = mine;
    int fd = socket_to(w->port);

    socket_text(fd, "GET /hold HTTP/1.1\r\nhost: h\r\n\r\n");
    wait_until_held(w);
    stop_world(&mine);
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, NULL);
    assert_string_equal(answer, "");
    close(fd);
}

static void test_a_port_in_use_is_a_conflict_that_names_it(void **state)
{
    struct world *w = *state;
    CLEANUP(loop_free) struct loop *other = NULL;
    struct http_server_config config = {
        .name = "late", .bind = "127.0.0.1", .port = w->port, .on_request = on_request, .ctx = w
    };
    struct http_server *server = NULL;
    struct err err = { .code = STATUS_OK };
    char port[16];

    assert_int_equal(loop_new(&other, &err), STATUS_OK);
    assert_int_equal(http_server_listen(other, &config, &server, &err), STATUS_CONFLICT);
    (void)snprintf(port, sizeof(port), "port %d ", w->port);
    assert_non_null(strstr(err.text, port));

    config.bind = "not an address";
    assert_int_equal(http_server_listen(other, &config, &server, &err), STATUS_INVALID);
}

static void test_servers_of_one_loop_have_ports_of_their_own(void **state)
{
    struct world *w = *state;
    int fd = socket_to(w->second_port);

    assert_int_not_equal(w->port, w->second_port);
    socket_text(fd, "GET /second HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, NULL);
    assert_non_null(strstr(answer, "0 /second ["));
    close(fd);
}

static void close_first(void *ctx)
{
    http_server_close(((struct world *)ctx)->server);
}

static void test_a_closed_server_finishes_what_it_has(void **state UNUSED)
{
    void *mine = NULL;
    start_world(&mine);
    struct world *w = mine;
    int idle = socket_to(w->port), busy = socket_to(w->port);

    socket_text(idle, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    CLEANUP(xfree) char *first = socket_read_until(idle, "c=- 0:", NULL);
    assert_non_null(strstr(first, "c=- 0:")); /* to its end: nothing of it is left to come */
    socket_text(busy, "GET /hold HTTP/1.1\r\nhost: h\r\n\r\n");
    wait_until_held(w);
    loop_world_call(&w->base, close_first, w);
    CLEANUP(xfree) char *nothing = socket_read_until(idle, NULL, NULL);
    assert_string_equal(nothing, "");
    loop_world_call(&w->base, answer_held, w);
    CLEANUP(xfree) char *answer = socket_read_until(busy, NULL, NULL);
    assert_non_null(strstr(answer, "connection: close\r\n"));
    assert_non_null(strstr(answer, "at last"));
    close(idle);
    close(busy);
    stop_world(&mine);
}

static void test_a_websocket_handshake_goes_to_its_protocol(void **state)
{
    struct world *w = *state;
    int fd = socket_to(w->port);
    /* The first frame comes with the handshake, as eager clients send it. "hello", masked by 0. */
    static const char bytes[] = "GET /ws?v=10 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                                "\x81\x85\0\0\0\0hello";

    socket_write(fd, bytes, sizeof(bytes) - 1);
    CLEANUP(xfree) char *head = socket_read_until(fd, "\r\n\r\n", NULL);
    assert_non_null(strstr(head, " 101 "));
    assert_non_null(strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455 §1.3 */
    CLEANUP(xfree) char *frame = socket_read_until(fd, "HELLO", NULL);
    assert_memory_equal(frame, "\x81\x05HELLO", 7);
    close(fd);
}

static void test_a_server_without_websockets_treats_a_handshake_as_a_request(void **state)
{
    struct world *w = *state;
    int fd = socket_to(w->second_port);

    socket_text(fd, "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade, close\r\n\r\n");
    CLEANUP(xfree) char *answer = socket_read_until(fd, NULL, NULL);
    assert_non_null(strstr(answer, "0 /ws ["));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_answered_with_its_parts),
        cmocka_unit_test(test_requests_sent_at_once_are_answered_in_order),
        cmocka_unit_test(test_a_request_may_come_byte_by_byte),
        cmocka_unit_test(test_a_head_request_gets_the_length_and_no_body),
        cmocka_unit_test(test_a_client_that_asks_first_is_told_to_go_on),
        cmocka_unit_test(test_over_long_bodies_are_refused),
        cmocka_unit_test(test_a_body_at_the_limit_is_taken),
        cmocka_unit_test(test_over_long_heads_are_refused),
        cmocka_unit_test(test_unknown_methods_and_nonsense_are_refused),
        cmocka_unit_test(test_a_slow_request_is_cut_and_told),
        cmocka_unit_test(test_an_idle_client_is_cut_silently),
        cmocka_unit_test(test_a_long_answer_reaches_a_slow_reader),
        cmocka_unit_test(test_an_exchange_may_be_answered_later),
        cmocka_unit_test(test_an_exchange_outlives_its_client),
        cmocka_unit_test(test_a_client_may_close_its_sending_side_and_read),
        cmocka_unit_test(test_an_unanswered_exchange_ends_with_the_loop),
        cmocka_unit_test(test_a_port_in_use_is_a_conflict_that_names_it),
        cmocka_unit_test(test_servers_of_one_loop_have_ports_of_their_own),
        cmocka_unit_test(test_a_closed_server_finishes_what_it_has),
        cmocka_unit_test(test_a_websocket_handshake_goes_to_its_protocol),
        cmocka_unit_test(test_a_server_without_websockets_treats_a_handshake_as_a_request),
    };
    return cmocka_run_group_tests_name("http_server", tests, start_world, stop_world);
}
