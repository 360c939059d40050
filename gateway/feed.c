/* feed.c - a guild's events, each once and in order.
 *
 *     feed (republished, live) ──seq, previous──▶ previous == last applied? ─yes─▶ apply
 *                                                        │ no: something is missing
 *                                                        ▼
 *     EVENTS (stream) ◀── next message of the subject after the last applied, up to the subject's last
 *
 * While it reads from the stream, live messages are only noted: the stream has them too. */
#include <inttypes.h>

#include "base/log.h"
#include "base/metrics.h"
#include "gateway/guild.h"
#include "gateway/js.h"
#include "messages/codec.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum { EVENT_ARENA = 16 * 1024 * 1024, FETCH_AGAIN_MS = 20 };

static struct metric gaps =
    METRIC_COUNTER("guildbus_feed_gaps_total", "times a guild's events were read from the stream");
static struct metric broken =
    METRIC_COUNTER("guildbus_events_broken_total", "events that are not an Envelope");

static void apply(struct guild *g, const void *data, size_t size, uint64_t seq)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(EVENT_ARENA);
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };
    enum status status = codec_decode(data, size, arena, &e, &err);

    if (status == STATUS_OK && e->body_case != GUILDBUS__V1__ENVELOPE__BODY_EVENT)
        status = err_set(&err, STATUS_INVALID, "not an event");
    if (status != STATUS_OK) {
        metric_add(&broken, 1);
        log_warn("event_broken", "guild=%" PRIu64 " seq=%" PRIu64 " text=\"%s\" next=skipped",
                 g->id, seq, err.text);
        guild_run_event(g, NULL, seq, arena);
        return;
    }
    guild_run_event(g, e->event, seq, arena);
}

/* What we heard of is not there: the replica that answered is behind, or the event has expired since. */
static void on_leaders_head(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(EVENT_ARENA);
    struct guild *g = owner_ask_take(ctx, serial);
    struct js_message m = { 0 };
    struct err err = { 0 };

    if (!g)
        return;
    g->fetching = false;
    if (g->state != GUILD_SERVING || !g->catching_up)
        return;
    if (status == STATUS_OK)
        status = js_parse_last(in, arena, &m, &err);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && m.seq <= g->event_seq))
        g->feed_head = g->event_seq;
    owner_wake_in(g, FETCH_AGAIN_MS); /* guild_on_time goes on */
}

static void ask_leader(struct guild *g)
{
    g->fetching = true;
    js_get_last(g->owner->bus, STREAM_EVENTS, subject_event(g->id).text,
                &(struct bus_waiter){ g->owner->box, on_leaders_head, g->owner, owner_ask_new(g),
                                      JS_TIMEOUT_MS });
}

static void on_fetched(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    struct js_message m = { 0 };
    struct err err = { 0 };

    if (!g)
        return;
    g->fetching = false;
    if (g->state != GUILD_SERVING || !g->catching_up)
        return;
    if (status == STATUS_OK)
        status = js_parse_next(in, &m, &err);
    if (status == STATUS_OK && m.seq > g->event_seq) {
        apply(g, m.data, m.size, m.seq);
        guild_catch_up(g);
    } else if (status == STATUS_NOT_FOUND) {
        ask_leader(g);
    } else {
        owner_wake_in(g, FETCH_AGAIN_MS);
    }
}

static void on_head(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    struct js_message m = { 0 };
    struct err err = { 0 };

    if (!g)
        return;
    g->fetching = false;
    if (g->state != GUILD_SERVING || !g->catching_up)
        return;
    if (status == STATUS_OK)
        status = js_parse_next(in, &m, &err);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        owner_wake_in(g, FETCH_AGAIN_MS);
        return;
    }
    if (m.seq > g->feed_head)
        g->feed_head = m.seq;
    g->head_known = true;
    guild_catch_up(g);
}

bool guild_on_event_read(struct guild *g, const struct bus_in *in, uint64_t seq)
{
    if (g->state != GUILD_SERVING || !g->catching_up)
        return false;
    if (seq > g->event_seq)
        apply(g, in->data, in->size, seq);
    return g->state == GUILD_SERVING;
}

void guild_on_event_batch_read(struct guild *g)
{
    if (guild_is_backlogged(g)) /* goes on when the log has taken some */
        g->fetching = false;
    else
        guild_reader_more(g);
}

void guild_on_event_read_end(struct guild *g, enum status status UNUSED)
{
    g->fetched_singly = 0;
    if (g->catching_up)
        guild_catch_up(g);
}

static void fetch(struct guild *g)
{
    g->fetching = true;
    if (g->reader) {
        guild_reader_more(g);
        return;
    }
    struct bus_waiter waiter = { g->owner->box, on_head, g->owner, 0, JS_TIMEOUT_MS };
    if (g->event_seq >= g->feed_head) {
        waiter.tag = owner_ask_new(g);
        js_get_head(g->owner->bus, STREAM_EVENTS, subject_event(g->id).text, &waiter);
        return;
    }
    if (++g->fetched_singly > READ_SINGLY) {
        guild_reader_open(g, READER_OF_EVENTS, g->event_seq + 1);
        return;
    }
    waiter.on_reply = on_fetched;
    waiter.tag = owner_ask_new(g);
    js_get_next(g->owner->bus, STREAM_EVENTS, subject_event(g->id).text, g->event_seq + 1, &waiter);
}

void guild_catch_up(struct guild *g)
{
    if (g->state != GUILD_SERVING)
        return;
    if (!g->catching_up)
        g->head_known = false;
    g->catching_up = true;
    if (g->fetching || guild_is_backlogged(g))
        return;
    if (!g->reader && g->head_known && g->event_seq >= g->feed_head) {
        g->catching_up = false; /* what is later comes live, and shows a gap if one is lost */
        g->fetched_singly = 0;
        return;
    }
    fetch(g);
}

static void on_feed(void *ctx, uint64_t guild_id, const struct bus_in *in)
{
    struct guild *g = owner_guild(ctx, guild_id);
    uint64_t seq, previous;

    if (!g || !js_republished(in, &seq, &previous))
        return;
    if (seq > g->feed_head)
        g->feed_head = seq;
    if (g->state != GUILD_SERVING || g->catching_up || seq <= g->event_seq)
        return;
    if (previous == g->event_seq && !guild_is_backlogged(g)) {
        apply(g, in->data, in->size, seq);
        return;
    }
    metric_add(&gaps, 1);
    guild_catch_up(g);
}

void guild_feed_start(struct guild *g)
{
    const struct subject subject = subject_feed(g->id);
    const struct bus_subscription what = { subject.text, NULL,     g->owner->box,
                                           on_feed,      g->owner, g->id };
    struct err err = { 0 };

    if (!g->feed && bus_subscribe(g->owner->bus, &what, &g->feed, &err) != STATUS_OK)
        log_warn("subscribe_failed", "guild=%" PRIu64 " text=\"%s\"", g->id, err.text);
}

void guild_feed_stop(struct guild *g)
{
    bus_unsubscribe(&g->feed);
    guild_reader_close(g);
    g->catching_up = false;
}
