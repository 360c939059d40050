#include "gateway/shard_publish.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/stage.h"
#include "base/xmem.h"
#include "gateway/guild_cut.h"
#include "gateway/js.h"
#include "gateway/publish_window.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    ACK_MS = 5000,
    RETRY_MS = 100,
    RETRY_MAX_MS = 2000,
    HEADER_ROOM =
        512, /* of the bus's largest payload, for headers and the envelope's other fields */
    ARENA_EXTRA = 4096,
};

static struct metric published =
    METRIC_COUNTER("guildbus_events_published_total", "dispatches that JetStream has stored");
static struct metric duplicates = METRIC_COUNTER("guildbus_events_published_duplicate_total",
                                                 "dispatches that JetStream had already");
static struct metric repeated = METRIC_COUNTER("guildbus_events_publish_repeated_total",
                                               "publishes repeated for lack of an ack");
static struct metric too_large = METRIC_COUNTER(
    "guildbus_events_too_large_total", "dispatches over the bus's largest payload, skipped");
static struct metric latency =
    METRIC_HISTOGRAM("guildbus_event_publish_seconds", "from a dispatch received to its ack");

struct shard_publisher {
    struct shard_publisher_config config;
    struct window *window;
    struct loop_timer *retry_timer;
    bool retry_waits, closed;
    enum publish_mode mode;
    uint64_t drop_before; /* numbers of entries that others have published */
    int64_t retry_ms;
    int under_way;
    char session[SHARD_SESSION_SIZE];
};

/* What a window entry's data is: how to send it again. */
struct parcel {
    int64_t received_us, sent_us;
    bool deferred; /* an interaction that Discord was promised an answer to: never dropped */
    char message_id[SHARD_SESSION_SIZE + 24];
    size_t size;
    char body[]; /* Envelope */
};

static void on_ack(void *ctx, uint64_t tag, enum status status, const struct bus_in *in);

static void publisher_destroy(struct shard_publisher *p)
{
    loop_timer_free(p->retry_timer);
    window_free(p->window);
    free(p);
}

/* ---- sending ---- */

static void send_entry(struct shard_publisher *p, const struct window_entry *e)
{
    struct parcel *parcel = (void *)e->data;
    struct subject subject = subject_event(e->guild_id);
    const struct bus_header id = { "Nats-Msg-Id", parcel->message_id };
    const struct bus_out out = { .subject = subject.text,
                                 .data = parcel->body,
                                 .size = parcel->size,
                                 .headers = &id,
                                 .header_count = 1 };

    parcel->sent_us = clock_now_us();
    if (e->tries > 1)
        metric_add(&repeated, 1);
    else
        stage_took(STAGE_INGEST, parcel->sent_us - parcel->received_us);
    p->under_way++;
    bus_request(p->config.bus, &out,
                &(struct bus_waiter){ loop_mailbox(p->config.loop), on_ack, p, e->number, ACK_MS });
}

static bool is_dropped(const struct shard_publisher *p, const struct window_entry *e)
{
    return e->number < p->drop_before && !((const struct parcel *)(const void *)e->data)->deferred;
}

static void send_ready(struct shard_publisher *p)
{
    struct window_entry *e;
    while (p->mode != PUBLISH_KEEPS && (e = window_next(p->window)) != NULL) {
        if (is_dropped(p, e))
            window_acked(p->window, e);
        else
            send_entry(p, e);
    }
}

void shard_publisher_set_mode(struct shard_publisher *p, enum publish_mode mode)
{
    if (p->mode == mode)
        return;
    if (mode == PUBLISH_DROPS)
        p->drop_before = window_end(p->window);
    p->mode = mode;
    send_ready(p);
    p->config.on_progress(p->config.ctx);
}

enum publish_mode shard_publisher_mode(const struct shard_publisher *p)
{
    return p->mode;
}

bool shard_publisher_is_keeping(const struct shard_publisher *p)
{
    return p->mode == PUBLISH_KEEPS && p->under_way == 0 && !p->retry_waits;
}

static void on_retry(void *ctx)
{
    struct shard_publisher *p = ctx;

    p->retry_waits = false;
    window_retry(p->window);
    send_ready(p);
}

