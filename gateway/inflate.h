/* inflate.h - Discord's transport compression: one zlib stream a connection, payloads cut by its
 * flushes.
 *
 *     WebSocket message ─▶ inflate_feed ─▶ … ─▶ a payload, when the bytes end with 00 00 FF FF
 *
 * What a payload may grow to is bounded, and so is what may come without ending one: a bomb costs
 * that much memory and the connection. After an error the stream is useless.
 *
 * THREAD: confined. */
#ifndef GATEWAY_INFLATE_H
#define GATEWAY_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct inflate;
/* most: bytes of a payload, and of what may come before it ends. */
struct inflate *inflate_new(size_t most) MUST_CHECK;
void inflate_free(struct inflate *inflate);
DEFINE_CLEANUP(struct inflate *, inflate_free)

/* OK: *ret_text is a payload, NUL added, until the next call; NULL: it is not complete yet.
 * INVALID: over the bound. CORRUPT: no zlib. */
enum status inflate_feed(struct inflate *inflate, const void *data, size_t size,
                         const char **ret_text, size_t *ret_size, struct err *err) MUST_CHECK;

#endif
