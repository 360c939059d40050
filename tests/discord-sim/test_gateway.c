/* The gateway's rules, against Discord's documentation: IDENTIFY, RESUME, heartbeats, intents,
 * close codes. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "tests/discord-sim/gateway.h"
#include "tests/discord-sim/world.h"

enum { INTENTS = 1 | 1 << 9 | 1 << 15 };

struct place {
    struct world *world;
    struct gateway *gw;
    int guilds_told;
    int64_t now;
};

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void on_guild(void *ctx, const struct guild *g)
{
    struct place *p = ctx;

    (void)g;
    p->guilds_told++;
}

static int set_up(void **state)
{
    static struct place p;
    struct world_config world = {
        .seed = 7, .application_id = 1000000000000000001, .guilds = 4, .members = 6
    };

    p = (struct place){ .now = 1000, .world = world_new(&world) };
    struct gateway_config config = { .token = "secret",
                                     .world = p.world,
                                     .privileged = PRIVILEGED_INTENTS,
                                     .heartbeat_ms = 1000,
                                     .max_concurrency = 2,
                                     .identify_window_ms = 5000,
                                     .identify_total = 5,
                                     .session_keep_ms = 10000,
                                     .replay = 16,
                                     .on_guild = on_guild,
                                     .ctx = &p };
    p.gw = gateway_new(&config);
    *state = &p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;

    gateway_free(p->gw);
    world_free(p->world);
    return 0;
}

static struct gw_conn *connect_to(struct place *p)
{
    struct gw_hello hello = {
        .version = 10, .json = true, .resume_url = "ws://x/resume", .wake = on_wake
    };

    return gateway_connect(p->gw, &hello, p->now);
}

/* The next frame as JSON; NULL: there is none. */
static json_t *next(struct gw_conn *c)
{
    CLEANUP(out_release) struct out frame = OUT_EMPTY;
    json_t *root = NULL;

    if (!gw_conn_next(c, &frame))
        return NULL;
    assert_int_equal(json_parse(frame.text, frame.size, &root, NULL), STATUS_OK);
    return root;
}

static void expect_op(struct gw_conn *c, int64_t op)
{
    CLEANUP(json_decref) json_t *frame = next(c);

    assert_non_null(frame);
    assert_int_equal(json_int(frame, "op", -1), op);
}

/* Returns its s. */
static int64_t expect_event(struct gw_conn *c, const char *type)
{
    CLEANUP(json_decref) json_t *frame = next(c);

    assert_non_null(frame);
    assert_string_equal(json_str(frame, "t"), type);
    return json_int(frame, "s", -1);
}

static void expect_nothing(struct gw_conn *c)
{
    assert_null(next(c));
}

static void say(struct place *p, struct gw_conn *c, const char *text)
{
    gw_conn_on_text(c, text, strlen(text), p->now);
}

static void identify(struct place *p, struct gw_conn *c, int shard, int shards, uint64_t intents)
{
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "{\"op\":2,\"d\":{\"token\":\"secret\",\"properties\":{},\"shard\":[%d,%d],"
                   "\"intents\":%" PRIu64 "}}",
                   shard, shards, intents);
    say(p, c, text);
}

/* A connected session that has read READY and its guilds; its id into ret_id. */
static struct gw_conn *start(struct place *p, uint64_t intents, char ret_id[64])
{
    struct gw_conn *c = connect_to(p);

    expect_op(c, 10);
    identify(p, c, 0, 1, intents);
    CLEANUP(json_decref) json_t *ready = next(c);
    assert_string_equal(json_str(ready, "t"), "READY");
    (void)snprintf(ret_id, 64, "%s", json_str(json_object_get(ready, "d"), "session_id"));
    for (size_t i = 0; i < p->world->guild_count; i++)
        (void)expect_event(c, "GUILD_CREATE");
    expect_nothing(c);
    return c;
}

static size_t dispatch(struct place *p, enum event_type type, const char *body, const char *blanked)
{
    struct event *e = event_new(type, NULL, body, blanked);

    return gateway_dispatch(p->gw, p->world->guilds[0]->id, &e);
}

