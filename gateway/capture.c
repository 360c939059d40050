#include "gateway/capture.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xmem.h"
#include "gateway/encode.h"
#include "messages/text.h"

/* Field numbers of guildbus.proto. */
enum {
    CHANGE_ROWS = 1,
    ROW_TABLE = 1,
    ROW_REMOVE = 2,
    ROW_VALUES = 3,
    VALUE_INTEGER = 1,
    VALUE_REAL = 2,
    VALUE_TEXT = 3,
    VALUE_BLOB = 4,
};

struct capture {
    const struct schema *schema;
    bool on, broken;
    uint64_t guild_id;
    struct bytes rows, row, value;
};

static void put_value(struct capture *c, sqlite3_value *v)
{
    bytes_clear(&c->value);
    switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER: {
        /* members of a oneof are written also when they are 0 */
        uint64_t zigzag = encode_zigzag(sqlite3_value_int64(v));
        if (zigzag)
            encode_varint(&c->value, VALUE_INTEGER, zigzag);
        else
            bytes_append(&c->value, "\x08\x00", 2);
        break;
    }
    case SQLITE_FLOAT: {
        double real = sqlite3_value_double(v);
        uint64_t bits;
        memcpy(&bits, &real, sizeof(bits));
        if (bits)
            encode_fixed64(&c->value, VALUE_REAL, bits);
        else
            bytes_append(&c->value, "\x11\0\0\0\0\0\0\0\0", 9);
        break;
    }
    case SQLITE_TEXT: { /* text first: it may convert, then bytes counts it */
        const unsigned char *text = sqlite3_value_text(v);
        size_t size = (size_t)sqlite3_value_bytes(v);
        c->broken |= !text_is_clean(text, size); /* such a record could never be read again */
        encode_block(&c->value, VALUE_TEXT, text, size);
        break;
    }
    case SQLITE_BLOB:
        encode_block(&c->value, VALUE_BLOB, sqlite3_value_blob(v), (size_t)sqlite3_value_bytes(v));
        break;
    default:
        break;
    }
    encode_block(&c->row, ROW_VALUES, c->value.data, c->value.size);
}

static void row_begin(struct capture *c, const struct schema_table *t, bool remove)
{
    bytes_clear(&c->row);
    encode_text(&c->row, ROW_TABLE, t->name);
    encode_varint(&c->row, ROW_REMOVE, remove);
}

static void row_end(struct capture *c)
{
    encode_block(&c->rows, CHANGE_ROWS, c->row.data, c->row.size);
}

static void check_guild(const struct capture *c, const struct schema_table *t, sqlite3_value *v)
{
    if ((uint64_t)sqlite3_value_int64(v) == c->guild_id)
        return;
    log_error("row_of_another_guild", "table=%s", t->name);
    abort();
}

static void put_row(struct capture *c, sqlite3 *db, const struct schema_table *t)
{
    row_begin(c, t, false);
    for (int i = 0; i < t->column_count; i++) {
        sqlite3_value *v = NULL;
        (void)sqlite3_preupdate_new(db, i, &v);
        if (i == 0)
            check_guild(c, t, v);
        put_value(c, v);
    }
    row_end(c);
}

static void remove_row(struct capture *c, sqlite3 *db, const struct schema_table *t)
{
    row_begin(c, t, true);
    for (int i = 0; i < t->key_count; i++) {
        sqlite3_value *v = NULL;
        (void)sqlite3_preupdate_old(db, t->key[i], &v);
        if (i == 0)
            check_guild(c, t, v);
        put_value(c, v);
    }
    row_end(c);
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
    bytes_release(&c->rows);
    bytes_release(&c->row);
    bytes_release(&c->value);
    free(c);
}

void capture_start(struct capture *c, uint64_t guild_id)
{
    bytes_clear(&c->rows);
    c->guild_id = guild_id;
    c->on = true;
    c->broken = false;
}

void capture_stop(struct capture *c)
{
    c->on = false;
}

bool capture_is_broken(const struct capture *c)
{
    return c->broken;
}

const struct bytes *capture_rows(const struct capture *c)
{
    return &c->rows;
}
