/* town.h - two owners on one real NATS, with the test as their coordinator and as the edge. */
#ifndef TESTS_TOWN_H
#define TESTS_TOWN_H

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
#include "base/metrics.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "gateway/owner.h"
#include "messages/codec.h"
#include "messages/streams.h"
#include "messages/subjects.h"
#include "tests/unit/nats_auth.h"

enum { PATIENCE_MS = 20000 };

struct pod {
    char name[32], path[128];
    uint64_t incarnation;
    struct bus *bus;
    struct owner *owner;
};
struct town {
    struct bus *bus;
    struct mailbox *box;
    struct bus_sub *coordinator;
    char folder[64];
    uint64_t guild;
    int64_t snapshot_records;
    int64_t unseal_ms;         /* 0: 500 */
    struct discord_rest *rest; /* NULL: no REST calls */
    bool refuse_claims;
    int refused;
    struct pod pods[2];
    /* what the coordinator heard last */
    uint64_t claimed_epoch;
    char claimed_pod[65];
    int step;
};

/* ---- the coordinator's ear ---- */

static UNUSED void on_report(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope ok = GUILDBUS__V1__ENVELOPE__INIT, *e;
    Guildbus__V1__Ok nothing = GUILDBUS__V1__OK__INIT;
    Guildbus__V1__Error refusal = GUILDBUS__V1__ERROR__INIT;
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
    if (t->refuse_claims && e->body_case == GUILDBUS__V1__ENVELOPE__BODY_CLAIMED &&
        e->claimed->epoch == 1) {
        t->refused++;
        refusal.status = STATUS_CONFLICT;
        ok.body_case = GUILDBUS__V1__ENVELOPE__BODY_ERROR;
        ok.error = &refusal;
    }
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

static UNUSED json_t *ask(struct town *t, const char *subject, const char *body)
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
static UNUSED void order(struct town *t, int pod, const char *format, ...)
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
static UNUSED int64_t applied(struct town *t)
{
    CLEANUP(json_decref)
    json_t *answer = ask(t, subject_portal(t->guild).text, "{\"portal\":{\"overview\":{}}}");
    const json_t *reply = json_object_get(answer, "portalReply");

    return reply ? (int64_t)json_id(json_object_get(reply, "overview"), "eventsApplied") : -1;
}

static UNUSED void encode_event(struct town *t, const Guildbus__V1__Event *fields,
                                struct arena *arena, struct bus_out *out)
{
    Guildbus__V1__Event event = *fields;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    struct err err;
    void *data;

    event.guild_id = t->guild;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_EVENT;
    e.event = &event;
    assert_int_equal(codec_encode(&e, arena, &data, &out->size, &err), STATUS_OK);
    out->data = data;
}

static UNUSED char *message_json(struct town *t, uint64_t message_id, struct arena *arena)
{
    return arena_printf(arena,
                        "{\"id\":\"%" PRIu64 "\",\"guild_id\":\"%" PRIu64
                        "\",\"channel_id\":\"7\",\"type\":0,\"content\":\"two words\","
                        "\"author\":{\"id\":\"9\",\"username\":\"n\"}}",
                        message_id, t->guild);
}

static UNUSED void publish_event(struct town *t, const Guildbus__V1__Event *event)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const struct subject subject = subject_event(t->guild);
    struct bus_out out = { .subject = subject.text };
    struct err err;
    size_t size;
    char *ack;

    encode_event(t, event, arena, &out);
    assert_int_equal(bus_request_wait(t->bus, &out, 5000, &ack, &size, &err), STATUS_OK);
    assert_non_null(strstr(ack, "\"seq\""));
    free(ack);
}

static UNUSED void publish_of(struct town *t, uint64_t message_id, const char *session,
                              uint64_t seq)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Event event = GUILDBUS__V1__EVENT__INIT;

    event.type = mutable_text("MESSAGE_CREATE");
    event.session = mutable_text(session);
    event.seq = seq;
    event.payload_json = message_json(t, message_id, arena);
    publish_event(t, &event);
}

static UNUSED void publish_message(struct town *t, uint64_t message_id)
{
    publish_of(t, message_id, "", 0);
}

/* /setup with this mod log, as Discord sends it. */
static UNUSED char *setup_json(struct town *t, uint64_t id, const char *mod_log)
{
    return xasprintf(
        "{\"id\":\"%" PRIu64 "\",\"token\":\"t\",\"type\":2,\"guild_id\":\"%" PRIu64
        "\",\"member\":{\"user\":{\"id\":\"9\",\"username\":\"n\"},\"permissions\":\"8\"},\"data\":{\"id\":\"1\","
        "\"name\":\"setup\",\"type\":1,\"options\":[{\"name\":\"modlog\",\"type\":7,\"value\":\"%s\"},"
        "{\"name\":\"moderator\",\"type\":8,\"value\":\"54321\"}]}}",
        id, t->guild, mod_log);
}

/* … and as the edge sends it on, by protobuf-JSON. */
static UNUSED char *setup_request(struct town *t, uint64_t id, const char *mod_log)
{
    CLEANUP(xfree) char *json = setup_json(t, id, mod_log);

    return xasprintf("{\"interaction\":{\"id\":\"%" PRIu64 "\",\"payload_json\":%s}}", id, json);
}

/* "": none is set. */
static UNUSED void assert_mod_log(struct town *t, const char *expected)
{
    CLEANUP(json_decref)
    json_t *settings = ask(t, subject_portal(t->guild).text, "{\"portal\":{\"settings\":{}}}");
    const json_t *reply = json_object_get(json_object_get(settings, "portalReply"), "settings");

    assert_non_null(reply);
    assert_string_equal(json_str(json_object_get(reply, "settingsJson"), "modLog"), expected);
}

