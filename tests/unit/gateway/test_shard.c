#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gateway/shard.h"

/* A session under test: a clock that only we move, and what the last input made it do. */
struct bench {
    struct shard shard;
    int64_t now;
    struct shard_actions did;
};

static void step(struct bench *b, const struct shard_input *in)
{
    b->did.count = 0;
    shard_step(&b->shard, in, b->now, &b->did);
}

static void event(struct bench *b, enum shard_event event)
{
    step(b, &(struct shard_input){ .event = event });
}

static void closed(struct bench *b, int code)
{
    step(b, &(struct shard_input){ .event = SHARD_ON_CLOSE, .code = code });
}

static void frame(struct bench *b, const char *text)
{
    struct frame f;
    assert_int_equal(frame_parse(text, strlen(text), &f, NULL), STATUS_OK);
    step(b, &(struct shard_input){ .event = SHARD_ON_FRAME, .frame = &f });
}

static void dispatch(struct bench *b, uint64_t seq, const char *type)
{
    char text[160];
    (void)snprintf(text, sizeof(text),
                   "{\"op\":0,\"s\":%" PRIu64 ",\"t\":\"%s\",\"d\":{\"guild_id\":\"1\"}}", seq,
                   type);
    frame(b, text);
}

static void hello(struct bench *b)
{
    frame(b, "{\"op\":10,\"d\":{\"heartbeat_interval\":40000}}");
}

static void ready(struct bench *b)
{
    frame(
        b,
        "{\"op\":0,\"s\":1,\"t\":\"READY\",\"d\":{\"session_id\":\"sess\",\"resume_gateway_url\":\"wss://r\"}}");
}

static void start(struct bench *b, const struct shard_session *session)
{
    *b = (struct bench){ .now = 1000000 };
    shard_init(&b->shard, 7);
    step(b, &(struct shard_input){ .event = SHARD_ON_START, .session = session });
}

static bool did(const struct bench *b, enum shard_act what)
{
    for (size_t i = 0; i < b->did.count; i++)
        if (b->did.list[i].what == what)
            return true;
    return false;
}

#define assert_did(b, what)     assert_true(did(b, what))
#define assert_did_not(b, what) assert_false(did(b, what))

/* Lets time pass until the session connects; the waiting's length. */
static int64_t until_connect(struct bench *b)
{
    int64_t from = b->now;
    while (!did(b, SHARD_DO_CONNECT)) {
        int64_t due = shard_deadline(&b->shard);
        assert_true(due < INT64_MAX);
        if (due > b->now)
            b->now = due;
        event(b, SHARD_ON_TIME);
        assert_true(b->now - from < 3600000);
    }
    return b->now - from;
}

static void go_live(struct bench *b)
{
    start(b, NULL);
    event(b, SHARD_ON_GRANTED);
    event(b, SHARD_ON_OPEN);
    hello(b);
    ready(b);
    assert_int_equal(b->shard.phase, SHARD_LIVE);
}

static const struct shard_session stored = { .id = "old", .resume_url = "wss://r", .seq = 41 };

static void go_resuming(struct bench *b)
{
    start(b, &stored);
    event(b, SHARD_ON_OPEN);
    hello(b);
    assert_did(b, SHARD_DO_RESUME);
}

/* ---- beginning ---- */

static void test_without_a_session_it_asks_before_it_connects(void **state UNUSED)
{
    struct bench b;
    start(&b, NULL);
    assert_did(&b, SHARD_DO_GRANT);
    assert_did_not(&b, SHARD_DO_CONNECT);
    event(&b, SHARD_ON_GRANTED);
    assert_did(&b, SHARD_DO_CONNECT);
    assert_true(shard_wants_main(&b.shard));
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    assert_did(&b, SHARD_DO_IDENTIFY);
    ready(&b);
    assert_int_equal(b.did.list[0].what, SHARD_DO_SESSION);
    assert_int_equal(b.did.list[1].what, SHARD_DO_DISPATCH);
    assert_string_equal(b.shard.session.id, "sess");
    assert_int_equal(b.shard.session.seq, 1);
}

