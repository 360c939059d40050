/* membership.h - the pod as the coordinator knows it: registration, heartbeats, the lease, leaving.
 *
 *     register ─▶ heartbeat each second ─▶ its answer renews the lease, says which shards to hold
 *     SIGTERM  ─▶ heartbeats say draining ─▶ guilds are moved away ─▶ may_leave ─▶ leave
 *
 * The lease is counted from before the heartbeat was sent, so it always ends here before it ends
 * there.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_MEMBERSHIP_H
#define GATEWAY_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "gateway/owner.h"
#include "gateway/shards.h"

struct membership;

struct membership_config {
    struct loop *loop;
    struct bus *bus;
    struct owner *owner;
    struct shards *shards; /* NULL: no Discord token */
    struct discord_rest *rest;
    const char *pod;
    uint64_t incarnation;
    uint32_t capacity;
    /* The coordinator will not have this pod (its id is in use): the process must end. */
    void (*on_refused)(void *ctx, const char *why);
    void *ctx;
};

struct membership *membership_new(const struct membership_config *config) MUST_CHECK;
void membership_free(struct membership *m);
bool membership_is_ready(const struct membership *m, const char **ret_why);
/* done(ctx) is called once: when nothing more will be moved away, or at the deadline. */
void membership_drain(struct membership *m, int64_t deadline_ms, void (*done)(void *ctx),
                      void *ctx);

#endif
