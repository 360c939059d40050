/* encode.h - writes protobuf fields straight into a buffer.
 *
 * Rows are captured one by one in SQLite's hook and become part of a log record much later; writing
 * them as wire bytes at once saves building a message tree per row. Tests decode what this writes
 * with protobuf-c.
 *
 * THREAD: confined to the buffer's. */
#ifndef GATEWAY_ENCODE_H
#define GATEWAY_ENCODE_H

#include <stdint.h>

#include "base/bytes.h"

/* Fields with the value 0 are left out, as proto3 does. */
void encode_varint(struct bytes *b, uint32_t field, uint64_t value);
void encode_fixed64(struct bytes *b, uint32_t field, uint64_t value);
/* Length-delimited; written also when size is 0 (presence of a message). */
void encode_block(struct bytes *b, uint32_t field, const void *data, size_t size);
/* As encode_block, but left out when empty. */
void encode_text(struct bytes *b, uint32_t field, const char *text);
/* Numbers one after the other in one block; left out when there are none. */
void encode_packed(struct bytes *b, uint32_t field, const uint64_t *values, size_t count);
uint64_t encode_zigzag(int64_t value);

/* Size of the length-delimited field that stands at data, with its tag; 0: none does. */
size_t encoded_field_size(const unsigned char *data, size_t size);

#endif
