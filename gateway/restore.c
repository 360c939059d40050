/* restore.c - a guild's rows from a Snapshot record: the local ones go, then chunk by chunk the
 * snapshot's come, each in its own turn of the owner's thread.
 *
 * While it lasts the position on disk says "dirty": after a crash all of it is thrown away. */
#include <inttypes.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/guild.h"
#include "gateway/js.h"
#include "messages/codec.h"
#include "messages/streams.h"

enum {
    WIPE_AT_ONCE = 1000,
    CHUNK_ARENA = 32 * 1024 * 1024,
    AGAIN_MS = 50,
    TRIES = 4, /* of a chunk that is not there: a replica may be behind, or a newer snapshot came */
};

static struct metric restored_total = METRIC_COUNTER(
    "guildbus_snapshots_restored_total", "guilds whose rows were taken from a snapshot");

struct restore {
    struct arena *arena; /* has the record */
    Guildbus__V1__LogRecord *record;
    uint64_t seq;
    size_t next;
    int tries;
    EVP_MD_CTX *digest;
};

void guild_restore_drop(struct guild *g)
{
    struct restore *r = TAKE(g->restore);

    if (!r)
        return;
    arena_free(r->arena);
    EVP_MD_CTX_free(r->digest);
    free(r);
}

void guild_restore(struct guild *g, const void *data, size_t size, uint64_t seq)
{
    struct restore *r = xcalloc(1, sizeof(*r));

    guild_restore_drop(g);
    g->restore = r;
    r->arena = arena_new(CHUNK_ARENA);
    r->seq = seq;
    r->digest = EVP_MD_CTX_new();
    must(r->digest && EVP_DigestInit_ex(r->digest, EVP_sha256(), NULL) == 1);
    if (!guild_read_record(g, data, size, seq, r->arena, &r->record)) {
        guild_restore_drop(g); /* it was readable a moment ago: out of its bound now */
        guild_leave(g, NULL);
        return;
    }
    log_info("restore",
             "guild=%" PRIu64 " idx=%" PRIu64 " from_idx=%" PRIu64 " bytes=%" PRIu64 " chunks=%zu",
             g->id, r->record->idx, g->pos.idx, r->record->snapshot->bytes,
             r->record->snapshot->n_chunks);
    guild_wipe(g);
    guild_restore_step(g);
}

/* ---- the local rows ---- */

void guild_wipe(struct guild *g)
{
    g->wiping = true;
    g->pos = (struct guild_position){ .dirty = true };
    owner_touch(g);
}

bool guild_wipe_step(struct guild *g)
{
    struct err err = { 0 };
    bool left = true;

    if (store_remove_some(g->owner->store, g->id, WIPE_AT_ONCE, &left, &err) != STATUS_OK) {
        log_error("load_failed", "guild=%" PRIu64 " text=%s", g->id, LOG_QUOTE(err.text));
        guild_leave(g, NULL);
        return false;
    }
    owner_touch(g);
    g->wiping = left;
    if (left)
        owner_wake_in(g, 0);
    return !left;
}

/* ---- the snapshot's ---- */

static void give_up(struct guild *g, const char *why)
{
    log_error("restore_failed", "guild=%" PRIu64 " idx=%" PRIu64 " text=%s", g->id,
              g->restore->record->idx, LOG_QUOTE(why));
    guild_leave(g, NULL);
}

static void finish(struct guild *g)
{
    struct restore *r = g->restore;
    const Guildbus__V1__Snapshot *s = r->record->snapshot;
    Guildbus__V1__Change rows = GUILDBUS__V1__CHANGE__INIT;
    unsigned char hash[EVP_MAX_MD_SIZE];
    struct err err = { 0 };

    must(EVP_DigestFinal_ex(r->digest, hash, NULL) == 1);
    if (s->n_chunks && (s->hash.len != 32 || memcmp(hash, s->hash.data, 32) != 0)) {
        give_up(g, "the chunks' hash is not the record's");
        return;
    }
    rows.rows = s->rows;
    rows.n_rows = s->n_rows;
    if (store_apply(g->owner->store, g->id, &rows, &err) != STATUS_OK) {
        give_up(g, err.text);
        return;
    }
    g->pos.dirty = false;
    guild_advance(g, r->record, r->seq);
    metric_add(&restored_total, 1);
    guild_restore_drop(g);
    guild_read_on(g);
}

static enum status apply_chunk(struct guild *g, const struct js_message *m, struct err *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(CHUNK_ARENA);
    Guildbus__V1__Envelope *e = NULL;

    TRY(codec_decode(m->data, m->size, arena, &e, err));
    if (e->body_case != GUILDBUS__V1__ENVELOPE__BODY_SNAPSHOT_CHUNK)
        return err_set(err, STATUS_CORRUPT, "SNAPSHOTS has something else at seq %" PRIu64, m->seq);
    must(EVP_DigestUpdate(g->restore->digest, m->data, m->size) == 1);
    TRY(store_apply(g->owner->store, g->id, e->snapshot_chunk, err));
    owner_touch(g);
    g->restore->next++;
    g->restore->tries = 0;
    FAILPOINT("target_1_restoring");
    return STATUS_OK;
}

/* A newer snapshot has replaced this one: from the log's beginning again. */
static void begin_again(struct guild *g)
{
    log_info("restore_again", "guild=%" PRIu64 " idx=%" PRIu64 " chunk=%zu next=read_log", g->id,
             g->restore->record->idx, g->restore->next);
    guild_restore_drop(g);
    guild_wipe(g);
    owner_wake_in(g, 0);
}

static void on_chunk(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    struct js_message m = { 0 };
    struct err err = { 0 };

    if (!g)
        return;
    g->reading = false;
    if (g->state != GUILD_LOADING || !g->restore)
        return;
    if (status == STATUS_OK)
        status = js_parse_next(in, &m, &err);
    if (status == STATUS_OK) {
        status = apply_chunk(g, &m, &err);
        if (status == STATUS_OK)
            guild_restore_step(g);
        else
            give_up(g, err.text);
    } else if (status == STATUS_NOT_FOUND && ++g->restore->tries >= TRIES) {
        begin_again(g);
    } else {
        owner_wake_in(g, AGAIN_MS); /* guild_on_time comes back here */
    }
}

void guild_restore_step(struct guild *g)
{
    const Guildbus__V1__Snapshot *s = g->restore->record->snapshot;

    if (g->reading || (g->wiping && !guild_wipe_step(g)))
        return;
    if (g->restore->next == s->n_chunks) {
        finish(g);
        return;
    }
    g->reading = true;
    js_get(
        g->owner->bus, STREAM_SNAPSHOTS, s->chunks[g->restore->next],
        &(struct bus_waiter){ g->owner->box, on_chunk, g->owner, owner_ask_new(g), JS_TIMEOUT_MS });
}
