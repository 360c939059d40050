/* scan.h - reads JSON text without building a tree: where a value is, a few scalars, one walk over an
 * object or array.
 *
 * For what is large and of which little is wanted: gateway payloads, interactions. What is not JSON
 * (bad UTF-8, control characters, nesting over SCAN_DEPTH) is refused as far as it is read. Keys are
 * compared as their raw bytes; the last of two equal keys wins, as in jansson.
 *
 * Spans point into the text they were read from.
 *
 * THREAD: any. */
#ifndef BASE_SCAN_H
#define BASE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum { SCAN_DEPTH = 128 };

/* What is left to read. Each function below leaves at <= end, and returns false on what is not what
 * it reads. */
struct scan {
    const char *at, *end;
};
void scan_blanks(struct scan *r);
bool scan_char(struct scan *r, char c);
/* A string and its colon; *ret_key is between the quotes, escapes as they are. */
bool scan_key(struct scan *r, struct span *ret_key);
/* Any value, checked. */
bool scan_value(struct scan *r, struct span *ret_value);

/* Walks an object or array; keys of array members are empty. What is no JSON ends it early:
 * scan_walk_is_over says. */
struct scan_walk {
    const char *at, *end;
    bool object, begun;
};
/* False: value is neither object nor array. */
bool scan_walk_start(struct span value, struct scan_walk *ret_walk);
bool scan_walk_next(struct scan_walk *walk, struct span *ret_key, struct span *ret_value);
/* After the last: the whole value was read, and was JSON. */
bool scan_walk_is_over(const struct scan_walk *walk);

/* A member of an object; size 0: absent. */
struct span scan_member(struct span object, const char *key);

/* Of values. */
bool scan_is(struct span value, const char *text);
bool scan_is_true(struct span value);
/* Plain digits, without quotes. */
bool scan_uint(struct span value, uint64_t *ret);
/* A snowflake, as string or number; 0: it is none. */
uint64_t scan_id(struct span value);
/* Text of a string value without escapes; false: no string, has an escape, or too long for buf. */
bool scan_text(struct span value, char *buf, size_t size);

#endif
