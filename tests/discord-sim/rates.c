#include "tests/discord-sim/rates.h"

#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"

/* Two busy buckets that fall on one place share it; with so many places that is rare, and only
 * stricter. */
enum { BUCKETS = 8192, SLICES = 20, SLICE_MS = INVALID_WINDOW_MS / SLICES };

struct window {
    uint64_t key;
    int64_t start_ms, used;
    int64_t blocked_ms; /* until then */
    enum rate_scope scope;
};
struct rates {
    int64_t per_bucket, global;
    struct window buckets[BUCKETS], all;
    int64_t invalid_max, banned_ms;
    struct {
        int64_t slice, count;
    } invalid[SLICES];
};

static const char *const scopes[RATE_SCOPES] = { "user", "global", "shared" };

const char *rate_scope_name(enum rate_scope scope)
{
    return scopes[scope];
}

enum rate_scope rate_scope_by_name(const char *name)
{
    size_t i = 0;

    while (i < RATE_SCOPES && strcmp(scopes[i], name) != 0)
        i++;
    return (enum rate_scope)i;
}

struct rates *rates_new(int64_t per_bucket, int64_t global, int64_t invalid)
{
    struct rates *r = xcalloc(1, sizeof(*r));

    rates_set(r, per_bucket, global);
    r->invalid_max = invalid;
    return r;
}

void rates_free(struct rates *r)
{
    free(r);
}

void rates_set(struct rates *r, int64_t per_bucket, int64_t global)
{
    r->per_bucket = per_bucket;
    r->global = global;
    memset(r->buckets, 0, sizeof(r->buckets));
    r->all = (struct window){ .key = 1 };
}

static struct window *find(struct rates *r, unsigned route, uint64_t major, uint64_t *ret_key)
{
    *ret_key = (major ^ ((uint64_t)route << 56)) * 0x9e3779b97f4a7c15U;
    return &r->buckets[(*ret_key >> 40) % BUCKETS];
}

static void renew(struct window *w, uint64_t key, int64_t now_ms)
{
    if (w->blocked_ms > now_ms)
        return;
    if (w->key != key || now_ms - w->start_ms >= RATE_WINDOW_MS)
        *w = (struct window){ .key = key, .start_ms = now_ms };
}

static bool is_blocked(const struct window *w, int64_t now_ms, struct rate_answer *a)
{
    if (w->blocked_ms <= now_ms)
        return false;
    a->limited = a->again = true;
    a->scope = w->scope;
    a->remaining = 0;
    a->reset_after_ms = w->blocked_ms - now_ms;
    return true;
}

static bool take(struct window *w, int64_t limit)
{
    if (limit && w->used >= limit)
        return false;
    w->used++;
    return true;
}

struct rate_answer rates_take(struct rates *r, unsigned route, uint64_t major, bool in_global,
                              int64_t now_ms)
{
    uint64_t key;
    struct window *w = find(r, route, major, &key);
    struct rate_answer a = { .limit = r->per_bucket ? r->per_bucket : INT32_MAX };

    renew(&r->all, 1, now_ms);
    renew(w, key, now_ms);
    if ((in_global && is_blocked(&r->all, now_ms, &a)) || is_blocked(w, now_ms, &a))
        return a;
    if (in_global && !take(&r->all, r->global)) {
        a.limited = true;
        a.scope = RATE_GLOBAL;
        a.reset_after_ms = r->all.start_ms + RATE_WINDOW_MS - now_ms;
        return a;
    }
    a.limited = !take(w, r->per_bucket);
    a.remaining = a.limit - w->used;
    a.reset_after_ms = w->start_ms + RATE_WINDOW_MS - now_ms;
    return a;
}

struct rate_answer rates_block(struct rates *r, unsigned route, uint64_t major,
                               enum rate_scope scope, int64_t ms, int64_t now_ms)
{
    uint64_t key = 1;
    struct window *w = scope == RATE_GLOBAL ? &r->all : find(r, route, major, &key);
    struct rate_answer a = { .limit = r->per_bucket ? r->per_bucket : INT32_MAX };

    *w = (struct window){
        .key = key, .start_ms = now_ms, .blocked_ms = now_ms + ms, .scope = scope
    };
    (void)is_blocked(w, now_ms, &a);
    a.limited = true;
    a.scope = scope;
    a.again = false;
    return a;
}

/* ---- invalid requests ---- */

void rates_set_invalid(struct rates *r, int64_t most)
{
    r->invalid_max = most;
}

int64_t rates_invalid(const struct rates *r, int64_t now_ms)
{
    int64_t sum = 0;

    for (size_t i = 0; i < SLICES; i++)
        if (r->invalid[i].slice > now_ms / SLICE_MS - SLICES)
            sum += r->invalid[i].count;
    return sum;
}

void rates_count_invalid(struct rates *r, int64_t now_ms)
{
    int64_t slice = now_ms / SLICE_MS;
    size_t place = (size_t)(slice % SLICES);

    if (r->invalid[place].slice != slice)
        r->invalid[place].count = 0;
    r->invalid[place].slice = slice;
    r->invalid[place].count++;
    if (r->invalid_max && rates_invalid(r, now_ms) >= r->invalid_max)
        r->banned_ms = now_ms + INVALID_WINDOW_MS;
}

int64_t rates_banned_ms(struct rates *r, int64_t now_ms)
{
    return r->banned_ms > now_ms ? r->banned_ms - now_ms : 0;
}

void rates_forgive(struct rates *r)
{
    r->banned_ms = 0;
    memset(r->invalid, 0, sizeof(r->invalid));
}
