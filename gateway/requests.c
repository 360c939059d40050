/* requests.c - interactions and portal requests on their way to the guild: served, held, forwarded
 * or refused.
 *
 *     guild.<id>.interaction ─┐            ┌─ SERVING ─────────▶ execute
 *     guild.<id>.portal ──────┼─▶ by state ┼─ about to serve ──▶ hold (bounded, 2 s)
 *     pod.<pod>.forward ──────┘            ├─ was the owner ───▶ pod.<peer>.forward, at most 2 hops
 *                                          └─ anything else ───▶ NOT_OWNER, the edge repeats */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/guild.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    HELD_COUNT = 1000,
    HELD_BYTES = 4 * 1024 * 1024,
    HELD_MS = 2000, /* after that the edge has deferred or repeated it */
    MAX_HOPS = 2,
    REQUEST_ARENA = 16 * 1024 * 1024,
};

static struct metric held_total =
    METRIC_COUNTER("guildbus_requests_held_total", "requests that waited for their guild");
static struct metric forwarded = METRIC_COUNTER("guildbus_requests_forwarded_total",
                                                "requests sent on to the guild's new owner");
static struct metric refused = METRIC_COUNTER("guildbus_requests_refused_total",
                                              "requests answered with an error of the owner");

/* ---- answers ---- */

void owner_respond(struct owner *o, const char *reply_to, bool json, const void *data, size_t size)
{
    const struct bus_in in = { .reply = reply_to };
    struct err err = { 0 };

    if (reply_to && bus_respond(o->bus, &in, data, size, json, &err) != STATUS_OK)
        log_warn("respond_failed", "text=\"%s\"", err.text);
}

void owner_respond_envelope(struct owner *o, const char *reply_to, bool json,
                            const Guildbus__V1__Envelope *e)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct err err = { 0 };
    void *data;
    size_t size;

    if (codec_encode_as(json, e, arena, &data, &size, &err) != STATUS_OK)
        log_warn("respond_failed", "text=\"%s\"", err.text);
    else
        owner_respond(o, reply_to, json, data, size);
}

void owner_respond_error(struct owner *o, const char *reply_to, bool json, enum status status,
                         const char *text)
{
    Guildbus__V1__Error error = GUILDBUS__V1__ERROR__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    union {
        const char *constant;
        char *generated; /* protobuf-c's structs are not const-correct */
    } t = { .constant = text };

    error.status = (uint32_t)status;
    error.text = t.generated;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_ERROR;
    e.error = &error;
    metric_add(&refused, 1);
    owner_respond_envelope(o, reply_to, json, &e);
}

/* ---- holding ---- */

static void hold(struct guild *g, const struct request *r)
{
    if (g->held_count >= HELD_COUNT || g->held_bytes + r->size > HELD_BYTES) {
        owner_respond_error(g->owner, r->reply_to, r->json, STATUS_BUSY,
                            "the guild is moving and its queue is full");
        return;
    }
    struct held *h = xcalloc(1, sizeof(*h) + r->size + 1);
    h->reply_to = r->reply_to ? xstrdup(r->reply_to) : NULL;
    h->json = r->json;
    h->portal = r->portal;
    h->hops = r->hops;
    h->until_ms = clock_now_ms() + HELD_MS;
    h->size = r->size;
    if (r->size)
        memcpy(h->body, r->body, r->size);
    *g->held_end = h;
    g->held_end = &h->next;
    g->held_count++;
    g->held_bytes += r->size;
    metric_add(&held_total, 1);
    owner_wake_in(g, HELD_MS);
}

static struct held *take_held(struct guild *g)
{
    struct held *all = g->held;

    g->held = NULL;
    g->held_end = &g->held;
    g->held_count = g->held_bytes = 0;
    return all;
}

static void held_free(struct held *h)
{
    free(h->reply_to);
    free(h);
}

void guild_release_held(struct guild *g)
{
    struct owner *o = g->owner;
    uint64_t id = g->id;

    for (struct held *h = take_held(g), *next; h; h = next) {
        const struct request r = { h->reply_to, h->json, h->portal, h->hops, h->body, h->size };
        next = h->next;
        guild_request(o, owner_guild(o, id), &r);
        held_free(h);
    }
}

void guild_expire_held(struct guild *g, int64_t now_ms)
{
    while (g->held && g->held->until_ms <= now_ms) {
        struct held *h = g->held;
        g->held = h->next;
        if (!g->held)
            g->held_end = &g->held;
        g->held_count--;
        g->held_bytes -= h->size;
        owner_respond_error(g->owner, h->reply_to, h->json, STATUS_TIMEOUT,
                            "the guild was not ready in time");
        held_free(h);
    }
}

void guild_drop_held(struct guild *g)
{
    for (struct held *h = take_held(g), *next; h; h = next) {
        next = h->next;
        owner_respond_error(g->owner, h->reply_to, h->json, STATUS_NOT_OWNER,
                            "this pod does not own the guild");
        held_free(h);
    }
}

/* ---- forwarding ---- */

