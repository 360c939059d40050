/* needs: nats
 *
 * Two owners on one real NATS, with this test as their coordinator and as the edge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "gateway/owner.h"
#include "messages/codec.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum { PATIENCE_MS = 20000 };

struct pod {
    char name[32], path[128];
    struct bus *bus;
    struct owner *owner;
};
struct town {
    struct bus *bus;
    struct mailbox *box;
    struct bus_sub *coordinator;
    char folder[64];
    uint64_t guild;
    struct pod pods[2];
    /* what the coordinator heard last */
    uint64_t claimed_epoch;
    char claimed_pod[65];
    int step;
};

/* ---- the coordinator's ear ---- */

static void on_report(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope ok = GUILDBUS__V1__ENVELOPE__INIT, *e;
    Guildbus__V1__Ok nothing = GUILDBUS__V1__OK__INIT;
    struct town *t = ctx;
    struct err err;
    void *data;
    size_t size;

    assert_int_equal(codec_decode(in->data, in->size, arena, &e, &err), STATUS_OK);
    if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY_CLAIMED && e->claimed->guild_id == t->guild) {
        t->claimed_epoch = e->claimed->epoch;
        (void)snprintf(t->claimed_pod, sizeof(t->claimed_pod), "%s", e->claimed->pod);
    } else if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY_MOVE_REPORT) {
        t->step = (int)e->move_report->step;
    }
    ok.body_case = GUILDBUS__V1__ENVELOPE__BODY_OK;
    ok.ok = &nothing;
    assert_int_equal(codec_encode(&ok, arena, &data, &size, &err), STATUS_OK);
    assert_int_equal(bus_respond(t->bus, in, data, size, false, &err), STATUS_OK);
}

/* Reads letters until what() holds. */
#define WAIT_FOR(town, what)                                                                       \
    do {                                                                                           \
        int64_t until_ms_ = clock_now_ms() + PATIENCE_MS;                                          \
        while (!(what)) {                                                                          \
            if (clock_now_ms() > until_ms_)                                                        \
                fail_msg("waited in vain for %s", #what);                                          \
            mailbox_drain((town)->box, NULL);                                                      \
            usleep(2000);                                                                          \
        }                                                                                          \
    } while (0)

/* ---- asking by protobuf-JSON, as `nats req` does ---- */

static json_t *ask(struct town *t, const char *subject, const char *body)
{
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    const struct bus_out out = { subject, NULL, body, strlen(body), &as_json, 1 };
    struct err err = { 0 };
    char *data;
    size_t size;
    json_t *root = NULL;

    if (bus_request_wait(t->bus, &out, 5000, &data, &size, &err) != STATUS_OK)
        return json_pack("{s:s}", "unanswered", err.text);
    assert_int_equal(json_parse(data, size, &root, &err), STATUS_OK);
    free(data);
    return root;
}

static void order(struct town *t, int pod, const char *format, ...) PRINTF(3, 4);
static void order(struct town *t, int pod, const char *format, ...)
{
    char body[512];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(body, sizeof(body), format, ap);
    va_end(ap);
    CLEANUP(json_decref) json_t *answer = ask(t, subject_control(t->pods[pod].name).text, body);
    if (!json_object_get(answer, "controlReply"))
        fail_msg("order %s: %s", body, json_text(answer));
    assert_int_equal(json_int(json_object_get(answer, "controlReply"), "status", 0), 0);
}

/* events_applied by the portal's overview; -1: nobody answered it. */
static int64_t applied(struct town *t)
{
    CLEANUP(json_decref)
    json_t *answer = ask(t, subject_portal(t->guild).text, "{\"portal\":{\"overview\":{}}}");
    const json_t *reply = json_object_get(answer, "portalReply");

    return reply ? (int64_t)json_id(json_object_get(reply, "overview"), "eventsApplied") : -1;
}

static void publish_of(struct town *t, uint64_t message_id, const char *session, uint64_t seq)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Event event = GUILDBUS__V1__EVENT__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_event(t->guild);
    struct bus_out out = { .subject = subject.text };
    char type[] = "MESSAGE_CREATE", *ack;
    size_t ack_size;
    struct err err;
    void *data;

    event.guild_id = t->guild;
    event.type = type;
    event.session = arena_strdup(arena, session);
    event.seq = seq;
    event.payload_json =
        arena_printf(arena,
                     "{\"id\":\"%" PRIu64 "\",\"guild_id\":\"%" PRIu64
                     "\",\"channel_id\":\"7\",\"type\":0,\"content\":\"two words\","
                     "\"author\":{\"id\":\"9\",\"username\":\"n\"}}",
                     message_id, t->guild);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_EVENT;
    e.event = &event;
    assert_int_equal(codec_encode(&e, arena, &data, &out.size, &err), STATUS_OK);
    out.data = data;
    assert_int_equal(bus_request_wait(t->bus, &out, 5000, &ack, &ack_size, &err), STATUS_OK);
    assert_non_null(strstr(ack, "\"seq\""));
    free(ack);
}

