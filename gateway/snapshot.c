/* snapshot.c - when a guild's log has grown, its rows replace it.
 *
 *     commit ─▶ view of the rows ─▶ snapshotter ─▶ chunks, or a few rows in the job
 *                   │                                  │
 *                   └─ units go on; what they change ──┴─▶ one Snapshot record at the log's end, with
 *                      is kept in the tail                 rollup: all before it goes in the same step
 *
 * The record says: these are the rows as of the record before this one. Whoever has that record passes it
 * over; whoever does not begins with it. It competes for its idx like any other record, so a pod that is
 * no longer the owner replaces nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/encode.h"
#include "gateway/guild.h"
#include "gateway/js.h"
#include "gateway/snapshotter.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum {
    RECORDS_AT_MOST = 100000, /* however large the guild is */
    AGAIN_MS = 10000,         /* after one that came to nothing */
    RECORD_ROWS = 640 * 1024, /* a record must stay below 1 MB */
    TAIL_AT_MOST = 64 * 1024 * 1024,
};

static struct metric snapshots_total =
    METRIC_COUNTER("guildbus_snapshots_total", "snapshots that replaced a guild's log");
static struct metric failed_total =
    METRIC_COUNTER("guildbus_snapshots_failed_total", "snapshots that came to nothing");
static struct metric bytes_total =
    METRIC_COUNTER("guildbus_snapshot_bytes_total", "rows written into snapshots, as encoded");

static bool is_due(const struct guild *g)
{
    const struct owner *o = g->owner;
    uint64_t records = g->pos.idx - g->snapshot.idx;

    if (!o->snapshotter || g->state != GUILD_SERVING || g->snapshot.on || g->move.wanted ||
        records < (uint64_t)o->config.snapshot_records)
        return false;
    return (g->snapshot.log_bytes >= g->snapshot.bytes / 2 || records >= RECORDS_AT_MOST) &&
           clock_now_ms() >= g->snapshot.not_before_ms && !snapshotter_is_busy(o->snapshotter);
}

static void come_to_nothing(struct guild *g, const char *why)
{
    metric_add(&failed_total, 1);
    log_warn("snapshot_failed", "guild=%" PRIu64 " text=%s next=retry retry_in_ms=%d", g->id,
             LOG_QUOTE(why), AGAIN_MS);
    guild_snapshot_drop(g);
    g->snapshot.not_before_ms = clock_now_ms() + AGAIN_MS;
}

void guild_snapshot_drop(struct guild *g)
{
    snapshot_job_free(g->snapshot.job);
    g->snapshot.job = NULL;
    bytes_release(&g->snapshot.tail);
    g->snapshot.on = false;
}

/* ---- the view ---- */

static void on_done(void *ctx, struct snapshot_job *job);

void guild_snapshot_consider(struct guild *g)
{
    struct snapshot_job *job;
    struct err err = { 0 };

    if (!is_due(g))
        return;
    job = xcalloc(1, sizeof(*job));
    job->guild_id = g->id;
    job->tag = owner_ask_new(g);
    job->on_done = on_done;
    job->ctx = g->owner;
    if (snapshotter_begin(g->owner->snapshotter, &job, &err) != STATUS_OK) {
        (void)owner_ask_take(g->owner, job->tag);
        snapshot_job_free(job);
        come_to_nothing(g, err.text);
        return;
    }
    FAILPOINT("snapshot_view");
    g->snapshot.on = true;
    for (struct batch *b = g->first; b; b = b->next)
        b->in_view = true; /* and closed: what comes now is not in the view */
}

void guild_snapshot_note(struct guild *g, const struct batch *b)
{
    if (!g->snapshot.on || b->in_view)
        return;
    bytes_append(&g->snapshot.tail, b->rows.data, b->rows.size);
    if (g->snapshot.tail.size > TAIL_AT_MOST)
        come_to_nothing(g, "the guild changes faster than it can be written");
}

/* ---- the record ---- */

static void write_more(struct guild *g)
{
    struct snapshot_job *job = TAKE(g->snapshot.job);

    bytes_append(&job->rows, g->snapshot.tail.data, g->snapshot.tail.size);
    bytes_clear(&g->snapshot.tail);
    job->tag = owner_ask_new(g);
    snapshotter_more(g->owner->snapshotter, &job);
}

static void on_done(void *ctx, struct snapshot_job *job)
{
    struct guild *g = owner_ask_take(ctx, job->tag);

    if (!g || !g->snapshot.on || g->state != GUILD_SERVING) {
        snapshot_job_free(job);
        if (g)
            guild_snapshot_drop(g);
        return;
    }
    g->snapshot.job = job;
    if (job->status != STATUS_OK)
        come_to_nothing(g, job->why);
    else if (g->snapshot.tail.size > SNAPSHOT_INLINE)
        write_more(g);
    else
        (void)guild_batch(g, BATCH_SNAPSHOT);
}

bool guild_snapshot_fits(struct guild *g)
{
    if (g->snapshot.on && g->snapshot.job &&
        g->snapshot.job->rows.size + g->snapshot.tail.size <= RECORD_ROWS)
        return true;
    if (g->snapshot.on && g->snapshot.job)
        write_more(g);
    return false;
}

void guild_snapshot_encode(const struct guild *g, struct bytes *snapshot)
{
    enum { ROWS = 1, CHUNKS = 2, HASH = 3, BYTES = 4 };
    const struct snapshot_job *job = g->snapshot.job;
    unsigned char hash[32];

    bytes_append(snapshot, job->rows.data, job->rows.size); /* fields ROWS already */
    bytes_append(snapshot, g->snapshot.tail.data, g->snapshot.tail.size);
    encode_packed(snapshot, CHUNKS, job->chunks, job->chunk_count);
    if (job->chunk_count) {
        snapshot_job_hash(job, hash);
        encode_block(snapshot, HASH, hash, sizeof(hash));
    }
    encode_varint(snapshot, BYTES, job->bytes + job->rows.size + g->snapshot.tail.size);
}

static void on_purged(void *ctx UNUSED, uint64_t tag UNUSED, enum status status,
                      const struct bus_in *in UNUSED)
{
    if (status != STATUS_OK) /* the next snapshot purges what is left */
        log_info("snapshot_purge_unanswered", "status=%s next=with_next_snapshot",
                 status_name(status));
}

void guild_snapshot_confirmed(struct guild *g, uint64_t idx)
{
    const struct snapshot_job *job = g->snapshot.job;

    FAILPOINT("snapshot_confirmed");
    g->snapshot.idx = idx;
    g->snapshot.log_bytes = 0;
    g->snapshot.bytes = job->bytes + job->rows.size + g->snapshot.tail.size;
    metric_add(&snapshots_total, 1);
    metric_add(&bytes_total, (int64_t)g->snapshot.bytes);
    log_info("snapshot", "guild=%" PRIu64 " idx=%" PRIu64 " bytes=%" PRIu64 " chunks=%zu", g->id,
             idx, g->snapshot.bytes, job->chunk_count);
    if (job->purge_below)
        js_purge(g->owner->bus, STREAM_SNAPSHOTS, subject_snapshot(g->id).text, job->purge_below,
                 &(struct bus_waiter){ g->owner->box, on_purged, NULL, 0, JS_TIMEOUT_MS });
    guild_snapshot_drop(g);
}
