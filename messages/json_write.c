#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/codec.h"
#include "messages/json.h"
#include "messages/text.h"

/* A message on its way out. All fields that have no presence are written, zeros too, so that a
 * reader by hand sees what there is; members of a oneof only when set. */
struct writer {
    struct text out;
    const ProtobufCFieldDescriptor *unclean; /* a string that JSON cannot hold */
};

static void write_message(struct writer *w, const ProtobufCMessage *message, int depth);

static const void *member_of(const ProtobufCMessage *message, unsigned offset)
{
    return (const char *)message + offset;
}

/* JSON text that is written as the value itself. The rest stays a string that holds the text: what
 * is no JSON, what a reader would change (an integer above 2^63), and a JSON string, which could
 * not be told from the former. */
static bool is_embeddable(const char *text, size_t size)
{
    size_t blank = strspn(text, " \t\r\n");

    return text[blank] && text[blank] != '"' && json_is_plain(text, size);
}

static void write_string(struct writer *w, const ProtobufCFieldDescriptor *field, const char *text)
{
    size_t size = text ? strlen(text) : 0;

    if (!text_is_clean(text, size))
        w->unclean = field;
    else if (size && json_field_is_json(field) && is_embeddable(text, size))
        text_put_json(&w->out, text, size, false);
    else
        text_put_json_string(&w->out, text ? text : "", size);
}

static void write_bytes(struct writer *w, const ProtobufCBinaryData *bytes)
{
    text_putc(&w->out, '"');
    text_put_base64(&w->out, bytes->data, bytes->len);
    text_putc(&w->out, '"');
}

/* The shortest text that reads back as the same number. */
static void write_double(struct writer *w, double value)
{
    char text[40];

    if (isnan(value) || isinf(value)) {
        text_puts(&w->out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    text_puts(&w->out, text);
}

static void write_enum(struct writer *w, const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

    if (known)
        text_printf(&w->out, "\"%s\"", known->name);
    else
        text_printf(&w->out, "%d", value);
}

static void write_value(struct writer *w, const ProtobufCFieldDescriptor *field, const void *member,
                        int depth)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        text_printf(&w->out, "%" PRId32, *(const int32_t *)member);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        text_printf(&w->out, "%" PRIu32, *(const uint32_t *)member);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        text_printf(&w->out, "\"%" PRId64 "\"", *(const int64_t *)member);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        text_printf(&w->out, "\"%" PRIu64 "\"", *(const uint64_t *)member);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        write_double(w, (double)*(const float *)member);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        write_double(w, *(const double *)member);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        text_puts(&w->out, *(const protobuf_c_boolean *)member ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(w, field->descriptor, *(const int *)member);
        break;
    case PROTOBUF_C_TYPE_STRING:
        write_string(w, field, *(const char *const *)member);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        write_bytes(w, member);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        write_message(w, *(const ProtobufCMessage *const *)member, depth + 1);
        break;
    }
}

static void write_array(struct writer *w, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field, int depth)
{
    size_t count = *(const size_t *)member_of(message, field->quantifier_offset);
    const char *values = *(const char *const *)member_of(message, field->offset);

    text_putc(&w->out, '[');
    for (size_t i = 0; i < count && !w->out.full; i++) {
        if (i)
            text_putc(&w->out, ',');
        write_value(w, field, values + i * json_value_size(field->type), depth);
    }
    text_putc(&w->out, ']');
}

static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return true;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
        *(const uint32_t *)member_of(message, field->quantifier_offset) != field->id)
        return false;
    return field->type != PROTOBUF_C_TYPE_MESSAGE ||
           *(const ProtobufCMessage *const *)member_of(message, field->offset);
}

static void write_message(struct writer *w, const ProtobufCMessage *message, int depth)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    char name[JSON_NAME_SIZE];
    bool first = true;

    text_putc(&w->out, '{');
    for (unsigned i = 0; i < type->n_fields && depth < JSON_MAX_DEPTH; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (!is_present(message, field))
            continue;
        json_field_name(field, name);
        text_printf(&w->out, "%s\"%s\":", first ? "" : ",", name);
        first = false;
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            write_array(w, message, field, depth);
        else
            write_value(w, field, member_of(message, field->offset), depth);
    }
    text_putc(&w->out, '}');
}

enum status codec_to_json(const Guildbus__V1__Envelope *envelope, bool pretty, struct arena *arena,
                          char **ret_text, struct err *err)
{
    struct writer w = { .out = { .arena = arena } };

    write_message(&w, &envelope->base, 0);
    if (w.unclean)
        return err_set(err, STATUS_INVALID, "%s: not UTF-8 without NUL", w.unclean->name);
    char *text = text_end(&w.out);
    if (text && pretty) {
        struct text laid_out = { .arena = arena };
        text_put_json(&laid_out, text, w.out.used, true);
        text = text_end(&laid_out);
    }
    if (!text)
        return err_set(err, STATUS_BUSY, "the JSON text is too large for its arena");
    *ret_text = text;
    return STATUS_OK;
}