static void resume(struct place *p, struct gw_conn *c, const char *id, int64_t seq)
{
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "{\"op\":6,\"d\":{\"token\":\"secret\",\"session_id\":\"%s\",\"seq\":%" PRId64
                   "}}",
                   id, seq);
    say(p, c, text);
}

static void identify_gets_ready_then_the_guilds_of_its_shard(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    assert_int_equal(gw_conn_close_code(c), 0);
    assert_int_equal(p->guilds_told, 4);
    assert_true(gateway_is_covered(p->gw));
}

static void guilds_are_spread_over_the_shards_by_their_id(void **state)
{
    struct place *p = *state;
    size_t seen = 0;

    for (int shard = 0; shard < 2; shard++) {
        struct gw_conn *c = connect_to(p);
        expect_op(c, 10);
        identify(p, c, shard, 2, INTENTS);
        (void)expect_event(c, "READY");
        for (json_t *frame; (frame = next(c)); json_decref(frame)) {
            uint64_t guild = json_id(json_object_get(frame, "d"), "id");
            assert_int_equal((guild >> 22) % 2, shard);
            seen++;
        }
        assert_int_equal(gateway_is_covered(p->gw), shard == 1);
    }
    assert_int_equal(seen, 4);
}

static void what_cannot_work_is_closed_with_discords_code(void **state)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        { "{\"op\":2,\"d\":{\"token\":\"wrong\",\"properties\":{},\"intents\":1}}", 4004 },
        { "{\"op\":2,\"d\":{\"token\":\"secret\",\"properties\":{},\"intents\":1,"
          "\"shard\":[2,2]}}",
          4010 },
        { "{\"op\":2,\"d\":{\"token\":\"secret\",\"properties\":{},\"intents\":1,"
          "\"shard\":\"0\"}}",
          4010 },
        { "{\"op\":2,\"d\":{\"token\":\"secret\",\"properties\":{},\"intents\":131072}}", 4013 },
        { "{\"op\":2,\"d\":{\"token\":\"secret\",\"properties\":{}}}", 4013 },
        { "{\"op\":3,\"d\":{}}", 4003 },
        { "{\"op\":8,\"d\":{}}", 4003 },
        { "{\"op\":10}", 4001 },
        { "{\"op\":99}", 4001 },
        { "{\"d\":1}", 4001 },
        { "nonsense", 4002 },
        { "[]", 4002 },
    };
    struct place *p = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gw_conn *c = connect_to(p);
        say(p, c, cases[i].text);
        assert_int_equal(gw_conn_close_code(c), cases[i].code);
        gw_conn_gone(c, 0, p->now);
    }
}

static void a_second_identify_is_closed_with_4005(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    identify(p, c, 0, 1, INTENTS);
    assert_int_equal(gw_conn_close_code(c), CLOSE_ALREADY_AUTHENTICATED);
}

static void too_long_and_too_many_payloads_are_closed(void **state)
{
    struct place *p = *state;
    char text[GATEWAY_MAX_PAYLOAD + 8], id[64];
    struct gw_conn *c = connect_to(p);

    memset(text, ' ', sizeof(text));
    memcpy(text, "{\"op\":1,\"d\":0}", 14);
    gw_conn_on_text(c, text, GATEWAY_MAX_PAYLOAD, p->now);
    assert_int_equal(gw_conn_close_code(c), 0);
    gw_conn_on_text(c, text, GATEWAY_MAX_PAYLOAD + 1, p->now);
    assert_int_equal(gw_conn_close_code(c), CLOSE_DECODE_ERROR);

    c = start(p, INTENTS, id); /* has sent one */
    for (int i = 0; i < GATEWAY_MAX_SENDS - 1; i++)
        say(p, c, "{\"op\":1,\"d\":1}");
    assert_int_equal(gw_conn_close_code(c), 0);
    say(p, c, "{\"op\":1,\"d\":1}");
    assert_int_equal(gw_conn_close_code(c), CLOSE_RATE_LIMITED);
}

