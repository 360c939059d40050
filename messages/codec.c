#include "messages/codec.h"

#include <string.h>
#include <strings.h>

#include "messages/wire.h"

/* protobuf-c's allocator over an arena; it frees nothing, the arena does. */
struct arena_source {
    struct arena *arena;
    bool full;
};

static void *source_alloc(void *data, size_t size)
{
    struct arena_source *source = data;
    void *p = arena_alloc(source->arena, size);

    if (!p)
        source->full = true;
    return p;
}

static void source_free(void *data UNUSED, void *p UNUSED)
{
}

static enum status no_body(struct err *err)
{
    return err_set(err, STATUS_INVALID, "no body: the envelope is empty or of an unknown kind");
}

enum status codec_decode(const void *data, size_t size, struct arena *arena,
                         Guildbus__V1__Envelope **ret_envelope, struct err *err)
{
    struct arena_source source = { .arena = arena };
    ProtobufCAllocator allocator = { source_alloc, source_free, &source };

    if (size == 0)
        return no_body(err);
    TRY(wire_check(&guildbus__v1__envelope__descriptor, data, size, err));

    Guildbus__V1__Envelope *e = guildbus__v1__envelope__unpack(&allocator, size, data);
    if (!e && source.full)
        return err_set(err, STATUS_BUSY, "an envelope of %zu bytes is too large for its arena",
                       size);
    if (!e)
        return err_set(err, STATUS_INVALID, "not an envelope: a field of the wrong type");
    if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY__NOT_SET)
        return no_body(err);
    *ret_envelope = e;
    return STATUS_OK;
}

enum status codec_encode(const Guildbus__V1__Envelope *envelope, struct arena *arena,
                         void **ret_data, size_t *ret_size, struct err *err)
{
    size_t size = guildbus__v1__envelope__get_packed_size(envelope);

    if (size == 0)
        return no_body(err);
    uint8_t *data = arena_alloc(arena, size);
    if (!data)
        return err_set(err, STATUS_BUSY, "an envelope of %zu bytes is too large for its arena",
                       size);
    size = guildbus__v1__envelope__pack(envelope, data);
    /* What its receiver would refuse must not leave: a log record nobody can read would be for
     * ever. */
    TRY(wire_check(&guildbus__v1__envelope__descriptor, data, size, err));
    *ret_data = data;
    *ret_size = size;
    return STATUS_OK;
}

bool codec_is_json(const char *content_type)
{
    static const char json[] = "application/json";

    if (!content_type || strncasecmp(content_type, json, sizeof(json) - 1) != 0)
        return false;
    return strchr("; \t", content_type[sizeof(json) - 1]) != NULL; /* finds the end, too */
}

enum status codec_decode_as(bool json, const void *data, size_t size, struct arena *arena,
                            Guildbus__V1__Envelope **ret_envelope, struct err *err)
{
    return json ? codec_from_json(data, size, arena, ret_envelope, err)
                : codec_decode(data, size, arena, ret_envelope, err);
}

enum status codec_encode_as(bool json, const Guildbus__V1__Envelope *envelope, struct arena *arena,
                            void **ret_data, size_t *ret_size, struct err *err)
{
    char *text;

    if (!json)
        return codec_encode(envelope, arena, ret_data, ret_size, err);
    TRY(codec_to_json(envelope, false, arena, &text, err));
    *ret_data = text;
    *ret_size = strlen(text);
    return STATUS_OK;
}
