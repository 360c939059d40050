/* The store in one SQLite file, for a single coordinator: the leader's lock is a flock beside the
 * file. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/xmem.h"
#include "coordinator/store_sql.h"

#define NOW           "CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS bigint)"
#define MS(moment)    moment
#define AFTER(at, ms) "(" at " + CAST(" ms " AS bigint))"
#define MOMENT(ms)    ms
#define EACH          "json_each($1) AS b"
#define SHARED        ""
#define LOCK_SCHEMA   "SELECT 1"
#define BEGIN_WRITE   "BEGIN IMMEDIATE"
#define TIMESTAMP     "bigint"

/* Each table has a rowid, and each index ends with it. */
#define ROW_NUMBERS(table)             "SELECT 1"
#define ROW_INDEX(name, table, column) "CREATE INDEX " name " ON " table " (" column ")"

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

struct sqlite_backend {
    struct sql_backend b;
    sqlite3 *db;
    sqlite3_stmt *prepared[SQL_COUNT];
    char *lock_path;
    int lock_fd; /* -1: the lock is not held */
};

static struct sqlite_backend *of(struct sql_backend *b)
{
    return CONTAINER_OF(b, struct sqlite_backend, b);
}

static enum status failed(sqlite3 *db, int code, struct err *err)
{
    enum status status = (code & 0xff) == SQLITE_CONSTRAINT ? STATUS_CONFLICT
                         : (code & 0xff) == SQLITE_CORRUPT  ? STATUS_CORRUPT
                                                            : STATUS_UNAVAILABLE;
    return err_set(err, status, "SQLite: %s", sqlite3_errmsg(db));
}

static enum status prepare(struct sqlite_backend *s, enum sql_id id, sqlite3_stmt **ret,
                           struct err *err)
{
    if (!s->prepared[id]) {
        int code = sqlite3_prepare_v3(s->db, statements[id], -1, SQLITE_PREPARE_PERSISTENT,
                                      &s->prepared[id], NULL);
        if (code != SQLITE_OK)
            return failed(s->db, code, err);
    }
    *ret = s->prepared[id];
    return STATUS_OK;
}

/* By name: $2 may stand in a text before $1, or not at all. */
static void bind(sqlite3_stmt *q, const struct sql_args *args)
{
    for (int i = 0; args && i < args->count; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "$%d", i + 1);
        int at = sqlite3_bind_parameter_index(q, name);
        if (at)
            sqlite3_bind_text(q, at, args->values[i], -1, SQLITE_STATIC);
    }
}

static enum status sqlite_run(struct sql_backend *b, struct sql_run *run, struct err *err)
{
    struct sqlite_backend *s = of(b);
    sqlite3_stmt *q = NULL;
    int64_t rows = 0;
    int code;

    TRY(prepare(s, run->id, &q, err));
    bind(q, run->args);
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        const struct sql_row row = { b, q, 0 };
        rows++;
        if (run->on_row)
            run->on_row(run->ctx, &row);
    }
    enum status status = code == SQLITE_DONE ? STATUS_OK : failed(s->db, code, err);
    run->affected = sqlite3_column_count(q) ? rows : sqlite3_changes64(s->db);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return status;
}

static enum status sqlite_script(struct sql_backend *b, const char *sql, struct err *err)
{
    struct sqlite_backend *s = of(b);
    int code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? STATUS_OK : failed(s->db, code, err);
}

static enum status sqlite_lock(struct sql_backend *b, bool *ret_got, struct err *err)
{
    struct sqlite_backend *s = of(b);

    *ret_got = s->lock_fd >= 0;
    if (*ret_got)
        return STATUS_OK;
    int fd = open(s->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, STATUS_UNAVAILABLE, "%.180s: %m", s->lock_path);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        bool taken = errno == EWOULDBLOCK;
        close(fd);
        return taken ? STATUS_OK : err_set(err, STATUS_UNAVAILABLE, "%.180s: %m", s->lock_path);
    }
    s->lock_fd = fd;
    *ret_got = true;
    return STATUS_OK;
}

static void sqlite_unlock(struct sql_backend *b)
{
    struct sqlite_backend *s = of(b);

    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->lock_fd = -1;
}

static void sqlite_free(struct sql_backend *b)
{
    struct sqlite_backend *s = of(b);

    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(s->prepared[i]);
    sqlite3_close(s->db);
    sqlite_unlock(b);
    free(s->lock_path);
    free(s);
}

static int64_t sqlite_int(const struct sql_row *row, int column)
{
    return sqlite3_column_int64(row->handle, column);
}

static const char *sqlite_text(const struct sql_row *row, int column)
{
    const unsigned char *text = sqlite3_column_text(row->handle, column);

    return text ? (const char *)text : "";
}

static enum status open_file(struct sqlite_backend *s, const char *path, struct err *err)
{
    int code = sqlite3_open_v2(
        path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return err_set(err, STATUS_UNAVAILABLE, "%.160s: %s", path, sqlite3_errmsg(s->db));
    sqlite3_busy_timeout(s->db, 5000);
    return sqlite_script(&s->b, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", err);
}

enum status sql_sqlite_open(const char *path, struct sql_backend **ret_backend, struct err *err)
{
    struct sqlite_backend *s = xcalloc(1, sizeof(*s));

    s->b = (struct sql_backend){
        .kind = "sqlite",
        .schema = schema,
        .schema_versions = schema_versions,
        .run = sqlite_run,
        .script = sqlite_script,
        .lock = sqlite_lock,
        .unlock = sqlite_unlock,
        .free = sqlite_free,
        .column_int = sqlite_int,
        .column_text = sqlite_text,
    };
    s->lock_fd = -1;
    s->lock_path = xasprintf("%s.lock", path);
    enum status status = open_file(s, path, err);
    if (status != STATUS_OK) {
        sqlite_free(&s->b);
        return status;
    }
    *ret_backend = &s->b;
    return STATUS_OK;
}
