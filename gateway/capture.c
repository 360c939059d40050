#include "gateway/capture.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xmem.h"
#include "gateway/rows.h"

struct capture {
    const struct schema *schema;
    bool on;
    uint64_t guild_id;
    struct rows rows;
};

static void check_guild(const struct capture *c, const struct schema_table *t, sqlite3_value *v)
{
    if ((uint64_t)sqlite3_value_int64(v) == c->guild_id)
        return;
    log_error("row_of_another_guild", "table=%s", t->name);
    abort();
}

static void put_row(struct capture *c, sqlite3 *db, const struct schema_table *t)
{
    rows_begin(&c->rows, t, false);
    for (int i = 0; i < t->column_count; i++) {
        sqlite3_value *v = NULL;
        (void)sqlite3_preupdate_new(db, i, &v);
        if (i == 0)
            check_guild(c, t, v);
        rows_value(&c->rows, v);
    }
    rows_end(&c->rows);
}

static void remove_row(struct capture *c, sqlite3 *db, const struct schema_table *t)
{
    rows_begin(&c->rows, t, true);
    for (int i = 0; i < t->key_count; i++) {
        sqlite3_value *v = NULL;
        (void)sqlite3_preupdate_old(db, t->key[i], &v);
        if (i == 0)
            check_guild(c, t, v);
        rows_value(&c->rows, v);
    }
    rows_end(&c->rows);
}

static bool same(sqlite3_value *a, sqlite3_value *b)
{
    if (sqlite3_value_type(a) != sqlite3_value_type(b))
        return false;
    if (sqlite3_value_type(a) == SQLITE_INTEGER)
        return sqlite3_value_int64(a) == sqlite3_value_int64(b);
    const void *x = sqlite3_value_blob(a), *y = sqlite3_value_blob(b);
    int size = sqlite3_value_bytes(a);
    return size == sqlite3_value_bytes(b) && (!size || !memcmp(x, y, (size_t)size));
}

static bool key_changes(sqlite3 *db, const struct schema_table *t)
{
    for (int i = 0; i < t->key_count; i++) {
        sqlite3_value *before = NULL, *after = NULL;
        (void)sqlite3_preupdate_old(db, t->key[i], &before);
        (void)sqlite3_preupdate_new(db, t->key[i], &after);
        if (!same(before, after))
            return true;
    }
    return false;
}

/* NOLINTNEXTLINE(readability-function-size): SQLite decides the parameters */
static void on_preupdate(void *arg, sqlite3 *db, int op, const char *schema_name UNUSED,
                         const char *table, sqlite3_int64 before UNUSED, sqlite3_int64 after UNUSED)
{
    struct capture *c = arg;
    const struct schema_table *t = c->on ? schema_find(c->schema, table) : NULL;

    if (!t)
        return;
    if (op == SQLITE_DELETE || (op == SQLITE_UPDATE && key_changes(db, t)))
        remove_row(c, db, t);
    if (op != SQLITE_DELETE)
        put_row(c, db, t);
}

struct capture *capture_new(sqlite3 *db, const struct schema *schema)
{
    struct capture *c = xcalloc(1, sizeof(*c));

    c->schema = schema;
    (void)sqlite3_preupdate_hook(db, on_preupdate, c);
    return c;
}

void capture_free(struct capture *c)
{
    if (!c)
        return;
    rows_release(&c->rows);
    free(c);
}

void capture_start(struct capture *c, uint64_t guild_id)
{
    rows_clear(&c->rows);
    c->guild_id = guild_id;
    c->on = true;
}

void capture_stop(struct capture *c)
{
    c->on = false;
}

bool capture_is_broken(const struct capture *c)
{
    return c->rows.broken;
}

const struct bytes *capture_rows(const struct capture *c)
{
    return &c->rows.all;
}
