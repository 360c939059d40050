/* rows.h - SQLite rows as wire bytes: repeated Change.rows fields of guildbus.proto.
 *
 *     rows_begin(&r, table, false); rows_value(&r, v) for each column; rows_end(&r);
 *
 * THREAD: confined. */
#ifndef GATEWAY_ROWS_H
#define GATEWAY_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "gateway/schema.h"

struct rows {
    struct bytes all;
    bool broken; /* text that is not UTF-8, or has a NUL: nobody could read such a row again */
    struct bytes row, value;
};

void rows_release(struct rows *r);
void rows_clear(struct rows *r);
void rows_begin(struct rows *r, const struct schema_table *t, bool remove);
void rows_value(struct rows *r, sqlite3_value *v);
void rows_end(struct rows *r);

#endif
