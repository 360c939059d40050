/* wal.h - when the database's write-ahead log goes to the disk and into the database.
 *
 *     commit … commit ─▶ 1 MiB more: the kernel begins to write it ─▶ … ─▶ 64 MiB: checkpoint
 *
 * Where less than 512 MiB are free it comes each 4 MiB.
 *
 * A checkpoint stands in the owner's way: it syncs the log, copies its pages, and syncs the database.
 * So it comes seldom, when a page that changed a hundred times is copied once, and finds a log that is
 * on the disk already. It is made by the connection that writes, never by another one: two that
 * write and checkpoint at once can lose pages (SQLite before 3.51.3).
 *
 * THREAD: confined to the database's. */
#ifndef GATEWAY_WAL_H
#define GATEWAY_WAL_H

#include <sqlite3.h>

struct wal;

/* Takes checkpoints over. path: the database's, whose log is path-wal. */
struct wal *wal_watch(sqlite3 *db, const char *path) __attribute__((warn_unused_result));
/* After the database is closed. */
void wal_free(struct wal *wal);

#endif
