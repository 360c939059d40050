/* batches.c - what a guild's log has not confirmed yet, and appending it.
 *
 *     units ─▶ newest batch … first batch ─▶ record idx N, expecting the last sequence ─▶ LOG
 *                                                │
 *                      ack ◀─────────────────────┤      confirmed: its gates open
 *                      refused, copy, silence ◀──┘      unknown: read what stands behind our last
 *                           ├─ ours                     confirmed
 *                           ├─ nothing                  send it again
 *                           └─ another pod's            fenced
 *
 * Nothing is concluded from an error: only from what the log holds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/stage.h"
#include "base/xmem.h"
#include "gateway/encode.h"
#include "gateway/guild.h"
#include "gateway/js.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    BATCH_BYTES =
        256 * 1024, /* a batch that has as much is not added to: a record must stay below 1 MB */
    BACKLOG = 64,   /* batches waiting: no more units until the log moves again */
    APPEND_TIMEOUT_MS = 2000,
    RESOLVE_AGAIN_MS = 250,
    SENT_AT_ONCE = 3,
    REFUSALS_AT_MOST = 3, /* with nothing behind our last record: then the log has lost some */
};

static struct metric confirmed_records =
    METRIC_COUNTER("guildbus_log_records_total", "records confirmed in guilds' logs");
static struct metric lost_records = METRIC_COUNTER(
    "guildbus_log_lost_total", "appends refused because the log ends before our last record");
static struct metric unknown_acks =
    METRIC_COUNTER("guildbus_log_unknown_acks_total", "appends resolved by reading the log");

/* ---- filling ---- */

struct batch *guild_batch(struct guild *g, enum batch_kind kind)
{
    struct batch *b = g->last;
    bool open = b && b->kind == BATCH_CHANGE && kind == BATCH_CHANGE &&
                !(b == g->first && g->in_flight) && !b->in_view && b->rows.size < BATCH_BYTES;

    owner_touch(g);
    if (open)
        return b;
    b = xcalloc(1, sizeof(*b));
    b->kind = kind;
    b->epoch = g->epoch;
    b->gates_end = &b->gates;
    b->event_seq = g->event_seq;
    b->events_applied = g->events_applied;
    b->source = g->source;
    if (g->last)
        g->last->next = b;
    else
        g->first = b;
    g->last = b;
    g->batch_count++;
    return b;
}

bool guild_is_backlogged(const struct guild *g)
{
    return g->batch_count >= BACKLOG;
}

static struct gate *gate_new(struct batch *b)
{
    struct gate *gate = xcalloc(1, sizeof(*gate));

    *b->gates_end = gate;
    b->gates_end = &gate->next;
    return gate;
}

void batch_gate_reply(struct batch *b, const char *reply_to, bool json, const void *data,
                      size_t size)
{
    struct gate *gate = gate_new(b);

    gate->reply_to = xstrdup(reply_to);
    gate->json = json;
    gate->data = xmemdup(data, size);
    gate->size = size;
    gate->since_us = clock_now_us();
}

void batch_gate_action(struct batch *b, int64_t action_id)
{
    gate_new(b)->action_id = action_id;
}

static void batch_free(struct batch *b)
{
    for (struct gate *gate = b->gates, *next; gate; gate = next) {
        next = gate->next;
        free(gate->reply_to);
        free(gate->data);
        free(gate);
    }
    bytes_release(&b->rows);
    free(b);
}

void guild_drop_batches(struct guild *g)
{
    for (struct batch *b = g->first, *next; b; b = next) {
        next = b->next;
        batch_free(b);
    }
    g->first = g->last = NULL;
    g->batch_count = 0;
    g->in_flight = g->send_again = false;
    g->append_serial = 0;
    g->sent = 0;
}

/* ---- encoding: fields of guildbus.proto's LogRecord ---- */

static void encode_record(struct guild *g, const struct batch *b, struct bytes *record)
{
    enum { ENVELOPE_RECORD = 7, CLAIM = 10, CHANGE = 11, SEAL = 12, SNAPSHOT = 16 };
    const struct owner_config *c = &g->owner->config;
    CLEANUP(bytes_release) struct bytes inner = { 0 }, kind = { 0 };

    encode_varint(&inner, 1, g->id);
    encode_varint(&inner, 2, b->epoch);
    encode_varint(&inner, 3, b->idx);
    encode_text(&inner, 4, c->pod);
    encode_fixed64(&inner, 5, c->incarnation);
    encode_varint(&inner, 6, STORE_SCHEMA_VERSION);
    encode_varint(&inner, 7, b->event_seq);
    encode_varint(&inner, 8, b->events_applied);
    encode_text(&inner, 13, b->source.session);
    encode_varint(&inner, 14, b->source.seq);
    encode_varint(&inner, 15, g->snapshot.idx);
    encode_varint(&inner, 17, g->tenure);
    switch (b->kind) {
    case BATCH_CHANGE:
        encode_block(&inner, CHANGE, b->rows.data, b->rows.size);
        break;
    case BATCH_CLAIM:
        encode_varint(&kind, 1, b->claim_reason);
        encode_block(&inner, CLAIM, kind.data, kind.size);
        break;
    case BATCH_SEAL:
        encode_text(&kind, 1, g->move.peer);
        encode_block(&inner, SEAL, kind.data, kind.size);
        break;
    case BATCH_SNAPSHOT:
        guild_snapshot_encode(g, &kind);
        encode_block(&inner, SNAPSHOT, kind.data, kind.size);
        break;
    }
    bytes_clear(record);
    encode_block(record, ENVELOPE_RECORD, inner.data, inner.size);
}