static void retry_later(struct shard_publisher *p, enum status status, const struct err *err)
{
    if (p->retry_waits)
        return;
    log_warn("event_publish_failed",
             "shard=%u status=%s retry_ms=%" PRId64 " waiting=%zu error=%s next=publish_again",
             p->config.shard, status_name(status), p->retry_ms, window_waiting(p->window),
             LOG_QUOTE(err->text));
    p->retry_waits = true;
    loop_timer_start(p->retry_timer, p->retry_ms);
    p->retry_ms = p->retry_ms * 2 < RETRY_MAX_MS ? p->retry_ms * 2 : RETRY_MAX_MS;
}

static void entry_stored(struct shard_publisher *p, struct window_entry *e, bool duplicate)
{
    const struct parcel *parcel = (const void *)e->data;

    int64_t now_us = clock_now_us();

    metric_observe_us(&latency, now_us - parcel->received_us);
    stage_took(STAGE_PUBLISH_ACK, now_us - parcel->sent_us);
    metric_add(&published, 1);
    if (duplicate)
        metric_add(&duplicates, 1);
    p->retry_ms = RETRY_MS;
    window_acked(p->window, e);
}

static void entry_refused(struct shard_publisher *p, struct window_entry *e, const struct err *err)
{
    const struct parcel *parcel = (const void *)e->data;

    metric_add(&too_large, 1);
    log_error("event_refused", "shard=%u guild=%" PRIu64 " id=%s bytes=%zu error=%s",
              p->config.shard, e->guild_id, parcel->message_id, parcel->size, LOG_QUOTE(err->text));
    window_acked(p->window, e);
}

static void on_ack(void *ctx, uint64_t tag, enum status status, const struct bus_in *in)
{
    struct shard_publisher *p = ctx;
    struct err err = { .code = status };
    uint64_t stream_seq;
    bool duplicate = false;

    p->under_way--;
    if (p->closed) {
        if (p->under_way == 0)
            publisher_destroy(p);
        return;
    }
    struct window_entry *e = window_find(p->window, tag);
    if (!e)
        return;
    if (status == STATUS_OK)
        status = js_parse_ack(in, &stream_seq, &duplicate, &err);
    if (status == STATUS_OK)
        entry_stored(p, e, duplicate);
    else if (status == STATUS_INVALID)
        entry_refused(p, e, &err);
    else {
        window_failed(p->window, e);
        retry_later(p, status, &err);
    }
    send_ready(p);
    p->config.on_progress(p->config.ctx);
}

/* ---- taking dispatches in ---- */

static bool is_for_the_bus(const struct frame *f)
{
    return strcmp(f->type, "READY") != 0 && strcmp(f->type, "RESUMED") != 0 && f->d.size > 0;
}

/* d as a NUL-terminated string in the arena, less what a large guild brings along. */
static char *payload_of(const struct frame *f, size_t most, struct arena *arena)
{
    char *text = arena_alloc(arena, f->d.size + 1);
    if (!text)
        return NULL;
    if (strcmp(f->type, "GUILD_CREATE") == 0) {
        text[guild_cut(f->d, most, text)] = '\0';
        return text;
    }
    memcpy(text, f->d.at, f->d.size);
    text[f->d.size] = '\0';
    return text;
}

/* Which event this is, and what it is called on the bus. */
struct identity {
    const char *session;
    uint64_t seq;
    char message_id[SHARD_SESSION_SIZE + 24];
};

static enum status encode_event(struct shard_publisher *p, const struct frame *f,
                                const struct identity *identity, struct arena *arena,
                                void **ret_data, size_t *ret_size)
{
    Guildbus__V1__Event event;
    Guildbus__V1__Envelope envelope;
    char type[FRAME_TYPE_SIZE];
    struct err err;
    size_t most = bus_max_payload(p->config.bus);

    most = most > HEADER_ROOM ? most - HEADER_ROOM : 0;
    guildbus__v1__event__init(&event);
    guildbus__v1__envelope__init(&envelope);
    memcpy(type, f->type, sizeof(type));
    event.guild_id = frame_guild(f);
    event.type = type;
    event.payload_json = payload_of(f, most, arena);
    event.session = arena_strdup(arena, identity->session);
    event.seq = identity->seq;
    event.shard = p->config.shard;
    event.received_ms = clock_wall_ms();
    if (!event.session || !event.payload_json || strlen(event.payload_json) > most)
        return STATUS_BUSY;
    envelope.body_case = GUILDBUS__V1__ENVELOPE__BODY_EVENT;
    envelope.event = &event;
    return codec_encode(&envelope, arena, ret_data, ret_size, &err);
}

