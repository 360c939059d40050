/* store_text.h - between store.c (transactions) and store_read.c (rows): plans as JSON, selects.
 *
 * THREAD: confined, as the store. */
#ifndef COORDINATOR_STORE_TEXT_H
#define COORDINATOR_STORE_TEXT_H

#include <jansson.h>

#include "coordinator/store.h"
#include "coordinator/store_sql.h"

/* Arrays of objects with the keys of statements.def; the caller owns them. Numbers are the signed
 * bit patterns. */
json_t *text_of_guilds(const struct guild_row *rows, size_t count);
json_t *text_of_moves(const struct move_row *rows, size_t count);
json_t *text_of_shards(const struct shard_row *rows, size_t count);
json_t *text_of_standbys(const struct standby_row *rows, size_t count);
json_t *text_of_pods(const struct pod_row *rows, size_t count);

enum status store_select(struct store *store, enum sql_id id, const struct sql_args *args,
                         sql_on_row on_row, void *ctx, struct err *err) MUST_CHECK;

#endif
