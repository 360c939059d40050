/* needs: nats */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/epilogue.h"
#include "base/xmem.h"
#include "tests/unit/base/turn_until.h"

enum { PATIENCE_MS = 20000, MANY = 500 };

struct world {
    struct bus *bus;
    struct mailbox *box;
    int got, replies, timeouts, unavailable;
    char last[64];
};

static int world_open(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    const struct bus_config config = { .url = getenv("NATS_URL"), .name = "test" };
    struct err err = { 0 };

    assert_non_null(config.url);
    assert_int_equal(mailbox_new(MANY, &w->box, &err), STATUS_OK);
    assert_int_equal(bus_open(&config, &w->bus, &err), STATUS_OK);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    struct world *w = *state;

    bus_close(w->bus);
    mailbox_free(w->box);
    free(w);
    return 0;
}

static void on_message(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    struct world *w = ctx;
    const char *header = bus_header_get(in, "Kind");
    struct err err;

    w->got++;
    (void)snprintf(w->last, sizeof(w->last), "%.*s/%s", (int)in->size, (const char *)in->data,
                   header ? header : "-");
    assert_int_equal(bus_respond(w->bus, in, "answer", 6, false, &err), STATUS_OK);
}

static void on_reply(void *ctx, uint64_t tag, enum status status, const struct bus_in *in)
{
    struct world *w = ctx;

    assert_int_equal(tag, 7);
    if (status == STATUS_OK) {
        assert_memory_equal(in->data, "answer", 6);
        w->replies++;
    }
    w->timeouts += status == STATUS_TIMEOUT;
    w->unavailable += status == STATUS_UNAVAILABLE;
}

static struct bus_sub *listen_on(struct world *w, const char *subject, bus_on_message heard)
{
    const struct bus_subscription what = { subject, "q", w->box, heard, w, 0 };
    struct bus_sub *sub = NULL;
    struct err err = { 0 };

    assert_int_equal(bus_subscribe(w->bus, &what, &sub, &err), STATUS_OK);
    return sub;
}

static void ask(struct world *w, const char *subject, int timeout_ms)
{
    static const struct bus_header header = { "Kind", "h" };
    const struct bus_out out = { subject, NULL, "body", 4, &header, 1 };

    bus_request(w->bus, &out, &(struct bus_waiter){ w->box, on_reply, w, 7, timeout_ms });
}

static void test_a_request_is_answered_with_body_and_header(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub = listen_on(w, "t.answer", on_message);

    ask(w, "t.answer", 5000);
    TURN_UNTIL(w, w->replies == 1);
    assert_string_equal(w->last, "body/h");
    bus_unsubscribe(&sub);
    assert_null(sub);
}

static void stay_silent(void *ctx, uint64_t tag UNUSED, const struct bus_in *in UNUSED)
{
    ((struct world *)ctx)->got++;
}

static void test_silence_is_a_time_out_and_nobody_is_unavailable(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub = listen_on(w, "t.silent", stay_silent);

    ask(w, "t.silent", 50);
    ask(w, "t.nobody", 5000);
    TURN_UNTIL(w, w->timeouts == 1 && w->unavailable == 1);
    assert_int_equal(w->got, 1);
    bus_drain(&sub);
}

static void test_many_requests_each_end_once(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub = listen_on(w, "t.many", on_message);

    for (int i = 0; i < MANY; i++) {
        ask(w, "t.many", 10000);
        if (i % 50 == 0)
            turn_box(w->box, w);
    }
    TURN_UNTIL(w, w->replies + w->timeouts + w->unavailable == MANY);
    assert_int_equal(w->replies, MANY);
    bus_unsubscribe(&sub);
}

static void test_a_full_mailbox_drops_messages_but_no_reply(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub = listen_on(w, "t.flood", stay_silent);
    const struct bus_out out = { .subject = "t.flood", .data = "x", .size = 1 };
    uint64_t before = bus_dropped();
    struct err err = { 0 };

    for (int i = 0; i < 2 * MANY; i++)
        assert_int_equal(bus_publish(w->bus, &out, &err), STATUS_OK);
    int64_t until_ms = clock_now_ms() + PATIENCE_MS;
    while (bus_dropped() - before < MANY && clock_now_ms() < until_ms)
        (void)poll(NULL, 0, 5);
    ask(w, "t.nobody", 5000);
    TURN_UNTIL(w, w->unavailable == 1);
    assert_int_equal(w->got, MANY);
    bus_unsubscribe(&sub);
}

static void test_closing_ends_what_waits(void **state)
{
    struct world *w = *state;
    const struct bus_config config = { .url = getenv("NATS_URL"), .name = "second" };
    struct bus_sub *sub = listen_on(w, "t.never", stay_silent);
    struct bus *second = NULL;
    struct err err = { 0 };

    assert_int_equal(bus_open(&config, &second, &err), STATUS_OK);
    const struct bus_out out = { .subject = "t.never" };
    bus_request(second, &out, &(struct bus_waiter){ w->box, on_reply, w, 7, 60000 });
    TURN_UNTIL(w, w->got == 1);
    bus_close(second);
    TURN_UNTIL(w, w->unavailable == 1);
    bus_unsubscribe(&sub);
}

