#include "coordinator/ctl/wire_dump.h"

#include <inttypes.h>

#include "messages/wire.h"

/* Bounds the recursion over what a stranger nested. */
enum { MAX_DEPTH = 16 };

static struct wire wire_over(const void *data, size_t size)
{
    const uint8_t *bytes = data;

    return (struct wire){ bytes, size ? bytes + size : bytes };
}

bool wire_is_protobuf(const void *data, size_t size)
{
    struct wire wire = wire_over(data, size);
    struct wire_field field;
    enum wire_step step;

    while ((step = wire_next(&wire, &field)) == WIRE_FIELD)
        ;
    return size > 0 && step == WIRE_END;
}

void wire_dump_hex(struct text *out, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;

    text_putc(out, '"');
    for (size_t i = 0; i < size && !out->full; i++) {
        text_putc(out, digits[bytes[i] >> 4]);
        text_putc(out, digits[bytes[i] & 15]);
    }
    text_putc(out, '"');
}

bool wire_is_readable(const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        if (bytes[i] < 0x20 && bytes[i] != '\n' && bytes[i] != '\r' && bytes[i] != '\t')
            return false;
    }
    return text_is_clean(data, size);
}

static void dump_fields(struct text *out, const void *data, size_t size, int depth);

static void dump_bytes(struct text *out, const struct wire_field *field, int depth)
{
    if (wire_is_readable(field->data, field->size)) {
        text_puts(out, "\"text\":");
        text_put_json_string(out, (const char *)field->data, field->size);
    } else if (depth < MAX_DEPTH && wire_is_protobuf(field->data, field->size)) {
        text_puts(out, "\"message\":");
        dump_fields(out, field->data, field->size, depth + 1);
    } else {
        text_puts(out, "\"hex\":");
        wire_dump_hex(out, field->data, field->size);
    }
}

static void dump_field(struct text *out, const struct wire_field *field, int depth)
{
    text_printf(out, "{\"field\":%" PRIu32 ",", field->number);
    switch (field->type) {
    case WIRE_VARINT:
        text_printf(out, "\"varint\":\"%" PRIu64 "\"", field->value);
        break;
    case WIRE_64BIT:
        text_printf(out, "\"fixed64\":\"%" PRIu64 "\"", field->value);
        break;
    case WIRE_32BIT:
        text_printf(out, "\"fixed32\":\"%" PRIu64 "\"", field->value);
        break;
    case WIRE_BYTES:
        dump_bytes(out, field, depth);
        break;
    }
    text_putc(out, '}');
}

static void dump_fields(struct text *out, const void *data, size_t size, int depth)
{
    struct wire wire = wire_over(data, size);
    struct wire_field field;
    const char *before = "";

    text_putc(out, '[');
    while (!out->full && wire_next(&wire, &field) == WIRE_FIELD) {
        text_puts(out, before);
        dump_field(out, &field, depth);
        before = ",";
    }
    text_putc(out, ']');
}

void wire_dump(struct text *out, const void *data, size_t size)
{
    dump_fields(out, data, size, 0);
}