static void test_with_a_session_it_resumes_first(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored);
    assert_did(&b, SHARD_DO_CONNECT);
    assert_did_not(&b, SHARD_DO_GRANT);
    assert_false(shard_wants_main(&b.shard));
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    assert_did(&b, SHARD_DO_RESUME);
    dispatch(&b, 42, "MESSAGE_CREATE");
    assert_did(&b, SHARD_DO_DISPATCH);
    assert_int_equal(b.shard.phase, SHARD_START);
    dispatch(&b, 43, "RESUMED");
    assert_int_equal(b.shard.phase, SHARD_LIVE);
}

static void test_an_old_grant_is_not_used(void **state UNUSED)
{
    struct bench b;
    start(&b, NULL);
    event(&b, SHARD_ON_GRANTED);
    event(&b, SHARD_ON_OPEN);
    b.now += 11000;
    hello(&b);
    assert_did_not(&b, SHARD_DO_IDENTIFY);
    assert_did(&b, SHARD_DO_CLOSE);
    while (!did(&b, SHARD_DO_GRANT)) {
        b.now = shard_deadline(&b.shard) > b.now ? shard_deadline(&b.shard) : b.now;
        event(&b, SHARD_ON_TIME);
    }
}

static void test_repeated_dispatches_are_handed_on_once(void **state UNUSED)
{
    struct bench b;
    go_resuming(&b);
    dispatch(&b, 41, "MESSAGE_CREATE");
    assert_did_not(&b, SHARD_DO_DISPATCH);
    dispatch(&b, 42, "MESSAGE_CREATE");
    assert_did(&b, SHARD_DO_DISPATCH);
    dispatch(&b, 42, "MESSAGE_CREATE");
    assert_did_not(&b, SHARD_DO_DISPATCH);
}

/* ---- close codes ---- */

enum then { THEN_RESUME, THEN_IDENTIFY, THEN_FATAL };

static void test_every_close_code_has_its_consequence(void **state UNUSED)
{
    static const struct {
        int code;
        enum then then;
    } rows[] = {
        { 0, THEN_RESUME },      { 1000, THEN_RESUME },   { 1001, THEN_RESUME },
        { 1002, THEN_RESUME },   { 1003, THEN_RESUME },   { 1006, THEN_RESUME },
        { 1007, THEN_RESUME },   { 1008, THEN_RESUME },   { 1009, THEN_RESUME },
        { 1011, THEN_RESUME },   { 1012, THEN_RESUME },   { 1013, THEN_RESUME },
        { 1014, THEN_RESUME },   { 4015, THEN_RESUME },   { 4000, THEN_RESUME },
        { 4001, THEN_RESUME },   { 4002, THEN_RESUME },   { 4003, THEN_IDENTIFY },
        { 4004, THEN_FATAL },    { 4005, THEN_IDENTIFY }, { 4006, THEN_IDENTIFY },
        { 4007, THEN_IDENTIFY }, { 4008, THEN_RESUME },   { 4009, THEN_RESUME },
        { 4010, THEN_FATAL },    { 4011, THEN_FATAL },    { 4012, THEN_FATAL },
        { 4013, THEN_FATAL },    { 4014, THEN_FATAL },    { 4999, THEN_RESUME },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        go_live(&b);
        b.now += 60000;
        closed(&b, rows[i].code);
        bool fatal = rows[i].then == THEN_FATAL, forgotten = rows[i].then == THEN_IDENTIFY;
        if (did(&b, SHARD_DO_FATAL) != fatal || did(&b, SHARD_DO_FORGET) != forgotten)
            fail_msg("close code %d", rows[i].code);
        assert_int_equal(b.shard.phase == SHARD_FATAL, fatal);
        if (fatal) {
            assert_true(strlen(shard_fatal_text(rows[i].code)) > 0);
            assert_true(shard_deadline(&b.shard) == INT64_MAX);
        } else if (!forgotten) {
            until_connect(&b);
            assert_false(shard_wants_main(&b.shard));
        }
    }
}

static void test_it_never_closes_with_a_code_that_ends_the_session(void **state UNUSED)
{
    static const enum shard_event ends[] = { SHARD_ON_STOP, SHARD_ON_RECONNECT,
                                             SHARD_ON_MALFORMED };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct bench b;
        go_live(&b);
        event(&b, ends[i]);
        assert_int_equal(b.did.list[0].what, SHARD_DO_CLOSE);
        assert_in_range(b.did.list[0].code, 4000, 4999);
    }
}

/* ---- heartbeats ---- */

