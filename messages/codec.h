/* codec.h - Envelope to bytes and back, as protobuf or protobuf-JSON.
 *
 * Bytes from the bus are bounded and validated here: what decodes is structurally sound, and
 * nothing else is ever handed on. An arena is protobuf-c's allocator, so a decoded Envelope goes
 * away with its unit; strings in it point into that arena.
 *
 * THREAD: any; the arena's. */
#ifndef MESSAGES_CODEC_H
#define MESSAGES_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "messages/guildbus.pb-c.h"

/* INVALID: not an Envelope, truncated, or no body set; BUSY: over the arena's limit. */
enum status codec_decode(const void *data, size_t size, struct arena *arena,
                         Guildbus__V1__Envelope **ret_envelope, struct err *err) MUST_CHECK;
/* From the arena; never fails for a well-formed envelope within the arena's limit (BUSY beyond). */
enum status codec_encode(const Guildbus__V1__Envelope *envelope, struct arena *arena,
                         void **ret_data, size_t *ret_size, struct err *err) MUST_CHECK;

/* protobuf-JSON by reflection: lowerCamelCase or original field names in, lowerCamelCase out;
 * 64-bit integers as strings out, strings or numbers in; bytes as base64; enums by name; fields
 * named *_json as the JSON value itself. Unknown fields in the input are INVALID and named. */
enum status codec_from_json(const char *text, size_t size, struct arena *arena,
                            Guildbus__V1__Envelope **ret_envelope, struct err *err) MUST_CHECK;
/* NUL-terminated, from the arena; pretty: indented. */
enum status codec_to_json(const Guildbus__V1__Envelope *envelope, bool pretty, struct arena *arena,
                          char **ret_text, struct err *err) MUST_CHECK;

/* For request endpoints: picks by the Content-Type header ("application/json" or anything else =
 * protobuf). */
bool codec_is_json(const char *content_type);
enum status codec_decode_as(bool json, const void *data, size_t size, struct arena *arena,
                            Guildbus__V1__Envelope **ret_envelope, struct err *err) MUST_CHECK;
enum status codec_encode_as(bool json, const Guildbus__V1__Envelope *envelope, struct arena *arena,
                            void **ret_data, size_t *ret_size, struct err *err) MUST_CHECK;

#endif
