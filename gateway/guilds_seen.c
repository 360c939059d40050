#include "gateway/guilds_seen.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/xmem.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    BATCH = 1000,
    BATCH_MS = 50,
    REQUEST_MS = 5000,
    RETRY_MS = 500,
    RETRY_MAX_MS = 10000,
    WAITING_MAX = 4 << 20, /* guilds; more than one bot has */
};

struct guilds_seen {
    struct loop *loop;
    struct bus *bus;
    const char *pod;
    struct loop_timer *timer;
    bool timer_runs, under_way, closed;
    int64_t retry_ms;
    uint64_t *ids; /* the first in_flight of them are on their way */
    size_t count, room, in_flight;
};

static void seen_destroy(struct guilds_seen *s)
{
    loop_timer_free(s->timer);
    free(s->ids);
    free(s);
}

static void start_timer(struct guilds_seen *s, int64_t ms)
{
    if (s->timer_runs || s->under_way || s->count == 0)
        return;
    s->timer_runs = true;
    loop_timer_start(s->timer, ms);
}

static void batch_done(struct guilds_seen *s)
{
    s->count -= s->in_flight;
    memmove(s->ids, s->ids + s->in_flight, s->count * sizeof(*s->ids));
    s->retry_ms = RETRY_MS;
    start_timer(s, s->count >= BATCH ? 0 : BATCH_MS);
}

static void batch_failed(struct guilds_seen *s, const char *why)
{
    log_warn("guilds_seen_unanswered", "guilds=%zu retry_ms=%" PRId64 " error=%s", s->count,
             s->retry_ms, LOG_QUOTE(why));
    start_timer(s, s->retry_ms);
    s->retry_ms = s->retry_ms * 2 < RETRY_MAX_MS ? s->retry_ms * 2 : RETRY_MAX_MS;
}

static void on_reply(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    struct guilds_seen *s = ctx;
    Guildbus__V1__Envelope *envelope = NULL;
    struct err err = { .text = "" };

    s->under_way = false;
    if (s->closed) {
        seen_destroy(s);
        return;
    }
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    if (status != STATUS_OK)
        batch_failed(s, status_name(status));
    else if (codec_decode(in->data, in->size, arena, &envelope, &err) != STATUS_OK)
        batch_failed(s, err.text);
    else if (envelope->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR)
        batch_failed(s, envelope->error->text);
    else if (envelope->body_case != GUILDBUS__V1__ENVELOPE__BODY_OK)
        batch_failed(s, "neither Ok nor Error");
    else
        batch_done(s);
}

static void send_batch(void *ctx)
{
    struct guilds_seen *s = ctx;
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__GuildsSeen body;
    Guildbus__V1__Envelope envelope;
    struct subject subject = subject_coordinator("guilds-seen");
    char pod[65];
    void *data = NULL;
    size_t size = 0;

    s->timer_runs = false;
    s->in_flight = s->count < BATCH ? s->count : BATCH;
    guildbus__v1__guilds_seen__init(&body);
    guildbus__v1__envelope__init(&envelope);
    (void)snprintf(pod, sizeof(pod), "%s", s->pod);
    body.pod = pod;
    body.guild_ids = s->ids;
    body.n_guild_ids = s->in_flight;
    envelope.body_case = GUILDBUS__V1__ENVELOPE__BODY_GUILDS_SEEN;
    envelope.guilds_seen = &body;
    must(codec_encode(&envelope, arena, &data, &size, NULL) == STATUS_OK);
    const struct bus_out out = { .subject = subject.text, .data = data, .size = size };
    s->under_way = true;
    bus_request(s->bus, &out,
                &(struct bus_waiter){ loop_mailbox(s->loop), on_reply, s, 0, REQUEST_MS });
}

void guilds_seen_add(struct guilds_seen *s, uint64_t guild_id)
{
    if (s->count >= WAITING_MAX)
        return;
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : BATCH;
        s->ids = xrealloc(s->ids, s->room * sizeof(*s->ids));
    }
    s->ids[s->count++] = guild_id;
    start_timer(s, BATCH_MS);
}

struct guilds_seen *guilds_seen_new(struct loop *loop, struct bus *bus, const char *pod)
{
    struct guilds_seen *s = xcalloc(1, sizeof(*s));

    *s = (struct guilds_seen){ .loop = loop, .bus = bus, .pod = pod, .retry_ms = RETRY_MS };
    s->timer = loop_timer_new(loop, send_batch, s);
    return s;
}

void guilds_seen_free(struct guilds_seen *s)
{
    if (!s)
        return;
    s->closed = true;
    loop_timer_stop(s->timer);
    if (!s->under_way)
        seen_destroy(s);
}
