#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/codec.h"
#include "messages/json.h"
#include "messages/text.h"

enum { MAX_TEXT = 8 * 1024 * 1024, MAX_FIELDS = 64, PATH_SIZE = 160 };

DEFINE_CLEANUP(json_t *, json_decref)

/* Where in the input a value stands; up leads to the envelope. */
struct place {
    const struct place *up;
    const char *name;
};
struct reader {
    struct arena *arena;
    struct err *err;
};

static enum status read_message(struct reader *r, const struct place *at,
                                const ProtobufCMessageDescriptor *type, json_t *value,
                                ProtobufCMessage **ret);

static size_t print_path(const struct place *at, char *text, size_t size)
{
    size_t n = at->up ? print_path(at->up, text, size) : 0;

    if (n + 1 < size)
        n += (size_t)snprintf(text + n, size - n, "%s%.60s", n ? "." : "", at->name);
    return n < size ? n : size - 1;
}

static enum status refuse(struct reader *r, const struct place *at, const char *what)
{
    char path[PATH_SIZE] = "";

    print_path(at, path, sizeof(path));
    return err_set(r->err, STATUS_INVALID, "%s: %s", *path ? path : "envelope", what);
}

static enum status too_large(struct reader *r)
{
    return err_set(r->err, STATUS_BUSY, "the message is too large for its arena");
}

static void *member_of(ProtobufCMessage *message, unsigned offset)
{
    return (char *)message + offset;
}

/* ---- numbers: JSON integers, or decimal text ---- */

static bool is_decimal(const char *text, bool sign)
{
    text += sign && *text == '-';
    return *text && strlen(text) <= 20 && strspn(text, "0123456789") == strlen(text);
}

static bool get_unsigned(json_t *value, uint64_t max, uint64_t *ret)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *ret = (uint64_t)json_integer_value(value);
    } else if (json_is_string(value) && is_decimal(json_string_value(value), false)) {
        errno = 0;
        *ret = strtoull(json_string_value(value), NULL, 10);
        if (errno)
            return false;
    } else {
        return false;
    }
    return *ret <= max;
}

static bool get_signed(json_t *value, int64_t min, int64_t max, int64_t *ret)
{
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
    } else if (json_is_string(value) && is_decimal(json_string_value(value), true)) {
        errno = 0;
        *ret = strtoll(json_string_value(value), NULL, 10);
        if (errno)
            return false;
    } else {
        return false;
    }
    return *ret >= min && *ret <= max;
}

static enum status read_unsigned(struct reader *r, const struct place *at, json_t *value, bool wide,
                                 void *member)
{
    uint64_t number;

    if (!get_unsigned(value, wide ? UINT64_MAX : UINT32_MAX, &number))
        return refuse(r, at,
                      wide ? "not a number of 64 bits (or a string of its digits)"
                           : "not a number of 32 bits");
    if (wide)
        *(uint64_t *)member = number;
    else
        *(uint32_t *)member = (uint32_t)number;
    return STATUS_OK;
}

static enum status read_signed(struct reader *r, const struct place *at, json_t *value, bool wide,
                               void *member)
{
    int64_t number;

    if (!get_signed(value, wide ? INT64_MIN : INT32_MIN, wide ? INT64_MAX : INT32_MAX, &number))
        return refuse(r, at,
                      wide ? "not a signed number of 64 bits (or a string of its digits)"
                           : "not a signed number of 32 bits");
    if (wide)
        *(int64_t *)member = number;
    else
        *(int32_t *)member = (int32_t)number;
    return STATUS_OK;
}

static enum status read_real(struct reader *r, const struct place *at, json_t *value, double *ret)
{
    const char *text = json_string_value(value);

    if (json_is_number(value))
        *ret = json_number_value(value);
    else if (text && !strcmp(text, "NaN"))
        *ret = (double)__builtin_nanf("");
    else if (text && (!strcmp(text, "Infinity") || !strcmp(text, "-Infinity")))
        *ret = *text == '-' ? -__builtin_inf() : __builtin_inf();
    else
        return refuse(r, at, "not a number");
    return STATUS_OK;
}

