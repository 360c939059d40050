#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "coordinator/api_forward.h"
#include "coordinator/state.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum { WHO_TIMEOUT_MS = 500, WHO_TRIES = 3 };

/* The request endpoints: verb of coordinator.<verb>, the body it takes, what handles it. A store
 * failure returned by the handler ends the leadership; what is wrong with the request is answered
 * by the handler. */
typedef enum status (*handler)(struct coordinator *c, const Guildbus__V1__Envelope *e,
                               struct caller *caller, struct err *err);

static enum status on_register(struct coordinator *c, const Guildbus__V1__Envelope *e,
                               struct caller *caller, struct err *err)
{
    return pods_register(c, e->register_pod, caller, err);
}

static enum status on_leave(struct coordinator *c, const Guildbus__V1__Envelope *e,
                            struct caller *caller, struct err *err)
{
    return pods_leave(c, e->leave, caller, err);
}

static enum status on_guilds_seen(struct coordinator *c, const Guildbus__V1__Envelope *e,
                                  struct caller *caller, struct err *err)
{
    return guilds_seen(c, e->guilds_seen, caller, err);
}

static enum status on_claimed(struct coordinator *c, const Guildbus__V1__Envelope *e,
                              struct caller *caller, struct err *err UNUSED)
{
    guilds_claimed(c, e->claimed, caller);
    return STATUS_OK;
}

static enum status on_move(struct coordinator *c, const Guildbus__V1__Envelope *e,
                           struct caller *caller, struct err *err UNUSED)
{
    handoffs_reported(c, e->move_report, caller);
    return STATUS_OK;
}

static enum status on_identify(struct coordinator *c, const Guildbus__V1__Envelope *e,
                               struct caller *caller, struct err *err)
{
    return shards_identify(c, e->identify, caller, err);
}

static enum status on_heartbeat(struct coordinator *c, const Guildbus__V1__Envelope *e,
                                struct caller *caller, struct err *err UNUSED)
{
    pods_heard(c, e->heartbeat, caller);
    return STATUS_OK;
}

static enum status on_api(struct coordinator *c, const Guildbus__V1__Envelope *e,
                          struct caller *caller, struct err *err UNUSED)
{
    api_forwarded(c, e->api_request, caller);
    return STATUS_OK;
}

static enum status on_who(struct coordinator *c, const Guildbus__V1__Envelope *e UNUSED,
                          struct caller *caller, struct err *err UNUSED)
{
    answer_ok(c, caller);
    return STATUS_OK;
}

static const struct endpoint {
    const char *verb; /* NULL: pod.*.heartbeat */
    const char *body;
    Guildbus__V1__Envelope__BodyCase body_case;
    handler handle;
} endpoints[] = {
    { "register", "register_pod", GUILDBUS__V1__ENVELOPE__BODY_REGISTER_POD, on_register },
    { "leave", "leave", GUILDBUS__V1__ENVELOPE__BODY_LEAVE, on_leave },
    { "guilds-seen", "guilds_seen", GUILDBUS__V1__ENVELOPE__BODY_GUILDS_SEEN, on_guilds_seen },
    { "claimed", "claimed", GUILDBUS__V1__ENVELOPE__BODY_CLAIMED, on_claimed },
    { "move", "move_report", GUILDBUS__V1__ENVELOPE__BODY_MOVE_REPORT, on_move },
    { "identify", "identify", GUILDBUS__V1__ENVELOPE__BODY_IDENTIFY, on_identify },
    { "api", "api_request", GUILDBUS__V1__ENVELOPE__BODY_API_REQUEST, on_api },
    { "who", "ok", GUILDBUS__V1__ENVELOPE__BODY_OK, on_who },
    { NULL, "heartbeat", GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT, on_heartbeat },
};

static struct metric refused_total = METRIC_COUNTER("guildbus_coordinator_bad_requests_total",
                                                    "bus requests whose body made no sense");

void answer(struct coordinator *c, struct caller *caller, const Guildbus__V1__Envelope *envelope)
{
    CLEANUP(arena_free) struct arena *arena = caller->reply ? arena_new(0) : NULL;
    struct err err = { 0 };
    void *data = NULL;
    size_t size = 0;

    if (!arena)
        return;
    const struct bus_in in = { .reply = caller->reply };
    if (codec_encode_as(caller->json, envelope, arena, &data, &size, &err) != STATUS_OK ||
        bus_respond(c->bus, &in, data, size, caller->json, &err) != STATUS_OK)
        log_warn("answer_failed", "text=%s next=the_pod_asks_again", LOG_QUOTE(err.text));
    free(caller->reply);
    caller->reply = NULL;
}

