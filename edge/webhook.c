#include "edge/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/stage.h"
#include "edge/defer.h"
#include "edge/owner.h"
#include "messages/codec.h"
#include "messages/interaction.h"
#include "messages/subjects.h"

enum {
    ANSWER_BY_MS = 2700,   /* Discord waits 3 s from when it sent; the rest is for the way */
    STORE_REPEAT_MS = 150, /* an append to the stream takes a millisecond or two */
    FUTURE_WINDOW_S = 60,  /* how far Discord's clock may be ahead of ours */
};

struct flight {
    struct visit *v;
    struct interaction_head head;
    struct defer defer;
    struct loop_timer *timer;
    uint64_t ask, store;  /* keys, 0: none */
    const char *reply;    /* the owner's, as it is sent on */
    enum status error;    /* the owner's */
    struct bus_out event; /* for the stream; subject NULL: not begun, or the bus cannot carry it */
    struct subject interaction_subject, event_subject;
    char message_id[40];
    struct bus_header ask_headers[1], store_headers[2];
};

#define OUTCOME(name)                                                                              \
    METRIC_COUNTER_L("guildbus_edge_interactions_total", "interactions by how they ended",         \
                     "outcome=\"" name "\"")
static struct metric refused = OUTCOME("refused"), invalid = OUTCOME("invalid"),
                     ponged = OUTCOME("pong"), answered = OUTCOME("answered"),
                     errors = OUTCOME("error"), deferred = OUTCOME("deferred"),
                     failed = OUTCOME("failed");
static struct metric latency = METRIC_HISTOGRAM("guildbus_edge_interaction_seconds",
                                                "from an interaction's arrival to its answer");

/* --- the end --- */

static void flight_end(struct flight *f, struct metric *outcome, const char *json)
{
    struct visit *v = f->v;

    ask_cancel(v->edge->asks, f->ask);
    ask_cancel(v->edge->asks, f->store);
    loop_timer_free(f->timer);
    metric_add(outcome, 1);
    metric_observe_us(&latency, clock_now_us() - v->arrived_us);
    if (json)
        visit_respond_json(v, 200, json);
    else
        visit_respond_json(v, 500, "{}");
}

static void end_with_message(struct flight *f, struct metric *outcome, const char *text)
{
    const char *advice = arena_printf(f->v->arena, "%s (%.16s)", text, f->v->traceparent + 3);

    flight_end(f, outcome, interaction_message(f->head.type, advice ? advice : text, f->v->arena));
}

/* A refusal is the owner's good right; only what is broken is a warning. */
static void log_end(struct flight *f, const char *event, enum status why, const char *next)
{
    bool broken = why == STATUS_UNAVAILABLE || why == STATUS_CORRUPT || why == STATUS_INTERNAL;

    log_set_trace(f->v->traceparent);
    log_at(broken ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, __FILE__, __LINE__, event,
           "guild=%" PRIu64 " interaction=%" PRIu64 " type=%d status=%s next=%s", f->head.guild_id,
           f->head.id, (int)f->head.type, status_name(why), next);
    log_set_trace(NULL);
}

static void start_store(struct flight *f);

/* The stream has no leader just now, or NATS is away: the promise is made, and kept when it can be. */
static void defer_without_stream(struct flight *f)
{
    if (f->event.subject && lates_add(f->v->edge->lates, &f->event, f->head.id, f->head.guild_id)) {
        log_end(f, "interaction_deferred_unstored", STATUS_UNAVAILABLE, "store_when_nats_is_back");
        flight_end(f, &deferred, interaction_deferral(f->head.type));
        return;
    }
    log_end(f, "interaction_failed", STATUS_UNAVAILABLE, "tell_the_user");
    end_with_message(f, &failed,
                     "The bot did not answer in time, so it may or may not have been done. Please "
                     "look, and try again in a minute.");
}

