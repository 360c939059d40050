#include "tests/discord-sim/rates.h"

#include <stdlib.h>

#include "base/xmem.h"

/* Two busy buckets that fall on one place share it; with so many places that is rare, and only
 * stricter. */
enum { BUCKETS = 8192 };

struct window {
    uint64_t key;
    int64_t start_ms, used;
};
struct rates {
    int64_t per_bucket, global;
    struct window buckets[BUCKETS], all;
};

struct rates *rates_new(int64_t per_bucket, int64_t global)
{
    struct rates *r = xcalloc(1, sizeof(*r));

    rates_set(r, per_bucket, global);
    return r;
}

void rates_free(struct rates *r)
{
    free(r);
}

void rates_set(struct rates *r, int64_t per_bucket, int64_t global)
{
    *r = (struct rates){ .per_bucket = per_bucket, .global = global };
}

static bool window_take(struct window *w, uint64_t key, int64_t limit, int64_t now_ms)
{
    if (w->key != key || now_ms - w->start_ms >= RATE_WINDOW_MS)
        *w = (struct window){ .key = key, .start_ms = now_ms };
    if (limit && w->used >= limit)
        return false;
    w->used++;
    return true;
}

struct rate_answer rates_take(struct rates *r, unsigned route, uint64_t major, bool in_global,
                              int64_t now_ms)
{
    uint64_t key = (major ^ ((uint64_t)route << 56)) * 0x9e3779b97f4a7c15U;
    struct window *w = &r->buckets[(key >> 40) % BUCKETS];
    struct rate_answer a = { .limit = r->per_bucket ? r->per_bucket : INT32_MAX };

    if (in_global && !window_take(&r->all, 1, r->global, now_ms)) {
        a.limited = a.global = true;
        a.reset_after_ms = r->all.start_ms + RATE_WINDOW_MS - now_ms;
        return a;
    }
    a.limited = !window_take(w, key, r->per_bucket, now_ms);
    a.remaining = a.limit - w->used;
    a.reset_after_ms = w->start_ms + RATE_WINDOW_MS - now_ms;
    return a;
}