static void publish_message(struct town *t, uint64_t message_id)
{
    publish_of(t, message_id, "", 0);
}

/* ---- pods ---- */

static void on_failed(void *ctx UNUSED, const char *why)
{
    (void)fprintf(stderr, "owner failed: %s\n", why);
    abort();
}

static void pod_start(struct town *t, int n, const char *name)
{
    struct pod *p = &t->pods[n];
    struct err err = { 0 };

    (void)snprintf(p->name, sizeof(p->name), "%s", name);
    (void)snprintf(p->path, sizeof(p->path), "%s/%s.sqlite3", t->folder, name);
    const struct bus_config bus = { .url = getenv("NATS_URL"), .name = name };
    assert_int_equal(bus_open(&bus, &p->bus, &err), STATUS_OK);
    const struct owner_config config = { .bus = p->bus,
                                         .path = p->path,
                                         .pod = p->name,
                                         .incarnation = sign_random_u64(),
                                         .application_id = "1",
                                         .portal_url = "",
                                         .has_coordinator = true,
                                         .unseal_ms = 500,
                                         .on_failed = on_failed };
    assert_int_equal(owner_new(&config, &p->owner, &err), STATUS_OK);
    owner_set_lease(p->owner, clock_now_ms() + 3600 * 1000);
    assert_int_equal(owner_start(p->owner, &err), STATUS_OK);
    assert_int_equal(bus_flush(p->bus, 2000, &err), STATUS_OK);
}

static void pod_stop(struct town *t, int n)
{
    struct pod *p = &t->pods[n];

    if (!p->owner)
        return;
    owner_stop(p->owner, 0);
    owner_free(p->owner);
    bus_close(p->bus);
    *p = (struct pod){ 0 };
}

static int town_open(void **state)
{
    struct town *t = xcalloc(1, sizeof(*t));
    const struct bus_config config = { .url = getenv("NATS_URL"), .name = "test" };
    const struct streams_config streams = { .replicas = 1, .events_hours = 1 };
    struct err err = { 0 };

    if (!config.url) {
        (void)fprintf(stderr, "NATS_URL is not set: run through tests/run_with_nats.sh\n");
        return -1;
    }
    (void)snprintf(t->folder, sizeof(t->folder), "/tmp/guildbus-owner-XXXXXX");
    assert_non_null(mkdtemp(t->folder));
    t->guild = sign_random_u64() >> 2;
    assert_int_equal(mailbox_new(1000, &t->box, &err), STATUS_OK);
    assert_int_equal(bus_open(&config, &t->bus, &err), STATUS_OK);
    assert_int_equal(streams_ensure(t->bus, &streams, &err), STATUS_OK);
    const struct subject all = subject_coordinator("*");
    const struct bus_subscription what = { all.text, NULL, t->box, on_report, t, 0 };
    assert_int_equal(bus_subscribe(t->bus, &what, &t->coordinator, &err), STATUS_OK);
    pod_start(t, 0, "alpha");
    pod_start(t, 1, "beta");
    *state = t;
    return 0;
}

