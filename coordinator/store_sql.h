/* store_sql.h - what a database must do for store.c: run the shared statements, hold the lock.
 *
 *     store.c ──statement, text parameters──▶ store_pg.c | store_sqlite.c ──rows──▶ on_row
 *
 * THREAD: confined. */
#ifndef COORDINATOR_STORE_SQL_H
#define COORDINATOR_STORE_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/status.h"

enum sql_id {
#define NOW             ""
#define MS(moment)      ""
#define AFTER(at, ms)   ""
#define MOMENT(ms)      ""
#define EACH            ""
#define SHARED          ""
#define LOCK_SCHEMA     ""
#define BEGIN_WRITE     ""
#define SQL(name, text) SQL_##name,
#include "coordinator/statements.def"
#undef SQL
#undef NOW
#undef MS
#undef AFTER
#undef MOMENT
#undef EACH
#undef SHARED
#undef LOCK_SCHEMA
#undef BEGIN_WRITE
    SQL_COUNT
};

enum { SQL_MAX_PARAMS = 8 };
struct sql_args {
    int count;
    const char *values[SQL_MAX_PARAMS]; /* NULL is SQL NULL */
    char numbers[SQL_MAX_PARAMS][24];
};
void sql_args_text(struct sql_args *args, const char *text); /* borrowed */
void sql_args_int(struct sql_args *args, int64_t value);

struct sql_backend;
/* One row of a result; valid during on_row. */
struct sql_row {
    const struct sql_backend *backend;
    void *handle;
    int at;
};
typedef void (*sql_on_row)(void *ctx, const struct sql_row *row);

struct sql_run {
    enum sql_id id;
    const struct sql_args *args; /* NULL: none */
    sql_on_row on_row;           /* NULL: rows are not looked at */
    void *ctx;
    int64_t affected; /* filled: rows changed or returned */
};

struct sql_backend {
    const char *kind;
    const char *const *schema; /* statements, NULL-terminated */
    const int *schema_versions;
    enum status (*run)(struct sql_backend *b, struct sql_run *run, struct err *err);
    /* A statement without parameters, of the schema. */
    enum status (*script)(struct sql_backend *b, const char *sql, struct err *err);
    /* OK with *ret_got false: another process has it. Locking again what is held is fine. */
    enum status (*lock)(struct sql_backend *b, bool *ret_got, struct err *err);
    void (*unlock)(struct sql_backend *b);
    void (*free)(struct sql_backend *b);
    int64_t (*column_int)(const struct sql_row *row, int column); /* 0 for NULL */
    const char *(*column_text)(const struct sql_row *row,
                               int column); /* "" for NULL; until the row ends */
};

static inline int64_t sql_int(const struct sql_row *row, int column)
{
    return row->backend->column_int(row, column);
}
static inline const char *sql_text(const struct sql_row *row, int column)
{
    return row->backend->column_text(row, column);
}

enum status sql_pg_open(const char *url, struct sql_backend **ret_backend, struct err *err)
    MUST_CHECK;
enum status sql_sqlite_open(const char *path, struct sql_backend **ret_backend, struct err *err)
    MUST_CHECK;

#endif
