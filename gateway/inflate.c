#include "gateway/inflate.h"

#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/bytes.h"
#include "base/xmem.h"

/* KEPT: a payload's room stays for the next one, unless it was a rare large one. */
enum { CHUNK = 16 << 10, KEPT = 1 << 20, TAIL = 4 };

struct inflate {
    z_stream zlib;
    size_t most;
    size_t came; /* bytes since the last payload's end */
    unsigned char tail[TAIL];
    struct bytes out;
    bool complete; /* out is a payload that was handed out */
    bool useless;
};

struct inflate *inflate_new(size_t most)
{
    struct inflate *i = xcalloc(1, sizeof(*i));

    i->most = most;
    must(inflateInit(&i->zlib) == Z_OK);
    return i;
}

void inflate_free(struct inflate *i)
{
    if (!i)
        return;
    (void)inflateEnd(&i->zlib);
    bytes_release(&i->out);
    free(i);
}

/* The last four bytes of all that came. */
static void keep_tail(struct inflate *i, const unsigned char *data, size_t size)
{
    size_t fresh = size < TAIL ? size : TAIL;

    memmove(i->tail, i->tail + fresh, TAIL - fresh);
    memcpy(i->tail + TAIL - fresh, data + size - fresh, fresh);
}

static bool is_at_flush(const struct inflate *i)
{
    static const unsigned char flush[TAIL] = { 0x00, 0x00, 0xFF, 0xFF };

    return memcmp(i->tail, flush, TAIL) == 0;
}

static void begin_payload(struct inflate *i)
{
    i->complete = false;
    i->came = 0;
    if (i->out.capacity > KEPT)
        bytes_release(&i->out);
    bytes_clear(&i->out);
}

/* Takes all the input. What zlib has not given out yet when it is full is asked for again, so at
 * most CHUNK more than the bound is ever made. */
static enum status run(struct inflate *i, struct err *err)
{
    do {
        i->zlib.next_out = bytes_reserve(&i->out, CHUNK);
        i->zlib.avail_out = CHUNK;
        int code = inflate(&i->zlib, Z_SYNC_FLUSH);
        i->out.size += CHUNK - i->zlib.avail_out;
        if (i->out.size > i->most)
            return err_set(err, STATUS_INVALID, "a payload of more than %zu bytes", i->most);
        if (code == Z_BUF_ERROR && i->zlib.avail_in == 0)
            return STATUS_OK; /* nothing more to be had from what came */
        if (code != Z_OK)
            return err_set(err, STATUS_CORRUPT, "zlib-stream: %s",
                           code == Z_STREAM_END ? "it has ended"
                           : i->zlib.msg        ? i->zlib.msg
                                                : "damaged");
    } while (i->zlib.avail_in > 0 || i->zlib.avail_out == 0);
    return STATUS_OK;
}

enum status inflate_feed(struct inflate *i, const void *data, size_t size, const char **ret_text,
                         size_t *ret_size, struct err *err)
{
    if (i->useless)
        return err_set(err, STATUS_CORRUPT, "zlib-stream: damaged before");
    if (i->complete)
        begin_payload(i);
    *ret_text = NULL;
    *ret_size = 0;
    i->useless = true;
    if (size > i->most - i->came)
        return err_set(err, STATUS_INVALID, "%zu bytes and no payload has ended", i->came + size);
    if (size > 0) {
        i->came += size;
        keep_tail(i, data, size);
        i->zlib.next_in = (const unsigned char *)data;
        i->zlib.avail_in = (uInt)size;
        TRY(run(i, err));
    }
    i->useless = false;
    if (size == 0 || !is_at_flush(i))
        return STATUS_OK;
    i->complete = true;
    *ret_size = i->out.size;
    bytes_append(&i->out, "", 1);
    *ret_text = (const char *)i->out.data;
    return STATUS_OK;
}