static enum status read_enum(struct reader *r, const struct place *at,
                             const ProtobufCEnumDescriptor *type, json_t *value, int *ret)
{
    const ProtobufCEnumValue *known;
    int64_t number;

    if (json_is_string(value)) {
        known = protobuf_c_enum_descriptor_get_value_by_name(type, json_string_value(value));
        if (!known)
            return refuse(r, at, "not a name of this enum");
        *ret = known->value;
        return STATUS_OK;
    }
    if (!get_signed(value, INT32_MIN, INT32_MAX, &number))
        return refuse(r, at, "not a name of this enum");
    *ret = (int)number;
    return STATUS_OK;
}

/* ---- text ---- */

static enum status keep_text(struct reader *r, const char *text, size_t size, char **ret)
{
    char *copy = arena_alloc(r->arena, size + 1);

    if (!copy)
        return too_large(r);
    memcpy(copy, text, size);
    *ret = copy;
    return STATUS_OK;
}

static enum status read_bytes(struct reader *r, const struct place *at, json_t *value,
                              ProtobufCBinaryData *ret)
{
    size_t size = json_string_length(value);

    if (!json_is_string(value))
        return refuse(r, at, "not a string of base64");
    uint8_t *data = arena_alloc(r->arena, size / 4 * 3 + 3);
    if (!data)
        return too_large(r);
    if (!text_read_base64(json_string_value(value), size, data, &size))
        return refuse(r, at, "not base64");
    *ret = (ProtobufCBinaryData){ size, size ? data : NULL };
    return STATUS_OK;
}

/* A *_json field: the value itself, or a string that holds its text. */
static enum status read_json_text(struct reader *r, const struct place *at, json_t *value,
                                  char **ret)
{
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t size = json_string_length(value);
        if (size && !json_is_valid(text, size))
            return refuse(r, at, "a string here must hold JSON text");
        return keep_text(r, text, size, ret);
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return refuse(r, at, "not a JSON value");
    enum status status = keep_text(r, text, strlen(text), ret);
    free(text);
    return status;
}

static enum status read_string(struct reader *r, const struct place *at,
                               const ProtobufCFieldDescriptor *field, json_t *value, char **ret)
{
    if (json_field_is_json(field))
        return read_json_text(r, at, value, ret);
    if (!json_is_string(value))
        return refuse(r, at, "not a string");
    return keep_text(r, json_string_value(value), json_string_length(value), ret);
}

/* ---- fields ---- */

static enum status read_flag(struct reader *r, const struct place *at, json_t *value,
                             protobuf_c_boolean *ret)
{
    if (!json_is_boolean(value))
        return refuse(r, at, "not true or false");
    *ret = json_is_true(value);
    return STATUS_OK;
}

static enum status read_float(struct reader *r, const struct place *at, json_t *value, float *ret)
{
    double wide = 0;

    TRY(read_real(r, at, value, &wide));
    *ret = (float)wide;
    return STATUS_OK;
}

static enum status read_value(struct reader *r, const struct place *at,
                              const ProtobufCFieldDescriptor *field, json_t *value, void *member)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_signed(r, at, value, false, member);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_signed(r, at, value, true, member);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_unsigned(r, at, value, false, member);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_unsigned(r, at, value, true, member);
    case PROTOBUF_C_TYPE_FLOAT:
        return read_float(r, at, value, member);
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_real(r, at, value, member);
    case PROTOBUF_C_TYPE_BOOL:
        return read_flag(r, at, value, member);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, at, field->descriptor, value, member);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(r, at, field, value, member);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, at, value, member);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_message(r, at, field->descriptor, value, member);
    }
    return refuse(r, at, "of an unknown type");
}

