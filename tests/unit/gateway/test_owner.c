/* needs: nats
 *
 * Who owns a guild: claims, handoffs, fences. */
#include "tests/unit/gateway/town.h"

/* ---- tests ---- */

static void test_applies_events_from_before_and_after_its_claim(void **state)
{
    struct town *t = *state;

    publish_message(t, 100);
    publish_message(t, 101);
    own(t, 0, 1);
    publish_message(t, 102);
    WAIT_FOR(t, applied(t) == 3);
}

static void test_a_copy_in_the_stream_is_applied_once_also_after_a_move(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_of(t, 100, "s1", 7);
    publish_of(t, 101, "s1", 9);
    publish_of(t, 100, "s1", 7);
    WAIT_FOR(t, applied(t) == 2);
    move(t, 0, 1, 2);
    publish_of(t, 101, "s1", 9);
    publish_of(t, 102, "s2", 1); /* a new session counts anew */
    WAIT_FOR(t, applied(t) == 3);
}

/* As the server sends it on after it has stored it: this is the only one that comes through. */
static void feed_message(struct town *t, uint64_t message_id, uint64_t seq, uint64_t previous)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const struct subject subject = subject_feed(t->guild);
    CLEANUP(xfree)
    char *seq_text = xasprintf("%" PRIu64, seq), *previous_text = xasprintf("%" PRIu64, previous);
    const struct bus_header headers[] = { { "Nats-Sequence", seq_text },
                                          { "Nats-Last-Sequence", previous_text } };
    struct bus_out out = { .subject = subject.text, .headers = headers, .header_count = 2 };
    Guildbus__V1__Event event = GUILDBUS__V1__EVENT__INIT;
    struct err err;

    event.type = mutable_text("MESSAGE_CREATE");
    event.payload_json = message_json(t, message_id, arena);
    encode_event(t, &event, arena, &out);
    assert_int_equal(bus_publish(t->bus, &out, &err), STATUS_OK);
}

static void test_a_gap_in_the_feed_is_read_from_the_stream(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    CLEANUP(json_decref)
    json_t *answer = ask(t, subject_portal(t->guild).text, "{\"portal\":{\"overview\":{}}}");
    uint64_t seq =
        json_id(json_object_get(json_object_get(answer, "portalReply"), "overview"), "eventSeq");
    assert_true(seq > 0);
    feed_message(t, 102, seq + 2, seq + 1); /* the one before it was lost on the way */
    publish_message(t, 101);
    publish_message(t, 102);
    WAIT_FOR(t, applied(t) == 3);
}

static void test_a_guild_moves_there_and_back_while_events_come(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    uint64_t id = 0;
    for (uint64_t epoch = 2; epoch < 12; epoch += 2) {
        int from = (epoch / 2) % 2 ? 0 : 1;
        for (int i = 0; i < 20; i++)
            publish_message(t, 100 + id++);
        move(t, from, 1 - from, epoch);
        for (int i = 0; i < 5; i++)
            publish_message(t, 100 + id++);
    }
    WAIT_FOR(t, applied(t) == (int64_t)id);
}

static void test_a_pod_that_was_not_told_is_fenced_by_the_log(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    own(t, 1, 2);            /* as if alpha were thought dead */
    publish_message(t, 101); /* both hear it, and alpha's record is refused */
    WAIT_FOR(t, owner_guild_count(t->pods[0].owner) == 0);
    WAIT_FOR(t, applied(t) == 2);
    assert_int_equal(owner_guild_count(t->pods[1].owner), 1);
}

static void test_after_a_lost_lease_no_read_is_answered_by_who_was_replaced(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    WAIT_FOR(t, applied(t) == 0);
    own(t, 1, 2); /* nothing is written: alpha cannot know yet */
    assert_int_equal(owner_guild_count(t->pods[0].owner), 1);
    owner_recheck(t->pods[0].owner);
    WAIT_FOR(t, owner_guild_count(t->pods[0].owner) == 0);
    WAIT_FOR(t, applied(t) == 0);
}