static void test_the_first_heartbeat_is_jittered(void **state UNUSED)
{
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct bench b = { .now = 1000 };
        shard_init(&b.shard, seed);
        step(&b, &(struct shard_input){ .event = SHARD_ON_START, .session = &stored });
        event(&b, SHARD_ON_OPEN);
        hello(&b);
        int64_t after = b.shard.beat_ms - b.now;
        assert_in_range(after, 0, 40000);
        least = after < least ? after : least;
        most = after > most ? after : most;
    }
    assert_true(least < 4000 && most > 36000);
}

static void beat_once(struct bench *b)
{
    b->now = b->shard.beat_ms;
    event(b, SHARD_ON_TIME);
}

static void test_silence_for_an_interval_is_a_zombie(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    beat_once(&b);
    assert_did(&b, SHARD_DO_BEAT);
    frame(&b, "{\"op\":11}");
    beat_once(&b);
    assert_did(&b, SHARD_DO_BEAT);
    beat_once(&b);
    assert_did_not(&b, SHARD_DO_BEAT);
    assert_did(&b, SHARD_DO_CLOSE);
    until_connect(&b);
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    assert_did(&b, SHARD_DO_RESUME);
}

static void test_any_event_shows_life_not_only_an_ack(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    for (uint64_t i = 0; i < 20; i++) {
        beat_once(&b);
        assert_did(&b, SHARD_DO_BEAT);
        dispatch(&b, 2 + i, "GUILD_CREATE");
    }
}

static void test_silence_of_its_own_making_is_no_zombie(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    shard_set_deaf(&b.shard, true);
    for (int i = 0; i < 5; i++) {
        beat_once(&b);
        assert_did(&b, SHARD_DO_BEAT);
    }
    shard_set_deaf(&b.shard, false);
    beat_once(&b);
    assert_did(&b, SHARD_DO_BEAT);
    beat_once(&b);
    assert_did(&b, SHARD_DO_CLOSE);
}

static void test_a_heartbeat_asked_for_is_sent_at_once(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    frame(&b, "{\"op\":1}");
    assert_did(&b, SHARD_DO_BEAT);
}

static void test_an_answered_probe_shows_that_nothing_is_on_its_way(void **state UNUSED)
{
    struct bench b;

    go_live(&b);
    frame(&b, "{\"op\":1}"); /* a heartbeat from before, not answered yet */
    event(&b, SHARD_ON_PROBE);
    assert_did(&b, SHARD_DO_BEAT);
    frame(&b, "{\"op\":11}");
    assert_false(shard_is_caught_up(&b.shard));
    dispatch(&b, 2, "MESSAGE_CREATE");
    assert_did(&b, SHARD_DO_DISPATCH);
    frame(&b, "{\"op\":11}");
    assert_true(shard_is_caught_up(&b.shard));
    /* Of another connection it says nothing. */
    closed(&b, 0);
    assert_false(shard_is_caught_up(&b.shard));
    (void)until_connect(&b);
    event(&b, SHARD_ON_PROBE);
    assert_did_not(&b, SHARD_DO_BEAT);
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    dispatch(&b, 3, "RESUMED");
    frame(&b, "{\"op\":11}");
    assert_false(shard_is_caught_up(&b.shard));
    event(&b, SHARD_ON_PROBE);
    assert_false(shard_is_caught_up(&b.shard));
}

static void test_the_flag_of_a_missing_ack_does_not_survive_a_hello(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    beat_once(&b);
    frame(&b, "{\"op\":7}");
    until_connect(&b);
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    b.shard.heard = false;
    beat_once(&b);
    assert_did(&b, SHARD_DO_BEAT);
}

static void test_sends_stay_within_discords_budget(void **state UNUSED)
{
    struct bench b;
    int sent = 0;
    go_live(&b);
    for (int i = 0; i < 1000; i++, b.now += 10) {
        frame(&b, "{\"op\":1}");
        sent += did(&b, SHARD_DO_BEAT);
    }
    assert_int_equal(sent, SHARD_SENDS - 1); /* and one IDENTIFY, within ten seconds */
    b.now += 60000;
    frame(&b, "{\"op\":1}");
    assert_did(&b, SHARD_DO_BEAT);
}

/* ---- op 7, op 9 ---- */

static void test_op_7_reconnects_at_once_and_resumes(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    b.now += 60000;
    frame(&b, "{\"op\":7,\"d\":null}");
    assert_int_equal(b.did.list[0].what, SHARD_DO_CLOSE);
    assert_did(&b, SHARD_DO_CONNECT);
    assert_false(shard_wants_main(&b.shard));
}