static void identifies_of_one_key_wait_for_the_window(void **state)
{
    struct place *p = *state;
    struct gw_conn *a = connect_to(p), *b = connect_to(p), *other = connect_to(p);

    expect_op(a, 10);
    expect_op(b, 10);
    expect_op(other, 10);
    identify(p, a, 0, 4, INTENTS);
    (void)expect_event(a, "READY");
    identify(p, b, 2, 4, INTENTS); /* 2 % 2 is the key of shard 0 */
    expect_op(b, 9);
    identify(p, other, 1, 4, INTENTS);
    (void)expect_event(other, "READY");
    p->now += 5000;
    identify(p, b, 2, 4, INTENTS);
    (void)expect_event(b, "READY");
}

static void the_daily_budget_of_identifies_runs_out(void **state)
{
    struct place *p = *state;
    char id[64];

    for (int i = 0; i < 5; i++, p->now += 5000)
        (void)start(p, INTENTS, id);
    struct gw_conn *c = connect_to(p);
    identify(p, c, 0, 1, INTENTS);
    assert_int_equal(gw_conn_close_code(c), CLOSE_AUTHENTICATION_FAILED);

    /* All sessions are gone, the token is another one. */
    struct gateway_counts counts;
    gateway_count(p->gw, &counts, p->now);
    assert_int_equal(counts.sessions, 0);
    assert_int_equal(counts.token_resets, 1);
    assert_null(gateway_token(p->gw));
    p->now += 24 * 3600 * 1000;
    c = connect_to(p);
    identify(p, c, 0, 1, INTENTS);
    assert_int_equal(gw_conn_close_code(c), CLOSE_AUTHENTICATION_FAILED);
    gateway_set_token(p->gw, "secret");
    (void)start(p, INTENTS, id);
}

static void privileged_intents_must_be_approved(void **state)
{
    struct place *p = *state;
    struct gateway_config config = { .token = "secret",
                                     .world = p->world,
                                     .privileged = 1 << 1,
                                     .heartbeat_ms = 1000,
                                     .max_concurrency = 1,
                                     .identify_total = 10,
                                     .replay = 16 };
    CLEANUP(gateway_free) struct gateway *gw = gateway_new(&config);
    struct gw_hello hello = {
        .version = 10, .json = true, .resume_url = "ws://x/resume", .wake = on_wake
    };
    struct place other = { .world = p->world, .gw = gw, .now = 1000 };
    struct gw_conn *c = gateway_connect(gw, &hello, 1000);

    identify(&other, c, 0, 1, 1 | 1 << 15);
    assert_int_equal(gw_conn_close_code(c), CLOSE_DISALLOWED_INTENTS);
    c = gateway_connect(gw, &hello, 1000);
    identify(&other, c, 0, 1, 1 | 1 << 1);
    assert_int_equal(gw_conn_close_code(c), 0);
}

static void a_heartbeat_is_acknowledged_and_its_absence_ends_the_connection(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    p->now += 1400;
    say(p, c, "{\"op\":1,\"d\":5}");
    expect_op(c, 11);
    gateway_tick(p->gw, p->now + 1500);
    assert_int_equal(gw_conn_close_code(c), 0);
    gateway_tick(p->gw, p->now + 1501);
    assert_int_equal(gw_conn_close_code(c), CLOSE_SESSION_TIMED_OUT);

    struct gw_conn *again = connect_to(p);
    expect_op(again, 10);
    resume(p, again, id, 5);
    (void)expect_event(again, "RESUMED");
}

static void resume_replays_what_was_missed_in_order_and_then_says_so(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    assert_int_equal(dispatch(p, EVENT_MESSAGE_CREATE, "{\"n\":1}", NULL), 1);
    int64_t seq = expect_event(c, "MESSAGE_CREATE");
    gw_conn_gone(c, 4000, p->now);
    assert_int_equal(dispatch(p, EVENT_MESSAGE_UPDATE, "{\"n\":2}", NULL), 1);
    assert_int_equal(dispatch(p, EVENT_MESSAGE_DELETE, "{\"n\":3}", NULL), 1);

    c = connect_to(p);
    expect_op(c, 10);
    resume(p, c, id, seq);
    assert_int_equal(expect_event(c, "MESSAGE_UPDATE"), seq + 1);
    assert_int_equal(expect_event(c, "MESSAGE_DELETE"), seq + 2);
    assert_int_equal(expect_event(c, "RESUMED"), seq + 3);
    assert_int_equal(dispatch(p, EVENT_MESSAGE_CREATE, "{\"n\":4}", NULL), 1);
    assert_int_equal(expect_event(c, "MESSAGE_CREATE"), seq + 4);
    expect_nothing(c);
}

