#include "gateway/rest_limits.h"

#include <stdio.h>
#include <string.h>

#include "base/idmap.h"
#include "base/xmem.h"

enum { MINUTE_MS = 60000, SEGMENT_MAX = 64 };

struct rest_bucket {
    uint64_t id;
    unsigned lanes; /* that point here */
    bool out;
    int64_t remaining; /* -1: not known */
    int64_t reset_ms;
};

struct rest_limits {
    struct idmap *lanes;   /* route × major */
    struct idmap *buckets; /* hash × major */
    struct idmap *routes;  /* route → struct route_bucket */
    int64_t sent_ms[REST_GLOBAL];
    uint64_t sent_count;
    int64_t global_until_ms;
    struct rest_share share;
    uint32_t share_before; /* the highest one that was in force shortly before changed_ms */
    int64_t changed_ms;
    struct {
        int64_t minute;
        unsigned count;
    } invalid[REST_INVALID_MINUTES];
};

struct route_bucket {
    uint64_t hash;
};

/* ---- keys ---- */

static uint64_t hash_add(uint64_t h, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)data[i]) * 0x100000001B3u; /* FNV-1a */
    return h;
}
static const uint64_t hash_start = 0xCBF29CE484222325u;

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + 0x9E3779B97F4A7C15u * (b + 1);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    return (z ^ (z >> 27)) | 1; /* never 0 */
}

/* Where the token stands in a path: /interactions/<id>/<token>/…, /webhooks/<id>/<token>…; -1:
 * nowhere. */
static int token_segment(const char *first, size_t size)
{
    bool has_one = (size == 12 && memcmp(first, "interactions", 12) == 0) ||
                   (size == 8 && memcmp(first, "webhooks", 8) == 0);
    return has_one ? 2 : -1;
}

static bool has_major(const char *first, size_t size)
{
    return (size == 8 && memcmp(first, "channels", 8) == 0) ||
           (size == 6 && memcmp(first, "guilds", 6) == 0) || token_segment(first, size) > 0;
}

static bool is_number(const char *text, size_t size)
{
    return size > 0 && strspn(text, "0123456789") >= size;
}

struct segment {
    const char *at;
    size_t size;
};

static int split_path(const char *path, struct segment *list)
{
    int n = 0;

    while (*path == '/' && n < SEGMENT_MAX) {
        size_t size = strcspn(path + 1, "/?");
        list[n++] = (struct segment){ path + 1, size };
        path += 1 + size;
    }
    return n;
}

void rest_key_read(const char *method, const char *path, struct rest_key *ret_key)
{
    struct segment s[SEGMENT_MAX];
    int n = split_path(path, s);
    int token = n > 0 ? token_segment(s[0].at, s[0].size) : -1;
    bool major = n > 1 && has_major(s[0].at, s[0].size);
    struct rest_key key = { .route = hash_add(hash_start, method, strlen(method)),
                            .limited_globally = n <= token || token < 0,
                            .as_bot = n <= token || token < 0 };

    for (int i = 0; i < n; i++) {
        bool emoji = i > 0 && s[i - 1].size == 9 && memcmp(s[i - 1].at, "reactions", 9) == 0;
        bool hole = i == token || emoji || is_number(s[i].at, s[i].size);
        key.route = hash_add(key.route, "/", 1);
        if (!hole)
            key.route = hash_add(key.route, s[i].at, s[i].size);
        if (major && (i == 1 || i == token))
            key.major = hash_add(key.major ? key.major : hash_start, s[i].at, s[i].size);
    }
    *ret_key = key;
}

