/* json.h - what the tree needs beside jansson: parsing with a status, snowflakes, text that is
 * never NULL.
 *
 * Snowflakes travel as decimal strings in Discord's JSON and as uint64_t here; never through a
 * double.
 *
 * THREAD: any; a json_t belongs to one thread. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

DEFINE_CLEANUP(json_t *, json_decref)

/* INVALID: not JSON (err says where), or nested deeper than jansson's limit. */
enum status json_parse(const char *text, size_t size, json_t **ret_root, struct err *err)
    MUST_CHECK;
/* malloc'd compact text. */
char *json_text(const json_t *value);
/* 0: absent, null, or not a snowflake. Accepts "123" and 123. */
uint64_t json_id(const json_t *object, const char *key);
/* "" when absent or not a string. */
const char *json_str(const json_t *object, const char *key);
int64_t json_int(const json_t *object, const char *key, int64_t otherwise);
bool json_bool(const json_t *object, const char *key);
/* A decimal string value for a snowflake. */
json_t *json_from_id(uint64_t id);
/* Decimal text to id; false: not 1 … 2^64-1 in plain digits. */
bool id_parse(const char *text, uint64_t *ret_id);

#endif