static void a_client_that_checkpoints_late_gets_again_what_it_had(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    (void)dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL);
    int64_t seq = expect_event(c, "MESSAGE_CREATE");
    gw_conn_gone(c, 0, p->now);
    c = connect_to(p);
    expect_op(c, 10);
    resume(p, c, id, seq - 1);
    assert_int_equal(expect_event(c, "MESSAGE_CREATE"), seq);
    (void)expect_event(c, "RESUMED");
}

static void closing_with_1000_or_1001_ends_the_session(void **state)
{
    struct place *p = *state;
    char id[64];

    for (int code = 1000; code <= 1001; code++, p->now += 5000) {
        gw_conn_gone(start(p, INTENTS, id), code, p->now);
        assert_int_equal(dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL), 0);
        struct gw_conn *c = connect_to(p);
        expect_op(c, 10);
        resume(p, c, id, 1);
        expect_op(c, 9);
        gw_conn_gone(c, 0, p->now);
    }
}

static void resume_beyond_what_was_sent_is_4007_and_a_forgotten_seq_is_op_9(void **state)
{
    struct place *p = *state;
    char id[64];

    gw_conn_gone(start(p, INTENTS, id), 4000, p->now);
    struct gw_conn *c = connect_to(p);
    resume(p, c, id, 1000);
    assert_int_equal(gw_conn_close_code(c), CLOSE_INVALID_SEQ);
    for (int i = 0; i < 20; i++) /* the ring keeps 16 */
        (void)dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL);
    c = connect_to(p);
    expect_op(c, 10);
    resume(p, c, id, 5);
    expect_op(c, 9);
}

static void a_session_that_nobody_resumes_is_forgotten(void **state)
{
    struct place *p = *state;
    char id[64];

    gw_conn_gone(start(p, INTENTS, id), 4000, p->now);
    gateway_tick(p->gw, p->now + 10000);
    assert_true(gateway_is_covered(p->gw));
    gateway_tick(p->gw, p->now + 10001);
    assert_false(gateway_is_covered(p->gw));
}

static void a_resume_takes_the_session_from_its_old_connection(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *old = start(p, INTENTS, id), *c = connect_to(p);

    expect_op(c, 10);
    resume(p, c, id, 5);
    (void)expect_event(c, "RESUMED");
    assert_int_equal(gw_conn_close_code(old), CLOSE_UNKNOWN_ERROR);
    gw_conn_gone(old, 1000, p->now); /* too late to end what is not its own any more */
    assert_int_equal(dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL), 1);
    (void)expect_event(c, "MESSAGE_CREATE");
}

static void events_go_to_those_who_have_the_intent_and_content_only_with_its_own(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *all = start(p, INTENTS, id);

    p->now += 5000;
    struct gw_conn *poor = start(p, 1 | 1 << 9, id);
    assert_true(gateway_needs_blanked(p->gw));
    assert_int_equal(dispatch(p, EVENT_MESSAGE_CREATE, "{\"content\":\"x\"}", "{\"content\":\"\"}"),
                     2);
    CLEANUP(json_decref) json_t *full = next(all);
    CLEANUP(json_decref) json_t *blank = next(poor);
    assert_string_equal(json_str(json_object_get(full, "d"), "content"), "x");
    assert_string_equal(json_str(json_object_get(blank, "d"), "content"), "");

    assert_false(gateway_would_take(p->gw, p->world->guilds[0]->id, EVENT_MESSAGE_REACTION_ADD));
    assert_int_equal(dispatch(p, EVENT_MESSAGE_REACTION_ADD, "{}", NULL), 0);
    expect_nothing(all);
}

