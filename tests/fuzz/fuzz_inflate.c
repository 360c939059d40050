/* fuzz: links gateway_core
 *
 * A zlib stream from the gateway: the first byte says in pieces of what size the rest comes.
 * Whatever comes, no payload is over the bound, and the pieces do not matter. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "gateway/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 64 << 10 };

/* All payloads one behind the other, with what became of it at the end. */
static enum status read_all(const uint8_t *data, size_t size, size_t piece, struct bytes *out)
{
    CLEANUP(inflate_free) struct inflate *i = inflate_new(MOST);

    for (size_t at = 0; at < size; at += piece) {
        size_t left = size - at, text_size;
        const char *text;
        struct err err;
        enum status status =
            inflate_feed(i, data + at, left < piece ? left : piece, &text, &text_size, &err);
        if (status != STATUS_OK)
            return status;
        must(!text || (text_size <= MOST && text[text_size] == '\0'));
        if (text)
            bytes_append(out, text, text_size);
    }
    return STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(bytes_release) struct bytes whole = { .size = 0 };
    CLEANUP(bytes_release) struct bytes pieces = { .size = 0 };

    if (size < 2)
        return 0;
    enum status a = read_all(data + 1, size - 1, size, &whole);
    enum status b = read_all(data + 1, size - 1, (size_t)data[0] + 1, &pieces);
    must(a == STATUS_OK || a == STATUS_INVALID || a == STATUS_CORRUPT);
    if (a != STATUS_OK || b != STATUS_OK)
        return 0; /* where a payload ends decides what counts against the bound */
    /* A flush amid a message ends a payload only when a piece ends there, too. */
    size_t common = whole.size < pieces.size ? whole.size : pieces.size;
    must(common == 0 || memcmp(whole.data, pieces.data, common) == 0);
    return 0;
}