void rest_path_redact(const char *path, char *buf, size_t size)
{
    struct segment s[SEGMENT_MAX];
    int n = split_path(path, s);
    int token = n > 0 ? token_segment(s[0].at, s[0].size) : -1;
    size_t used = 0;

    buf[0] = '\0';
    for (int i = 0; i < n && used + 1 < size; i++) {
        struct segment part = i == token ? (struct segment){ "***", 3 } : s[i];
        int wrote = snprintf(buf + used, size - used, "/%.*s", (int)part.size, part.at);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

/* ---- lanes ---- */

void rest_lane_append(struct rest_lane *lane, struct rest_item *item)
{
    item->next = NULL;
    *lane->end = item;
    lane->end = &item->next;
}

void rest_lane_prepend(struct rest_lane *lane, struct rest_item *item)
{
    item->next = lane->first;
    lane->first = item;
    if (!item->next)
        lane->end = &item->next;
}

struct rest_item *rest_lane_take(struct rest_lane *lane)
{
    struct rest_item *item = lane->first;

    if (!item)
        return NULL;
    lane->first = item->next;
    if (!lane->first)
        lane->end = &lane->first;
    return item;
}

void rest_lane_remove(struct rest_lane *lane, struct rest_item *item)
{
    struct rest_item **at = &lane->first;

    while (*at && *at != item)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = item->next;
    if (lane->end == &item->next)
        lane->end = at;
}

static void join_bucket(struct rest_limits *l, struct rest_lane *lane, uint64_t hash)
{
    uint64_t id = mix(hash, lane->major);

    if (lane->bucket && lane->bucket->id == id)
        return;
    if (lane->bucket)
        lane->bucket->lanes--;
    struct rest_bucket *b = idmap_get(l->buckets, id);
    if (!b) {
        b = xcalloc(1, sizeof(*b));
        *b = (struct rest_bucket){ .id = id, .remaining = -1 };
        idmap_put(l->buckets, id, b);
    }
    b->lanes++;
    lane->bucket = b;
}

struct rest_lane *rest_limits_lane(struct rest_limits *l, const struct rest_key *key)
{
    uint64_t id = mix(key->route, key->major);
    struct rest_lane *lane = idmap_get(l->lanes, id);
    if (lane)
        return lane;
    lane = xcalloc(1, sizeof(*lane));
    *lane = (struct rest_lane){ .id = id,
                                .route = key->route,
                                .major = key->major,
                                .limited_globally = key->limited_globally };
    lane->end = &lane->first;
    idmap_put(l->lanes, id, lane);
    const struct route_bucket *known = idmap_get(l->routes, key->route);
    if (known)
        join_bucket(l, lane, known->hash);
    return lane;
}

size_t rest_limits_lane_count(const struct rest_limits *l)
{
    return idmap_count(l->lanes);
}

/* ---- may it leave? ---- */

static unsigned invalid_here(const struct rest_limits *l, int64_t now)
{
    unsigned sum = 0;

    for (size_t i = 0; i < REST_INVALID_MINUTES; i++)
        if (l->invalid[i].minute > now / MINUTE_MS - REST_INVALID_MINUTES)
            sum += l->invalid[i].count;
    return sum;
}

unsigned rest_limits_invalid(const struct rest_limits *l, int64_t now)
{
    return invalid_here(l, now) + l->share.invalid_elsewhere;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static uint32_t share_now(const struct rest_limits *l, int64_t now)
{
    return now < l->share.until_ms ? l->share.calls : 0;
}

/* When the last, the one before, … call left that counts globally; 0: there were not so many. */
static int64_t sent_before(const struct rest_limits *l, uint32_t n)
{
    return l->sent_count >= n ? l->sent_ms[(l->sent_count - n) % REST_GLOBAL] : 0;
}

static int64_t global_until(const struct rest_limits *l, int64_t now)
{
    uint32_t calls = share_now(l, now);
    int64_t until = l->global_until_ms, last = sent_before(l, calls ? calls : 1);

    if (last)
        until = later(until, last + (calls ? REST_GLOBAL_MS : l->share.drip_ms));
    /* Not all at once: what is held up on its way may arrive together with the next. */
    last = sent_before(l, (calls + 3) / 4);
    if (calls && last)
        until = later(until, last + REST_GLOBAL_MS / 4);
    if (rest_limits_invalid(l, now) >= REST_INVALID_MAX)
        until = later(until, (now / MINUTE_MS + 1) * MINUTE_MS);
    return until;
}

/* By its bucket and its own last answer. */
static int64_t lane_until(const struct rest_lane *lane)
{
    const struct rest_bucket *b = lane->bucket;

    if (lane->out || (b && b->out))
        return INT64_MAX;
    return b && b->remaining == 0 ? later(lane->blocked_ms, b->reset_ms) : lane->blocked_ms;
}

int64_t rest_limits_wait(struct rest_limits *l, const struct rest_lane *lane, int64_t now)
{
    int64_t until = lane_until(lane);

    if (until == INT64_MAX)
        return INT64_MAX;
    if (lane->limited_globally)
        until = later(until, global_until(l, now));
    return until > now ? until - now : 0;
}

bool rest_limits_waits_globally(struct rest_limits *l, const struct rest_lane *lane, int64_t now)
{
    return lane->limited_globally && lane_until(lane) <= now && global_until(l, now) > now;
}

/* ---- the share ---- */

static uint32_t in_force(const struct rest_limits *l, int64_t now)
{
    uint32_t calls = now < l->share.until_ms + REST_GLOBAL_MS ? l->share.calls : 0;

    return now - l->changed_ms < REST_GLOBAL_MS && l->share_before > calls ? l->share_before
                                                                           : calls;
}

void rest_limits_set_share(struct rest_limits *l, const struct rest_share *share, int64_t now)
{
    uint32_t before = l->sent_count ? in_force(l, now) : 0;

    if (share->calls != l->share.calls) {
        l->share_before = before;
        l->changed_ms = now;
    }
    l->share = *share;
    if (l->share.calls > REST_GLOBAL)
        l->share.calls = REST_GLOBAL;
    if (l->share.drip_ms < REST_GLOBAL_MS)
        l->share.drip_ms = REST_GLOBAL_MS;
}

void rest_limits_usage(const struct rest_limits *l, int64_t now, struct rest_usage *ret)
{
    *ret = (struct rest_usage){ .in_force = in_force(l, now), .invalid = invalid_here(l, now) };
    while (ret->sent < REST_GLOBAL && sent_before(l, ret->sent + 1) > now - REST_GLOBAL_MS)
        ret->sent++;
}

void rest_limits_sent(struct rest_limits *l, struct rest_lane *lane, int64_t now)
{
    struct rest_bucket *b = lane->bucket;

    lane->out = true;
    if (lane->limited_globally)
        l->sent_ms[l->sent_count++ % REST_GLOBAL] = now;
    if (!b)
        return;
    b->out = true;
    if (b->remaining == 0 && now >= b->reset_ms)
        b->remaining = -1; /* a new window: the answer tells */
}

/* ---- what answers say ---- */

static void count_invalid(struct rest_limits *l, const struct rest_facts *f, int64_t now)
{
    int64_t minute = now / MINUTE_MS;
    size_t slot = (size_t)(minute % REST_INVALID_MINUTES);

    if (f->code != 401 && f->code != 403 && (f->code != 429 || f->shared))
        return;
    if (l->invalid[slot].minute != minute) {
        l->invalid[slot].minute = minute;
        l->invalid[slot].count = 0;
    }
    l->invalid[slot].count++;
}

static void learn_bucket(struct rest_limits *l, struct rest_lane *lane, const char *name)
{
    uint64_t hash = hash_add(hash_start, name, strlen(name));
    struct route_bucket *known = idmap_get(l->routes, lane->route);

    if (!known) {
        known = xcalloc(1, sizeof(*known));
        idmap_put(l->routes, lane->route, known);
    }
    known->hash = hash;
    join_bucket(l, lane, hash);
}

void rest_limits_answered(struct rest_limits *l, struct rest_lane *lane, const struct rest_facts *f,
                          int64_t now)
{
    lane->out = false;
    if (lane->bucket)
        lane->bucket->out = false;
    count_invalid(l, f, now);
    if (f->bucket)
        learn_bucket(l, lane, f->bucket);
    struct rest_bucket *b = lane->bucket;
    if (b && f->remaining >= 0) {
        b->remaining = f->remaining;
        b->reset_ms = now + f->reset_after_ms;
    }
    if (f->code != 429)
        return;
    int64_t until = now + f->retry_after_ms;
    if (f->global)
        l->global_until_ms = later(l->global_until_ms, until);
    if (b && !f->global) {
        b->remaining = 0;
        b->reset_ms = later(until, f->shared ? until : b->reset_ms);
    }
    lane->blocked_ms = until;
}

void rest_limits_block(struct rest_lane *lane, int64_t until_ms)
{
    lane->blocked_ms = later(lane->blocked_ms, until_ms);
}

/* ---- life ---- */

struct sweep {
    struct rest_limits *limits;
    int64_t now;
};

static void sweep_lane(void *ctx, uint64_t id, void *value)
{
    struct sweep *s = ctx;
    struct rest_lane *lane = value;

    if (lane->first || lane->out || lane->active || lane->blocked_ms > s->now)
        return;
    if (lane->bucket)
        lane->bucket->lanes--;
    idmap_remove(s->limits->lanes, id);
    free(lane);
}

static void sweep_bucket(void *ctx, uint64_t id, void *value)
{
    struct sweep *s = ctx;
    struct rest_bucket *b = value;

    if (b->lanes > 0 || (b->remaining == 0 && b->reset_ms > s->now))
        return;
    idmap_remove(s->limits->buckets, id);
    free(b);
}

void rest_limits_sweep(struct rest_limits *l, int64_t now)
{
    struct sweep s = { l, now };
    idmap_each(l->lanes, sweep_lane, &s);
    idmap_each(l->buckets, sweep_bucket, &s);
}

struct rest_limits *rest_limits_new(void)
{
    struct rest_limits *l = xcalloc(1, sizeof(*l));
    l->lanes = idmap_new();
    l->buckets = idmap_new();
    l->routes = idmap_new();
    l->share = (struct rest_share){ .calls = REST_GLOBAL,
                                    .until_ms = INT64_MAX - REST_GLOBAL_MS,
                                    .drip_ms = REST_GLOBAL_MS };
    return l;
}

static void free_value(void *ctx UNUSED, uint64_t id UNUSED, void *value)
{
    free(value);
}

void rest_limits_free(struct rest_limits *l)
{
    if (!l)
        return;
    idmap_each(l->lanes, free_value, NULL);
    idmap_each(l->buckets, free_value, NULL);
    idmap_each(l->routes, free_value, NULL);
    idmap_free(l->lanes);
    idmap_free(l->buckets);
    idmap_free(l->routes);
    free(l);
}
