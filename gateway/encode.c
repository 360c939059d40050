#include "gateway/encode.h"

#include <string.h>

enum { TYPE_VARINT = 0, TYPE_FIXED64 = 1, TYPE_BLOCK = 2 };

static void put_varint(struct bytes *b, uint64_t value)
{
    unsigned char *at = bytes_reserve(b, 10);
    size_t n = 0;

    while (value >= 0x80) {
        at[n++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    at[n++] = (unsigned char)value;
    b->size += n;
}

void encode_varint(struct bytes *b, uint32_t field, uint64_t value)
{
    if (!value)
        return;
    put_varint(b, (uint64_t)field << 3 | TYPE_VARINT);
    put_varint(b, value);
}

void encode_fixed64(struct bytes *b, uint32_t field, uint64_t value)
{
    unsigned char *at;

    if (!value)
        return;
    put_varint(b, (uint64_t)field << 3 | TYPE_FIXED64);
    at = bytes_reserve(b, 8);
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(value >> (8 * i));
    b->size += 8;
}

void encode_block(struct bytes *b, uint32_t field, const void *data, size_t size)
{
    put_varint(b, (uint64_t)field << 3 | TYPE_BLOCK);
    put_varint(b, size);
    bytes_append(b, data, size);
}

void encode_text(struct bytes *b, uint32_t field, const char *text)
{
    if (*text)
        encode_block(b, field, text, strlen(text));
}

void encode_packed(struct bytes *b, uint32_t field, const uint64_t *values, size_t count)
{
    CLEANUP(bytes_release) struct bytes packed = { 0 };

    for (size_t i = 0; i < count; i++)
        put_varint(&packed, values[i]);
    if (count)
        encode_block(b, field, packed.data, packed.size);
}

uint64_t encode_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? ~(uint64_t)0 : 0);
}

/* Bytes read; 0: it is cut short or longer than a number can be. */
static size_t read_varint(const unsigned char *data, size_t size, uint64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < size && i < 10; i++) {
        *ret |= (uint64_t)(data[i] & 0x7f) << (7 * i);
        if (data[i] < 0x80)
            return i + 1;
    }
    return 0;
}

size_t encoded_field_size(const unsigned char *data, size_t size)
{
    uint64_t tag, length;
    size_t head = read_varint(data, size, &tag);
    size_t more = head ? read_varint(data + head, size - head, &length) : 0;

    if (!more || (tag & 7) != TYPE_BLOCK || length > size - head - more)
        return 0;
    return head + more + (size_t)length;
}