void answer_ok(struct coordinator *c, struct caller *caller)
{
    Guildbus__V1__Ok ok;
    Guildbus__V1__Envelope e;

    guildbus__v1__ok__init(&ok);
    guildbus__v1__envelope__init(&e);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_OK;
    e.ok = &ok;
    answer(c, caller, &e);
}

void answer_err(struct coordinator *c, struct caller *caller, const struct err *err)
{
    Guildbus__V1__Error error;
    Guildbus__V1__Envelope e;
    struct err copy = *err;

    guildbus__v1__error__init(&error);
    guildbus__v1__envelope__init(&e);
    error.status = (uint32_t)err->code;
    error.text = copy.text;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_ERROR;
    e.error = &error;
    answer(c, caller, &e);
}

static enum status decode(const struct endpoint *point, const struct bus_in *in,
                          struct arena *arena, Guildbus__V1__Envelope **ret_envelope,
                          struct err *err)
{
    bool json = codec_is_json(bus_header_get(in, "Content-Type"));

    TRY(codec_decode_as(json, in->data, in->size, arena, ret_envelope, err));
    if ((*ret_envelope)->body_case != point->body_case)
        return err_set(err, STATUS_INVALID, "this subject takes an Envelope with the body %s",
                       point->body);
    return STATUS_OK;
}

static void on_message(void *ctx, uint64_t tag, const struct bus_in *in)
{
    struct coordinator *c = ctx;
    const struct endpoint *point = &endpoints[tag];
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *envelope = NULL;
    struct err err = { 0 };
    struct caller caller = {
        .reply = in->reply && *in->reply ? xstrdup(in->reply) : NULL,
        .json = codec_is_json(bus_header_get(in, "Content-Type")),
    };

    if (decode(point, in, arena, &envelope, &err) != STATUS_OK) {
        metric_add(&refused_total, 1);
        log_debug("bad_request", "body=%s text=%s", point->body, LOG_QUOTE(err.text));
        answer_err(c, &caller, &err);
        return;
    }
    if (point->handle(c, envelope, &caller, &err) == STATUS_OK)
        return;
    answer_err(c, &caller, &err);
    step_down(c, &err);
}

/* The store lets one of its coordinators lead. Who answers here all the same has another store, and
 * two that place the same pods' guilds would undo each other's work. Who is subscribed and says
 * nothing, though it is asked again, is the leader before: it hangs. */
enum status requests_nobody_answers(struct coordinator *c, struct err *err)
{
    static const unsigned char ok_envelope[] = { 0xaa, 0x01,
                                                 0x00 }; /* Envelope{ok}: field 21, empty */
    const struct subject subject = subject_coordinator("who");
    const struct bus_out out = { .subject = subject.text,
                                 .data = ok_envelope,
                                 .size = sizeof(ok_envelope) };
    enum status status = STATUS_TIMEOUT;

    for (int i = 0; i < WHO_TRIES && status == STATUS_TIMEOUT; i++) {
        struct err quiet = { 0 };
        char *data = NULL;
        size_t size;
        status = bus_request_wait(c->bus, &out, WHO_TIMEOUT_MS, &data, &size, &quiet);
        free(data);
    }
    if (status != STATUS_OK)
        return STATUS_OK;
    return err_set(
        err, STATUS_CONFLICT,
        "another coordinator with a store of its own answers on this NATS: stop it, or give "
        "both the same DATABASE_URL");
}

/* A queue group of this process alone: a leader that hangs stays subscribed until NATS gives it up,
 * and in one group with its successor it would swallow every other heartbeat. What it gets in its
 * own it cannot store when it wakes. */
enum status requests_subscribe(struct coordinator *c, struct err *err)
{
    char queue[64];

    (void)snprintf(queue, sizeof(queue), "coordinator-%016" PRIx64, sign_random_u64());
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        const struct subject subject =
            endpoints[i].verb ? subject_coordinator(endpoints[i].verb) : subject_heartbeat("*");
        const struct bus_subscription what = { subject.text, queue, c->box, on_message, c, i };
        TRY(bus_subscribe(c->bus, &what, &c->subs[i], err));
    }
    return bus_flush(c->bus, 2000, err);
}

void requests_unsubscribe(struct coordinator *c)
{
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        bus_unsubscribe(&c->subs[i]);
}
