/* json.h - what reading and writing protobuf-JSON share. Inside messages/ only.
 *
 * THREAD: any. */
#ifndef MESSAGES_JSON_H
#define MESSAGES_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

enum { JSON_NAME_SIZE = 64, JSON_MAX_DEPTH = 16 };

/* payload_json → payloadJson */
void json_field_name(const ProtobufCFieldDescriptor *field, char ret_name[JSON_NAME_SIZE]);
/* A string field whose text is JSON itself. */
bool json_field_is_json(const ProtobufCFieldDescriptor *field);
/* Whether text is one JSON value. */
bool json_is_valid(const char *text, size_t size);
/* And one that a reader with 64-bit integers and C strings (jansson) keeps as it is. */
bool json_is_plain(const char *text, size_t size);

/* Of one value in a message's C struct. */
size_t json_value_size(ProtobufCType type);

#endif