static void forward(struct guild *g, const struct request *r)
{
    Guildbus__V1__Forward f = GUILDBUS__V1__FORWARD__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    CLEANUP(arena_free) struct arena *arena = arena_new(REQUEST_ARENA);
    const struct subject subject = subject_forward(g->move.peer);
    struct err err = { 0 };
    struct bus_out out = { .subject = subject.text };
    void *data;

    f.guild_id = g->id;
    f.hops = r->hops + 1;
    f.reply_to = arena_strdup(arena, r->reply_to ? r->reply_to : "");
    f.json = r->json;
    f.portal = r->portal;
    f.body.data = arena_memdup(arena, r->body, r->size);
    f.body.len = r->size;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_FORWARD;
    e.forward = &f;
    enum status status = f.reply_to && (f.body.data || !r->size)
                             ? codec_encode(&e, arena, &data, &out.size, &err)
                             : STATUS_BUSY;
    if (status == STATUS_OK) {
        out.data = data;
        status = bus_publish(g->owner->bus, &out, &err);
    }
    if (status != STATUS_OK)
        owner_respond_error(g->owner, r->reply_to, r->json, STATUS_NOT_OWNER,
                            "the guild has moved");
    metric_add(&forwarded, 1);
}

void owner_on_forward(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(REQUEST_ARENA);
    struct owner *o = ctx;
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };

    enum status status = codec_decode(in->data, in->size, arena, &e, &err);
    if (status == STATUS_OK && e->body_case != GUILDBUS__V1__ENVELOPE__BODY_FORWARD)
        status = err_set(&err, STATUS_INVALID, "this subject takes an Envelope with forward");
    if (status != STATUS_OK) {
        log_warn("forward_broken", "text=%s next=skipped", LOG_QUOTE(err.text));
        owner_respond_error(o, in->reply, false, STATUS_INVALID, err.text);
        return;
    }
    const Guildbus__V1__Forward *f = e->forward;
    const struct request r = {
        *f->reply_to ? f->reply_to : NULL, f->json, f->portal, f->hops, f->body.data, f->body.len
    };
    guild_request(o, owner_guild(o, f->guild_id), &r);
}

/* ---- routing ---- */

static void serve(struct guild *g, const struct request *r)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(REQUEST_ARENA);
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };
    enum status status = codec_decode_as(r->json, r->body, r->size, arena, &e, &err);
    Guildbus__V1__Envelope__BodyCase want =
        r->portal ? GUILDBUS__V1__ENVELOPE__BODY_PORTAL : GUILDBUS__V1__ENVELOPE__BODY_INTERACTION;

    if (status == STATUS_OK && e->body_case != want)
        status = err_set(&err, STATUS_INVALID, "this subject takes an Envelope with %s",
                         r->portal ? "portal" : "interaction");
    if (status == STATUS_OK && guild_is_backlogged(g))
        status = err_set(&err, STATUS_BUSY, "the guild's log is behind");
    if (status != STATUS_OK)
        owner_respond_error(g->owner, r->reply_to, r->json, status, err.text);
    else
        guild_run_request(g, r, e, arena);
}

void guild_request(struct owner *o, struct guild *g, const struct request *r)
{
    enum guild_state state = g ? g->state : GUILD_WARM;

    if (state == GUILD_SERVING)
        serve(g, r);
    else if (state == GUILD_TAKING || state == GUILD_CLAIMING || state == GUILD_SEALING ||
             (state == GUILD_LOADING && g->claim_epoch))
        hold(g, r);
    else if ((state == GUILD_SEALED || state == GUILD_GONE) && *g->move.peer && r->hops < MAX_HOPS)
        forward(g, r);
    else
        owner_respond_error(o, r->reply_to, r->json, STATUS_NOT_OWNER,
                            "this pod does not own the guild");
}

static void on_request(struct owner *o, uint64_t guild_id, const struct bus_in *in, bool portal)
{
    const struct request r = { in->reply && *in->reply ? in->reply : NULL,
                               codec_is_json(bus_header_get(in, "Content-Type")),
                               portal,
                               0,
                               in->data,
                               in->size };

    guild_request(o, owner_guild(o, guild_id), &r);
}

static void on_interaction(void *ctx, uint64_t guild_id, const struct bus_in *in)
{
    on_request(ctx, guild_id, in, false);
}

static void on_portal(void *ctx, uint64_t guild_id, const struct bus_in *in)
{
    on_request(ctx, guild_id, in, true);
}

/* Always with a queue group: plain subscriptions can be hidden from other servers for good
 * (nats-server #8233). */
static void subscribe(struct guild *g, const struct subject *subject, bus_on_message on_message,
                      struct bus_sub **ret_sub)
{
    const struct bus_subscription what = { subject->text, "owner",  g->owner->box,
                                           on_message,    g->owner, g->id };
    struct err err = { 0 };

    if (!*ret_sub && bus_subscribe(g->owner->bus, &what, ret_sub, &err) != STATUS_OK)
        log_warn("subscribe_failed", "guild=%" PRIu64 " text=\"%s\"", g->id, err.text);
}

void guild_requests_start(struct guild *g)
{
    const struct subject interaction = subject_interaction(g->id), portal = subject_portal(g->id);

    subscribe(g, &interaction, on_interaction, &g->interactions);
    subscribe(g, &portal, on_portal, &g->portal);
}

/* What the server has sent by then is still answered, whatever the guild is here by then: somebody
 * waits for each of them. */
void guild_requests_stop(struct guild *g)
{
    bus_drain(&g->interactions);
    bus_drain(&g->portal);
}
