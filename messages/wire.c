#include "messages/wire.h"

#include <inttypes.h>

#include "messages/text.h"

/* The schema has five levels; a recursive message would need this bound. */
enum { MAX_DEPTH = 16, MAX_FIELD_NUMBER = (1 << 29) - 1, MAX_FIELDS = 64 };

static bool read_varint(struct wire *wire, uint64_t *ret)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && wire->at < wire->end; shift += 7) {
        uint8_t byte = *wire->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct wire *wire, size_t size, uint64_t *ret)
{
    if ((size_t)(wire->end - wire->at) < size)
        return false;
    *ret = 0;
    for (size_t i = 0; i < size; i++)
        *ret |= (uint64_t)wire->at[i] << (8 * i);
    wire->at += size;
    return true;
}

static bool read_bytes(struct wire *wire, struct wire_field *ret)
{
    uint64_t size;

    if (!read_varint(wire, &size) || size > (size_t)(wire->end - wire->at))
        return false;
    ret->data = wire->at;
    ret->size = (size_t)size;
    wire->at += size;
    return true;
}

enum wire_step wire_next(struct wire *wire, struct wire_field *ret)
{
    uint64_t key;
    bool whole = false;

    if (wire->at == wire->end)
        return WIRE_END;
    *ret = (struct wire_field){ 0 };
    if (!read_varint(wire, &key) || key >> 3 == 0 || key >> 3 > MAX_FIELD_NUMBER)
        return WIRE_BROKEN;
    ret->number = (uint32_t)(key >> 3);
    ret->type = (enum wire_type)(key & 7);
    switch (key & 7) {
    case WIRE_VARINT:
        whole = read_varint(wire, &ret->value);
        break;
    case WIRE_64BIT:
        whole = read_fixed(wire, 8, &ret->value);
        break;
    case WIRE_32BIT:
        whole = read_fixed(wire, 4, &ret->value);
        break;
    case WIRE_BYTES:
        whole = read_bytes(wire, ret);
        break;
    default:
        break;
    }
    return whole ? WIRE_FIELD : WIRE_BROKEN;
}

/* One message under check; up leads to the Envelope. */
struct level {
    const struct level *up;
    const ProtobufCMessageDescriptor *type;
    struct wire wire;
    int depth;
    uint64_t seen; /* bit per field: messages and oneofs (by their first member) */
};

static enum status check_level(struct level *level, struct err *err);

static enum status refuse(const struct level *level, const ProtobufCFieldDescriptor *field,
                          struct err *err, const char *what)
{
    return err_set(err, STATUS_INVALID, "%s.%s: %s", level->type->short_name, field->name, what);
}

/* The bit of the field, or of its oneof. */
static uint64_t bit_of(const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *field)
{
    unsigned i = (unsigned)(field - type->fields);

    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        for (unsigned first = 0; first < i; first++) {
            if ((type->fields[first].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
                type->fields[first].quantifier_offset == field->quantifier_offset)
                i = first;
        }
    }
    return i < MAX_FIELDS ? UINT64_C(1) << i : 0;
}

static bool is_single(const ProtobufCFieldDescriptor *field)
{
    return field->label != PROTOBUF_C_LABEL_REPEATED &&
           (field->type == PROTOBUF_C_TYPE_MESSAGE || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF));
}

static enum status check_message(struct level *level, const ProtobufCFieldDescriptor *field,
                                 const struct wire_field *got, struct err *err)
{
    if (got->type != WIRE_BYTES)
        return refuse(level, field, err, "not a message");
    struct level inner = {
        .up = level,
        .type = field->descriptor,
        .wire = { got->data, got->data + got->size },
        .depth = level->depth + 1,
    };
    if (inner.depth > MAX_DEPTH)
        return refuse(level, field, err, "nested too deep");
    return check_level(&inner, err);
}

static enum status check_string(const struct level *level, const ProtobufCFieldDescriptor *field,
                                const struct wire_field *got, struct err *err)
{
    if (got->type != WIRE_BYTES)
        return refuse(level, field, err, "not a string");
    if (!text_is_clean(got->data, got->size))
        return refuse(level, field, err, "not UTF-8 without NUL");
    return STATUS_OK;
}

static enum status check_field(struct level *level, const struct wire_field *got, struct err *err)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(level->type, got->number);

    if (!field)
        return STATUS_OK; /* of a newer version */
    if (is_single(field)) {
        uint64_t bit = bit_of(level->type, field);
        if (level->seen & bit)
            return refuse(level, field, err, "given twice, or beside another of its kind");
        level->seen |= bit;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message(level, field, got, err);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return check_string(level, field, got, err);
    return STATUS_OK;
}

static enum status check_level(struct level *level, struct err *err)
{
    const uint8_t *start = level->wire.at;
    struct wire_field got;
    enum wire_step step;

    while ((step = wire_next(&level->wire, &got)) == WIRE_FIELD)
        TRY(check_field(level, &got, err));
    if (step == WIRE_BROKEN)
        return err_set(err, STATUS_INVALID, "%s: not protobuf, or truncated, near byte %zu",
                       level->type->short_name, (size_t)(level->wire.at - start));
    return STATUS_OK;
}

enum status wire_check(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
                       struct err *err)
{
    const uint8_t *bytes = data;
    struct level top = { .type = type, .wire = { bytes, bytes + size } };

    return check_level(&top, err);
}
