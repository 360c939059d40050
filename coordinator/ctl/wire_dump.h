/* wire_dump.h - protobuf of an unknown type as JSON, by its wire format alone.
 *
 * THREAD: any. */
#ifndef COORDINATOR_CTL_WIRE_DUMP_H
#define COORDINATOR_CTL_WIRE_DUMP_H

#include <stdbool.h>
#include <stddef.h>

#include "messages/text.h"

/* Whether the bytes are well-formed fields from end to end (at least one). */
bool wire_is_protobuf(const void *data, size_t size);
/* Text that a person would have written: no control characters but line ends and tabs. */
bool wire_is_readable(const void *data, size_t size);
/* [{"field":1,"varint":"5"},{"field":2,"text":"…"},{"field":3,"message":[…]},{"field":4,"hex":"…"}]
 * What is text or a message is guessed. */
void wire_dump(struct text *out, const void *data, size_t size);
void wire_dump_hex(struct text *out, const void *data, size_t size);

#endif
