#include "gateway/snapshotter.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/encode.h"
#include "gateway/js.h"
#include "gateway/rows.h"
#include "gateway/schema.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum {
    TRIES = 5, /* of a chunk that is not acked: at most 10 s */
    AGAIN_MS = 200,
    MOST_CHUNKS = 65536, /* 8 GB; also bounds the record that names them: 4 bytes each */
    ENVELOPE_CHUNK = 23, /* Envelope.snapshot_chunk */
};

static struct metric chunks_total =
    METRIC_COUNTER("guildbus_snapshot_chunks_total", "chunks of snapshots written");

struct snapshotter {
    struct bus *bus;
    struct mailbox *owner_box, *box;
    sqlite3 *db;
    struct schema *schema;
    pthread_t thread;
    bool started;
    _Atomic bool busy, stopping;

    /* the thread's */
    struct bytes message;
};

/* ---- jobs ---- */

void snapshot_job_free(struct snapshot_job *job)
{
    if (!job)
        return;
    bytes_release(&job->rows);
    free(job->chunks);
    EVP_MD_CTX_free(job->digest);
    free(job);
}

void snapshot_job_hash(const struct snapshot_job *job, unsigned char ret_hash[32])
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();

    must(copy && EVP_MD_CTX_copy_ex(copy, job->digest) == 1 &&
         EVP_DigestFinal_ex(copy, ret_hash, NULL) == 1);
    EVP_MD_CTX_free(copy);
}

static void job_read(struct letter *l, void *ctx UNUSED)
{
    struct snapshot_job *job = CONTAINER_OF(l, struct snapshot_job, letter);

    job->on_done(job->ctx, job);
}

static void job_discard(struct letter *l)
{
    snapshot_job_free(CONTAINER_OF(l, struct snapshot_job, letter));
}

/* ---- chunks ---- */

static enum status publish(struct snapshotter *s, uint64_t guild_id, uint64_t *ret_seq,
                           struct err *err)
{
    const struct subject subject = subject_snapshot(guild_id);
    const struct bus_out out = { .subject = subject.text,
                                 .data = s->message.data,
                                 .size = s->message.size };
    struct bus_in in = { 0 };
    bool duplicate;
    char *data;

    TRY(bus_request_wait(s->bus, &out, JS_TIMEOUT_MS, &data, &in.size, err));
    in.data = data;
    enum status status = js_parse_ack(&in, ret_seq, &duplicate, err);
    free(data);
    return status;
}

static void add_chunk(struct snapshot_job *job, uint64_t seq)
{
    if (job->chunk_count == job->chunk_room) {
        job->chunk_room = job->chunk_room ? job->chunk_room * 2 : 16;
        job->chunks = xrealloc(job->chunks, job->chunk_room * sizeof(job->chunks[0]));
    }
    job->chunks[job->chunk_count++] = seq;
    metric_add(&chunks_total, 1);
}

/* The rows so far become a chunk. */
static enum status put_chunk(struct snapshotter *s, struct snapshot_job *job, struct bytes *rows,
                             struct err *err)
{
    enum status status = STATUS_UNAVAILABLE;
    uint64_t seq = 0;

    if (job->chunk_count >= MOST_CHUNKS)
        return err_set(err, STATUS_INVALID, "more than %d chunks", MOST_CHUNKS);
    bytes_clear(&s->message);
    encode_block(&s->message, ENVELOPE_CHUNK, rows->data, rows->size);
    for (int i = 0; i < TRIES && status != STATUS_OK && !atomic_load(&s->stopping); i++) {
        if (i)
            usleep(AGAIN_MS * 1000);
        status =
            publish(s, job->guild_id, &seq, err); /* a copy after a lost ack is nobody's chunk */
    }
    TRY(status);
    FAILPOINT("snapshot_chunk");
    must(EVP_DigestUpdate(job->digest, s->message.data, s->message.size) == 1);
    add_chunk(job, seq);
    job->bytes += rows->size;
    bytes_clear(rows);
    return STATUS_OK;
}

