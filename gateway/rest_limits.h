/* rest_limits.h - when a REST call may leave: Discord's buckets and the global limit, pure.
 *
 *     call ─▶ key (route, major) ─▶ lane ─▶ bucket (X-RateLimit-Bucket, major), once it is named
 *
 * One call of a bucket is out at a time, so calls of a lane stay in order and what remains is
 * always known. Until a route's bucket is known, its lane alone is serialised. Ids other than the
 * major parameter (channel, guild, webhook + token) do not matter.
 *
 * THREAD: confined; reads no clock. */
#ifndef GATEWAY_REST_LIMITS_H
#define GATEWAY_REST_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum {
    REST_GLOBAL = 50,      /* Discord: 50 a second … */
    REST_GLOBAL_MS = 1100, /* … whose windows behave like 1.1 s (discord-api-docs#5144) */
    REST_INVALID_MAX =
        8000, /* Discord: 10,000 of 401, 403, 429 in 10 min and an IP address is shut out */
    REST_INVALID_MINUTES = 10,
};

struct rest_key {
    uint64_t route, major; /* hashes; major 0: none */
    bool limited_globally; /* not: callbacks and webhooks of interactions */
    bool as_bot;           /* needs the token */
};
void rest_key_read(const char *method, const char *path, struct rest_key *ret_key);
/* The path for a log line: tokens within are starred, the query is cut. */
void rest_path_redact(const char *path, char *buf, size_t size);

/* This process's part of the global limit. Without one it has all of it. */
struct rest_share {
    uint32_t calls;             /* in REST_GLOBAL_MS; at most REST_GLOBAL */
    int64_t until_ms;           /* afterwards, and with 0 calls, only … */
    int64_t drip_ms;            /* … one in so long */
    unsigned invalid_elsewhere; /* 401, 403 and 429 of the last ten minutes, other processes' */
};
/* What the other processes' shares depend on. */
struct rest_usage {
    uint32_t in_force; /* calls that it may have made within REST_GLOBAL_MS, by what it was given */
    uint32_t sent;     /* within REST_GLOBAL_MS */
    unsigned invalid;  /* here */
};

/* Calls wait in their lane; the link is embedded in the call. */
struct rest_item {
    struct rest_item *next;
};
struct rest_bucket;
struct rest_lane {
    struct rest_item *first, **end;
    bool active; /* the caller's mark: it is in its list */
    struct rest_lane *next_active;
    /* of rest_limits.c */
    uint64_t id, route, major;
    bool limited_globally, out;
    int64_t blocked_ms;
    struct rest_bucket *bucket; /* NULL: not known yet */
};

/* What an answer said. */
struct rest_facts {
    int code;           /* 0: none came */
    const char *bucket; /* NULL: not said */
    int64_t remaining;  /* -1: not said */
    int64_t reset_after_ms, retry_after_ms;
    bool global, shared; /* a 429's scope */
};

struct rest_limits;
struct rest_limits *rest_limits_new(void) MUST_CHECK;
void rest_limits_free(struct rest_limits *limits);

/* The key's lane, made when there is none; gone when it is idle at a sweep. */
struct rest_lane *rest_limits_lane(struct rest_limits *limits, const struct rest_key *key);
void rest_lane_append(struct rest_lane *lane, struct rest_item *item);
void rest_lane_prepend(struct rest_lane *lane, struct rest_item *item);
struct rest_item *rest_lane_take(struct rest_lane *lane);
/* Nothing when it does not wait there. */
void rest_lane_remove(struct rest_lane *lane, struct rest_item *item);

/* 0: the lane's first call may leave now. Else how long to wait, ms; INT64_MAX: until an answer
 * comes. */
int64_t rest_limits_wait(struct rest_limits *limits, const struct rest_lane *lane, int64_t now_ms);
void rest_limits_sent(struct rest_limits *limits, struct rest_lane *lane, int64_t now_ms);
void rest_limits_answered(struct rest_limits *limits, struct rest_lane *lane,
                          const struct rest_facts *facts, int64_t now_ms);
/* Only the global limit holds the lane's first call back. */
bool rest_limits_waits_globally(struct rest_limits *limits, const struct rest_lane *lane,
                                int64_t now_ms);
void rest_limits_set_share(struct rest_limits *limits, const struct rest_share *share,
                           int64_t now_ms);
void rest_limits_usage(const struct rest_limits *limits, int64_t now_ms,
                       struct rest_usage *ret_usage);
/* Nothing of this lane before then (a repeat's back-off). */
void rest_limits_block(struct rest_lane *lane, int64_t until_ms);
/* Forgets lanes and buckets that say nothing any more. */
void rest_limits_sweep(struct rest_limits *limits, int64_t now_ms);
size_t rest_limits_lane_count(const struct rest_limits *limits);
/* 401, 403 and 429 of the last ten minutes, also of other processes. */
unsigned rest_limits_invalid(const struct rest_limits *limits, int64_t now_ms);

#endif
