/* rest_facts.h - what an answer of Discord's REST API says about its limits: headers and body from
 * outside, read into numbers with bounds (pure).
 *
 * THREAD: any. */
#ifndef GATEWAY_REST_FACTS_H
#define GATEWAY_REST_FACTS_H

#include <stddef.h>

#include "gateway/rest_limits.h"

enum {
    REST_WAIT_MAX_MS = 3600 * 1000, /* longer is not believed */
    REST_BANNED_MS =
        60000, /* a 429 without Discord's JSON: the IP address is shut out by Cloudflare */
};
/* As they came; NULL: absent. */
struct rest_headers {
    const char *bucket, *remaining, *reset_after; /* X-RateLimit-… */
    const char *scope, *global;                   /* of a 429 */
    const char *retry_after;
};
/* code 0: no answer came. ret_facts->bucket points to headers->bucket. */
void rest_facts_read(int code, const struct rest_headers *headers, const char *body, size_t size,
                     struct rest_facts *ret_facts);

#endif
