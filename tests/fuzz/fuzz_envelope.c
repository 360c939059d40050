/* fuzz: links messages. What decodes must encode, become JSON, and come back from it. */
#include <stdint.h>
#include <stdlib.h>

#include "messages/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *arena = arena_new((size_t)64 << 20);
    Guildbus__V1__Envelope *e, *again;
    struct err err;
    void *bytes;
    size_t bytes_size;
    char *text;

    if (codec_decode(data, size, arena, &e, &err) != STATUS_OK)
        return 0;
    if (codec_encode(e, arena, &bytes, &bytes_size, &err) != STATUS_OK ||
        codec_decode(bytes, bytes_size, arena, &again, &err) != STATUS_OK ||
        codec_to_json(e, true, arena, &text, &err) != STATUS_OK)
        abort();
    return 0;
}
