#include "gateway/shard_keeper.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xmem.h"
#include "gateway/js.h"
#include "gateway/shard_record.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum {
    REQUEST_MS = 5000,
    SAVE_EACH_MS = 500,
    RETRY_MS = 500,
    YIELD_MS = 2000, /* for a holder that was told to let go */
    YIELD_POLL_MS = 100,
};

enum phase { READING, CLAIMING, HELD, CHECKING, RELEASED, LOST };

struct shard_keeper {
    struct shard_keeper_config config;
    enum phase phase;
    struct loop_timer *timer;
    int64_t since_ms; /* start of the take */
    int under_way;    /* requests; at most one */
    bool closed, dirty, releasing, discarding;
    bool is_plain; /* the key without the count */
    struct subject key;
    uint64_t revision;            /* of the record as we know it */
    struct shard_record stored;   /* what was read or written last */
    struct shard_record writing;  /* what the write under way says */
    struct shard_session session; /* what should be there */
};

static void read_record(struct shard_keeper *k);
static void write_record(struct shard_keeper *k);

static void keeper_destroy(struct shard_keeper *k)
{
    loop_timer_free(k->timer);
    free(k);
}

/* False: the keeper was given up meanwhile, and may be gone now. */
static bool answered(struct shard_keeper *k)
{
    k->under_way--;
    if (k->closed && k->under_way == 0)
        keeper_destroy(k);
    else if (!k->closed)
        return k->phase != RELEASED && k->phase != LOST;
    return false;
}

/* ---- taking it over ---- */

static bool is_ours(const struct shard_keeper *k, const struct shard_record *r)
{
    return strcmp(r->pod, k->config.pod) == 0;
}

static bool must_wait_for_holder(const struct shard_keeper *k)
{
    return k->revision != 0 && k->stored.pod[0] != '\0' && !k->stored.released &&
           !is_ours(k, &k->stored) && clock_now_ms() - k->since_ms < YIELD_MS;
}

static void on_timer(void *ctx)
{
    struct shard_keeper *k = ctx;

    if (k->under_way > 0)
        return;
    if (k->phase == READING || k->phase == CHECKING)
        read_record(k);
    else if (k->phase == CLAIMING || (k->phase == HELD && (k->dirty || k->releasing)))
        write_record(k);
}

static bool is_there(const struct shard_keeper *k)
{
    return k->revision != 0;
}

/* A set of shards that came by resharding is found under keys of its own. False: decided. */
static bool looks_elsewhere(struct shard_keeper *k)
{
    bool other_count = k->stored.shard_count != 0 && k->stored.shard_count != k->config.shard_count;

    if (k->config.is_next || (k->is_plain ? !other_count : is_there(k)))
        return false;
    k->is_plain = !k->is_plain;
    k->config.is_next = !k->is_plain; /* both were looked at */
    k->key = k->is_plain ? subject_shard(k->config.shard)
                         : subject_shard_of(k->config.shard_count, k->config.shard);
    read_record(k);
    return true;
}

static void decide_take(struct shard_keeper *k)
{
    if (looks_elsewhere(k))
        return;
    if (must_wait_for_holder(k)) {
        loop_timer_start(k->timer, YIELD_POLL_MS);
        return;
    }
    bool same_count = k->stored.shard_count == k->config.shard_count;
    k->session = (struct shard_session){ .seq = 0 };
    if (k->revision != 0 && same_count)
        k->session = k->stored.session;
    k->phase = CLAIMING;
    write_record(k);
}

static void lose(struct shard_keeper *k)
{
    k->phase = LOST;
    loop_timer_stop(k->timer);
    k->config.on_lost(k->config.ctx, k->stored.pod);
}

/* A write was refused: by another holder, or because an earlier one of ours was stored and its ack
 * got lost. What names no pod (somebody's hand) is no rival: our session is good. */
static void decide_check(struct shard_keeper *k)
{
    bool rival = k->stored.pod[0] &&
                 (!is_ours(k, &k->stored) || k->stored.incarnation != k->config.incarnation);

    if (rival) {
        lose(k);
        return;
    }
    k->phase = HELD;
    write_record(k);
}

static enum status read_stored(struct shard_keeper *k, const struct bus_in *in, struct err *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct js_message message;

    k->stored = (struct shard_record){ .released = false };
    k->revision = 0;
    enum status status = js_parse_last(in, arena, &message, err);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    k->revision = message.seq;
    if (message.size == 0) /* deleted by hand */
        return STATUS_OK;
    if (shard_record_parse(message.data, message.size, &k->stored, err) != STATUS_OK)
        log_warn("shard_record_unreadable", "shard=%u revision=%" PRIu64 " error=%s",
                 k->config.shard, k->revision,
                 LOG_QUOTE(err->text)); /* somebody's hand: claimed without its session */
    return STATUS_OK;
}