static void test_a_lease_had_anew_does_not_make_reads_sure(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    WAIT_FOR(t, applied(t) == 0);
    t->refuse_claims =
        true; /* the guild has been given to another pod, which has not claimed it yet */
    owner_recheck(t->pods[0].owner);
    WAIT_FOR(t, t->refused > 0);
    WAIT_FOR(t, applied(t) == 0); /* still ours by the log, and only by it */
    own(t, 1, 2);
    for (int i = 0; i < 30; i++) { /* whoever is asked: never by the memory of who was replaced */
        CLEANUP(json_decref)
        json_t *answer = ask(t, subject_portal(t->guild).text, "{\"portal\":{\"overview\":{}}}");
        const json_t *reply = json_object_get(answer, "portalReply");
        if (reply)
            assert_int_equal(json_id(reply, "epoch"), 2);
    }
    assert_int_equal(owner_guild_count(t->pods[0].owner), 0);
}

static void garble_log(struct town *t)
{
    const struct subject subject = subject_log(t->guild);
    const struct bus_out garbage = { .subject = subject.text, .data = "hello?", .size = 6 };
    struct err err;

    assert_int_equal(bus_publish(t->bus, &garbage, &err), STATUS_OK);
}

static void publish_and_wait(struct town *t, uint64_t message_id, int64_t then_applied)
{
    publish_message(t, message_id);
    WAIT_FOR(t, applied(t) == then_applied);
}

static void test_a_foreign_message_in_the_log_stops_neither_owner_nor_successor(void **state)
{
    struct town *t = *state;

    garble_log(t);
    own(t, 0, 1);
    for (int i = 0; i < 3; i++) {
        garble_log(t);
        publish_and_wait(t, 100 + (uint64_t)i, i + 1);
    }
    garble_log(t);
    move(t, 0, 1, 2);
    publish_and_wait(t, 200, 4);
    pod_stop(t, 1);
    own(t, 0, 4);
    WAIT_FOR(t, applied(t) == 4);
}

static void test_a_source_takes_back_what_nobody_claims(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    order(t, 0,
          "{\"control\":{\"yield\":{\"moveId\":\"5\",\"guildId\":\"%" PRIu64
          "\",\"epoch\":\"2\",\"unsealEpoch\":\"3\",\"target\":\"nobody\"}}}",
          t->guild);
    WAIT_FOR(t, t->claimed_epoch == 3);
    assert_string_equal(t->claimed_pod, "alpha");
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
}

static void test_a_pod_that_restarts_reads_the_log_on_from_its_disk(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    for (uint64_t i = 0; i < 10; i++)
        publish_message(t, 100 + i);
    WAIT_FOR(t, applied(t) == 10);
    pod_stop(t, 0);
    publish_message(t, 200);
    pod_start(t, 0, "alpha");
    own(t, 0, 2);
    WAIT_FOR(t, applied(t) == 11);
    pod_stop(t, 0); /* and without the disk */
    own(t, 1, 3);
    WAIT_FOR(t, applied(t) == 11);
}

static void test_a_guild_read_ahead_is_owned_only_when_ordered(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    owner_prefetch(t->pods[1].owner, t->guild);
    publish_message(t, 101);
    WAIT_FOR(t, applied(t) == 2);
    assert_int_equal(owner_guild_count(t->pods[1].owner), 0);
    pod_stop(t, 0);
    own(t, 1, 2);
    WAIT_FOR(t, applied(t) == 2);
}

static void test_an_interaction_is_executed_once(void **state)
{
    struct town *t = *state;
    CLEANUP(xfree) char *body = setup_request(t, 77, "12345");
    int64_t before = metric("guildbus_interactions_total");

    own(t, 0, 1);
    CLEANUP(json_decref) json_t *first = ask(t, subject_interaction(t->guild).text, body);
    move(t, 0, 1, 2);
    CLEANUP(json_decref) json_t *again = ask(t, subject_interaction(t->guild).text, body);
    assert_non_null(json_object_get(json_object_get(first, "interactionReply"), "callbackJson"));
    assert_true(json_equal(first, again));
    assert_int_equal(metric("guildbus_interactions_total"), before + 1);
    assert_mod_log(t, "12345");
}

