#include "gateway/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/xmem.h"
#include "gateway/store.h"

static const char *const table_names[] = {
#define TABLE(name, columns) #name,
#include "gateway/schema.def"
#undef TABLE
};
enum { TABLES = ARRAY_LEN(table_names) };

struct schema {
    struct schema_table tables[TABLES];
};

static enum status failed(sqlite3 *db, const char *doing, struct err *err)
{
    return err_set(err, STATUS_UNAVAILABLE, "%s: SQLite: %s", doing, sqlite3_errmsg(db));
}

enum status schema_create(sqlite3 *db, struct err *err)
{
    static const char *const statements[] = {
        "CREATE TABLE IF NOT EXISTS guild_state(guild_id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,"
        " idx INTEGER NOT NULL, log_seq INTEGER NOT NULL, event_seq INTEGER NOT NULL, events_applied INTEGER NOT NULL,"
        " dirty INTEGER NOT NULL, deleting INTEGER NOT NULL, session TEXT NOT NULL DEFAULT '',"
        " session_seq INTEGER NOT NULL DEFAULT 0)",
        "CREATE TABLE IF NOT EXISTS pod_state(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS guild_state_deleting ON guild_state(deleting) WHERE deleting=1",
#define TABLE(name, columns) "CREATE TABLE IF NOT EXISTS " #name "(" columns ") WITHOUT ROWID",
#define INDEX(name, table, columns, is_unique)
#include "gateway/schema.def"
#undef TABLE
#undef INDEX
#define TABLE(name, columns)
#define INDEX(name, table, columns, is_unique) INDEX_##is_unique(name, table, columns)
#define INDEX_0(name, table, columns)                                                              \
    "CREATE INDEX IF NOT EXISTS " #name " ON " #table "(" columns ")",
#define INDEX_1(name, table, columns)                                                              \
    "CREATE UNIQUE INDEX IF NOT EXISTS " #name " ON " #table "(" columns ")",
#include "gateway/schema.def"
#undef TABLE
#undef INDEX
    };
    char version[64];

    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        if (sqlite3_exec(db, statements[i], NULL, NULL, NULL) != SQLITE_OK)
            return failed(db, statements[i], err);
    }
    (void)snprintf(version, sizeof(version), "PRAGMA user_version=%d", STORE_SCHEMA_VERSION);
    return sqlite3_exec(db, version, NULL, NULL, NULL) == SQLITE_OK ? STATUS_OK
                                                                    : failed(db, version, err);
}

static enum status read_table(sqlite3 *db, struct schema_table *t, struct err *err)
{
    sqlite3_stmt *q = NULL;

    if (sqlite3_prepare_v2(db, "SELECT cid, pk FROM pragma_table_info(?1) ORDER BY cid", -1, &q,
                           NULL) != SQLITE_OK)
        return failed(db, "table_info", err);
    sqlite3_bind_text(q, 1, t->name, -1, SQLITE_STATIC);
    while (sqlite3_step(q) == SQLITE_ROW && t->column_count < SCHEMA_MAX_COLUMNS) {
        int pk = sqlite3_column_int(q, 1);
        if (pk > 0) {
            t->key[pk - 1] = t->column_count;
            t->key_count = pk > t->key_count ? pk : t->key_count;
        }
        t->column_count++;
    }
    sqlite3_finalize(q);
    if (!t->key_count || t->key[0] != 0)
        return err_set(err, STATUS_INTERNAL,
                       "table %s: the primary key must begin with its first column", t->name);
    return STATUS_OK;
}

enum status schema_read(sqlite3 *db, struct schema **ret_schema, struct err *err)
{
    struct schema *schema = xcalloc(1, sizeof(*schema));

    for (size_t i = 0; i < TABLES; i++) {
        schema->tables[i].name = table_names[i];
        enum status status = read_table(db, &schema->tables[i], err);
        if (status != STATUS_OK) {
            schema_free(schema);
            return status;
        }
    }
    *ret_schema = schema;
    return STATUS_OK;
}

void schema_free(struct schema *schema)
{
    if (!schema)
        return;
    for (size_t i = 0; i < TABLES; i++) {
        struct schema_table *t = &schema->tables[i];
        for (size_t c = 0; c < ARRAY_LEN(t->put); c++)
            sqlite3_finalize(t->put[c]);
        sqlite3_finalize(t->remove);
        sqlite3_finalize(t->remove_some);
        sqlite3_finalize(t->all);
    }
    free(schema);
}