static void on_read(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    struct shard_keeper *k = ctx;
    struct err err = { .code = status };

    if (!answered(k))
        return;
    if (status == STATUS_OK)
        status = read_stored(k, in, &err);
    if (status != STATUS_OK) {
        log_warn("shard_record_unavailable",
                 "shard=%u status=%s error=%s next=retry retry_in_ms=%d", k->config.shard,
                 status_name(status), LOG_QUOTE(err.text), RETRY_MS);
        loop_timer_start(k->timer, RETRY_MS);
        return;
    }
    if (k->phase == READING)
        decide_take(k);
    else
        decide_check(k);
}

static void read_record(struct shard_keeper *k)
{
    k->under_way++;
    js_get_last(k->config.bus, STREAM_SHARDS, k->key.text,
                &(struct bus_waiter){ loop_mailbox(k->config.loop), on_read, k, 0, JS_TIMEOUT_MS });
}

/* ---- writing ---- */

static void write_done(struct shard_keeper *k)
{
    k->stored = k->writing;
    if (k->phase == CLAIMING) {
        k->phase = HELD;
        k->config.on_taken(k->config.ctx, k->session.id[0] ? &k->session : NULL);
        return;
    }
    if (k->stored.released) {
        k->phase = RELEASED;
        k->config.on_released(k->config.ctx);
        return;
    }
    k->dirty = memcmp(&k->session, &k->stored.session, sizeof(k->session)) != 0;
    if (k->dirty || k->releasing)
        loop_timer_start(k->timer, k->releasing ? 0 : SAVE_EACH_MS);
}

static void write_refused(struct shard_keeper *k)
{
    k->phase = k->phase == CLAIMING ? READING : CHECKING;
    read_record(k);
}

static void on_written(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    struct shard_keeper *k = ctx;
    struct err err = { .code = status };
    bool duplicate;

    if (!answered(k))
        return;
    if (status == STATUS_OK)
        status = js_parse_ack(in, &k->revision, &duplicate, &err);
    if (status == STATUS_OK) {
        write_done(k);
    } else if (status == STATUS_CONFLICT) {
        write_refused(k);
    } else {
        log_warn("shard_record_not_saved", "shard=%u status=%s error=%s next=retry retry_in_ms=%d",
                 k->config.shard, status_name(status), LOG_QUOTE(err.text), RETRY_MS);
        k->dirty = true;
        loop_timer_start(k->timer, RETRY_MS);
    }
}

static void write_record(struct shard_keeper *k)
{
    char revision[24];

    k->dirty = false;
    k->writing = (struct shard_record){
        .session = k->session,
        .incarnation = k->config.incarnation,
        .released = k->releasing,
        .shard_count = k->config.shard_count,
        .at_ms = clock_wall_ms(),
    };
    (void)snprintf(k->writing.pod, sizeof(k->writing.pod), "%s", k->config.pod);
    if (k->discarding)
        k->writing.session = (struct shard_session){ .seq = 0 };
    (void)snprintf(revision, sizeof(revision), "%" PRIu64, k->revision);
    CLEANUP(xfree) char *text = shard_record_text(&k->writing);
    const struct bus_header headers[] = {
        { "Nats-Expected-Last-Subject-Sequence", revision },
        /* As nats kv del does it, but with who did it: a holder that slept through it is lost. */
        { "KV-Operation", "DEL" },
    };
    const struct bus_out out = { .subject = k->key.text,
                                 .data = text,
                                 .size = strlen(text),
                                 .headers = headers,
                                 .header_count = k->discarding ? 2 : 1 };
    k->under_way++;
    bus_request(k->config.bus, &out,
                &(struct bus_waiter){ loop_mailbox(k->config.loop), on_written, k, 0, REQUEST_MS });
}

void shard_keeper_save(struct shard_keeper *k, const struct shard_session *session)
{
    bool other = strcmp(session->id, k->session.id) != 0;

    if (!other && session->seq == k->session.seq)
        return;
    k->session = *session;
    if (k->phase != HELD || k->under_way > 0)
        return; /* write_done sees the difference */
    if (!k->dirty || other)
        loop_timer_start(k->timer, other ? 0 : SAVE_EACH_MS);
    k->dirty = true;
}

void shard_keeper_release(struct shard_keeper *k)
{
    k->releasing = true;
    if (k->phase == HELD) {
        loop_timer_start(k->timer, 0);
        return;
    }
    if (k->phase == CHECKING)
        return; /* goes on by itself */
    k->phase = RELEASED;
    k->config.on_released(k->config.ctx);
}

void shard_keeper_discard(struct shard_keeper *k)
{
    k->discarding = true;
    shard_keeper_release(k);
}

/* ---- life ---- */

struct shard_keeper *shard_keeper_new(const struct shard_keeper_config *config)
{
    struct shard_keeper *k = xcalloc(1, sizeof(*k));

    k->config = *config;
    k->key = subject_shard_of(config->shard_count, config->shard);
    k->since_ms = clock_now_ms();
    k->timer = loop_timer_new(config->loop, on_timer, k);
    read_record(k);
    return k;
}

void shard_keeper_free(struct shard_keeper *k)
{
    if (!k)
        return;
    k->closed = true;
    if (k->under_way == 0)
        keeper_destroy(k);
    else
        loop_timer_stop(k->timer);
}