/* ---- the view ---- */

struct dump {
    struct snapshotter *s;
    struct snapshot_job *job;
    struct rows rows;
};

static enum status on_row(void *ctx, const struct schema_table *t, sqlite3_stmt *q, struct err *err)
{
    struct dump *d = ctx;

    rows_begin(&d->rows, t, false);
    for (int i = 0; i < t->column_count; i++)
        rows_value(&d->rows, sqlite3_column_value(q, i)); /* the connection is ours alone now */
    rows_end(&d->rows);
    /* the first chunk waits until it is sure that one record is not enough */
    size_t most = d->job->chunk_count ? SNAPSHOT_CHUNK : SNAPSHOT_INLINE;
    return d->rows.all.size < most ? STATUS_OK : put_chunk(d->s, d->job, &d->rows.all, err);
}

/* Chunks that are there now belong to older snapshots, or to nobody: once ours is in the log, they may go. */
static enum status find_old_chunks(struct snapshotter *s, struct snapshot_job *job, struct err *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new((size_t)4 * SNAPSHOT_INLINE);
    const struct subject subject = subject_snapshot(job->guild_id);
    struct js_message m = { 0 };
    struct bus_in in = { 0 };
    char body[SUBJECT_SIZE + 32], *data;

    int size = snprintf(body, sizeof(body), "{\"last_by_subj\":\"%s\"}", subject.text);
    const struct bus_out out = { .subject = "$JS.API.STREAM.MSG.GET." STREAM_SNAPSHOTS,
                                 .data = body,
                                 .size = (size_t)size };
    TRY(bus_request_wait(s->bus, &out, JS_TIMEOUT_MS, &data, &in.size, err));
    in.data = data;
    enum status status = js_parse_last(&in, arena, &m, err);
    free(data);
    if (status == STATUS_OK)
        job->purge_below = m.seq + 1;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status dump(struct snapshotter *s, struct snapshot_job *job, struct err *err)
{
    struct dump d = { .s = s, .job = job };

    enum status status = find_old_chunks(s, job, err);
    if (status == STATUS_OK)
        status = schema_dump(s->schema, s->db, job->guild_id, on_row, &d, err);
    if (status == STATUS_OK && d.rows.broken)
        status = err_set(err, STATUS_INVALID, "a row has text that is not UTF-8");
    job->rows = d.rows.all;
    d.rows.all = (struct bytes){ 0 };
    rows_release(&d.rows);
    if (status == STATUS_OK && job->chunk_count && job->rows.size)
        status = put_chunk(s, job, &job->rows, err);
    return status;
}

/* Rows of any size, cut between two of them. */
static enum status put_chunks(struct snapshotter *s, struct snapshot_job *job, struct err *err)
{
    CLEANUP(bytes_release) struct bytes rows = { 0 };
    const unsigned char *at = job->rows.data, *end = at + job->rows.size;

    while (at < end) {
        size_t size = encoded_field_size(at, (size_t)(end - at));
        must(size); /* we wrote it */
        bytes_append(&rows, at, size);
        at += size;
        if (rows.size >= SNAPSHOT_CHUNK || at == end)
            TRY(put_chunk(s, job, &rows, err));
    }
    bytes_clear(&job->rows);
    return STATUS_OK;
}

static void end_view(struct snapshotter *s)
{
    if (sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        log_warn("snapshot_view_not_ended", "text=\"%s\"", sqlite3_errmsg(s->db));
}

/* ---- the thread ---- */

static void work(struct letter *l, void *ctx)
{
    struct snapshot_job *job = CONTAINER_OF(l, struct snapshot_job, letter);
    struct snapshotter *s = ctx;
    struct err err = { 0 };

    job->status = job->dump ? dump(s, job, &err) : put_chunks(s, job, &err);
    (void)snprintf(job->why, sizeof(job->why), "%s", err.text);
    if (job->dump)
        end_view(s);
    job->dump = false;
    job->letter = (struct letter){ .read = job_read, .discard = job_discard };
    atomic_store(&s->busy, false);
    struct letter *done = &job->letter;
    mailbox_post_always(s->owner_box, &done);
}

static void *run(void *arg)
{
    struct snapshotter *s = arg;

    pthread_setname_np(pthread_self(), "snapshotter");
    while (!atomic_load(&s->stopping)) {
        struct pollfd p = { .fd = mailbox_fd(s->box), .events = POLLIN };
        if (poll(&p, 1, -1) > 0)
            mailbox_drain(s->box, s);
    }
    return NULL;
}

static void hand_over(struct snapshotter *s, struct snapshot_job *job)
{
    atomic_store(&s->busy, true);
    job->letter = (struct letter){ .read = work, .discard = job_discard };
    struct letter *l = &job->letter;
    mailbox_post_always(s->box, &l);
}

bool snapshotter_is_busy(const struct snapshotter *s)
{
    return atomic_load(&s->busy);
}

enum status snapshotter_begin(struct snapshotter *s, struct snapshot_job **job, struct err *err)
{
    struct snapshot_job *j = *job;

    /* BEGIN alone does not read yet; the first read fixes the view */
    if (sqlite3_exec(s->db, "BEGIN; SELECT 1 FROM guild_state LIMIT 1", NULL, NULL, NULL) !=
        SQLITE_OK) {
        (void)err_set(err, STATUS_UNAVAILABLE, "snapshot view: SQLite: %s", sqlite3_errmsg(s->db));
        if (!sqlite3_get_autocommit(s->db))
            end_view(s);
        return err->code;
    }
    j->digest = EVP_MD_CTX_new();
    must(j->digest && EVP_DigestInit_ex(j->digest, EVP_sha256(), NULL) == 1);
    j->dump = true;
    hand_over(s, TAKE(*job));
    return STATUS_OK;
}

void snapshotter_more(struct snapshotter *s, struct snapshot_job **job)
{
    hand_over(s, TAKE(*job));
}

/* ---- life ---- */

static enum status open_database(struct snapshotter *s, const char *path, struct err *err)
{
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return err_set(err, STATUS_UNAVAILABLE, "%s: SQLite: %s", path, sqlite3_errmsg(s->db));
    (void)sqlite3_busy_timeout(s->db, 5000);
    return schema_read(s->db, &s->schema, err);
}

enum status snapshotter_new(struct bus *bus, const char *path, struct mailbox *box,
                            struct snapshotter **ret, struct err *err)
{
    struct snapshotter *s = xcalloc(1, sizeof(*s));

    s->bus = bus;
    s->owner_box = box;
    enum status status = open_database(s, path, err);
    if (status == STATUS_OK)
        status = mailbox_new(16, &s->box, err);
    if (status == STATUS_OK && pthread_create(&s->thread, NULL, run, s))
        status = err_set(err, STATUS_UNAVAILABLE, "no thread for snapshots");
    s->started = status == STATUS_OK;
    if (status != STATUS_OK) {
        snapshotter_free(s);
        return status;
    }
    *ret = s;
    return STATUS_OK;
}

static void wake(struct letter *l, void *ctx UNUSED)
{
    free(l);
}

static void unwake(struct letter *l)
{
    free(l);
}

static void stop(struct snapshotter *s)
{
    struct letter *l = xcalloc(1, sizeof(*l));

    *l = (struct letter){ .read = wake, .discard = unwake };
    atomic_store(&s->stopping, true);
    mailbox_post_always(s->box, &l);
    pthread_join(s->thread, NULL);
}

void snapshotter_free(struct snapshotter *s)
{
    if (!s)
        return;
    if (s->started)
        stop(s);
    mailbox_free(s->box);
    schema_free(s->schema);
    sqlite3_close(s->db);
    bytes_release(&s->message);
    free(s);
}
