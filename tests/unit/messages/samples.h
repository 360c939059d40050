/* samples.h - an Envelope of any kind with every field filled, by reflection, so that a new kind is
 * tested without a line here. */
#ifndef TESTS_UNIT_MESSAGES_SAMPLES_H
#define TESTS_UNIT_MESSAGES_SAMPLES_H

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "messages/codec.h"
#include "messages/json.h"

struct sampler {
    struct arena *arena;
    uint64_t next; /* numbers grow, so that no two fields hold the same */
    unsigned turn; /* which member of each inner oneof is set */
};

static void *sample_message(struct sampler *s, const ProtobufCMessageDescriptor *type);

static void *sample_alloc(struct sampler *s, size_t size)
{
    void *p = arena_alloc(s->arena, size);
    if (!p)
        abort();
    return p;
}

static char *sample_text(struct sampler *s, const ProtobufCFieldDescriptor *field)
{
    char *text =
        json_field_is_json(field)
            ? arena_printf(s->arena,
                           "{\"id\": \"%" PRIu64
                           "\", \"a\": [1, -2.5, true, null, {\"\xc3\xa9\": \"\\n\"}]}",
                           s->next)
            : arena_printf(s->arena, "t\xc3\xa9xt \"%" PRIu64 "\" \xf0\x9f\xa6\x86\n", s->next);
    if (!text)
        abort();
    s->next++;
    return text;
}

static ProtobufCBinaryData sample_bytes(struct sampler *s)
{
    ProtobufCBinaryData b = { 5 + s->next % 3, sample_alloc(s, 8) };
    for (size_t i = 0; i < b.len; i++)
        b.data[i] = (uint8_t)(0xfa + i * 3);
    s->next++;
    return b;
}

static void sample_value(struct sampler *s, const ProtobufCFieldDescriptor *field, void *member)
{
    const ProtobufCEnumDescriptor *names = field->descriptor;

    if (field->type == PROTOBUF_C_TYPE_STRING)
        *(char **)member = sample_text(s, field);
    else if (field->type == PROTOBUF_C_TYPE_BYTES)
        *(ProtobufCBinaryData *)member = sample_bytes(s);
    else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        *(void **)member = sample_message(s, field->descriptor);
    else if (field->type == PROTOBUF_C_TYPE_DOUBLE)
        *(double *)member = 0.1 * (double)s->next++;
    else if (field->type == PROTOBUF_C_TYPE_BOOL)
        *(protobuf_c_boolean *)member = 1;
    else if (field->type == PROTOBUF_C_TYPE_ENUM)
        *(int *)member = names->values[s->next++ % names->n_values].value;
    else if (json_value_size(field->type) == 8) /* a snowflake, above 2^53; sometimes above 2^63 */
        *(uint64_t *)member = (s->next++ + UINT64_C(613425648685547541)) |
                              (field->type == PROTOBUF_C_TYPE_UINT64 ? UINT64_C(1) << 63 : 0);
    else
        *(uint32_t *)member = (uint32_t)s->next++;
}

static void sample_array(struct sampler *s, const ProtobufCFieldDescriptor *field, char *message)
{
    size_t each = json_value_size(field->type);
    char *values = sample_alloc(s, 5 * each);

    for (size_t i = 0; i < 5; i++, s->turn++)
        sample_value(s, field, values + i * each);
    *(size_t *)(void *)(message + field->quantifier_offset) = 5;
    *(char **)(void *)(message + field->offset) = values;
}

/* Index of the member that is set in the message's oneof, if it has one. */
static unsigned sample_choice(struct sampler *s, const ProtobufCMessageDescriptor *type)
{
    unsigned members[64], count = 0;

    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            members[count++] = i;
    }
    return count ? members[s->turn % count] : 0;
}

static void *sample_message(struct sampler *s, const ProtobufCMessageDescriptor *type)
{
    char *message = sample_alloc(s, type->sizeof_message);
    unsigned choice = sample_choice(s, type);

    protobuf_c_message_init(type, message);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            sample_array(s, field, message);
            continue;
        }
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            if (i != choice)
                continue;
            *(uint32_t *)(void *)(message + field->quantifier_offset) = field->id;
        }
        sample_value(s, field, message + field->offset);
    }
    return message;
}

enum { SAMPLE_TURNS = 7 }; /* more than any inner oneof has members */
#define SAMPLE_KINDS (guildbus__v1__envelope__descriptor.n_fields)

/* kind: 0 … SAMPLE_KINDS - 1; turn: 0 … SAMPLE_TURNS - 1 chooses inner members. */
static Guildbus__V1__Envelope *sample_envelope(struct arena *arena, unsigned kind, unsigned turn)
{
    const ProtobufCMessageDescriptor *type = &guildbus__v1__envelope__descriptor;
    const ProtobufCFieldDescriptor *field = &type->fields[kind];
    struct sampler s = { arena, 1 + turn * 100, turn };
    char *envelope = sample_alloc(&s, type->sizeof_message);

    protobuf_c_message_init(type, envelope);
    *(uint32_t *)(void *)(envelope + field->quantifier_offset) = field->id;
    sample_value(&s, field, envelope + field->offset);
    return (Guildbus__V1__Envelope *)(void *)envelope;
}

#endif
