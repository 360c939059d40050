/* rates.h - REST rate limits: one bucket for each route and its major parameter, a global one, and
 * the count of invalid requests. Pure.
 *
 * Windows of one second with a fixed number of requests; what is spent is a 429. A bucket may also
 * be blocked for a time, with a scope. Who collects too many invalid requests (401, 403, and 429 of
 * another scope than shared) in ten minutes is shut out: then Cloudflare answers, not Discord.
 *
 * THREAD: confined. */
#ifndef SIM_RATES_H
#define SIM_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum { RATE_WINDOW_MS = 1000, INVALID_WINDOW_MS = 10 * 60 * 1000 };
/* Discord's X-RateLimit-Scope: the bot's own bucket, the bot's all, and what others share. */
enum rate_scope { RATE_USER, RATE_GLOBAL, RATE_SHARED, RATE_SCOPES };
const char *rate_scope_name(enum rate_scope scope);
/* RATE_SCOPES: it is none. */
enum rate_scope rate_scope_by_name(const char *name);

struct rates;
/* per_bucket and global in requests a window; 0: unlimited. invalid: so many in ten minutes; 0: any
 * number. */
struct rates *rates_new(int64_t per_bucket, int64_t global, int64_t invalid);
void rates_free(struct rates *r);
DEFINE_CLEANUP(struct rates *, rates_free)
/* Also forgets all windows and blocks. */
void rates_set(struct rates *r, int64_t per_bucket, int64_t global);

struct rate_answer {
    bool limited;
    bool again; /* limited, and it had been told so before */
    enum rate_scope scope;
    int64_t limit, remaining, reset_after_ms;
};
/* in_global: interaction callbacks and their webhooks are not bound by the global limit. */
struct rate_answer rates_take(struct rates *r, unsigned route, uint64_t major, bool in_global,
                              int64_t now_ms);
/* The bucket, or with RATE_GLOBAL all of them, gives 429s for so long; the first of them now. */
struct rate_answer rates_block(struct rates *r, unsigned route, uint64_t major,
                               enum rate_scope scope, int64_t ms, int64_t now_ms);

void rates_set_invalid(struct rates *r, int64_t most);
void rates_count_invalid(struct rates *r, int64_t now_ms);
/* In the last ten minutes. */
int64_t rates_invalid(const struct rates *r, int64_t now_ms);
/* How long it is shut out; 0: it is not. */
int64_t rates_banned_ms(struct rates *r, int64_t now_ms);
void rates_forgive(struct rates *r);

#endif