static struct schema_table *find(struct schema *schema, const char *name)
{
    for (size_t i = 0; i < TABLES; i++) {
        if (!strcmp(schema->tables[i].name, name))
            return &schema->tables[i];
    }
    return NULL;
}

const struct schema_table *schema_find(const struct schema *schema, const char *name)
{
    for (size_t i = 0; i < TABLES; i++) {
        if (!strcmp(schema->tables[i].name, name))
            return &schema->tables[i];
    }
    return NULL;
}

/* ---- statements: text is made of names from schema.def only ---- */

static void add(struct bytes *b, const char *text)
{
    bytes_append(b, text, strlen(text));
}

static void add_column_name(struct bytes *b, sqlite3 *db, const struct schema_table *t, int column)
{
    sqlite3_stmt *q = NULL;

    if (sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info(?1) WHERE cid=?2", -1, &q,
                           NULL) == SQLITE_OK) {
        sqlite3_bind_text(q, 1, t->name, -1, SQLITE_STATIC);
        sqlite3_bind_int(q, 2, column);
        if (sqlite3_step(q) == SQLITE_ROW)
            add(b, (const char *)sqlite3_column_text(q, 0));
    }
    sqlite3_finalize(q);
}

static sqlite3_stmt *prepare(sqlite3 *db, struct bytes *sql)
{
    sqlite3_stmt *q = NULL;

    bytes_append(sql, "", 1);
    if (sqlite3_prepare_v3(db, (const char *)sql->data, -1, SQLITE_PREPARE_PERSISTENT, &q, NULL) !=
        SQLITE_OK)
        q = NULL;
    bytes_release(sql);
    return q;
}

static sqlite3_stmt *make_put(sqlite3 *db, const struct schema_table *t, int columns)
{
    struct bytes sql = { 0 };

    add(&sql, "INSERT OR REPLACE INTO ");
    add(&sql, t->name);
    for (int i = 0; i < columns; i++) {
        add(&sql, i ? "," : "(");
        add_column_name(&sql, db, t, i);
    }
    add(&sql, ") VALUES(");
    for (int i = 0; i < columns; i++)
        add(&sql, i ? ",?" : "?");
    add(&sql, ")");
    return prepare(db, &sql);
}

static sqlite3_stmt *make_remove(sqlite3 *db, const struct schema_table *t)
{
    struct bytes sql = { 0 };

    add(&sql, "DELETE FROM ");
    add(&sql, t->name);
    for (int i = 0; i < t->key_count; i++) {
        add(&sql, i ? " AND " : " WHERE ");
        add_column_name(&sql, db, t, t->key[i]);
        add(&sql, "=?");
    }
    return prepare(db, &sql);
}

static void add_key(struct bytes *sql, sqlite3 *db, const struct schema_table *t)
{
    for (int i = 0; i < t->key_count; i++) {
        if (i)
            add(sql, ",");
        add_column_name(sql, db, t, t->key[i]);
    }
}

static sqlite3_stmt *make_remove_some(sqlite3 *db, const struct schema_table *t)
{
    struct bytes sql = { 0 };

    add(&sql, "DELETE FROM ");
    add(&sql, t->name);
    add(&sql, " WHERE (");
    add_key(&sql, db, t);
    add(&sql, ") IN (SELECT ");
    add_key(&sql, db, t);
    add(&sql, " FROM ");
    add(&sql, t->name);
    add(&sql, " WHERE guild_id=?1 LIMIT ?2)");
    return prepare(db, &sql);
}

static sqlite3_stmt *make_all(sqlite3 *db, const struct schema_table *t)
{
    struct bytes sql = { 0 };

    add(&sql, "SELECT * FROM ");
    add(&sql, t->name);
    add(&sql, " WHERE guild_id=?1");
    return prepare(db, &sql);
}

/* ---- rows ---- */

