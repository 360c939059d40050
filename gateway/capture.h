/* capture.h - turns each row that a unit writes into a RowOp, by SQLite's preupdate hook.
 *
 *     INSERT/UPDATE ─▶ put, the whole new row        DELETE ─▶ remove, the primary key
 *     (an UPDATE that changes the key: remove, then put)
 *
 * Replaying the ops in order gives the same rows, so a record may be applied twice.
 *
 * THREAD: confined to the database's. */
#ifndef GATEWAY_CAPTURE_H
#define GATEWAY_CAPTURE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "gateway/schema.h"

struct capture;

struct capture *capture_new(sqlite3 *db, const struct schema *schema) MUST_CHECK;
void capture_free(struct capture *c);

/* Rows of another guild than this abort: a handler would have written past its guild. */
void capture_start(struct capture *c, uint64_t guild_id);
void capture_stop(struct capture *c);
/* A row had text that is not UTF-8, or with a NUL: the unit must not be kept. */
bool capture_is_broken(const struct capture *c);
/* Repeated Change.rows fields, since the last start. */
const struct bytes *capture_rows(const struct capture *c);

#endif
