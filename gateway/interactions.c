#include "gateway/interactions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/retry.h"
#include "base/xmem.h"
#include "gateway/answering.h"
#include "messages/codec.h"
#include "messages/interaction.h"
#include "messages/snowflake.h"
#include "messages/subjects.h"

enum {
    FLIGHTS_MAX = 1000,
    TOKEN_SIZE = 512,
    PATH_SIZE = TOKEN_SIZE + 128,
    CALLBACK_MESSAGE = 4, /* Discord: callback types that make or change a message */
    CALLBACK_UPDATE = 7,
    ALREADY_ACKNOWLEDGED = 40060,
};

#define OUTCOME(name)                                                                              \
    METRIC_COUNTER_L("guildbus_gateway_interactions_total",                                        \
                     "interactions that came over the gateway, by how they ended",                 \
                     "outcome=\"" name "\"")
static struct metric answered = OUTCOME("answered"), errors = OUTCOME("error"),
                     deferred = OUTCOME("deferred"), late = OUTCOME("late");
static struct metric latency =
    METRIC_HISTOGRAM("guildbus_gateway_interaction_seconds",
                     "from an interaction's arrival to Discord taking its answer");

struct flight {
    struct interactions *all;
    uint64_t key, id, guild_id, application_id;
    enum interaction_type type;
    char token[TOKEN_SIZE];
    struct answering answering;
    struct interaction_place place;
    bool placed;         /* on_end was called */
    enum status refused; /* for good; OK: it was not */
    struct loop_timer *timer;
    int64_t began_us;
    char *callback; /* the owner's; NULL: none yet */
    void *request;  /* the encoded question */
    size_t request_size;
};
struct interactions {
    struct interactions_config config;
    struct idmap *flights;
    uint64_t last_key;
};

static void run(struct flight *f, enum answering_input input);

/* ---- life of one ---- */

static void flight_free(struct flight *f)
{
    idmap_remove(f->all->flights, f->key);
    loop_timer_free(f->timer);
    free(f->callback);
    free(f->request);
    free(f);
}

static void tell_end(struct flight *f, bool store)
{
    if (f->placed)
        return;
    f->placed = true;
    f->place.on_end(f->place.ctx, f->place.place, store);
}

static void flight_end(struct flight *f, struct metric *outcome)
{
    metric_add(outcome, 1);
    metric_observe_us(&latency, clock_now_us() - f->began_us);
    if (outcome == &late || outcome == &deferred)
        log_warn(outcome == &late ? "interaction_late" : "interaction_deferred",
                 "guild=%" PRIu64 " interaction=%" PRIu64 " type=%d", f->guild_id, f->id,
                 (int)f->type);
    tell_end(f, false);
    flight_free(f);
}

/* ---- the owner ---- */

static enum answering_input on_error(struct flight *f, const Guildbus__V1__Error *e)
{
    if (retry_is_worth((enum status)e->status))
        return ANSWERING_ON_REFUSED;
    log_warn("interaction_refused", "guild=%" PRIu64 " interaction=%" PRIu64 " error=%s",
             f->guild_id, f->id, LOG_QUOTE(e->text));
    f->refused = e->status == STATUS_OK ? STATUS_INTERNAL : (enum status)e->status;
    return ANSWERING_ON_ERROR;
}

static bool has_message(const char *callback)
{
    CLEANUP(json_decref) json_t *root = NULL;

    if (json_parse(callback, strlen(callback), &root, NULL) != STATUS_OK)
        return false;
    int64_t type = json_int(root, "type", 0);
    return (type == CALLBACK_MESSAGE || type == CALLBACK_UPDATE) &&
           json_is_object(json_object_get(root, "data"));
}

static enum answering_input read_reply(struct flight *f, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *e = NULL;
    struct err err;

    if (codec_decode(in->data, in->size, arena, &e, &err) != STATUS_OK)
        return ANSWERING_ON_REFUSED;
    if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR)
        return on_error(f, e->error);
    if (e->body_case != GUILDBUS__V1__ENVELOPE__BODY_INTERACTION_REPLY ||
        e->interaction_reply->id != f->id || !*e->interaction_reply->callback_json)
        return ANSWERING_ON_REFUSED;
    free(f->callback);
    f->callback = xstrdup(e->interaction_reply->callback_json);
    f->answering.has_message = has_message(f->callback);
    return ANSWERING_ON_REPLY;
}

