/* load.c - brings the local rows of a guild up to the end of its log, and keeps them there while it
 * is warm. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "gateway/guild.h"
#include "gateway/js.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum { RECORD_ARENA = 32 * 1024 * 1024 }; /* decoded, small values take ten times their bytes */

static struct metric followed = METRIC_COUNTER("guildbus_log_records_read_total",
                                               "records of guilds' logs applied from the log");

static struct metric foreign = METRIC_COUNTER("guildbus_log_foreign_messages_total",
                                              "messages in guilds' logs that are no records");

static void read_next(struct guild *g);

/* What is on the disk is only of use when it is exactly a prefix of the log. */
static enum status take_local_rows(struct guild *g, struct err *err)
{
    enum status status = store_position_get(g->owner->store, g->id, &g->pos, err);

    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (!g->pos.dirty && !g->pos.deleting)
        return STATUS_OK;
    log_info("local_rows_dropped", "guild=%" PRIu64 " idx=%" PRIu64 " dirty=%d next=read_log",
             g->id, g->pos.idx, g->pos.dirty);
    guild_wipe(g);
    return STATUS_OK;
}

void guild_load(struct guild *g)
{
    struct err err = { 0 };

    owner_set_state(g, GUILD_LOADING);
    if (g->restore) {
        guild_restore_step(g);
        return;
    }
    if (!g->pos.log_seq && !g->wiping && take_local_rows(g, &err) != STATUS_OK) {
        log_error("load_failed", "guild=%" PRIu64 " text=\"%s\"", g->id, err.text);
        guild_leave(g, NULL);
        return;
    }
    if (g->wiping && !guild_wipe_step(g))
        return;
    g->pos.dirty = false;
    g->event_seq = g->pos.event_seq;
    g->events_applied = g->pos.events_applied;
    g->source = g->pos.source;
    if (!g->reading)
        read_next(g);
}

void guild_advance(struct guild *g, const Guildbus__V1__LogRecord *r, uint64_t seq)
{
    bool is_snapshot = r->kind_case == GUILDBUS__V1__LOG_RECORD__KIND_SNAPSHOT;

    g->pos.idx = r->idx;
    g->pos.epoch = r->epoch;
    g->pos.log_seq = seq;
    g->event_seq = g->pos.event_seq = r->event_seq;
    g->events_applied = g->pos.events_applied = r->events_applied;
    (void)snprintf(g->pos.source.session, sizeof(g->pos.source.session), "%s", r->session);
    g->pos.source.seq = r->session_seq;
    g->source = g->pos.source;
    g->last_is_seal = r->kind_case == GUILDBUS__V1__LOG_RECORD__KIND_SEAL;
    (void)snprintf(g->last_pod, sizeof(g->last_pod), "%s", r->pod);
    g->snapshot.idx = is_snapshot ? r->idx : r->snapshot_idx;
    if (is_snapshot) {
        g->snapshot.bytes = r->snapshot->bytes;
        g->snapshot.log_bytes = 0;
    }
    metric_add(&followed, 1);
    owner_touch(g);
}

bool guild_follow(struct guild *g, const Guildbus__V1__LogRecord *r, uint64_t seq)
{
    struct err err = { 0 };
    enum status status = STATUS_OK;

    if (r->guild_id != g->id || r->idx != g->pos.idx + 1 || r->epoch < g->pos.epoch)
        status =
            err_set(&err, STATUS_CORRUPT,
                    "record idx %" PRIu64 " epoch %" PRIu64 " after idx %" PRIu64 " epoch %" PRIu64,
                    r->idx, r->epoch, g->pos.idx, g->pos.epoch);
    else if (r->schema > STORE_SCHEMA_VERSION)
        status = err_set(&err, STATUS_CONFLICT,
                         "record has schema %u, this pod has %d: run a newer version", r->schema,
                         STORE_SCHEMA_VERSION);
    else if (r->kind_case == GUILDBUS__V1__LOG_RECORD__KIND_CHANGE)
        status = store_apply(g->owner->store, g->id, r->change, &err);
    if (status != STATUS_OK) {
        log_error("log_not_applicable", "guild=%" PRIu64 " seq=%" PRIu64 " text=\"%s\"", g->id, seq,
                  err.text);
        guild_leave(g, NULL);
        return false;
    }
    guild_advance(g, r, seq);
    return true;
}

bool guild_read_record(struct guild *g, const void *data, size_t size, uint64_t seq,
                       struct arena *arena, Guildbus__V1__LogRecord **ret_record)
{
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };
    enum status status = codec_decode(data, size, arena, &e, &err);

    if (status == STATUS_OK && e->body_case != GUILDBUS__V1__ENVELOPE__BODY_RECORD)
        status = err_set(&err, STATUS_INVALID, "not a record");
    if (status == STATUS_OK && e->record->guild_id != g->id)
        status = err_set(&err, STATUS_INVALID, "a record of another guild");
    if (status == STATUS_OK) {
        *ret_record = e->record;
        return true;
    }
    metric_add(&foreign, 1);
    log_warn("log_foreign_message", "guild=%" PRIu64 " seq=%" PRIu64 " text=%s next=passed_over",
             g->id, seq, LOG_QUOTE(err.text));
    g->pos.log_seq = seq;
    owner_touch(g);
    return false;
}

