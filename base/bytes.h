/* bytes.h - a growing byte buffer with a bound.
 *
 * THREAD: confined. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stddef.h>

#include "base/macros.h"

struct bytes {
    unsigned char *data;
    size_t size, capacity;
};

void bytes_release(struct bytes *b);
static inline void bytes_release_at(struct bytes *b)
{
    bytes_release(b);
}
void bytes_append(struct bytes *b, const void *data, size_t size);
/* Room for size more bytes; the caller writes there and adds to b->size. */
unsigned char *bytes_reserve(struct bytes *b, size_t size);
static inline void bytes_clear(struct bytes *b)
{
    b->size = 0;
}

#endif