static void test_op_7_may_come_before_hello(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored);
    event(&b, SHARD_ON_OPEN);
    frame(&b, "{\"op\":7,\"d\":null}");
    assert_did(&b, SHARD_DO_CLOSE);
    until_connect(&b);
    assert_string_equal(b.shard.session.id, "old");
}

static void test_op_7_in_a_loop_backs_off(void **state UNUSED)
{
    struct bench b;
    int64_t waited = 0;
    go_live(&b);
    for (uint64_t i = 0; i < 12; i++) {
        frame(&b, "{\"op\":7}");
        waited = until_connect(&b);
        event(&b, SHARD_ON_OPEN);
        hello(&b);
        dispatch(&b, 100 + i, "RESUMED");
    }
    assert_in_range(waited, 500, 1000); /* it does go live each time: no hammering, no long gap */
}

static void test_op_9_false_forgets_waits_and_identifies(void **state UNUSED)
{
    struct bench b;
    go_resuming(&b);
    frame(&b, "{\"op\":9,\"d\":false}");
    assert_did(&b, SHARD_DO_FORGET);
    assert_did(&b, SHARD_DO_CLOSE);
    assert_string_equal(b.shard.session.id, "");
    int64_t wait = shard_deadline(&b.shard) - b.now;
    assert_in_range(wait, 1000, 5000);
    b.now += wait;
    event(&b, SHARD_ON_TIME);
    assert_did(&b, SHARD_DO_GRANT);
}

static void test_op_9_true_keeps_the_session(void **state UNUSED)
{
    struct bench b;
    go_resuming(&b);
    frame(&b, "{\"op\":9,\"d\":true}");
    assert_did_not(&b, SHARD_DO_FORGET);
    assert_true(until_connect(&b) >= 1000);
    assert_string_equal(b.shard.session.id, "old");
    assert_int_equal(b.shard.session.seq, 41);
}

/* ---- hosts and back-off ---- */

static void test_a_dead_resume_host_gives_way_to_the_main_url(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored);
    closed(&b, 0);
    until_connect(&b);
    assert_true(shard_wants_main(&b.shard));
    assert_string_equal(b.shard.session.id, "old");
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    assert_did(&b, SHARD_DO_RESUME);
}

static void test_hosts_alternate_and_the_main_url_is_asked_for_again(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored);
    for (int i = 0; i < SHARD_RESUME_TRIES - 1; i++) {
        assert_int_equal(shard_wants_main(&b.shard), i % 2);
        closed(&b, 0);
        if (i % 2 == 0)
            assert_did(&b, SHARD_DO_REFRESH);
        until_connect(&b);
    }
}

static void test_a_session_that_neither_resumes_nor_is_refused_is_given_up(void **state UNUSED)
{
    struct bench b;
    int64_t from;
    int tries = 0;

    start(&b, &stored);
    for (from = b.now; !did(&b, SHARD_DO_FORGET); tries++) {
        if (tries > 0)
            until_connect(&b);
        event(&b, SHARD_ON_OPEN);
        hello(&b);
        assert_did(&b, SHARD_DO_RESUME);
        closed(&b, 0);
        assert_true(b.now - from < 4 * SHARD_RESUME_MS);
    }
    assert_true(tries >= SHARD_RESUME_TRIES && b.now - from >= SHARD_RESUME_MS);
}

static void test_a_replay_that_breaks_off_again_and_again_is_no_dead_session(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored);
    for (uint64_t i = 0; i < 100; i++) {
        if (i > 0)
            until_connect(&b);
        event(&b, SHARD_ON_OPEN);
        hello(&b);
        assert_did(&b, SHARD_DO_RESUME);
        dispatch(&b, 42 + i, "MESSAGE_CREATE");
        closed(&b, 0);
        assert_did_not(&b, SHARD_DO_FORGET);
    }
}

static void test_hours_without_network_cost_no_session(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored);
    for (int64_t from = b.now; b.now - from < INT64_C(6) * 3600 * 1000;) {
        closed(&b, 0);
        assert_did_not(&b, SHARD_DO_FORGET);
        until_connect(&b);
    }
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    assert_did(&b, SHARD_DO_RESUME);
    assert_string_equal(b.shard.session.id, "old");
    assert_int_equal(b.shard.session.seq, 41);
}