static void faults_do_what_they_say(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    assert_int_equal(gateway_fault(p->gw, 0, FAULT_RECONNECT, 0, p->now), 1);
    expect_op(c, 7);
    assert_int_equal(gateway_fault(p->gw, -1, FAULT_HEARTBEAT, 0, p->now), 1);
    expect_op(c, 1);
    assert_int_equal(gateway_fault(p->gw, 3, FAULT_CLOSE, 4000, p->now), 0);
    assert_int_equal(gateway_fault(p->gw, 0, FAULT_INVALID_RESUMABLE, 0, p->now), 1);
    CLEANUP(json_decref) json_t *invalid = next(c);
    assert_int_equal(json_int(invalid, "op", 0), 9);
    assert_true(json_is_true(json_object_get(invalid, "d")));
    resume(p, c, id, 5);
    (void)expect_event(c, "RESUMED");
    assert_int_equal(gateway_fault(p->gw, 0, FAULT_DROP, 0, p->now), 1);
    assert_true(gw_conn_is_dropped(c));
}

static void a_stalled_connection_says_and_hears_nothing(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    assert_int_equal(gateway_fault(p->gw, 0, FAULT_STALL, 0, p->now), 1);
    assert_true(gw_conn_is_stalled(c));
    (void)dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL);
    say(p, c, "{\"op\":1,\"d\":5}");
    expect_nothing(c);
    assert_int_equal(gateway_fault(p->gw, 0, FAULT_CLOSE, 4000, p->now), 0);
    gateway_tick(p->gw, p->now + 1501);
    assert_true(gw_conn_is_dropped(c)); /* without a word */
    assert_int_equal(gw_conn_close_code(c), 0);

    struct gw_conn *again = connect_to(p);
    expect_op(again, 10);
    resume(p, again, id, 5);
    assert_int_equal(expect_event(again, "MESSAGE_CREATE"), 6);
    (void)expect_event(again, "RESUMED");
}

static void tricks_are_played_once_each(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);
    struct gateway_tricks *tricks = gateway_tricks(p->gw);

    tricks->early_reconnects = 1;
    tricks->hello_ms = 77;
    struct gw_conn *early = connect_to(p);
    expect_op(early, 7);
    CLEANUP(json_decref) json_t *hello = next(early);
    assert_int_equal(json_int(json_object_get(hello, "d"), "heartbeat_interval", 0), 77);
    expect_op(connect_to(p), 10);

    tricks->refused_resumes = 1;
    gw_conn_gone(c, 4000, p->now);
    resume(p, early, id, 5);
    CLEANUP(json_decref) json_t *invalid = next(early);
    assert_true(json_is_true(json_object_get(invalid, "d")));
    resume(p, early, id, 5);
    (void)expect_event(early, "RESUMED");

    tricks->silent = true;
    expect_nothing(connect_to(p));
}

static void sessions_that_wait_can_expire(void **state)
{
    struct place *p = *state;
    char id[64], other[64];
    struct gw_conn *c = start(p, INTENTS, id);

    p->now += 5000;
    (void)start(p, INTENTS, other);
    gw_conn_gone(c, 4000, p->now);
    assert_int_equal(gateway_expire(p->gw, p->now), 1);
    struct gw_conn *again = connect_to(p);
    expect_op(again, 10);
    resume(p, again, id, 5);
    CLEANUP(json_decref) json_t *invalid = next(again);
    assert_true(json_is_false(json_object_get(invalid, "d")));
}

static void an_outage_takes_each_guild_away_and_brings_it_back(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);
    uint64_t sum = 0, expected = 0;
    bool in_order = true;

    assert_int_equal(gateway_outage(p->gw, -1, p->now), 4);
    for (int i = 0; i < 4; i++) {
        CLEANUP(json_decref) json_t *gone = next(c);
        assert_string_equal(json_str(gone, "t"), "GUILD_DELETE");
        assert_true(json_bool(json_object_get(gone, "d"), "unavailable"));
    }
    for (int i = 0; i < 4; i++) {
        CLEANUP(json_decref) json_t *back = next(c);
        assert_string_equal(json_str(back, "t"), "GUILD_CREATE");
        uint64_t guild = json_id(json_object_get(back, "d"), "id");
        in_order = in_order && guild == p->world->guilds[i]->id;
        sum += guild;
        expected += p->world->guilds[i]->id;
    }
    assert_true(sum == expected && !in_order);
}

