/* retry.h - when to send a request again (pure).
 *
 * A refused attempt (nobody listens, or the listener may not answer just now) is followed by
 * another after 5, 20, 80 … ms, at most repeat_ms; an attempt without an answer by another after
 * repeat_ms. Attempts overlap: the answer to any of them counts. Nothing is sent from
 * repeat_until_ms on, and at give_up_ms it is over.
 *
 * Times are milliseconds of the monotonic clock.
 *
 * THREAD: any. */
#ifndef BASE_RETRY_H
#define BASE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct retry {
    int64_t repeat_ms, repeat_until_ms, give_up_ms; /* set by the caller */
    int64_t next_ms;
    int refusals;
};

enum retry_input { RETRY_START, RETRY_TIME, RETRY_REFUSED };

struct retry_step {
    bool send, give_up;
    int64_t wake_ms; /* call again with RETRY_TIME then */
};

struct retry_step retry_step(struct retry *r, enum retry_input input, int64_t now_ms);

/* After so many refusals before this one. */
int64_t retry_pause_ms(int refusals, int64_t repeat_ms);

/* True for a status that another attempt, or another owner, can turn into an answer. */
bool retry_is_worth(enum status status);

#endif