static char *parcel_of(struct shard_publisher *p, const struct frame *f,
                       const struct identity *identity, size_t *ret_size)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(f->d.size * 3 + ARENA_EXTRA);
    void *data = NULL;
    size_t size = 0;

    if (encode_event(p, f, identity, arena, &data, &size) != STATUS_OK) {
        metric_add(&too_large, 1);
        log_error("event_too_large", "shard=%u guild=%" PRIu64 " type=%s bytes=%zu",
                  p->config.shard, frame_guild(f), f->type, f->d.size);
        return NULL;
    }
    struct parcel *parcel = xcalloc(1, sizeof(*parcel) + size);
    parcel->received_us = clock_now_us();
    parcel->size = size;
    memcpy(parcel->message_id, identity->message_id, sizeof(parcel->message_id));
    memcpy(parcel->body, data, size);
    *ret_size = sizeof(*parcel) + size;
    return (char *)parcel;
}

static enum status no_room(const struct shard_publisher *p, struct err *err)
{
    return err_set(err, STATUS_BUSY, "%zu dispatches wait for the bus", window_waiting(p->window));
}

enum status shard_publisher_add(struct shard_publisher *p, const struct frame *f, struct err *err)
{
    struct identity identity = { .session = p->session, .seq = f->seq };
    size_t size = 0;

    (void)snprintf(identity.message_id, sizeof(identity.message_id), "%s:%" PRIu64, p->session,
                   f->seq);
    bool wanted = p->mode != PUBLISH_DROPS && is_for_the_bus(f);
    char *data = wanted ? parcel_of(p, f, &identity, &size) : NULL;
    if (!window_add(p->window, frame_guild(f), f->seq, &data, size)) {
        free(data);
        return no_room(p, err);
    }
    send_ready(p);
    return STATUS_OK;
}

/* As the edge stores one: executed once whoever stores it how often. */
enum status shard_publisher_hold(struct shard_publisher *p, const struct frame *f,
                                 uint64_t *ret_place, struct err *err)
{
    struct identity identity = { .session = "deferred" };
    size_t size = 0;

    (void)snprintf(identity.message_id, sizeof(identity.message_id), "interaction:%" PRIu64, f->id);
    CLEANUP(xfree) char *data = parcel_of(p, f, &identity, &size);
    if (!data)
        return err_set(err, STATUS_BUSY, "over the bus's largest payload");
    ((struct parcel *)(void *)data)->deferred = true;
    uint64_t place = window_hold(p->window, frame_guild(f), f->seq, &data, size);
    if (!place)
        return no_room(p, err);
    *ret_place = place;
    return STATUS_OK;
}

void shard_publisher_release(struct shard_publisher *p, uint64_t place)
{
    window_release(p->window, place);
    p->config.on_progress(p->config.ctx);
}

void shard_publisher_send(struct shard_publisher *p, uint64_t place)
{
    window_send(p->window, place);
    send_ready(p);
}

void shard_publisher_begin(struct shard_publisher *p, const struct shard_session *session)
{
    (void)snprintf(p->session, sizeof(p->session), "%s", session->id);
    window_begin_session(p->window, session->seq);
}

bool shard_publisher_is_full(const struct shard_publisher *p)
{
    return window_is_full(p->window);
}

bool shard_publisher_has_room(const struct shard_publisher *p)
{
    return window_is_half_empty(p->window);
}

bool shard_publisher_is_idle(const struct shard_publisher *p)
{
    return window_waiting(p->window) == 0;
}

uint64_t shard_publisher_watermark(const struct shard_publisher *p)
{
    return window_watermark(p->window);
}

/* ---- life ---- */

struct shard_publisher *shard_publisher_new(const struct shard_publisher_config *config)
{
    struct shard_publisher *p = xcalloc(1, sizeof(*p));

    p->config = *config;
    p->mode = config->mode;
    p->window = window_new();
    p->retry_timer = loop_timer_new(config->loop, on_retry, p);
    p->retry_ms = RETRY_MS;
    return p;
}

void shard_publisher_free(struct shard_publisher *p)
{
    if (!p)
        return;
    p->closed = true;
    loop_timer_stop(p->retry_timer);
    if (p->under_way == 0)
        publisher_destroy(p);
}