static void test_back_off_grows_to_a_bound(void **state UNUSED)
{
    struct bench b;
    int64_t last = 0;
    start(&b, NULL);
    for (int i = 0; i < 30; i++) {
        event(&b, SHARD_ON_GRANTED);
        closed(&b, 0);
        last = shard_deadline(&b.shard) == INT64_MAX ? 0 : shard_deadline(&b.shard) - b.now;
        assert_true(last <= 60000);
        while (b.shard.phase != SHARD_GRANT && b.shard.phase != SHARD_CONNECT) {
            b.now = shard_deadline(&b.shard);
            event(&b, SHARD_ON_TIME);
        }
        b.now += 20000; /* the grant grows old */
        if (b.shard.phase == SHARD_CONNECT)
            closed(&b, 0);
    }
    assert_true(last >= 30000);
}

static void test_a_hello_without_an_interval_gets_the_usual_one(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored);
    event(&b, SHARD_ON_OPEN);
    frame(&b, "{\"op\":10,\"d\":{\"heartbeat_interval\":\"often\"}}");
    assert_int_equal(b.shard.interval_ms, 41250);
    frame(&b, "{\"op\":10,\"d\":{\"heartbeat_interval\":1}}");
    assert_int_equal(b.shard.interval_ms, 100);
}

static void test_nothing_hangs_for_ever(void **state UNUSED)
{
    struct bench b;
    start(&b, &stored); /* no answer to the connect */
    b.now = shard_deadline(&b.shard);
    event(&b, SHARD_ON_TIME);
    assert_did(&b, SHARD_DO_CLOSE);
    until_connect(&b);
    event(&b, SHARD_ON_OPEN); /* no HELLO */
    b.now = shard_deadline(&b.shard);
    event(&b, SHARD_ON_TIME);
    assert_did(&b, SHARD_DO_CLOSE);
    until_connect(&b);
    event(&b, SHARD_ON_OPEN);
    hello(&b); /* no RESUMED, though heartbeats are answered */
    int64_t from = b.now;
    do {
        b.now = shard_deadline(&b.shard);
        event(&b, SHARD_ON_TIME);
        frame(&b, "{\"op\":11}");
        assert_true(b.now - from < 300000);
    } while (b.shard.phase == SHARD_START);
}

/* ---- the rest ---- */

static void test_malformed_payloads_cost_a_session_only_when_they_repeat(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(b.shard.session.id, "sess");
        event(&b, SHARD_ON_MALFORMED);
        assert_did(&b, SHARD_DO_CLOSE);
        if (i == 2)
            break;
        until_connect(&b);
        event(&b, SHARD_ON_OPEN);
        hello(&b);
    }
    assert_did(&b, SHARD_DO_FORGET);
}

static void test_a_stopped_session_does_nothing_more(void **state UNUSED)
{
    struct bench b;
    go_live(&b);
    event(&b, SHARD_ON_STOP);
    assert_string_equal(b.shard.session.id, "sess");
    dispatch(&b, 5, "MESSAGE_CREATE");
    assert_int_equal(b.did.count, 0);
    closed(&b, 4000);
    event(&b, SHARD_ON_TIME);
    event(&b, SHARD_ON_GRANTED);
    assert_int_equal(b.did.count, 0);
    assert_true(shard_deadline(&b.shard) == INT64_MAX);
}

static void test_a_ready_without_a_session_id_is_no_session(void **state UNUSED)
{
    struct bench b;
    start(&b, NULL);
    event(&b, SHARD_ON_GRANTED);
    event(&b, SHARD_ON_OPEN);
    hello(&b);
    dispatch(&b, 1, "READY");
    assert_did(&b, SHARD_DO_CLOSE);
    assert_did_not(&b, SHARD_DO_SESSION);
}

/* Whatever comes in whatever order: few actions, no time in the past twice, a code that keeps the
 * session. */