static void request_in_turn(struct world *w, const char *subject, int timeout_ms)
{
    const struct bus_out out = { .subject = subject, .data = "ask", .size = 3 };

    bus_request_in_turn(w->bus, &out, &(struct bus_waiter){ w->box, on_reply, w, 7, timeout_ms });
}

static void test_requests_that_take_turns_are_all_answered_or_time_out(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub = listen_on(w, "turns.answered", on_message);
    struct bus_sub *deaf = listen_on(w, "turns.unheard", stay_silent);

    for (int i = 0; i < MANY / 2; i++)
        request_in_turn(w, "turns.answered", PATIENCE_MS);
    TURN_UNTIL(w, w->replies == MANY / 2);
    /* more than are under way at once: the later ones wait for the time-outs of the first */
    for (int i = 0; i < 100; i++)
        request_in_turn(w, "turns.unheard", 100);
    TURN_UNTIL(w, w->timeouts == 100);
    request_in_turn(w, "turns.answered", PATIENCE_MS);
    TURN_UNTIL(w, w->replies == MANY / 2 + 1);
    bus_unsubscribe(&sub);
    bus_unsubscribe(&deaf);
}

static void test_closing_ends_what_waits_for_its_turn(void **state)
{
    struct world *w = *state;
    struct bus_config config = { .url = getenv("NATS_URL"), .name = "second" };
    struct bus_sub *deaf = listen_on(w, "turns.unheard", stay_silent);
    struct bus *first = w->bus;
    struct err err;

    assert_int_equal(bus_open(&config, &w->bus, &err), STATUS_OK);
    for (int i = 0; i < 100; i++)
        request_in_turn(w, "turns.unheard", 60000);
    bus_close(w->bus);
    w->bus = first;
    TURN_UNTIL(w, w->unavailable == 100);
    bus_unsubscribe(&deaf);
}

/* What a thread publishes in a turn leaves at its end, or before it waits for an answer. */
static void test_who_waits_in_a_turn_is_answered(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub = listen_on(w, "test.turn", on_message);
    struct err err;

    epilogue_begin();
    for (int i = 0; i < 10; i++)
        assert_int_equal(bus_publish(w->bus, &(struct bus_out){ .subject = "test.turn" }, &err),
                         STATUS_OK);
    assert_int_equal(bus_flush(w->bus, PATIENCE_MS, &err), STATUS_OK);
    ask(w, "test.turn", PATIENCE_MS);
    epilogue_end();
    TURN_UNTIL(w, w->got == 11 && w->replies == 1);
    bus_unsubscribe(&sub);
}

static void test_knows_the_servers_version_and_limit(void **state)
{
    struct world *w = *state;
    int version[3] = { -1, -1, -1 };
    struct err err = { 0 };

    assert_int_equal(bus_server_version(w->bus, version, &err), STATUS_OK);
    assert_true(version[0] >= 2 && version[1] >= 0 && version[2] >= 0);
    assert_true(bus_max_payload(w->bus) >= 65536);
}

static bool give_up(void *ctx UNUSED)
{
    return true;
}

static void test_one_server_of_a_list_is_enough(void **state UNUSED)
{
    CLEANUP(xfree)
    char *urls = xasprintf("nats://127.0.0.1:1,%s,nats://127.0.0.1:2", getenv("NATS_URL"));
    CLEANUP(bus_close) struct bus *bus = NULL;
    struct bus_config config = { .url = urls, .name = "test", .give_up = give_up };
    char url[256];
    struct err err = { 0 };

    assert_int_equal(bus_open(&config, &bus, &err), STATUS_OK);
    assert_int_equal(bus_connected_url(bus, url, sizeof(url), &err), STATUS_OK);
    assert_string_equal(url, getenv("NATS_URL"));
}

static void test_a_failed_start_shows_no_password(void **state UNUSED)
{
    struct bus *bus = NULL;
    struct bus_config config = {
        .url = "nats://u:hunter2@127.0.0.1:1,nats://hunter2@127.0.0.1:2,nats://127.0.0.1:3",
        .name = "test",
        .give_up = give_up
    };
    struct err err = { 0 };

    assert_int_equal(bus_open(&config, &bus, &err), STATUS_UNAVAILABLE);
    assert_null(strstr(err.text, "hunter2"));
    assert_non_null(strstr(err.text, "nats://127.0.0.1:1,nats://127.0.0.1:2,nats://127.0.0.1:3"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_is_answered_with_body_and_header),
        TEST(test_silence_is_a_time_out_and_nobody_is_unavailable),
        TEST(test_many_requests_each_end_once),
        TEST(test_a_full_mailbox_drops_messages_but_no_reply),
        TEST(test_closing_ends_what_waits),
        TEST(test_requests_that_take_turns_are_all_answered_or_time_out),
        TEST(test_closing_ends_what_waits_for_its_turn),
        TEST(test_who_waits_in_a_turn_is_answered),
        TEST(test_knows_the_servers_version_and_limit),
        cmocka_unit_test(test_one_server_of_a_list_is_enough),
        cmocka_unit_test(test_a_failed_start_shows_no_password),
    };
    return cmocka_run_group_tests_name("base/bus", tests, NULL, NULL);
}