/* Records that we do not have are gone from the log: their rows are in this snapshot. */
static bool begins_anew(const struct guild *g, const Guildbus__V1__LogRecord *r)
{
    return r->kind_case == GUILDBUS__V1__LOG_RECORD__KIND_SNAPSHOT && r->idx > g->pos.idx + 1 &&
           r->epoch >= g->pos.epoch && r->schema <= STORE_SCHEMA_VERSION;
}

/* false: the guild was dropped, or is restored first. */
static bool follow_bytes(struct guild *g, const void *data, size_t size, uint64_t seq)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(RECORD_ARENA);
    Guildbus__V1__LogRecord *record;

    if (!guild_read_record(g, data, size, seq, arena, &record))
        return true;
    if (begins_anew(g, record)) {
        owner_set_state(g, GUILD_LOADING);
        guild_restore(g, data, size, seq);
        return false;
    }
    if (!guild_follow(g, record, seq))
        return false;
    g->snapshot.log_bytes += size;
    guild_on_record(g, record);
    return true;
}

static void on_next(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    struct js_message m;
    struct err err = { 0 };

    if (!g)
        return;
    g->reading = false;
    if (g->state != GUILD_LOADING && g->state != GUILD_TAKING)
        return;
    if (status == STATUS_OK)
        status = js_parse_next(in, &m, &err);
    if (status == STATUS_OK) {
        if (follow_bytes(g, m.data, m.size, m.seq) && !g->reading)
            read_next(g);
    } else if (status == STATUS_NOT_FOUND && g->tail_head <= g->pos.log_seq) {
        g->read_singly = 0;
        guild_on_loaded(g);
    } else {
        owner_wake_in(g, 50); /* guild_on_time reads again */
    }
}

bool guild_on_log_read(struct guild *g, const struct bus_in *in, uint64_t seq)
{
    bool goes_on = g->state == GUILD_LOADING || g->state == GUILD_TAKING;

    if (seq <= g->pos.log_seq)
        return goes_on;
    goes_on = goes_on && follow_bytes(g, in->data, in->size, seq);
    /* a restore that begins reads by itself; a dropped guild does not */
    return goes_on && (g->state == GUILD_LOADING || g->state == GUILD_TAKING);
}

void guild_on_log_read_end(struct guild *g, enum status status UNUSED)
{
    g->read_singly = 0;
    read_next(g);
}

static void read_next(struct guild *g)
{
    if (g->state != GUILD_LOADING && g->state != GUILD_TAKING)
        return;
    g->reading = true;
    if (++g->read_singly > READ_SINGLY) {
        guild_reader_open(g, READER_OF_LOG, g->pos.log_seq + 1);
        return;
    }
    js_get_next(
        g->owner->bus, subject_log_stream(g->id).text, subject_log(g->id).text, g->pos.log_seq + 1,
        &(struct bus_waiter){ g->owner->box, on_next, g->owner, owner_ask_new(g), JS_TIMEOUT_MS });
}

static void on_looked(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    struct js_message m;
    struct err err;

    if (g && g->state == GUILD_WARM && status == STATUS_OK &&
        js_parse_next(in, &m, &err) == STATUS_OK && m.seq > g->pos.log_seq)
        guild_load(g);
}

void guild_look_for_more(struct guild *g)
{
    js_get_next(g->owner->bus, subject_log_stream(g->id).text, subject_log(g->id).text,
                g->pos.log_seq + 1,
                &(struct bus_waiter){ g->owner->box, on_looked, g->owner, owner_ask_new(g),
                                      JS_TIMEOUT_MS });
}

void guild_read_on(struct guild *g)
{
    read_next(g);
}

static void on_tail(void *ctx, uint64_t guild_id, const struct bus_in *in)
{
    struct guild *g = owner_guild(ctx, guild_id);
    uint64_t seq, previous;

    if (!g || !js_republished(in, &seq, &previous))
        return;
    if (seq > g->tail_head)
        g->tail_head = seq;
    if ((g->state != GUILD_WARM && g->state != GUILD_TAKING) || g->reading || seq <= g->pos.log_seq)
        return;
    if (previous == g->pos.log_seq) {
        (void)follow_bytes(g, in->data, in->size, seq);
        return;
    }
    if (g->state == GUILD_WARM)
        owner_set_state(g, GUILD_LOADING);
    read_next(g);
}

void guild_tail_start(struct guild *g)
{
    const struct subject subject = subject_tail(g->id);
    const struct bus_subscription what = { subject.text, NULL,     g->owner->box,
                                           on_tail,      g->owner, g->id };
    struct err err = { 0 };

    if (!g->tail && bus_subscribe(g->owner->bus, &what, &g->tail, &err) != STATUS_OK)
        log_warn("subscribe_failed", "guild=%" PRIu64 " text=\"%s\"", g->id, err.text);
}
