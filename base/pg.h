/* pg.h - libpq with statuses: one blocking connection that reconnects, parametrised SQL only.
 *
 * THREAD: confined. */
#ifndef BASE_PG_H
#define BASE_PG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct pg;
struct pg_result;

enum { PG_MAX_PARAMS = 16 };
/* Text parameters ($1 …); NULL is SQL NULL. */
struct pg_params {
    int count;
    const char *values[PG_MAX_PARAMS];
};

/* Connects at the first use, within 5 s unless the URL says connect_timeout. url is a libpq URI. */
struct pg *pg_new(const char *url) MUST_CHECK;
void pg_free(struct pg *pg);
DEFINE_CLEANUP(struct pg *, pg_free)

/* UNAVAILABLE: no connection (the next call tries again), or lost in the middle: whether the
 * statement happened is not known. CONFLICT: unique, exclusion, check or serialisation failure.
 * INVALID: data that cannot work. TIMEOUT: cancelled by statement_timeout. INTERNAL: wrong SQL.
 * A failure inside BEGIN … leaves the transaction to be rolled back. ret_result may be NULL. */
enum status pg_exec(struct pg *pg, const char *sql, const struct pg_params *params,
                    struct pg_result **ret_result, struct err *err) MUST_CHECK;
/* Several statements without parameters, e.g. a schema. */
enum status pg_script(struct pg *pg, const char *sql, struct err *err) MUST_CHECK;
/* Grows by one with each new connection: session locks held before are gone. */
uint64_t pg_generation(const struct pg *pg);

int pg_rows(const struct pg_result *r);
int64_t pg_affected(const struct pg_result *r);
const char *pg_text(const struct pg_result *r, int row, int column); /* "" for NULL */
int64_t pg_int(const struct pg_result *r, int row, int column);      /* 0 for NULL; 1 for true */
bool pg_is_null(const struct pg_result *r, int row, int column);
void pg_result_free(struct pg_result *r);
DEFINE_CLEANUP(struct pg_result *, pg_result_free)

#endif