/* ---- confirmed ---- */

static void open_gate(struct guild *g, const struct gate *gate)
{
    if (gate->reply_to) {
        owner_respond(g->owner, gate->reply_to, gate->json, gate->data, gate->size);
        stage_ends(STAGE_REPLY, gate->since_us);
    }
    if (gate->action_id)
        guild_start_action(g, gate->action_id);
}

static void confirm(struct guild *g, uint64_t seq)
{
    struct batch *b = g->first;

    g->pos = (struct guild_position){ .epoch = b->epoch,
                                      .idx = b->idx,
                                      .log_seq = seq,
                                      .event_seq = b->event_seq,
                                      .events_applied = b->events_applied,
                                      .source = b->source };
    g->first = b->next;
    if (!g->first)
        g->last = NULL;
    g->batch_count--;
    g->in_flight = g->send_again = false;
    g->sent = 0;
    metric_add(&confirmed_records, 1);
    stage_ends(STAGE_CONFIRM, b->sent_us);
    if (g->first || b->kind != BATCH_CHANGE)
        owner_touch(g);
    else
        owner_settle(g);
    FAILPOINT("owner_3_confirmed");
    g->snapshot.log_bytes += b->size;
    guild_snapshot_note(g, b);
    for (const struct gate *gate = b->gates; gate; gate = gate->next)
        open_gate(g, gate);
    if (b->kind == BATCH_CLAIM)
        guild_on_claimed(g, b);
    else if (b->kind == BATCH_SEAL)
        guild_on_sealed(g);
    else if (b->kind == BATCH_SNAPSHOT)
        guild_snapshot_confirmed(g, b->idx);
    else if (!g->first)
        guild_try_seal(g);
    FAILPOINT("owner_3_answered");
    batch_free(b);
    if (g->catching_up && !guild_is_backlogged(g))
        guild_catch_up(g); /* it paused while the log was behind */
}

/* ---- appending ---- */

static void send_first(struct guild *g);
static void resolve(struct guild *g);

static void resolve_later(struct guild *g)
{
    owner_wake_in(g,
                  RESOLVE_AGAIN_MS); /* guild_on_time pumps, and that resolves what has no answer */
    g->append_serial = 0;
}

/* Ours was not stored. A server that goes on refusing (its disk is full) is asked with a pause. */
static void send_anew(struct guild *g)
{
    if (g->sent < SENT_AT_ONCE) {
        send_first(g);
        return;
    }
    g->send_again = true;
    resolve_later(g);
}

/* The stream has less than it once confirmed (a disk put back to an older state, a stream made
 * anew). What this pod has is more than the log: nothing is dropped, nothing is served that the log
 * does not take. */
static void log_has_lost_records(struct guild *g)
{
    metric_add(&lost_records, 1);
    log_error("log_lost_records",
              "guild=%" PRIu64 " idx=%" PRIu64 " log_seq=%" PRIu64
              " next=retry hint=\"docs/runbook.md: a log that is shorter than a pod's rows\"",
              g->id, g->pos.idx, g->pos.log_seq);
    resolve_later(g);
}

static bool is_ours(const struct guild *g, const Guildbus__V1__LogRecord *r)
{
    return r->idx == g->first->idx && r->epoch == g->first->epoch &&
           r->incarnation == g->owner->config.incarnation && r->tenure == g->tenure;
}

/* What stands in the log behind our last record: nothing, ours, or another pod's. */
static void judge(struct guild *g, const Guildbus__V1__LogRecord *r, uint64_t seq)
{
    if (is_ours(g, r)) {
        confirm(g, seq);
        return;
    }
    log_info("fenced",
             "guild=%" PRIu64 " our_epoch=%" PRIu64 " their_epoch=%" PRIu64 " their_pod=%s", g->id,
             g->first->epoch, r->epoch, r->pod);
    (void)snprintf(g->last_pod, sizeof(g->last_pod), "%s", r->pod);
    if (seq > g->tail_head)
        g->tail_head = seq; /* who reads on does not stop before it, wherever it reads */
    guild_fence(g);
}

