#include "base/pg.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/confined.h"
#include "base/xmem.h"

struct pg {
    struct confined owner;
    char *url;
    PGconn *conn; /* NULL: not connected */
    uint64_t generation;
};

struct pg_result {
    PGresult *res;
};

struct pg *pg_new(const char *url)
{
    struct pg *pg = xcalloc(1, sizeof(*pg));

    pg->url = xstrdup(url);
    return pg;
}

static void disconnect(struct pg *pg)
{
    if (pg->conn)
        PQfinish(TAKE(pg->conn));
}

void pg_free(struct pg *pg)
{
    if (!pg)
        return;
    disconnect(pg);
    free(pg->url);
    free(pg);
}

/* libpq's texts end in a newline and may have several lines; err keeps the first one. */
static enum status fail(struct err *err, enum status code, const char *doing, const char *text)
{
    const char *why = text && *text ? text : "no reason given";

    return err_set(err, code, "PostgreSQL, %s: %.*s", doing, (int)strcspn(why, "\n"), why);
}

static void drop_notice(void *arg UNUSED, const PGresult *res UNUSED)
{
}

/* A dead server's machine is noticed by keepalives within 15 s; a hung query by the server's own
 * statement_timeout, when the URL sets one. */
static PGconn *connect_with_defaults(const char *url)
{
    static const char *const keys[] = {
        "connect_timeout",  "keepalives_idle",  "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "fallback_application_name",
        "client_encoding",  "dbname",           NULL
    };
    const char *values[] = { "5", "5", "3", "3", "15000", "guildbus", "UTF8", url, NULL };

    return PQconnectdbParams(keys, values, 1);
}

static enum status ensure_connected(struct pg *pg, struct err *err)
{
    confined_check(&pg->owner);
    if (pg->conn && PQstatus(pg->conn) == CONNECTION_OK)
        return STATUS_OK;
    disconnect(pg);
    pg->conn = connect_with_defaults(pg->url);
    must(pg->conn);
    if (PQstatus(pg->conn) != CONNECTION_OK) {
        enum status status = fail(err, STATUS_UNAVAILABLE, "connect", PQerrorMessage(pg->conn));
        disconnect(pg);
        return status;
    }
    (void)PQsetNoticeReceiver(pg->conn, drop_notice, NULL);
    pg->generation++;
    return STATUS_OK;
}

/* Classes of SQLSTATE (PostgreSQL, appendix A). */
static enum status status_of(const char *state)
{
    static const struct {
        const char *prefix;
        enum status status;
    } known[] = {
        { "23505", STATUS_CONFLICT },    /* unique */
        { "23514", STATUS_CONFLICT },    /* check */
        { "23P01", STATUS_CONFLICT },    /* exclusion */
        { "40", STATUS_CONFLICT },       /* serialisation, deadlock */
        { "55P03", STATUS_CONFLICT },    /* lock not available */
        { "23", STATUS_INVALID },        /* not null, foreign key */
        { "22", STATUS_INVALID },        /* data */
        { "57014", STATUS_TIMEOUT },     /* cancelled, statement_timeout */
        { "08", STATUS_UNAVAILABLE },    /* connection */
        { "57P", STATUS_UNAVAILABLE },   /* shutting down */
        { "53", STATUS_UNAVAILABLE },    /* out of disk, memory, connections */
        { "25006", STATUS_UNAVAILABLE }, /* read-only: a replica after a failover */
        { "28", STATUS_DENIED },         { "42501", STATUS_DENIED },
    };

    for (size_t i = 0; state && i < ARRAY_LEN(known); i++) {
        if (strncmp(state, known[i].prefix, strlen(known[i].prefix)) == 0)
            return known[i].status;
    }
    return STATUS_INTERNAL;
}

/* Takes res. A connection that is not usable any more goes, so that the next call makes a new one.
 */
static enum status refuse(struct pg *pg, PGresult *res, struct err *err)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    bool lost = PQstatus(pg->conn) != CONNECTION_OK;
    enum status status = lost ? STATUS_UNAVAILABLE : status_of(state);

    status = fail(err, status, state ? state : "lost the connection",
                  text ? text : PQerrorMessage(pg->conn));
    /* A new primary is found by connecting again. */
    if (lost || status == STATUS_UNAVAILABLE)
        disconnect(pg);
    PQclear(res);
    return status;
}

enum status pg_exec(struct pg *pg, const char *sql, const struct pg_params *params,
                    struct pg_result **ret_result, struct err *err)
{
    int count = params ? params->count : 0;

    must(count >= 0 && count <= PG_MAX_PARAMS);
    TRY(ensure_connected(pg, err));
    PGresult *res =
        PQexecParams(pg->conn, sql, count, NULL, params ? params->values : NULL, NULL, NULL, 0);
    ExecStatusType how = PQresultStatus(res);
    if (how != PGRES_TUPLES_OK && how != PGRES_COMMAND_OK)
        return refuse(pg, res, err);
    if (!ret_result) {
        PQclear(res);
        return STATUS_OK;
    }
    struct pg_result *r = xcalloc(1, sizeof(*r));
    r->res = res;
    *ret_result = r;
    return STATUS_OK;
}

enum status pg_script(struct pg *pg, const char *sql, struct err *err)
{
    TRY(ensure_connected(pg, err));
    PGresult *res = PQexec(pg->conn, sql);
    ExecStatusType how = PQresultStatus(res);

    if (how != PGRES_TUPLES_OK && how != PGRES_COMMAND_OK && how != PGRES_EMPTY_QUERY)
        return refuse(pg, res, err);
    PQclear(res);
    return STATUS_OK;
}

uint64_t pg_generation(const struct pg *pg)
{
    return pg->generation;
}

int pg_rows(const struct pg_result *r)
{
    return PQntuples(r->res);
}

int64_t pg_affected(const struct pg_result *r)
{
    return strtoll(PQcmdTuples(r->res), NULL, 10);
}

const char *pg_text(const struct pg_result *r, int row, int column)
{
    must(row >= 0 && row < PQntuples(r->res) && column >= 0 && column < PQnfields(r->res));
    return PQgetvalue(r->res, row, column);
}

int64_t pg_int(const struct pg_result *r, int row, int column)
{
    const char *text = pg_text(r, row, column);

    /* bool columns read as t and f */
    return text[0] == 't' ? 1 : strtoll(text, NULL, 10);
}

bool pg_is_null(const struct pg_result *r, int row, int column)
{
    must(row >= 0 && row < PQntuples(r->res) && column >= 0 && column < PQnfields(r->res));
    return PQgetisnull(r->res, row, column) != 0;
}

void pg_result_free(struct pg_result *r)
{
    if (!r)
        return;
    PQclear(r->res);
    free(r);
}