static int town_close(void **state)
{
    struct town *t = *state;
    static const char *const files[] = { "alpha.sqlite3", "alpha.sqlite3-wal", "alpha.sqlite3-shm",
                                         "beta.sqlite3",  "beta.sqlite3-wal",  "beta.sqlite3-shm" };
    char path[128];

    pod_stop(t, 0);
    pod_stop(t, 1);
    bus_unsubscribe(&t->coordinator);
    bus_close(t->bus);
    mailbox_free(t->box);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", t->folder, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(t->folder);
    free(t);
    return 0;
}

static void own(struct town *t, int pod, uint64_t epoch)
{
    order(t, pod,
          "{\"control\":{\"own\":{\"guildId\":\"%" PRIu64 "\",\"epoch\":\"%" PRIu64
          "\",\"reason\":1}}}",
          t->guild, epoch);
    WAIT_FOR(t, t->claimed_epoch == epoch);
}

static void move(struct town *t, int from, int to, uint64_t epoch)
{
    t->step = 0;
    order(t, to,
          "{\"control\":{\"warm\":{\"moveId\":\"1\",\"guildId\":\"%" PRIu64
          "\",\"source\":\"%s\"}}}",
          t->guild, t->pods[from].name);
    WAIT_FOR(t, t->step == GUILDBUS__V1__MOVE_STEP__MOVE_WARM);
    order(t, to,
          "{\"control\":{\"take\":{\"moveId\":\"1\",\"guildId\":\"%" PRIu64
          "\",\"epoch\":\"%" PRIu64 "\",\"unsealEpoch\":\"%" PRIu64 "\",\"source\":\"%s\"}}}",
          t->guild, epoch, epoch + 1, t->pods[from].name);
    WAIT_FOR(t, t->claimed_epoch == epoch);
    assert_string_equal(t->claimed_pod, t->pods[to].name);
}

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
    char body[512];

    own(t, 0, 1);
    (void)snprintf(
        body, sizeof(body),
        "{\"interaction\":{\"id\":\"77\",\"payload_json\":{\"id\":\"77\",\"token\":\"t\",\"type\":2,\"guild_id\":\"%" PRIu64
        "\",\"member\":{\"user\":{\"id\":\"9\",\"username\":\"n\"},\"permissions\":\"8\"},\"data\":{\"id\":\"1\","
        "\"name\":\"setup\",\"type\":1,\"options\":[{\"name\":\"modlog\",\"type\":7,\"value\":\"12345\"},"
        "{\"name\":\"moderator\",\"type\":8,\"value\":\"54321\"}]}}}}",
        t->guild);
    CLEANUP(json_decref) json_t *first = ask(t, subject_interaction(t->guild).text, body);
    move(t, 0, 1, 2);
    CLEANUP(json_decref) json_t *again = ask(t, subject_interaction(t->guild).text, body);
    assert_non_null(json_object_get(json_object_get(first, "interactionReply"), "callbackJson"));
    assert_true(json_equal(first, again));
    CLEANUP(json_decref)
    json_t *settings = ask(t, subject_portal(t->guild).text, "{\"portal\":{\"settings\":{}}}");
    const json_t *reply = json_object_get(json_object_get(settings, "portalReply"), "settings");
    assert_string_equal(json_str(json_object_get(reply, "settingsJson"), "modLog"), "12345");
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, town_open, town_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_applies_events_from_before_and_after_its_claim),
        TEST(test_a_copy_in_the_stream_is_applied_once_also_after_a_move),
        TEST(test_a_guild_moves_there_and_back_while_events_come),
        TEST(test_a_pod_that_was_not_told_is_fenced_by_the_log),
        TEST(test_after_a_lost_lease_no_read_is_answered_by_who_was_replaced),
        TEST(test_a_foreign_message_in_the_log_stops_neither_owner_nor_successor),
        TEST(test_a_source_takes_back_what_nobody_claims),
        TEST(test_a_pod_that_restarts_reads_the_log_on_from_its_disk),
        TEST(test_a_guild_read_ahead_is_owned_only_when_ordered),
        TEST(test_an_interaction_is_executed_once),
        TEST(test_answers_an_error_to_every_truncated_body),
    };
    if (getenv("DEBUG"))
        log_set_level(LOG_LEVEL_DEBUG);
    return cmocka_run_group_tests_name("gateway/owner", tests, NULL, NULL);
}
