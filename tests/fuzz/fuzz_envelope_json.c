/* fuzz: links messages. What is read from JSON can be written, and what is written can be read: the
 * same again from the second time on (a *_json field given as text is written as a value). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "messages/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *again(const char *text, size_t size, bool pretty, struct arena *arena)
{
    Guildbus__V1__Envelope *e;
    struct err err;
    char *next;

    if (codec_from_json(text, size, arena, &e, &err) != STATUS_OK ||
        codec_to_json(e, pretty, arena, &next, &err) != STATUS_OK)
        abort();
    return next;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *arena = arena_new((size_t)64 << 20);
    Guildbus__V1__Envelope *e;
    struct err err;
    void *bytes;
    size_t bytes_size;

    if (codec_from_json((const char *)data, size, arena, &e, &err) != STATUS_OK)
        return 0;
    if (codec_encode(e, arena, &bytes, &bytes_size, &err) != STATUS_OK ||
        codec_decode(bytes, bytes_size, arena, &e, &err) != STATUS_OK)
        abort();
    char *first = again((const char *)data, size, true, arena);
    char *second = again(first, strlen(first), false, arena);
    char *third = again(second, strlen(second), false, arena);
    if (strcmp(second, third) != 0)
        abort();
    return 0;
}
