/* reader.c - reads a long stretch of a guild's log or events by the batch.
 *
 * One message a round trip is best for a short stretch, which is nearly all there is. For a long one the guild
 * gets a consumer in memory on the server, which goes by itself when it is used no more, and asks it for as many
 * messages as it can take at a time. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/guild.h"
#include "gateway/js.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum { BATCH = 128, NAME_SIZE = 64, PATIENCE_MS = 3000 };

static struct metric opened_total =
    METRIC_COUNTER("guildbus_batch_reads_total", "long stretches read by the batch");

struct reader {
    enum reader_of of;
    uint64_t serial; /* of the request that makes the consumer */
    char name[NAME_SIZE];
    struct subject stream;
    char inbox[BUS_INBOX_SIZE];
    struct bus_sub *sub;
    size_t left; /* of the batch that was asked for */
    int64_t deadline_ms;
};

void guild_reader_close(struct guild *g)
{
    struct reader *r = TAKE(g->reader);

    if (!r)
        return;
    if (r->of == READER_OF_LOG)
        g->reading = false;
    else
        g->fetching = false;
    bus_unsubscribe(&r->sub);
    free(r); /* the consumer goes when nobody has asked it for a while */
}

static void end(struct guild *g, enum status status)
{
    enum reader_of of = g->reader->of;

    guild_reader_close(g);
    if (of == READER_OF_LOG)
        guild_on_log_read_end(g, status);
    else
        guild_on_event_read_end(g, status);
}

static void keep_patience(struct guild *g)
{
    g->reader->deadline_ms = clock_now_ms() + PATIENCE_MS;
    owner_wake_in(g, PATIENCE_MS);
}

void guild_reader_on_time(struct guild *g, int64_t now_ms)
{
    if (g->reader && g->reader->left && now_ms >= g->reader->deadline_ms)
        end(g, STATUS_TIMEOUT);
}

void guild_reader_more(struct guild *g)
{
    struct reader *r = g->reader;
    char api[160], body[48];
    struct err err = { 0 };

    (void)snprintf(api, sizeof(api), "$JS.API.CONSUMER.MSG.NEXT.%.31s.%s", r->stream.text, r->name);
    int size = snprintf(body, sizeof(body), "{\"batch\":%d,\"no_wait\":true}", BATCH);
    const struct bus_out out = {
        .subject = api, .reply = r->inbox, .data = body, .size = (size_t)size
    };
    r->left = BATCH;
    keep_patience(g);
    if (bus_publish(g->owner->bus, &out, &err) != STATUS_OK)
        end(g, STATUS_UNAVAILABLE);
}

/* What the server says with each message, in its reply subject:
 * $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
 * newer ones put two more tokens before <stream>. */
struct told {
    uint64_t seq, pending;
};

static bool read_told(const char *ack, struct told *ret)
{
    enum { OLD = 9, NEW = 11, SEQ = 5, PENDING = 8, MOST = 12 };
    const char *token[MOST] = { ack };
    int count = ack ? 1 : 0;

    for (const char *dot = ack; dot && count < MOST && (dot = strchr(dot, '.')); count++)
        token[count] = ++dot;
    int shift = count >= NEW ? NEW - OLD : 0;
    if (count < OLD || strncmp(ack, "$JS.ACK.", 8) != 0)
        return false;
    ret->seq = strtoull(token[SEQ + shift], NULL, 10);
    ret->pending = strtoull(token[PENDING + shift], NULL, 10);
    return ret->seq > 0;
}

static void close_unwanted(struct guild *g)
{
    guild_reader_close(g);
    if (g->restore)
        guild_restore_step(g); /* it waited for the reader */
}

static void on_message(void *ctx, uint64_t guild_id, const struct bus_in *in)
{
    struct guild *g = owner_guild(ctx, guild_id);
    struct reader *r = g ? g->reader : NULL;

    if (!r)
        return;
    if (bus_header_get(in, "Status")) { /* 404: there are no more, and whatever else ends a batch */
        end(g, STATUS_OK);
        return;
    }
    struct told told;
    bool is_log = r->of == READER_OF_LOG, is_last = --r->left == 0;
    bool more = read_told(in->reply, &told) && (is_log ? guild_on_log_read(g, in, told.seq)
                                                       : guild_on_event_read(g, in, told.seq));
    if (owner_guild(ctx, guild_id) != g || g->reader != r)
        return;
    if (!more)
        close_unwanted(g);
    else if (!told.pending)
        end(g, STATUS_OK);
    else if (is_last && is_log)
        guild_reader_more(g);
    else if (is_last)
        guild_on_event_batch_read(g);
}

static void on_created(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    CLEANUP(json_decref) json_t *root = NULL;
    struct err err = { 0 };

    if (!g || !g->reader || g->reader->serial != serial)
        return;
    if (status == STATUS_OK)
        status = json_parse(in->data, in->size, &root, &err);
    const char *name = json_str(root, "name");
    if (status != STATUS_OK || !*name || strlen(name) >= NAME_SIZE) {
        log_info("batch_reader_refused", "guild=%" PRIu64 " text=%s next=read_one_by_one", g->id,
                 LOG_QUOTE(json_str(json_object_get(root, "error"), "description")));
        end(g, STATUS_UNAVAILABLE);
        return;
    }
    (void)snprintf(g->reader->name, NAME_SIZE, "%s", name);
    metric_add(&opened_total, 1);
    guild_reader_more(g);
}

static void create(struct guild *g, const struct subject *filter, uint64_t from_seq)
{
    char api[SUBJECT_SIZE + 32], body[SUBJECT_SIZE + 320];

    (void)snprintf(api, sizeof(api), "$JS.API.CONSUMER.CREATE.%s", g->reader->stream.text);
    int size = snprintf(
        body, sizeof(body),
        "{\"stream_name\":\"%s\",\"config\":{\"deliver_policy\":\"by_start_sequence\","
        "\"opt_start_seq\":%" PRIu64 ",\"ack_policy\":\"none\",\"filter_subject\":\"%s\","
        "\"replay_policy\":\"instant\",\"inactive_threshold\":5000000000,\"mem_storage\":true,"
        "\"num_replicas\":1}}",
        g->reader->stream.text, from_seq, filter->text);
    const struct bus_out out = { .subject = api, .data = body, .size = (size_t)size };
    g->reader->serial = owner_ask_new(g);
    bus_request(g->owner->bus, &out,
                &(struct bus_waiter){ g->owner->box, on_created, g->owner, g->reader->serial,
                                      JS_TIMEOUT_MS });
}

void guild_reader_open(struct guild *g, enum reader_of of, uint64_t from_seq)
{
    struct reader *r = xcalloc(1, sizeof(*r));
    const struct subject filter = of == READER_OF_LOG ? subject_log(g->id) : subject_event(g->id);
    struct err err = { 0 };

    g->reader = r;
    r->of = of;
    if (of == READER_OF_LOG)
        r->stream = subject_log_stream(g->id);
    else
        (void)snprintf(r->stream.text, sizeof(r->stream.text), "%s", STREAM_EVENTS);
    bus_inbox_new(g->owner->bus, r->inbox);
    const struct bus_subscription what = { r->inbox,   NULL,     g->owner->box,
                                           on_message, g->owner, g->id };
    if (bus_subscribe(g->owner->bus, &what, &r->sub, &err) != STATUS_OK) {
        end(g, STATUS_UNAVAILABLE);
        return;
    }
    create(g, &filter, from_seq);
}