static void flight_run(struct flight *f, enum defer_input input)
{
    int64_t now_ms = clock_now_ms();

    switch (defer_step(&f->defer, input, now_ms)) {
    case DEFER_STORE:
        start_store(f);
        loop_timer_start(f->timer, defer_wake_ms(&f->defer) - now_ms);
        return;
    case DEFER_WAIT:
        loop_timer_start(f->timer, defer_wake_ms(&f->defer) - now_ms);
        return;
    case DEFER_ANSWER_REPLY:
        flight_end(f, &answered, f->reply);
        return;
    case DEFER_ANSWER_ERROR:
        log_end(f, "interaction_refused", f->error, "tell_the_user");
        end_with_message(f, &errors, interaction_error_text(f->error));
        return;
    case DEFER_ANSWER_DEFERRAL:
        log_end(f, "interaction_deferred", STATUS_TIMEOUT, "complete_from_stream");
        flight_end(f, &deferred, interaction_deferral(f->head.type));
        return;
    case DEFER_ANSWER_FAILED:
        defer_without_stream(f);
        return;
    }
}

static void on_time(void *ctx)
{
    flight_run(ctx, DEFER_ON_TIME);
}

/* --- to the owner --- */

/* OK: f->reply is set. Anything else is the owner's refusal, or what is wrong with its answer. */
static enum status read_reply(struct flight *f, const struct bus_in *in)
{
    Guildbus__V1__Envelope *e = NULL;
    bool json = codec_is_json(bus_header_get(in, "Content-Type"));

    if (codec_decode_as(json, in->data, in->size, f->v->arena, &e, NULL) != STATUS_OK)
        return STATUS_CORRUPT;
    if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR)
        return owner_error(e->error);
    if (e->body_case != GUILDBUS__V1__ENVELOPE__BODY_INTERACTION_REPLY ||
        e->interaction_reply->id != f->head.id || !*e->interaction_reply->callback_json)
        return STATUS_CORRUPT;
    f->reply = e->interaction_reply->callback_json;
    return STATUS_OK;
}

static enum ask_verdict on_owner_answer(void *ctx, const struct bus_in *in)
{
    struct flight *f = ctx;
    enum status status = read_reply(f, in);

    if (retry_is_worth(status))
        return ASK_REFUSED;
    f->error = status;
    flight_run(f, status == STATUS_OK ? DEFER_ON_REPLY : DEFER_ON_ERROR);
    return ASK_DONE;
}

static void on_owner_silent(void *ctx, enum status why)
{
    struct flight *f = ctx;

    f->ask = 0;
    if (why != STATUS_INVALID)
        return; /* the timer decides */
    f->error = why;
    flight_run(f, DEFER_ON_ERROR);
}

static char *body_text(struct visit *v)
{
    size_t size;

    return mutable_text(http_body(v->x, &size));
}

static bool start_ask(struct flight *f)
{
    Guildbus__V1__Interaction body;
    Guildbus__V1__Envelope e;
    struct ask_call call = {
        .retry = { .repeat_ms = f->v->edge->config->repeat_ms,
                   .repeat_until_ms = f->defer.defer_at_ms,
                   .give_up_ms = f->defer.last_ms },
        .on_answer = on_owner_answer,
        .on_end = on_owner_silent,
        .ctx = f,
    };

    guildbus__v1__interaction__init(&body);
    guildbus__v1__envelope__init(&e);
    body.id = f->head.id;
    body.guild_id = f->head.guild_id;
    body.payload_json = body_text(f->v);
    body.received_ms = clock_wall_ms();
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_INTERACTION;
    e.interaction = &body;
    if (!owner_encode(&call.out, &e, f->v->arena))
        return false;
    call.out.subject = f->interaction_subject.text;
    call.out.headers = f->ask_headers;
    call.out.header_count = ARRAY_LEN(f->ask_headers);
    f->ask = ask_start(f->v->edge->asks, &call);
    return true;
}

/* --- to the stream --- */

static enum ask_verdict on_store_answer(void *ctx, const struct bus_in *in)
{
    CLEANUP(json_decref) json_t *ack = NULL;

    /* {"stream":"EVENTS","seq":7} or {"error":{…}}: the stream is full, or has no leader just now
     */
    if (json_parse(in->data, in->size, &ack, NULL) != STATUS_OK || json_object_get(ack, "error") ||
        json_int(ack, "seq", 0) <= 0)
        return ASK_REFUSED;
    flight_run(ctx, DEFER_ON_STORED);
    return ASK_DONE;
}