static void bind(sqlite3_stmt *q, int at, const Guildbus__V1__Value *v)
{
    switch (v->kind_case) {
    case GUILDBUS__V1__VALUE__KIND_INTEGER:
        sqlite3_bind_int64(q, at, v->integer);
        break;
    case GUILDBUS__V1__VALUE__KIND_REAL:
        sqlite3_bind_double(q, at, v->real);
        break;
    case GUILDBUS__V1__VALUE__KIND_TEXT:
        sqlite3_bind_text(q, at, v->text, -1, SQLITE_STATIC);
        break;
    case GUILDBUS__V1__VALUE__KIND_BLOB:
        /* a NULL pointer would bind SQL NULL */
        sqlite3_bind_blob(q, at, v->blob.data ? (const void *)v->blob.data : "", (int)v->blob.len,
                          SQLITE_STATIC);
        break;
    case GUILDBUS__V1__VALUE__KIND__NOT_SET:
    case _GUILDBUS__V1__VALUE__KIND__CASE_IS_INT_SIZE:
        sqlite3_bind_null(q, at);
        break;
    }
}

static sqlite3_stmt *statement_for(struct schema_table *t, sqlite3 *db,
                                   const Guildbus__V1__RowOp *op)
{
    if (op->remove) {
        if (!t->remove)
            t->remove = make_remove(db, t);
        return t->remove;
    }
    if (!t->put[op->n_values])
        t->put[op->n_values] = make_put(db, t, (int)op->n_values);
    return t->put[op->n_values];
}

enum status schema_apply(struct schema *schema, sqlite3 *db, uint64_t guild_id,
                         const Guildbus__V1__RowOp *op, struct err *err)
{
    struct schema_table *t = find(schema, op->table);

    if (!t)
        return err_set(err, STATUS_INVALID,
                       "record has rows of a table that this schema does not know: %.60s",
                       op->table);
    size_t most = op->remove ? (size_t)t->key_count : (size_t)t->column_count;
    if (op->n_values > most || op->n_values < (size_t)t->key_count)
        return err_set(err, STATUS_INVALID, "%s: %zu values where this schema has %zu", t->name,
                       op->n_values, most);
    if ((uint64_t)op->values[0]->integer != guild_id)
        return err_set(err, STATUS_INVALID, "%s: a row of another guild", t->name);

    sqlite3_stmt *q = statement_for(t, db, op);
    if (!q)
        return failed(db, t->name, err);
    for (size_t i = 0; i < op->n_values; i++)
        bind(q, (int)i + 1, op->values[i]);
    int code = sqlite3_step(q);
    enum status status = code == SQLITE_DONE ? STATUS_OK : failed(db, t->name, err);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return status;
}

enum status schema_remove_rows(struct schema *schema, sqlite3 *db, uint64_t guild_id, int *left,
                               struct err *err)
{
    for (size_t i = 0; i<TABLES && * left> 0; i++) {
        struct schema_table *t = &schema->tables[i];
        if (!t->remove_some)
            t->remove_some = make_remove_some(db, t);
        if (!t->remove_some)
            return failed(db, t->name, err);
        sqlite3_bind_int64(t->remove_some, 1, (sqlite3_int64)guild_id);
        sqlite3_bind_int(t->remove_some, 2, *left);
        int code = sqlite3_step(t->remove_some);
        enum status status = code == SQLITE_DONE ? STATUS_OK : failed(db, t->name, err);
        sqlite3_reset(t->remove_some);
        TRY(status);
        *left -= sqlite3_changes(db);
    }
    return STATUS_OK;
}

static enum status dump_table(struct schema_table *t, sqlite3 *db, uint64_t guild_id,
                              enum status (*on_row)(void *ctx, const struct schema_table *t,
                                                    sqlite3_stmt *row, struct err *err),
                              void *ctx, struct err *err)
{
    enum status status = STATUS_OK;
    int code;

    if (!t->all)
        t->all = make_all(db, t);
    if (!t->all)
        return failed(db, t->name, err);
    sqlite3_bind_int64(t->all, 1, (sqlite3_int64)guild_id);
    while ((code = sqlite3_step(t->all)) == SQLITE_ROW && status == STATUS_OK)
        status = on_row(ctx, t, t->all, err);
    if (status == STATUS_OK && code != SQLITE_DONE)
        status = failed(db, t->name, err);
    sqlite3_reset(t->all);
    return status;
}

enum status schema_dump(struct schema *schema, sqlite3 *db, uint64_t guild_id,
                        enum status (*on_row)(void *ctx, const struct schema_table *t,
                                              sqlite3_stmt *row, struct err *err),
                        void *ctx, struct err *err)
{
    for (size_t i = 0; i < TABLES; i++)
        TRY(dump_table(&schema->tables[i], db, guild_id, on_row, ctx, err));
    return STATUS_OK;
}