static void on_next_record(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    Guildbus__V1__LogRecord *record = NULL;
    struct js_message m = { 0 };
    struct err err = { 0 };

    if (!g || g->append_serial != serial || !g->in_flight)
        return;
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    if (status == STATUS_OK)
        status = js_parse_last(in, arena, &m, &err);
    if (status == STATUS_NOT_FOUND && g->refusals >= REFUSALS_AT_MOST) {
        log_has_lost_records(g);
    } else if (status == STATUS_NOT_FOUND) {
        send_anew(g);
    } else if (status != STATUS_OK) {
        log_warn("log_unreadable", "guild=%" PRIu64 " text=%s next=retry", g->id,
                 LOG_QUOTE(err.text));
        resolve_later(g);
    } else if (guild_read_record(g, m.data, m.size, m.seq, arena, &record)) {
        judge(g, record, m.seq);
    } else {
        resolve(g); /* no record: look behind it */
    }
}

static void resolve(struct guild *g)
{
    metric_add(&unknown_acks, 1);
    g->append_serial = owner_ask_new(g);
    js_find_next(g->owner->bus, subject_log_stream(g->id).text, subject_log(g->id).text,
                 g->pos.log_seq + 1,
                 &(struct bus_waiter){ g->owner->box, on_next_record, g->owner, g->append_serial,
                                       JS_TIMEOUT_MS });
}

static void on_append(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct owner *o = ctx;
    struct guild *g = owner_ask_take(o, serial);
    uint64_t seq = 0;
    bool duplicate = false;
    struct err err = { 0 };

    if (!g || g->append_serial != serial || !g->in_flight)
        return;
    if (status == STATUS_OK)
        status = js_parse_ack(in, &seq, &duplicate, &err);
    g->refusals = status == STATUS_CONFLICT ? g->refusals + 1 : 0;
    if (status == STATUS_OK && !duplicate) {
        confirm(g, seq);
        return;
    }
    log_debug("append_unknown", "guild=%" PRIu64 " idx=%" PRIu64 " status=%s text=\"%s\"", g->id,
              g->first->idx, status_name(status), err.text);
    resolve(g);
}

/* Where tests end the process: right before and right after an append leaves. */
static void hit_failpoint(const struct batch *b UNUSED, bool before UNUSED)
{
#if GUILDBUS_FAILPOINTS
    if (b->kind == BATCH_SEAL)
        before ? FAILPOINT("source_5_seal_before") : FAILPOINT("source_5_seal_sent");
    else if (b->kind == BATCH_SNAPSHOT && !before)
        FAILPOINT("snapshot_sent");
    else if (b->kind == BATCH_CHANGE)
        before ? FAILPOINT("owner_3_committed") : FAILPOINT("owner_3_published");
    else if (b->kind == BATCH_CLAIM && b->claim_reason == CLAIM_UNSEAL)
        before ? FAILPOINT("source_9_unseal_before") : FAILPOINT("source_9_unseal_sent");
    else if (b->kind == BATCH_CLAIM && b->claim_reason == CLAIM_HANDOFF && !before)
        FAILPOINT("target_6_claim_sent");
    else if (b->kind == BATCH_CLAIM && !before)
        FAILPOINT("failover_f_claim_sent");
#endif
}

static void send_first(struct guild *g)
{
    struct batch *b = g->first;
    const struct subject subject = subject_log(g->id);
    char id[64], expected[32];

    must(b); /* who calls has seen that there is one */
    if (b->kind == BATCH_SNAPSHOT && !guild_snapshot_fits(g))
        b->kind = BATCH_CHANGE; /* an empty one, which harms nobody */
    b->idx = g->pos.idx + 1;
    (void)snprintf(id, sizeof(id), "%" PRIu64 ":%" PRIu64, g->id, b->idx);
    (void)snprintf(expected, sizeof(expected), "%" PRIu64, g->pos.log_seq);
    const struct bus_header headers[] = {
        { "Nats-Msg-Id", id },
        { "Nats-Expected-Last-Subject-Sequence", expected },
        { "Nats-Rollup", "sub" },
    };
    encode_record(g, b, &g->owner->scratch);
    b->size = g->owner->scratch.size;
    const struct bus_out out = { subject.text, NULL,    g->owner->scratch.data,
                                 b->size,      headers, b->kind == BATCH_SNAPSHOT ? 3 : 2 };
    hit_failpoint(b, true);
    g->in_flight = true;
    g->send_again = false;
    if (!g->sent++)
        b->sent_us = clock_now_us();
    g->append_serial = owner_ask_new(g);
    bus_request(g->owner->bus, &out,
                &(struct bus_waiter){ g->owner->box, on_append, g->owner, g->append_serial,
                                      APPEND_TIMEOUT_MS });
    hit_failpoint(b, false);
}

void guild_pump(struct guild *g)
{
    if (g->first && !g->in_flight)
        send_first(g);
    else if (g->in_flight && !g->append_serial &&
             (g->send_again || g->refusals >= REFUSALS_AT_MOST))
        send_first(g);
    else if (g->in_flight && !g->append_serial)
        resolve(g);
}
