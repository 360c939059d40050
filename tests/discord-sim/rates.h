/* rates.h - REST rate limits: one bucket for each route and its major parameter, and a global one.
 *
 * Windows of one second with a fixed number of requests; what is spent is a 429. Pure.
 *
 * THREAD: confined. */
#ifndef SIM_RATES_H
#define SIM_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum { RATE_WINDOW_MS = 1000 };

struct rates;
/* per_bucket and global in requests a window; 0: unlimited. */
struct rates *rates_new(int64_t per_bucket, int64_t global);
void rates_free(struct rates *r);
DEFINE_CLEANUP(struct rates *, rates_free)
/* Also forgets all windows. */
void rates_set(struct rates *r, int64_t per_bucket, int64_t global);

struct rate_answer {
    bool limited, global;
    int64_t limit, remaining, reset_after_ms;
};
/* in_global: interaction callbacks and their webhooks are not bound by the global limit. */
struct rate_answer rates_take(struct rates *r, unsigned route, uint64_t major, bool in_global,
                              int64_t now_ms);

#endif
