/* schema.h - the guilds' tables as the database has them: making them, and writing and removing
 * rows by table name.
 *
 * THREAD: confined to the database's. */
#ifndef GATEWAY_SCHEMA_H
#define GATEWAY_SCHEMA_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "messages/guildbus.pb-c.h"

enum { SCHEMA_MAX_COLUMNS = 32 };

struct schema_table {
    const char *name;
    int column_count;
    int key[SCHEMA_MAX_COLUMNS]; /* columns of the primary key, in its order; the first is guild_id
                                  */
    int key_count;
    sqlite3_stmt *put[SCHEMA_MAX_COLUMNS + 1]; /* by how many columns the row has */
    sqlite3_stmt *remove, *remove_some, *all;
};
struct schema;

enum status schema_create(sqlite3 *db, struct err *err) MUST_CHECK;
enum status schema_read(sqlite3 *db, struct schema **ret_schema, struct err *err) MUST_CHECK;
void schema_free(struct schema *schema);

/* NULL: not a guild's table. */
const struct schema_table *schema_find(const struct schema *schema, const char *name);

enum status schema_apply(struct schema *schema, sqlite3 *db, uint64_t guild_id,
                         const Guildbus__V1__RowOp *op, struct err *err) MUST_CHECK;
/* *left goes down by what was removed, table by table; stops at 0. */
enum status schema_remove_rows(struct schema *schema, sqlite3 *db, uint64_t guild_id, int *left,
                               struct err *err) MUST_CHECK;
/* Each row of the guild: all columns, in their order. Ends with the first status that is not OK. */
enum status schema_dump(struct schema *schema, sqlite3 *db, uint64_t guild_id,
                        enum status (*on_row)(void *ctx, const struct schema_table *t,
                                              sqlite3_stmt *row, struct err *err),
                        void *ctx, struct err *err) MUST_CHECK;

#endif