/* ---- pods ---- */

static UNUSED void on_failed(void *ctx UNUSED, const char *why)
{
    (void)fprintf(stderr, "owner failed: %s\n", why);
    abort();
}

static UNUSED void pod_start(struct town *t, int n, const char *name)
{
    struct pod *p = &t->pods[n];
    struct err err = { 0 };

    (void)snprintf(p->name, sizeof(p->name), "%s", name);
    (void)snprintf(p->path, sizeof(p->path), "%s/%s.sqlite3", t->folder, name);
    const struct bus_config bus = { .url = getenv("NATS_URL"),
                                    .name = name,
                                    .inbox_prefix = SUBJECT_INBOX_GATEWAY,
                                    .auth = test_nats_auth() };
    assert_int_equal(bus_open(&bus, &p->bus, &err), STATUS_OK);
    p->incarnation = sign_random_u64();
    const struct owner_config config = { .bus = p->bus,
                                         .path = p->path,
                                         .pod = p->name,
                                         .incarnation = p->incarnation,
                                         .application_id = "1",
                                         .portal_url = "",
                                         .rest = t->rest,
                                         .has_coordinator = true,
                                         .unseal_ms = t->unseal_ms ? t->unseal_ms : 500,
                                         .snapshot_records = t->snapshot_records,
                                         .on_failed = on_failed };
    assert_int_equal(owner_new(&config, &p->owner, &err), STATUS_OK);
    owner_set_lease(p->owner, clock_now_ms() + 3600 * 1000);
    assert_int_equal(owner_start(p->owner, &err), STATUS_OK);
    assert_int_equal(bus_flush(p->bus, 2000, &err), STATUS_OK);
}

static UNUSED void pod_stop(struct town *t, int n)
{
    struct pod *p = &t->pods[n];

    if (!p->owner)
        return;
    owner_stop(p->owner, 0);
    bus_close(p->bus);
    owner_free(p->owner);
    *p = (struct pod){ 0 };
}

/* wanted: how the pods are to be. */
static UNUSED int town_open_as(void **state, const struct town *wanted)
{
    struct town *t = xmemdup(wanted, sizeof(*wanted));
    const struct bus_config config = { .url = test_nats_url(),
                                       .name = "test",
                                       .inbox_prefix = SUBJECT_INBOX_EDGE };
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

static UNUSED int town_open_with(void **state, int64_t snapshot_records)
{
    return town_open_as(state, &(struct town){ .snapshot_records = snapshot_records });
}

static UNUSED int town_open(void **state)
{
    return town_open_with(state, 128);
}

static UNUSED int town_close(void **state)
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

static UNUSED void own(struct town *t, int pod, uint64_t epoch)
{
    order(t, pod,
          "{\"control\":{\"own\":{\"guildId\":\"%" PRIu64 "\",\"epoch\":\"%" PRIu64
          "\",\"reason\":1}}}",
          t->guild, epoch);
    WAIT_FOR(t, t->claimed_epoch == epoch);
}

static UNUSED void be_standby(struct town *t, int pod)
{
    order(t, pod, "{\"control\":{\"warm\":{\"guildId\":\"%" PRIu64 "\",\"standby\":true}}}",
          t->guild);
}

static UNUSED void move(struct town *t, int from, int to, uint64_t epoch)
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

/* ---- the log, as it is written ---- */

enum { MOST_RECORDS = 32 };

struct tail {
    struct bus_sub *sub;
    size_t count;
    struct {
        Guildbus__V1__LogRecord__KindCase kind;
        uint64_t epoch;
    } records[MOST_RECORDS];
};

static UNUSED void on_record(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct tail *tail = ctx;
    Guildbus__V1__Envelope *e;
    struct err err;

    assert_int_equal(codec_decode(in->data, in->size, arena, &e, &err), STATUS_OK);
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_RECORD);
    assert_true(tail->count < MOST_RECORDS);
    tail->records[tail->count].kind = e->record->kind_case;
    tail->records[tail->count++].epoch = e->record->epoch;
}

static UNUSED void tail_open(struct town *t, struct tail *tail)
{
    const struct subject subject = subject_tail(t->guild);
    const struct bus_subscription what = { subject.text, NULL, t->box, on_record, tail, 0 };
    struct err err;

    assert_int_equal(bus_subscribe(t->bus, &what, &tail->sub, &err), STATUS_OK);
}

/* Where the epoch begins; 0: it has not. */
static UNUSED size_t tail_claim(const struct tail *tail, uint64_t epoch)
{
    for (size_t i = 0; i < tail->count; i++) {
        if (tail->records[i].epoch == epoch &&
            tail->records[i].kind == GUILDBUS__V1__LOG_RECORD__KIND_CLAIM)
            return i;
    }
    return 0;
}

/* filter NULL: all of the stream. */
static UNUSED void purge(struct town *t, const char *stream, const char *filter)
{
    CLEANUP(xfree) char *api = xasprintf("$JS.API.STREAM.PURGE.%s", stream);
    CLEANUP(xfree) char *body = filter ? xasprintf("{\"filter\":\"%s\"}", filter) : xstrdup("{}");
    const struct bus_out out = { .subject = api, .data = body, .size = strlen(body) };
    struct err err;
    char *data;
    size_t size;

    assert_int_equal(bus_request_wait(t->bus, &out, 5000, &data, &size, &err), STATUS_OK);
    free(data);
}

/* Of this process, which has both pods. */
static UNUSED int64_t metric(const char *name)
{
    char line[128];
    size_t size;
    CLEANUP(xfree) char *text = metrics_text(&size);

    (void)snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(text, line);
    return at ? strtoll(at + strlen(line), NULL, 10) : 0;
}

#endif
