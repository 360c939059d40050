#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void bytes_release(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){ 0 };
}

unsigned char *bytes_reserve(struct bytes *b, size_t size)
{
    if (size > b->capacity - b->size) {
        size_t capacity = b->capacity ? b->capacity : 256;
        while (capacity - b->size < size)
            capacity *= 2;
        b->data = realloc(b->data, capacity);
        if (!b->data)
            abort(); /* out of memory ends the process */
        b->capacity = capacity;
    }
    return b->data + b->size;
}

void bytes_append(struct bytes *b, const void *data, size_t size)
{
    if (!size)
        return;
    memcpy(bytes_reserve(b, size), data, size);
    b->size += size;
}
