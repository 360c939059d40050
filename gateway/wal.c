#include "gateway/wal.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/xmem.h"

/* Pages of 4 KiB. */
enum {
    BEGIN_EACH = 256,
    CHECKPOINT_AT = 16384,
    AGAIN_AFTER = 1024,     /* when somebody still reads what is older */
    CHECKPOINT_SOON = 1024, /* where there is little room: as SQLite does by itself */
};
#define LITTLE_ROOM ((uint64_t)512 << 20)

static struct metric checkpoints =
    METRIC_HISTOGRAM("guildbus_checkpoint_seconds", "a checkpoint of the pod's database");

struct wal {
    char *path;
    int fd; /* -1: not open yet */
    int begun, checkpoint_at;
};

/* SQLite makes the file with the first commit. It has no locks that closing another descriptor would
 * release: those of a WAL database are on other files. */
static void begin_writing(struct wal *w, int pages)
{
    if (w->fd < 0)
        w->fd = open(w->path, O_RDONLY | O_CLOEXEC);
    if (w->fd >= 0)
        (void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    w->begun = pages;
}

/* A log that fills the disk could not even be copied into the database. */
static bool has_little_room(const struct wal *w)
{
    struct statvfs fs;

    return w->fd >= 0 && fstatvfs(w->fd, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < LITTLE_ROOM;
}

static void checkpoint(struct wal *w, sqlite3 *db, const char *schema, int pages)
{
    int64_t began_us = clock_now_us();
    int in_log = 0, copied = 0;

    (void)sqlite3_wal_checkpoint_v2(db, schema, SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
    metric_observe_us(&checkpoints, clock_now_us() - began_us);
    w->checkpoint_at = copied < in_log ? pages + AGAIN_AFTER : CHECKPOINT_AT;
    w->begun = 0;
}

/* After each commit. Begins anew from few pages when a checkpoint was complete. */
static int on_commit(void *ctx, sqlite3 *db, const char *schema, int pages)
{
    struct wal *w = ctx;

    if (pages < w->begun) {
        w->begun = 0;
        w->checkpoint_at = CHECKPOINT_AT;
    }
    if (pages >= w->checkpoint_at) {
        checkpoint(w, db, schema, pages);
    } else if (pages - w->begun >= BEGIN_EACH) {
        begin_writing(w, pages);
        if (w->checkpoint_at == CHECKPOINT_AT && has_little_room(w))
            w->checkpoint_at = CHECKPOINT_SOON;
    }
    return SQLITE_OK;
}

struct wal *wal_watch(sqlite3 *db, const char *path)
{
    struct wal *w = xcalloc(1, sizeof(*w));

    *w =
        (struct wal){ .path = xasprintf("%s-wal", path), .fd = -1, .checkpoint_at = CHECKPOINT_AT };
    (void)sqlite3_wal_hook(db, on_commit, w);
    return w;
}

void wal_free(struct wal *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    free(w->path);
    free(w);
}
