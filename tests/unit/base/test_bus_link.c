/* needs: nats */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>

#include "base/bus.h"
#include "base/clock.h"
#include "nats_relay.h"
#include "tests/unit/base/turn_until.h"

enum { PATIENCE_MS = 30000, ROUNDS = 5, LOSSES = 20 };

/* Two servers: a relay to a real one, and one that takes connections and never says a word. */
struct world {
    struct nats_relay relay;
    int silent, silent_port;
    struct bus *bus;
    struct mailbox *box;
    int got[3], replies, refusals;
    _Atomic bool is_over; /* no connection will be lost any more */
};

/* The silent one refuses connections until be_silent(). */
static int world_open(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    assert_non_null(getenv("NATS_URL"));
    relay_start(&w->relay, 0, getenv("NATS_URL"));
    w->silent = bound_socket(0, &w->silent_port);
    CLEANUP(xfree)
    char *urls =
        xasprintf("nats://127.0.0.1:%d,nats://127.0.0.1:%d", w->relay.port, w->silent_port);
    const struct bus_config config = { .url = urls, .name = "test" };
    assert_int_equal(mailbox_new(1000, &w->box, NULL), STATUS_OK);
    assert_int_equal(bus_open(&config, &w->bus, NULL), STATUS_OK);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    struct world *w = *state;

    relay_stop(&w->relay);
    bus_close(w->bus);
    mailbox_free(w->box);
    if (w->silent >= 0)
        close(w->silent);
    free(w);
    return 0;
}

static void be_silent(struct world *w)
{
    assert_int_equal(listen(w->silent, 64), 0);
}

static void on_message(void *ctx, uint64_t tag, const struct bus_in *in)
{
    struct world *w = ctx;

    w->got[tag]++;
    assert_int_equal(bus_respond(w->bus, in, "answer", 6, false, NULL), STATUS_OK);
}

static void on_reply(void *ctx, uint64_t tag UNUSED, enum status status,
                     const struct bus_in *in UNUSED)
{
    struct world *w = ctx;

    w->replies += status == STATUS_OK;
    w->refusals += status != STATUS_OK;
}

static struct bus_sub *listen_on(struct world *w, const char *subject, uint64_t tag)
{
    const struct bus_subscription what = { subject, NULL, w->box, on_message, w, tag };
    struct bus_sub *sub = NULL;

    assert_int_equal(bus_subscribe(w->bus, &what, &sub, NULL), STATUS_OK);
    return sub;
}

static enum status publish(struct world *w, const char *subject)
{
    return bus_publish(w->bus, &(struct bus_out){ .subject = subject }, &(struct err){ 0 });
}

static void ask_for(struct world *w, const char *subject, int timeout_ms)
{
    bus_request(w->bus, &(struct bus_out){ .subject = subject },
                &(struct bus_waiter){ w->box, on_reply, w, 0, timeout_ms });
}

static void ask(struct world *w, const char *subject)
{
    ask_for(w, subject, PATIENCE_MS);
}

