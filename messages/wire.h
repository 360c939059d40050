/* wire.h - reads protobuf's wire format itself: what protobuf-c does not check, and what a tool
 * shows.
 *
 * protobuf-c accepts any bytes as a string, cuts a string at its first NUL and merges a message
 * that is given twice. wire_check refuses these before protobuf-c sees the bytes.
 *
 * THREAD: any. */
#ifndef MESSAGES_WIRE_H
#define MESSAGES_WIRE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_32BIT = 5 };

struct wire {
    const uint8_t *at, *end;
};
struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;      /* all but WIRE_BYTES */
    const uint8_t *data; /* WIRE_BYTES */
    size_t size;
};
enum wire_step { WIRE_FIELD, WIRE_END, WIRE_BROKEN };
/* Fills *ret on WIRE_FIELD. Groups and other reserved wire types are broken. */
enum wire_step wire_next(struct wire *wire, struct wire_field *ret) MUST_CHECK;

/* INVALID: truncated, a string that is not UTF-8 or has a NUL in it, a message or two members of a
 * oneof where one may stand, nested too deep. The text names the field. */
enum status wire_check(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
                       struct err *err) MUST_CHECK;

#endif
