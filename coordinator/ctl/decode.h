/* decode.h - shows any message body as JSON.
 *
 *   an Envelope → protobuf-JSON · JSON → itself, laid out · other text → a JSON string
 *   other protobuf → {"wire":[…]} · other bytes → {"hex":"…"} · nothing → (empty)
 *
 * THREAD: any. */
#ifndef COORDINATOR_CTL_DECODE_H
#define COORDINATOR_CTL_DECODE_H

#include <stddef.h>
#include <stdio.h>

/* subject: where the body was seen, NULL if unknown; says what was expected there when the body is
 * no Envelope. */
void decode_body(const void *data, size_t size, const char *subject, FILE *out);

#endif