static void on_reply(void *ctx, uint64_t key, enum status status, const struct bus_in *in)
{
    struct interactions *all = ctx;
    struct flight *f = idmap_get(all->flights, key);

    if (!f || f->answering.phase != ANSWERING_ASKING)
        return; /* another try was faster, or it is deferred and comes again as an event */
    f->refused = status == STATUS_INVALID ? status : STATUS_OK; /* over what the bus takes */
    if (status == STATUS_OK)
        run(f, read_reply(f, in));
    else
        run(f, f->refused != STATUS_OK ? ANSWERING_ON_ERROR : ANSWERING_ON_REFUSED);
}

static void ask(struct flight *f)
{
    struct subject subject = subject_interaction(f->guild_id);
    const struct bus_out out = { .subject = subject.text,
                                 .data = f->request,
                                 .size = f->request_size };

    bus_request(f->all->config.bus, &out,
                &(struct bus_waiter){ loop_mailbox(f->all->config.loop), on_reply, f->all, f->key,
                                      ANSWERING_DEFER_MS });
}

/* ---- Discord ---- */

static enum answering_input judge(const struct discord_answer *answer)
{
    CLEANUP(json_decref) json_t *body = NULL;

    if (answer->code >= 200 && answer->code < 300)
        return ANSWERING_ON_TAKEN;
    if (answer->code < 400 || answer->code >= 500 || answer->code == 429)
        return ANSWERING_ON_FAILED;
    if (json_parse(answer->body, answer->size, &body, NULL) == STATUS_OK &&
        json_int(body, "code", 0) == ALREADY_ACKNOWLEDGED)
        return ANSWERING_ON_KNOWN;
    return ANSWERING_ON_DEAD;
}

static void on_answer(void *ctx, uint64_t key, const struct discord_answer *answer)
{
    struct interactions *all = ctx;
    struct flight *f = idmap_get(all->flights, key);

    if (f)
        run(f, judge(answer));
}

static void send_call(struct flight *f, const char *method, const char *path, const char *body)
{
    const struct discord_call call = { .method = method,
                                       .path = path,
                                       .body_json = body,
                                       .box = loop_mailbox(f->all->config.loop),
                                       .on_done = on_answer,
                                       .ctx = f->all,
                                       .tag = f->key };

    discord_rest_send(f->all->config.rest, &call);
}

static void post(struct flight *f, const char *callback)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "/interactions/%" PRIu64 "/%s/callback", f->id, f->token);
    send_call(f, "POST", path, callback);
}

static void post_answer(struct flight *f)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);

    const char *refusal = interaction_message(f->type, interaction_error_text(f->refused), arena);

    must(refusal); /* it is short */
    post(f, f->callback ? f->callback : refusal);
}

static void post_deferral(struct flight *f)
{
    post(f, interaction_deferral(f->type));
}

static void patch(struct flight *f)
{
    CLEANUP(json_decref) json_t *root = NULL;
    char path[PATH_SIZE];

    must(json_parse(f->callback, strlen(f->callback), &root, NULL) == STATUS_OK);
    CLEANUP(xfree) char *data = json_text(json_object_get(root, "data"));
    (void)snprintf(path, sizeof(path), "/webhooks/%" PRIu64 "/%s/messages/@original",
                   f->application_id, f->token);
    send_call(f, "PATCH", path, data);
}

/* ---- deciding ---- */

/* f may be gone afterwards. */
static void run(struct flight *f, enum answering_input input)
{
    int64_t now = clock_now_ms();

    switch (answering_step(&f->answering, input, now)) {
    case ANSWERING_WAIT:
        break;
    case ANSWERING_ASK:
        ask(f);
        break;
    case ANSWERING_POST:
        post_answer(f);
        break;
    case ANSWERING_DEFER:
        tell_end(f, true);
        post_deferral(f);
        break;
    case ANSWERING_POST_DEFERRAL:
        post_deferral(f);
        break;
    case ANSWERING_PATCH:
        patch(f);
        break;
    case ANSWERING_ANSWERED:
        flight_end(f, f->refused != STATUS_OK ? &errors : &answered);
        return;
    case ANSWERING_DEFERRED:
        flight_end(f, &deferred);
        return;
    case ANSWERING_STORE:
        tell_end(f, true);
        flight_end(f, &deferred);
        return;
    case ANSWERING_LATE:
        flight_end(f, &late);
        return;
    }
    int64_t wake = answering_wake_ms(&f->answering);
    if (wake == INT64_MAX)
        loop_timer_stop(f->timer);
    else
        loop_timer_start(f->timer, wake - now);
}

