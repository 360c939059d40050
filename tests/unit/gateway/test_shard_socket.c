#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/shard_socket.h"

enum { PATIENCE_MS = 30000 };

/* A server that takes connections and says what a test wants. */
struct world {
    struct loop *loop;
    struct loop_timer *timer;
    struct shard_net *net;
    struct shard_socket *socket;
    int listener, peer;
    char url[64];
    int opened, closed;
    struct shard_socket_end end;
};

static void on_open(void *ctx)
{
    ((struct world *)ctx)->opened++;
}

static void on_text(void *ctx UNUSED, const char *text UNUSED, size_t size UNUSED)
{
}

static void on_close(void *ctx, const struct shard_socket_end *end)
{
    struct world *w = ctx;

    w->closed++;
    w->end = *end;
    w->socket = NULL;
}

static void on_turned(void *ctx)
{
    loop_stop(((struct world *)ctx)->loop);
}

static void listen_somewhere(struct world *w)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);

    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(w->listener >= 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(w->listener, 5), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(w->url, sizeof(w->url), "ws://127.0.0.1:%d", ntohs(at.sin_port));
}

static int world_open(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct err err = { 0 };

    w->peer = -1;
    listen_somewhere(w);
    assert_int_equal(loop_new(&w->loop, &err), STATUS_OK);
    w->timer = loop_timer_new(w->loop, on_turned, w);
    assert_int_equal(shard_net_new(w->loop, true, &w->net, &err), STATUS_OK);
    const struct shard_socket_events events = {
        .on_open = on_open, .on_text = on_text, .on_close = on_close, .ctx = w
    };
    assert_int_equal(shard_socket_open(w->net, w->url, &events, &w->socket, &err), STATUS_OK);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    struct world *w = *state;

    shard_socket_close(&w->socket, 4200);
    shard_net_free(w->net);
    loop_timer_free(w->timer);
    loop_free(w->loop);
    if (w->peer >= 0)
        close(w->peer);
    close(w->listener);
    free(w);
    return 0;
}

static void turn(struct world *w)
{
    loop_timer_start(w->timer, 2);
    loop_run(w->loop);
}

/* what may be true only once. */
#define TURN_UNTIL(w, what)                                                                        \
    do {                                                                                           \
        int64_t until_ms_ = clock_now_ms() + PATIENCE_MS;                                          \
        bool done_ = false;                                                                        \
        while (!done_ && clock_now_ms() < until_ms_) {                                             \
            turn(w);                                                                               \
            done_ = (what);                                                                        \
        }                                                                                          \
        assert_true(done_);                                                                        \
    } while (0)

/* Its request has come. */
static bool was_asked(struct world *w)
{
    char text[4096];

    if (w->peer < 0)
        w->peer = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return w->peer >= 0 && recv(w->peer, text, sizeof(text), MSG_DONTWAIT) > 0;
}

static void answer(struct world *w, const char *text)
{
    TURN_UNTIL(w, was_asked(w));
    assert_int_equal(send(w->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void assert_told_once_and_gone(struct world *w)
{
    TURN_UNTIL(w, w->closed > 0 && shard_net_count(w->net) == 0);
    for (int i = 0; i < 100; i++)
        turn(w);
    assert_int_equal(w->closed, 1);
    assert_int_equal(w->opened, 0);
}

static void test_a_server_that_never_answers_ends_the_attempt(void **state)
{
    struct world *w = *state;

    TURN_UNTIL(w, was_asked(w));
    assert_told_once_and_gone(w);
}

static void test_a_server_that_hangs_up_ends_the_attempt(void **state)
{
    struct world *w = *state;

    TURN_UNTIL(w, was_asked(w));
    close(w->peer);
    w->peer = -1;
    assert_told_once_and_gone(w);
}

static void test_half_an_answer_ends_the_attempt(void **state)
{
    struct world *w = *state;

    answer(w, "HTTP/1.1 101 Switching");
    assert_told_once_and_gone(w);
}

static void test_a_refusal_ends_the_attempt(void **state)
{
    struct world *w = *state;

    answer(w, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    assert_told_once_and_gone(w);
}

static void test_what_is_given_up_while_it_waits_is_gone_without_a_word(void **state)
{
    struct world *w = *state;

    TURN_UNTIL(w, was_asked(w));
    shard_socket_close(&w->socket, 4200);
    TURN_UNTIL(w, shard_net_count(w->net) == 0);
    assert_int_equal(w->closed, 0);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        EACH(test_a_server_that_never_answers_ends_the_attempt),
        EACH(test_a_server_that_hangs_up_ends_the_attempt),
        EACH(test_half_an_answer_ends_the_attempt),
        EACH(test_a_refusal_ends_the_attempt),
        EACH(test_what_is_given_up_while_it_waits_is_gone_without_a_word),
    };
    return cmocka_run_group_tests_name("gateway/shard_socket", tests, NULL, NULL);
}