static void test_any_order_of_inputs_keeps_the_rules(void **state UNUSED)
{
    static const char *const texts[] = {
        "{\"op\":0,\"s\":3,\"t\":\"X\",\"d\":{}}",
        "{\"op\":0,\"s\":9,\"t\":\"RESUMED\",\"d\":{}}",
        "{\"op\":0,\"s\":1,\"t\":\"READY\",\"d\":{\"session_id\":\"n\"}}",
        "{\"op\":1}",
        "{\"op\":7}",
        "{\"op\":9,\"d\":true}",
        "{\"op\":9,\"d\":false}",
        "{\"op\":10,\"d\":{\"heartbeat_interval\":5}}",
        "{\"op\":10,\"d\":{}}",
        "{\"op\":11}",
        "{\"op\":200}",
    };
    static const int codes[] = { 0, 1000, 4000, 4003, 4007, 4009 };
    uint64_t dice = 1;
    struct bench b;
    start(&b, NULL);
    for (int i = 0; i < 200000; i++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        unsigned roll = (unsigned)(dice >> 40);
        b.now += roll % 50 == 0 ? 20000 : roll % 7;
        if (roll % 4 == 0)
            frame(&b, texts[roll / 4 % ARRAY_LEN(texts)]);
        else if (roll % 4 == 1)
            closed(&b, codes[roll / 4 % ARRAY_LEN(codes)]);
        else
            event(&b, (enum shard_event[]){ SHARD_ON_GRANTED, SHARD_ON_OPEN, SHARD_ON_TIME,
                                            SHARD_ON_TIME, SHARD_ON_MALFORMED }[roll / 4 % 5]);
        assert_true(b.did.count < SHARD_ACTIONS);
        for (size_t a = 0; a < b.did.count; a++)
            if (b.did.list[a].what == SHARD_DO_CLOSE)
                assert_in_range(b.did.list[a].code, 4000, 4999);
        event(&b, SHARD_ON_TIME);
        event(&b, SHARD_ON_TIME);
        assert_true(shard_deadline(&b.shard) > b.now || b.shard.phase == SHARD_WAIT);
        assert_true(b.shard.phase != SHARD_IDLE && b.shard.phase != SHARD_FATAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_session_it_asks_before_it_connects),
        cmocka_unit_test(test_with_a_session_it_resumes_first),
        cmocka_unit_test(test_an_old_grant_is_not_used),
        cmocka_unit_test(test_repeated_dispatches_are_handed_on_once),
        cmocka_unit_test(test_every_close_code_has_its_consequence),
        cmocka_unit_test(test_it_never_closes_with_a_code_that_ends_the_session),
        cmocka_unit_test(test_the_first_heartbeat_is_jittered),
        cmocka_unit_test(test_silence_for_an_interval_is_a_zombie),
        cmocka_unit_test(test_any_event_shows_life_not_only_an_ack),
        cmocka_unit_test(test_silence_of_its_own_making_is_no_zombie),
        cmocka_unit_test(test_a_heartbeat_asked_for_is_sent_at_once),
        cmocka_unit_test(test_an_answered_probe_shows_that_nothing_is_on_its_way),
        cmocka_unit_test(test_the_flag_of_a_missing_ack_does_not_survive_a_hello),
        cmocka_unit_test(test_sends_stay_within_discords_budget),
        cmocka_unit_test(test_op_7_reconnects_at_once_and_resumes),
        cmocka_unit_test(test_op_7_may_come_before_hello),
        cmocka_unit_test(test_op_7_in_a_loop_backs_off),
        cmocka_unit_test(test_op_9_false_forgets_waits_and_identifies),
        cmocka_unit_test(test_op_9_true_keeps_the_session),
        cmocka_unit_test(test_a_dead_resume_host_gives_way_to_the_main_url),
        cmocka_unit_test(test_hosts_alternate_and_the_main_url_is_asked_for_again),
        cmocka_unit_test(test_a_session_that_neither_resumes_nor_is_refused_is_given_up),
        cmocka_unit_test(test_a_replay_that_breaks_off_again_and_again_is_no_dead_session),
        cmocka_unit_test(test_hours_without_network_cost_no_session),
        cmocka_unit_test(test_back_off_grows_to_a_bound),
        cmocka_unit_test(test_a_hello_without_an_interval_gets_the_usual_one),
        cmocka_unit_test(test_nothing_hangs_for_ever),
        cmocka_unit_test(test_malformed_payloads_cost_a_session_only_when_they_repeat),
        cmocka_unit_test(test_a_stopped_session_does_nothing_more),
        cmocka_unit_test(test_a_ready_without_a_session_id_is_no_session),
        cmocka_unit_test(test_any_order_of_inputs_keeps_the_rules),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
