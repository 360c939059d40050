/* calls.h - what the bot asked Discord to change: each REST call but GETs, in the order of arrival.
 *
 * A call is in it once it has passed authorization and the rate limits, whatever came of it. Bodies
 * are kept as hashes (FNV-1a, 64 bits): whoever knows what should have been sent can tell whether it
 * was; or as they are, on demand.
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_CALLS_H
#define SIM_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "tests/discord-sim/out.h"

struct call {
    uint64_t number; /* 1, 2, … */
    int64_t at_ms;   /* wall clock */
    const char *method;
    char *path; /* below /api/vN */
    uint64_t body_hash;
    size_t body_size;
    char *body; /* NULL: not kept */
};

struct calls;
/* Beyond max calls are counted and not kept. */
struct calls *calls_new(size_t max, bool bodies);
void calls_free(struct calls *all);
/* method: static. */
void calls_add(struct calls *all, const char *method, const char *path, const void *body,
               size_t size);
/* NULL: past the end. number counts from 1. */
const struct call *calls_get(const struct calls *all, uint64_t number);
void call_line(const struct call *c, struct out *o);

uint64_t hash_bytes(const void *data, size_t size);

#endif