static enum status read_array(struct reader *r, const struct place *at,
                              const ProtobufCFieldDescriptor *field, json_t *value,
                              ProtobufCMessage *message)
{
    size_t count = json_array_size(value), each = json_value_size(field->type);

    if (!json_is_array(value))
        return refuse(r, at, "not an array");
    if (count == 0)
        return STATUS_OK;
    char *values = arena_alloc(r->arena, count * each); /* count < MAX_TEXT */
    if (!values)
        return too_large(r);
    for (size_t i = 0; i < count; i++) {
        char index[24];
        (void)snprintf(index, sizeof(index), "%zu", i);
        struct place inner = { at, index };
        TRY(read_value(r, &inner, field, json_array_get(value, i), values + i * each));
    }
    *(char **)member_of(message, field->offset) = values;
    *(size_t *)member_of(message, field->quantifier_offset) = count;
    return STATUS_OK;
}

static enum status read_field(struct reader *r, const struct place *at,
                              const ProtobufCFieldDescriptor *field, json_t *value,
                              ProtobufCMessage *message)
{
    if (json_is_null(value) && !json_field_is_json(field))
        return STATUS_OK; /* as if it were not there */
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_array(r, at, field, value, message);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t *which = member_of(message, field->quantifier_offset);
        if (*which)
            return refuse(r, at, "beside another of its kind; only one of them may be set");
        *which = field->id;
    }
    return read_value(r, at, field, value, member_of(message, field->offset));
}

/* By the name of the .proto file or in lowerCamelCase. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  const char *name)
{
    char camel[JSON_NAME_SIZE];

    for (unsigned i = 0; i < type->n_fields; i++) {
        json_field_name(&type->fields[i], camel);
        if (!strcmp(name, camel) || !strcmp(name, type->fields[i].name))
            return &type->fields[i];
    }
    return NULL;
}

static enum status read_fields(struct reader *r, const struct place *at, json_t *value,
                               ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    uint64_t seen = 0;

    for (void *it = json_object_iter(value); it; it = json_object_iter_next(value, it)) {
        struct place inner = { at, json_object_iter_key(it) };
        const ProtobufCFieldDescriptor *field = find_field(type, inner.name);
        if (!field)
            return refuse(r, &inner, "unknown field");
        unsigned i = (unsigned)(field - type->fields);
        if (i < MAX_FIELDS && seen & UINT64_C(1) << i)
            return refuse(r, &inner, "given twice");
        seen |= i < MAX_FIELDS ? UINT64_C(1) << i : 0;
        TRY(read_field(r, &inner, field, json_object_iter_value(it), message));
    }
    return STATUS_OK;
}

/* Recursion follows the schema, which is not recursive. */
static enum status read_message(struct reader *r, const struct place *at,
                                const ProtobufCMessageDescriptor *type, json_t *value,
                                ProtobufCMessage **ret)
{
    if (!json_is_object(value))
        return refuse(r, at, "not an object");
    ProtobufCMessage *message = arena_alloc(r->arena, type->sizeof_message);
    if (!message)
        return too_large(r);
    protobuf_c_message_init(type, message);
    TRY(read_fields(r, at, value, message));
    *ret = message;
    return STATUS_OK;
}

enum status codec_from_json(const char *text, size_t size, struct arena *arena,
                            Guildbus__V1__Envelope **ret_envelope, struct err *err)
{
    struct reader r = { arena, err };
    struct place top = { NULL, "" };
    ProtobufCMessage *message = NULL;
    json_error_t where;

    if (size > MAX_TEXT)
        return err_set(err, STATUS_BUSY, "%zu bytes of JSON are too many", size);
    CLEANUP(json_decref) json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, STATUS_INVALID, "not JSON: %s at byte %d", where.text, where.position);
    TRY(read_message(&r, &top, &guildbus__v1__envelope__descriptor, root, &message));

    Guildbus__V1__Envelope *e = (Guildbus__V1__Envelope *)(void *)message;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): read_message has set it */
    if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY__NOT_SET)
        return err_set(err, STATUS_INVALID, "no body: the envelope names no kind of message");
    *ret_envelope = e;
    return STATUS_OK;
}
