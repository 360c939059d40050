/* snapshotter.h - writes a guild's rows out, beside the owner's thread.
 *
 *     owner: begin ── a read transaction on the database's second connection: the view
 *     thread:  reads the view ─▶ chunks ─▶ SNAPSHOTS;   what fits into one record stays in the job
 *     owner: on_done(job)
 *
 * One job at a time: the view is the connection's one transaction. Chunks are only of use once a Snapshot
 * record names them (snapshot.c); those of a job that came to nothing are purged with the next one.
 *
 * THREAD: new/free one thread; begin, more: the owner's. on_done is called on the owner's thread, as a
 * letter to its mailbox. */
#ifndef GATEWAY_SNAPSHOTTER_H
#define GATEWAY_SNAPSHOTTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/bytes.h"
#include "base/mailbox.h"
#include "base/status.h"

enum {
    SNAPSHOT_CHUNK =
        128 * 1024, /* applied in one go by the next owner, between other guilds' units */
    SNAPSHOT_INLINE = 256 * 1024, /* rows that may travel in the record, beside as much again that
                                     changed meanwhile: a message is 1 MB at most */
};

struct snapshotter;

/* Belongs to whoever has it: the owner, from begin to done the thread. */
struct snapshot_job {
    struct letter letter;
    uint64_t guild_id, tag;
    struct bytes
        rows; /* repeated Change.rows: what is not in chunks; for more: what is to become some */
    uint64_t *chunks; /* their sequences */
    size_t chunk_count, chunk_room;
    void *digest;         /* running SHA-256 of the chunks; EVP_MD_CTX */
    uint64_t bytes;       /* of rows in chunks */
    uint64_t purge_below; /* older chunks are below this sequence; 0: there are none */
    enum status status;   /* anything but OK: the job came to nothing, and why says why */
    char why[256];
    bool dump;
    void (*on_done)(void *ctx, struct snapshot_job *job);
    void *ctx;
};
void snapshot_job_free(struct snapshot_job *job);
/* The hash of its chunks so far. */
void snapshot_job_hash(const struct snapshot_job *job, unsigned char ret_hash[32]);

/* path: of the owner's database, which must be a file. */
enum status snapshotter_new(struct bus *bus, const char *path, struct mailbox *box,
                            struct snapshotter **ret, struct err *err) MUST_CHECK;
void snapshotter_free(struct snapshotter *s);

bool snapshotter_is_busy(const struct snapshotter *s);
/* Everything committed up to now is in the view. Takes *job when it is OK. */
enum status snapshotter_begin(struct snapshotter *s, struct snapshot_job **job, struct err *err)
    MUST_CHECK;
/* job->rows become more chunks. Takes *job. */
void snapshotter_more(struct snapshotter *s, struct snapshot_job **job);

#endif
