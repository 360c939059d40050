/* The store in PostgreSQL: the leader's lock is an advisory lock of the session, so it ends with
 * the connection. */
#include <string.h>

#include "base/pg.h"
#include "base/xmem.h"
#include "coordinator/store_sql.h"

/* Keys of the advisory locks: "guildbus" in ASCII, and the next one. */
#define LEADER_LOCK "7454980672443282803"
#define SCHEMA_LOCK "7454980672443282804"

#define NOW           "clock_timestamp()"
#define MS(moment)    "CAST(floor(extract(epoch FROM " moment ") * 1000) AS bigint)"
#define AFTER(at, ms) "(" at " + CAST(" ms " AS bigint) * interval '1 millisecond')"
#define MOMENT(ms)    "to_timestamp(" ms " / 1000.0)"
#define EACH          "json_array_elements(CAST($1 AS json)) AS b(value)"
#define SHARED        " FOR SHARE"
#define LOCK_SCHEMA   "SELECT pg_advisory_xact_lock(" SCHEMA_LOCK ")"
#define BEGIN_WRITE   "BEGIN"
#define TIMESTAMP     "timestamptz"

#define ROW_NUMBERS(table)             "ALTER TABLE " table " ADD COLUMN rowid bigserial PRIMARY KEY"
#define ROW_INDEX(name, table, column) "CREATE INDEX " name " ON " table " (" column ", rowid)"

static const char *const statements[] = {
#define SQL(name, text) text,
#include "coordinator/statements.def"
#undef SQL
};
static const char *const schema[] = {
#define SCHEMA(version, text) text,
#include "coordinator/schema.def"
#undef SCHEMA
    NULL,
};
static const int schema_versions[] = {
#define SCHEMA(version, text) version,
#include "coordinator/schema.def"
#undef SCHEMA
};

struct pg_backend {
    struct sql_backend b;
    struct pg *pg;
    uint64_t locked_in; /* the connection that took the leader's lock; 0: none */
};

static struct pg_backend *of(struct sql_backend *b)
{
    return CONTAINER_OF(b, struct pg_backend, b);
}

static enum status backend_run(struct sql_backend *b, struct sql_run *run, struct err *err)
{
    struct pg_backend *p = of(b);
    CLEANUP(pg_result_free) struct pg_result *result = NULL;
    struct pg_params params = { .count = run->args ? run->args->count : 0 };

    for (int i = 0; i < params.count; i++)
        params.values[i] = run->args->values[i];
    TRY(pg_exec(p->pg, statements[run->id], &params, &result, err));
    run->affected = pg_affected(result);
    int rows = run->on_row ? pg_rows(result) : 0;
    for (int i = 0; i < rows; i++) {
        const struct sql_row row = { b, result, i };
        run->on_row(run->ctx, &row);
    }
    return STATUS_OK;
}

static enum status backend_script(struct sql_backend *b, const char *sql, struct err *err)
{
    return pg_exec(of(b)->pg, sql, &(struct pg_params){ 0 }, NULL, err);
}

/* A leader that hangs, or whose machine is gone, must not keep the lock for as long as TCP believes
 * in it: its session ends when it says nothing for so long. It says something every second. */
static enum status guard_session(struct pg_backend *p, struct err *err)
{
    static const char sql[] =
        "SELECT set_config(v.name, v.value, false) FROM (VALUES ('idle_session_timeout', '6000'),"
        " ('idle_in_transaction_session_timeout', '4000'), ('tcp_keepalives_idle', '3'),"
        " ('tcp_keepalives_interval', '1'), ('tcp_keepalives_count', '3'),"
        " ('tcp_user_timeout', '6000')) AS v(name, value)"
        " JOIN pg_settings s ON s.name = v.name"; /* older servers lack some */

    return pg_exec(p->pg, sql, &(struct pg_params){ 0 }, NULL, err);
}

static enum status backend_lock(struct sql_backend *b, bool *ret_got, struct err *err)
{
    struct pg_backend *p = of(b);
    CLEANUP(pg_result_free) struct pg_result *result = NULL;

    *ret_got = p->locked_in && p->locked_in == pg_generation(p->pg);
    if (*ret_got)
        return STATUS_OK;
    TRY(pg_exec(p->pg, "SELECT CAST(pg_try_advisory_lock(" LEADER_LOCK ") AS int)",
                &(struct pg_params){ 0 }, &result, err));
    *ret_got = pg_int(result, 0, 0) == 1;
    p->locked_in = *ret_got ? pg_generation(p->pg) : 0;
    return *ret_got ? guard_session(p, err) : STATUS_OK;
}

static void backend_unlock(struct sql_backend *b)
{
    struct pg_backend *p = of(b);

    /* Failing means the connection is gone, and the lock with it. */
    if (p->locked_in && p->locked_in == pg_generation(p->pg) &&
        pg_exec(p->pg, "SELECT pg_advisory_unlock(" LEADER_LOCK ")", &(struct pg_params){ 0 }, NULL,
                NULL) != STATUS_OK)
        p->locked_in = 0;
    p->locked_in = 0;
}

static void backend_free(struct sql_backend *b)
{
    struct pg_backend *p = of(b);

    pg_free(p->pg);
    free(p);
}

static int64_t backend_int(const struct sql_row *row, int column)
{
    return pg_int(row->handle, row->at, column);
}

static const char *backend_text(const struct sql_row *row, int column)
{
    return pg_text(row->handle, row->at, column);
}

enum status sql_pg_open(const char *url, struct sql_backend **ret_backend, struct err *err)
{
    struct pg_backend *p = xcalloc(1, sizeof(*p));
    struct sql_run ping = { .id = SQL_NOW_MS };

    p->b = (struct sql_backend){
        .kind = "postgresql",
        .schema = schema,
        .schema_versions = schema_versions,
        .run = backend_run,
        .script = backend_script,
        .lock = backend_lock,
        .unlock = backend_unlock,
        .free = backend_free,
        .column_int = backend_int,
        .column_text = backend_text,
    };
    p->pg = pg_new(url);
    enum status status = backend_run(&p->b, &ping, err);
    if (status != STATUS_OK) {
        backend_free(&p->b);
        return status;
    }
    *ret_backend = &p->b;
    return STATUS_OK;
}
