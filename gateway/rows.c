#include "gateway/rows.h"

#include <string.h>

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

void rows_release(struct rows *r)
{
    bytes_release(&r->all);
    bytes_release(&r->row);
    bytes_release(&r->value);
}

void rows_clear(struct rows *r)
{
    bytes_clear(&r->all);
    r->broken = false;
}

void rows_begin(struct rows *r, const struct schema_table *t, bool remove)
{
    bytes_clear(&r->row);
    encode_text(&r->row, ROW_TABLE, t->name);
    encode_varint(&r->row, ROW_REMOVE, remove);
}

/* Members of a oneof are written also when they are 0. */
static void put_integer(struct rows *r, int64_t value)
{
    uint64_t zigzag = encode_zigzag(value);

    if (zigzag)
        encode_varint(&r->value, VALUE_INTEGER, zigzag);
    else
        bytes_append(&r->value, "\x08\x00", 2);
}

static void put_real(struct rows *r, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    if (bits)
        encode_fixed64(&r->value, VALUE_REAL, bits);
    else
        bytes_append(&r->value, "\x11\0\0\0\0\0\0\0\0", 9);
}

static void put_text(struct rows *r, sqlite3_value *v)
{
    const unsigned char *text = sqlite3_value_text(v); /* it may convert, then bytes counts it */
    size_t size = (size_t)sqlite3_value_bytes(v);

    r->broken |= !text_is_clean(text, size);
    encode_block(&r->value, VALUE_TEXT, text, size);
}

void rows_value(struct rows *r, sqlite3_value *v)
{
    bytes_clear(&r->value);
    switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER:
        put_integer(r, sqlite3_value_int64(v));
        break;
    case SQLITE_FLOAT:
        put_real(r, sqlite3_value_double(v));
        break;
    case SQLITE_TEXT:
        put_text(r, v);
        break;
    case SQLITE_BLOB:
        encode_block(&r->value, VALUE_BLOB, sqlite3_value_blob(v), (size_t)sqlite3_value_bytes(v));
        break;
    default:
        break;
    }
    encode_block(&r->row, ROW_VALUES, r->value.data, r->value.size);
}

void rows_end(struct rows *r)
{
    encode_block(&r->all, CHANGE_ROWS, r->row.data, r->row.size);
}