static int next_attempt(struct world *w)
{
    struct pollfd p = { .fd = w->silent, .events = POLLIN };

    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    int fd = accept4(w->silent, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

/* The one who connects still waits for the server's first word. */
static bool is_pending(int attempt)
{
    char byte;

    return recv(attempt, &byte, 1, 0) < 0 && errno == EAGAIN;
}

static void use_in_every_way(struct world *w)
{
    char url[128];
    struct bus_sub *sub = listen_on(w, "t.meanwhile", 2);

    assert_int_equal(publish(w, "t.before"), STATUS_UNAVAILABLE);
    ask(w, "t.before");
    assert_false(bus_is_connected(w->bus));
    assert_true(bus_max_payload(w->bus) > 0);
    assert_int_equal(bus_connected_url(w->bus, url, sizeof(url), NULL), STATUS_OK);
    bus_unsubscribe(&sub);
    sub = listen_on(w, "t.meanwhile", 2);
    bus_drain(&sub);
}

/* That an attempt is still pending after the calls is what shows that they did not wait for it. It
 * ends by itself after 2 s, so a test that is held up tries with the next. */
static void test_nobody_waits_for_an_attempt_to_connect(void **state)
{
    struct world *w = *state;
    bool returned = false;

    be_silent(w);
    relay_stop(&w->relay);
    for (int i = 0; i < ROUNDS && !returned; i++) {
        int attempt = next_attempt(w);
        bool before = is_pending(attempt);
        use_in_every_way(w);
        returned = before && is_pending(attempt);
        close(attempt);
    }
    assert_true(returned);
    TURN_UNTIL(w, w->refusals > 0);
    relay_start(&w->relay, w->relay.port, getenv("NATS_URL"));
    TURN_UNTIL(w, bus_is_connected(w->bus));
}

/* From before the loss to the next connection, without a pause: no call is an exception. */
static void test_a_publisher_goes_on_while_a_connection_is_lost(void **state)
{
    struct world *w = *state;
    int attempt = -1, refused = 0, after = 0;

    be_silent(w);
    relay_stop(&w->relay);
    /* the first attempt is taken only when publishing has gone on beside it */
    for (int64_t until_ms = clock_now_ms() + PATIENCE_MS; clock_now_ms() < until_ms;) {
        struct pollfd p = { .fd = w->silent, .events = POLLIN };
        refused += publish(w, "t.void") != STATUS_OK;
        if (poll(&p, 1, 0) == 1 && ++after == 1000)
            break;
    }
    assert_int_equal(after, 1000);
    assert_true(refused >= 1000);
    attempt = next_attempt(w);
    close(attempt);
    relay_start(&w->relay, w->relay.port, getenv("NATS_URL"));
    TURN_UNTIL(w, bus_is_connected(w->bus));
}

static void test_subscriptions_are_made_again(void **state)
{
    struct world *w = *state;
    struct bus_sub *before = listen_on(w, "t.before", 0), *meanwhile = NULL;
    struct bus_sub *gone = listen_on(w, "t.gone", 2), *drained = listen_on(w, "t.gone", 2);

    ask(w, "t.before");
    TURN_UNTIL(w, w->replies == 1);
    for (int i = 0; i < 2; i++) {
        relay_stop(&w->relay);
        TURN_UNTIL(w, !bus_is_connected(w->bus));
        if (!meanwhile)
            meanwhile = listen_on(w, "t.meanwhile", 1);
        bus_unsubscribe(&gone);
        bus_drain(&drained);
        relay_start(&w->relay, w->relay.port, getenv("NATS_URL"));
        TURN_UNTIL(w, bus_is_connected(w->bus));
        w->got[0] = w->got[1] = w->got[2] = w->replies = 0;
        assert_int_equal(publish(w, "t.gone"), STATUS_OK);
        ask(w, "t.before");
        ask(w, "t.meanwhile");
        TURN_UNTIL(w, w->replies == 2);
        assert_int_equal(w->got[0], 1);
        assert_int_equal(w->got[1], 1);
        assert_int_equal(w->got[2], 0);
    }
    bus_unsubscribe(&before);
    bus_drain(&meanwhile);
}

static void *lose_connections(void *arg)
{
    struct world *w = arg;

    for (int i = 0; i < LOSSES; i++) {
        relay_stop(&w->relay);
        relay_start(&w->relay, w->relay.port, getenv("NATS_URL"));
        for (int ms = 0; ms < PATIENCE_MS && !bus_is_connected(w->bus); ms++)
            usleep(1000);
    }
    atomic_store(&w->is_over, true);
    return NULL;
}

/* For the sanitizers, too: each subscription is made, ended and drained beside the thread that makes
 * them again. */
static void test_subscriptions_come_and_go_while_connections_do(void **state)
{
    struct world *w = *state;
    struct bus_sub *stays = listen_on(w, "t.before", 0), *subs[20] = { NULL };
    pthread_t loser;

    assert_int_equal(pthread_create(&loser, NULL, lose_connections, w), 0);
    for (size_t i = 0; !atomic_load(&w->is_over); i = (i + 1) % ARRAY_LEN(subs)) {
        if (i % 2)
            bus_unsubscribe(&subs[i]);
        else
            bus_drain(&subs[i]);
        subs[i] = listen_on(w, "t.meanwhile", 1);
        mailbox_drain(w->box, w);
        usleep(200);
    }
    pthread_join(loser, NULL);
    for (size_t i = 0; i < ARRAY_LEN(subs); i++)
        bus_unsubscribe(&subs[i]);
    /* the last loss may not have been noticed yet */
    for (int64_t until_ms = clock_now_ms() + PATIENCE_MS;
         !w->replies && clock_now_ms() < until_ms;) {
        int before = w->refusals;
        ask_for(w, "t.before", 200);
        TURN_UNTIL(w, w->replies || w->refusals > before);
    }
    assert_true(w->replies > 0);
    bus_unsubscribe(&stays);
}

static void test_it_closes_while_no_server_speaks(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub = listen_on(w, "t.before", 0);

    be_silent(w);
    relay_stop(&w->relay);
    int attempt = next_attempt(w);
    bus_close(TAKE(w->bus));
    bus_unsubscribe(&sub); /* which has outlived its bus */
    close(attempt);
    relay_start(&w->relay, 0, getenv("NATS_URL"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

enum { HEAVY = 250, HEAVY_BYTES = 64 * 1024 };

static void on_heavy(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    struct world *w = ctx;
    int number;

    assert_int_equal(in->size, HEAVY_BYTES);
    memcpy(&number, in->data, sizeof(number));
    assert_int_equal(number, w->got[0]);
    w->got[0]++;
}

/* More than all buffers on the way take: the rest waits in ours, and goes on by itself. */
static void test_what_the_socket_does_not_take_leaves_later_in_order(void **state)
{
    struct world *w = *state;
    const struct bus_subscription what = { "test.heavy", NULL, w->box, on_heavy, w, 0 };
    struct bus_sub *sub = NULL;
    CLEANUP(xfree) char *body = xcalloc(1, HEAVY_BYTES);

    assert_int_equal(bus_subscribe(w->bus, &what, &sub, NULL), STATUS_OK);
    assert_int_equal(bus_flush(w->bus, PATIENCE_MS, &(struct err){ 0 }), STATUS_OK);
    w->relay.is_held = true;
    for (int i = 0; i < HEAVY; i++) {
        memcpy(body, &i, sizeof(i));
        const struct bus_out out = { .subject = "test.heavy", .data = body, .size = HEAVY_BYTES };
        assert_int_equal(bus_publish(w->bus, &out, &(struct err){ 0 }), STATUS_OK);
    }
    w->relay.is_held = false;
    TURN_UNTIL(w, w->got[0] == HEAVY);
    bus_unsubscribe(&sub);
}

/* The same, but the connection ends while it waits: whoever publishes goes on with the next one. */
static void test_a_connection_that_is_lost_with_much_to_write_is_given_up(void **state)
{
    struct world *w = *state;
    CLEANUP(xfree) char *body = xcalloc(1, HEAVY_BYTES);
    const struct bus_out out = { .subject = "test.heavy", .data = body, .size = HEAVY_BYTES };
    int port = w->relay.port;
    struct bus_sub *sub = listen_on(w, "test.after", 1);

    w->relay.is_held = true;
    for (int i = 0; i < HEAVY; i++)
        assert_int_equal(bus_publish(w->bus, &out, &(struct err){ 0 }), STATUS_OK);
    relay_stop(&w->relay);
    w->relay.is_held = false;
    relay_start(&w->relay, port, getenv("NATS_URL"));
    for (int asked = 1; !w->replies; asked++) { /* it may take a while until the loss is seen */
        ask_for(w, "test.after", 500);
        TURN_UNTIL(w, w->replies + w->refusals == asked);
    }
    bus_unsubscribe(&sub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nobody_waits_for_an_attempt_to_connect),
        TEST(test_a_publisher_goes_on_while_a_connection_is_lost),
        TEST(test_subscriptions_are_made_again),
        TEST(test_subscriptions_come_and_go_while_connections_do),
        TEST(test_it_closes_while_no_server_speaks),
        cmocka_unit_test_setup_teardown(test_what_the_socket_does_not_take_leaves_later_in_order,
                                        world_open, world_close),
        cmocka_unit_test_setup_teardown(
            test_a_connection_that_is_lost_with_much_to_write_is_given_up, world_open, world_close),
    };
    return cmocka_run_group_tests_name("base/bus_link", tests, NULL, NULL);
}