static void on_store_silent(void *ctx, enum status why)
{
    struct flight *f = ctx;

    f->store = 0;
    if (why == STATUS_INVALID)
        f->event.subject = NULL;
    flight_run(f, DEFER_ON_NOT_STORED);
}

static void start_store(struct flight *f)
{
    static char type[] = "INTERACTION_CREATE", session[] = "deferred";
    Guildbus__V1__Event body;
    Guildbus__V1__Envelope e;
    struct ask_call call = {
        .retry = { .repeat_ms = STORE_REPEAT_MS,
                   .repeat_until_ms = f->defer.last_ms,
                   .give_up_ms = f->defer.last_ms },
        .on_answer = on_store_answer,
        .on_end = on_store_silent,
        .ctx = f,
    };

    guildbus__v1__event__init(&body);
    guildbus__v1__envelope__init(&e);
    body.guild_id = f->head.guild_id;
    body.type = type;
    body.session = session;
    body.payload_json = body_text(f->v);
    body.received_ms = clock_wall_ms();
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_EVENT;
    e.event = &body;
    if (!owner_encode(&f->event, &e, f->v->arena))
        return; /* the timer says so */
    f->event.subject = f->event_subject.text;
    f->event.headers = f->store_headers;
    f->event.header_count = ARRAY_LEN(f->store_headers);
    call.out = f->event;
    f->store = ask_start(f->v->edge->asks, &call);
}

/* --- the beginning --- */

static void flight_start(struct visit *v, const struct interaction_head *head)
{
    struct flight *f = arena_alloc(v->arena, sizeof(*f));
    int64_t arrived_ms = v->arrived_us / 1000;

    if (!f) {
        visit_respond_json(v, 500, "{}");
        return;
    }
    f->v = v;
    f->head = *head;
    f->defer = (struct defer){ .is_storable = head->type != INTERACTION_AUTOCOMPLETE,
                               .defer_at_ms = arrived_ms + v->edge->config->defer_ms,
                               .last_ms = arrived_ms + ANSWER_BY_MS };
    f->interaction_subject = subject_interaction(head->guild_id);
    f->event_subject = subject_event(head->guild_id);
    snprintf(f->message_id, sizeof(f->message_id), "interaction:%" PRIu64, head->id);
    f->ask_headers[0] = (struct bus_header){ "traceparent", v->traceparent };
    f->store_headers[0] = f->ask_headers[0];
    f->store_headers[1] = (struct bus_header){ "Nats-Msg-Id", f->message_id };
    f->timer = loop_timer_new(v->edge->loop, on_time, f);
    if (!start_ask(f)) {
        f->error = STATUS_INVALID;
        flight_run(f, DEFER_ON_ERROR);
        return;
    }
    loop_timer_start(f->timer, defer_wake_ms(&f->defer) - clock_now_ms());
}

static bool is_signed(struct visit *v, const void *body, size_t size)
{
    const char *signature = http_header(v->x, "x-signature-ed25519");
    const char *timestamp = http_header(v->x, "x-signature-timestamp");

    return signature && timestamp &&
           timestamp_is_current(timestamp, edge_now_s(), v->edge->config->signature_window_s,
                                FUTURE_WINDOW_S) &&
           sign_verify(v->edge->public_key, signature, timestamp, body, size);
}

void webhook_on_request(struct visit *v)
{
    struct interaction_head head;
    struct err err;
    size_t size;
    const void *body = http_body(v->x, &size);

    int64_t began_us = clock_now_us();
    bool good = is_signed(v, body, size);
    stage_ends(STAGE_VERIFY, began_us);
    if (!good) {
        metric_add(&refused, 1);
        visit_respond(v, 401, NULL, "", 0);
        return;
    }
    if (interaction_parse(body, size, &head, &err) != STATUS_OK) {
        metric_add(&invalid, 1);
        visit_respond_json(v, 400,
                           "{\"error\":{\"status\":\"INVALID\",\"text\":\"not an interaction\"}}");
        return;
    }
    if (head.type == INTERACTION_PING) {
        metric_add(&ponged, 1);
        visit_respond_json(v, 200, "{\"type\":1}");
        return;
    }
    flight_start(v, &head);
}
