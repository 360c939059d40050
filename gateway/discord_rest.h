/* discord_rest.h - calls to Discord's REST API, within its rate limits.
 *
 *     discord_rest_send ─▶ bucket's queue ─▶ http_client ─▶ Discord ─▶ on_done (letter)
 *
 * A call waits for its bucket (Discord's X-RateLimit-Bucket hash + major parameter) and for the
 * global limit; 429s are waited out and repeated; 5xx and lost connections are repeated with
 * back-off where a repeat is safe (rest_repeat.h); what must not be repeated goes out over a
 * connection of its own, for libcurl repeats by itself what a reused one swallowed. 401 stops all
 * calls of this process (a wrong token must not burn the invalid-request budget); those of the
 * outbox end with DISCORD_TOKEN_REFUSED and stay in it. Interaction callbacks and webhooks of
 * interactions are outside the global limit.
 *
 * THREAD: discord_rest_send any; on_done on box's thread; new/free one thread. */
#ifndef GATEWAY_DISCORD_REST_H
#define GATEWAY_DISCORD_REST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/status.h"

struct discord_rest;

struct discord_rest_config {
    const char *api_url; /* https://discord.com/api/v10 */
    const char *token;
    bool has_budget; /* nothing but a drip until discord_rest_set_budget */
};
enum { DISCORD_WITHDRAWN = -1, DISCORD_TOKEN_REFUSED = -2 };
struct discord_answer {
    int code;         /* HTTP status; 0: gave up without an answer; or one of these */
    const char *body; /* NUL added */
    size_t size;
};
struct discord_call {
    const char *method, *path; /* path below api_url, e.g. "/channels/1/messages"; all is copied */
    const char *body_json;     /* NULL: none */
    const char *reason;        /* audit log; NULL: none */
    struct mailbox *box;
    void (*on_done)(void *ctx, uint64_t tag, const struct discord_answer *answer);
    void *ctx;
    uint64_t tag;
    uint64_t group; /* of calls that are kept elsewhere until they are done (the outbox), for
                       discord_rest_withdraw; 0: kept by nobody */
};

enum status discord_rest_new(const struct discord_rest_config *config,
                             struct discord_rest **ret_rest, struct err *err) MUST_CHECK;
/* Calls under way end without on_done. */
void discord_rest_free(struct discord_rest *rest);
DEFINE_CLEANUP(struct discord_rest *, discord_rest_free)
void discord_rest_send(struct discord_rest *rest, const struct discord_call *call);
/* False: so many calls wait that those which are kept elsewhere ought to be sent later. The last
 * tenth is for those that are not. Any thread. */
bool discord_rest_has_room(const struct discord_rest *rest);

/* All pods of a bot share Discord's global limit: the coordinator gives each its part, by what it
 * says that it used and wants. Without has_budget a process has all of it. Any thread. */
struct discord_budget {
    uint32_t calls;             /* in REST_GLOBAL_MS */
    int64_t until_ms;           /* monotonic; afterwards, and with 0 calls, only … */
    int64_t drip_ms;            /* … one in so long */
    uint32_t invalid_elsewhere; /* 401, 403 and 429 of the last ten minutes, other pods' */
};
struct discord_usage {
    uint32_t in_force; /* calls that it may have made in the last REST_GLOBAL_MS */
    uint32_t wanted;   /* could use so many */
    uint32_t invalid;  /* 401, 403 and 429 of the last ten minutes */
};
void discord_rest_set_budget(struct discord_rest *rest, const struct discord_budget *budget);
void discord_rest_usage(const struct discord_rest *rest, struct discord_usage *ret_usage);

/* Calls of the group that have not left yet come back with DISCORD_WITHDRAWN and are not made;
 * those that are out, or may have had their effect, come back as ever. Any thread. */
void discord_rest_withdraw(struct discord_rest *rest, uint64_t group);

#endif