static void on_time(void *ctx)
{
    run(ctx, ANSWERING_ON_TIME);
}

/* ---- the beginning ---- */

static bool encode(struct flight *f, const struct frame *frame)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(frame->d.size * 3 + 4096);
    Guildbus__V1__Interaction body;
    Guildbus__V1__Envelope e;
    void *data = NULL;
    char *text = arena_alloc(arena, frame->d.size + 1);

    if (!text)
        return false;
    memcpy(text, frame->d.at, frame->d.size);
    text[frame->d.size] = '\0';
    guildbus__v1__interaction__init(&body);
    guildbus__v1__envelope__init(&e);
    body.id = f->id;
    body.guild_id = f->guild_id;
    body.payload_json = text;
    body.received_ms = clock_wall_ms();
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_INTERACTION;
    e.interaction = &body;
    if (codec_encode(&e, arena, &data, &f->request_size, NULL) != STATUS_OK)
        return false;
    f->request = xmemdup(data, f->request_size);
    return true;
}

/* False: it has no id, type or token, or one that no path may have. */
static bool read_head(struct flight *f, const struct frame *frame)
{
    f->id = frame->id;
    f->guild_id = frame->guild_id;
    uint64_t type = scan_id(scan_member(frame->d, "type"));
    f->application_id = scan_id(scan_member(frame->d, "application_id"));
    f->type = (enum interaction_type)type;
    return f->id && f->application_id && type >= INTERACTION_COMMAND && type <= INTERACTION_MODAL &&
           scan_text(scan_member(frame->d, "token"), f->token, sizeof(f->token)) && *f->token &&
           !strpbrk(f->token, "/?#% ");
}

bool interactions_would_take(const struct interactions *all, const struct frame *frame)
{
    struct flight head = { .id = 0 };

    return idmap_count(all->flights) < FLIGHTS_MAX && read_head(&head, frame);
}

void interactions_take(struct interactions *all, const struct frame *frame,
                       const struct interaction_place *place)
{
    struct flight *f = xcalloc(1, sizeof(*f));

    must(read_head(f, frame));
    f->all = all;
    f->key = ++all->last_key;
    f->place = *place;
    f->began_us = clock_now_us();
    f->timer = loop_timer_new(all->config.loop, on_time, f);
    idmap_put(all->flights, f->key, f);
    answering_init(&f->answering, f->type != INTERACTION_AUTOCOMPLETE,
                   clock_wall_ms() - snowflake_ms(f->id), clock_now_ms());
    if (!encode(f, frame)) /* the event that it would become was made of the same bytes */
        f->refused = STATUS_INVALID;
    run(f, f->refused != STATUS_OK ? ANSWERING_ON_ERROR : ANSWERING_ON_START);
}

struct forget {
    const void *ctx;
};

static void forget_one(void *ctx, uint64_t key UNUSED, void *value)
{
    const struct forget *which = ctx;
    struct flight *f = value;

    if (!which->ctx || f->place.ctx == which->ctx)
        flight_free(f);
}

void interactions_forget(struct interactions *all, const void *ctx)
{
    struct forget which = { ctx };

    idmap_each(all->flights, forget_one, &which);
}

size_t interactions_count(const struct interactions *all)
{
    return idmap_count(all->flights);
}

struct interactions *interactions_new(const struct interactions_config *config)
{
    struct interactions *all = xcalloc(1, sizeof(*all));

    all->config = *config;
    all->flights = idmap_new();
    return all;
}

void interactions_free(struct interactions *all)
{
    if (!all)
        return;
    interactions_forget(all, NULL);
    idmap_free(all->flights);
    free(all);
}
