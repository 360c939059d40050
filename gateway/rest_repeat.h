/* rest_repeat.h - whether a call to Discord that failed is made again, and when (pure).
 *
 * A try that never left had no effect, and one that was answered 429 neither. Any other may have had
 * its effect though its answer is lost: it is repeated only where Discord makes that harmless.
 *
 *     GET, PUT, PATCH, DELETE          as often as it takes, within an hour
 *     POST with an enforced nonce      while Discord surely remembers the nonce: "the past few
 *                                      minutes" (its reference, Create Message)
 *     any other POST                   never
 *
 * THREAD: any. */
#ifndef GATEWAY_REST_REPEAT_H
#define GATEWAY_REST_REPEAT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    REST_TRIES_MAX = 6, /* of a call that nobody keeps: about 16 s */
    REST_NONCE_MS = 120000,
    REST_REPEAT_MS = 3600000,
    REST_BACKOFF_MS = 500, /* doubled with each try, up to … */
    REST_BACKOFF_MAX_MS = 32000,
    REST_GIVE_UP = -1,
};

enum rest_safety { REST_UNSAFE, REST_BY_NONCE, REST_IDEMPOTENT };
/* body_json NULL: none. */
enum rest_safety rest_safety_of(const char *method, const char *body_json);

/* What became of one call so far. Zeroed, but for the first two. */
struct rest_tries {
    enum rest_safety safety;
    bool is_kept; /* in the outbox: whoever gives it up loses what it was to do */
    unsigned tries, limited, unsent;
    int64_t doubtful_ms; /* monotonic: since when it may have had its effect; 0: it has not */
};
/* The last try failed without an answer or with 5xx; unsent: no connection was made. Returns the
 * pause in ms before the next, or REST_GIVE_UP. */
int64_t rest_repeat_wait(struct rest_tries *t, bool unsent, int64_t now_ms);
/* No try had an effect. */
bool rest_is_untouched(const struct rest_tries *t);

#endif