static void test_answers_an_error_to_every_truncated_body(void **state)
{
    struct town *t = *state;
    static const char *const kinds[] = { "control", "forward", "interaction", "portal" };
    unsigned char garbage[] = { 0x52, 0x0a, 0x0a, 0x08, 0x08, 0x01 };

    own(t, 0, 1);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        const struct subject subject = k == 0   ? subject_control("alpha")
                                       : k == 1 ? subject_forward("alpha")
                                       : k == 2 ? subject_interaction(t->guild)
                                                : subject_portal(t->guild);
        for (size_t size = 0; size <= sizeof(garbage); size++) {
            CLEANUP(arena_free) struct arena *arena = arena_new(0);
            const struct bus_out out = { .subject = subject.text, .data = garbage, .size = size };
            Guildbus__V1__Envelope *e;
            struct err err = { 0 };
            char *data;
            size_t got;
            assert_int_equal(bus_request_wait(t->bus, &out, 5000, &data, &got, &err), STATUS_OK);
            assert_int_equal(codec_decode(data, got, arena, &e, &err), STATUS_OK);
            assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_ERROR);
            free(data);
        }
    }
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
}

static size_t gaps(struct town *t)
{
    CLEANUP(json_decref)
    json_t *answer = ask(t, subject_portal(t->guild).text, "{\"portal\":{\"overview\":{}}}");
    const json_t *overview = json_object_get(json_object_get(answer, "portalReply"), "overview");

    return json_array_size(json_object_get(overview, "gaps"));
}

static void own_after(struct town *t, int pod, uint64_t epoch, int64_t unowned_ms)
{
    order(t, pod,
          "{\"control\":{\"own\":{\"guildId\":\"%" PRIu64 "\",\"epoch\":\"%" PRIu64
          "\",\"reason\":3,\"unownedSinceMs\":\"%" PRId64 "\"}}}",
          t->guild, epoch, clock_wall_ms() - unowned_ms);
    WAIT_FOR(t, t->claimed_epoch == epoch);
}

static void test_events_that_the_stream_has_lost_are_noted(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    pod_stop(t, 0);
    publish_message(t, 101);
    own_after(t, 1, 2, 7200 * 1000); /* away for long, but the stream has all */
    WAIT_FOR(t, applied(t) == 2);
    pod_stop(t, 1);
    publish_message(t, 102);
    publish_message(t, 103);
    purge(t, STREAM_EVENTS, NULL); /* as the end of the stream does */
    publish_message(t, 104);
    pod_start(t, 0, "alpha");
    own_after(t, 0, 3, 1000); /* away for a moment: nothing can be lost */
    WAIT_FOR(t, applied(t) == 3);
    assert_int_equal(gaps(t), 0);
    pod_stop(t, 0);
    publish_message(t, 105);
    purge(t, STREAM_EVENTS, NULL); /* as the end of the stream does */
    publish_message(t, 106);
    pod_start(t, 1, "beta");
    own_after(t, 1, 4, 7200 * 1000);
    WAIT_FOR(t, gaps(t) == 1);
    WAIT_FOR(t, applied(t) == 4);
}

static void test_a_log_that_lost_records_is_told_and_nothing_is_dropped(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_and_wait(t, 100, 1);
    purge(t, subject_log_stream(t->guild).text, subject_log(t->guild).text);
    publish_message(t, 101);
    WAIT_FOR(t, metric("guildbus_log_lost_total") > 1);
    assert_int_equal(owner_guild_count(t->pods[0].owner), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, town_open, town_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_applies_events_from_before_and_after_its_claim),
        TEST(test_a_copy_in_the_stream_is_applied_once_also_after_a_move),
        TEST(test_a_gap_in_the_feed_is_read_from_the_stream),
        TEST(test_a_guild_moves_there_and_back_while_events_come),
        TEST(test_a_pod_that_was_not_told_is_fenced_by_the_log),
        TEST(test_after_a_lost_lease_no_read_is_answered_by_who_was_replaced),
        TEST(test_a_lease_had_anew_does_not_make_reads_sure),
        TEST(test_a_foreign_message_in_the_log_stops_neither_owner_nor_successor),
        TEST(test_a_source_takes_back_what_nobody_claims),
        TEST(test_a_pod_that_restarts_reads_the_log_on_from_its_disk),
        TEST(test_a_guild_read_ahead_is_owned_only_when_ordered),
        TEST(test_events_that_the_stream_has_lost_are_noted),
        TEST(test_a_log_that_lost_records_is_told_and_nothing_is_dropped),
        TEST(test_an_interaction_is_executed_once),
        TEST(test_answers_an_error_to_every_truncated_body),
    };
    if (getenv("DEBUG"))
        log_set_level(LOG_LEVEL_DEBUG);
    return cmocka_run_group_tests_name("gateway/owner", tests, NULL, NULL);
}