/* The next frame's d of a chunk. */
static json_t *chunk(struct gw_conn *c)
{
    json_t *frame = next(c);

    assert_non_null(frame);
    assert_string_equal(json_str(frame, "t"), "GUILD_MEMBERS_CHUNK");
    json_t *d = json_incref(json_object_get(frame, "d"));
    json_decref(frame);
    return d;
}

static void members_are_asked_for_by_id_by_name_and_all_at_once(void **state)
{
    struct place *p = *state;
    const struct guild *g = p->world->guilds[0];
    char id[64], text[256];
    struct gw_conn *c = start(p, INTENTS | 1 << 1, id);

    (void)snprintf(text, sizeof(text),
                   "{\"op\":8,\"d\":{\"guild_id\":\"%" PRIu64 "\",\"user_ids\":[\"%" PRIu64
                   "\",\"99\"],\"nonce\":\"n1\"}}",
                   g->id, g->members[1].user->id);
    say(p, c, text);
    CLEANUP(json_decref) json_t *by_id = chunk(c);
    assert_int_equal(json_array_size(json_object_get(by_id, "members")), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(by_id, "not_found"), 0)),
                        "99");
    assert_string_equal(json_str(by_id, "nonce"), "n1");

    (void)snprintf(text, sizeof(text),
                   "{\"op\":8,\"d\":{\"guild_id\":\"%" PRIu64 "\",\"query\":\"\",\"limit\":0}}",
                   g->id);
    say(p, c, text);
    CLEANUP(json_decref) json_t *all = chunk(c);
    assert_int_equal(json_array_size(json_object_get(all, "members")), g->member_count);
    p->now += 29000;
    say(p, c, text);
    CLEANUP(json_decref) json_t *limited = next(c);
    assert_string_equal(json_str(limited, "t"), "RATE_LIMITED");
    assert_int_equal(json_int(json_object_get(limited, "d"), "opcode", 0), 8);
    p->now += 1000;
    say(p, c, text);
    json_decref(chunk(c));
}

static void traffic_waits_for_a_slow_reader_and_a_half_full_ring(void **state)
{
    struct place *p = *state;
    char id[64];
    struct gw_conn *c = start(p, INTENTS, id);

    (void)dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL);
    assert_true(gateway_has_room(p->gw, 1));
    (void)dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL);
    assert_false(gateway_has_room(p->gw, 1));
    gw_conn_gone(c, 4000, p->now);
    assert_true(gateway_has_room(p->gw, 1));
    for (int i = 0; i < 8; i++)
        (void)dispatch(p, EVENT_MESSAGE_CREATE, "{}", NULL);
    assert_false(gateway_has_room(p->gw, 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(identify_gets_ready_then_the_guilds_of_its_shard),
        TEST(guilds_are_spread_over_the_shards_by_their_id),
        TEST(what_cannot_work_is_closed_with_discords_code),
        TEST(a_second_identify_is_closed_with_4005),
        TEST(too_long_and_too_many_payloads_are_closed),
        TEST(identifies_of_one_key_wait_for_the_window),
        TEST(the_daily_budget_of_identifies_runs_out),
        TEST(a_heartbeat_is_acknowledged_and_its_absence_ends_the_connection),
        TEST(resume_replays_what_was_missed_in_order_and_then_says_so),
        TEST(a_client_that_checkpoints_late_gets_again_what_it_had),
        TEST(closing_with_1000_or_1001_ends_the_session),
        TEST(resume_beyond_what_was_sent_is_4007_and_a_forgotten_seq_is_op_9),
        TEST(a_session_that_nobody_resumes_is_forgotten),
        TEST(a_resume_takes_the_session_from_its_old_connection),
        TEST(events_go_to_those_who_have_the_intent_and_content_only_with_its_own),
        TEST(faults_do_what_they_say),
        TEST(privileged_intents_must_be_approved),
        TEST(a_stalled_connection_says_and_hears_nothing),
        TEST(tricks_are_played_once_each),
        TEST(sessions_that_wait_can_expire),
        TEST(an_outage_takes_each_guild_away_and_brings_it_back),
        TEST(members_are_asked_for_by_id_by_name_and_all_at_once),
        TEST(traffic_waits_for_a_slow_reader_and_a_half_full_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
