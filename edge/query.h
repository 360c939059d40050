/* query.h - one question of the portal to a guild's owner.
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_QUERY_H
#define EDGE_QUERY_H

#include "edge/edge.h"
#include "messages/guildbus.pb-c.h"

enum { QUERY_TIMEOUT_MS = 3000 };

struct query {
    uint64_t guild_id;
    const Guildbus__V1__PortalRequest
        *ask; /* its query and request_id; guild and actor are filled in */
    Guildbus__V1__PortalReply__ReplyCase want;
    int timeout_ms;
    /* OK: reply holds what was wanted, in the visit's arena. NOT called from inside. */
    void (*on_done)(void *ctx, enum status status, const Guildbus__V1__PortalReply *reply);
    void *ctx;
};
/* False: the visit's arena is full, and on_done will not be called. */
bool query_start(struct visit *v, const struct query *q) MUST_CHECK;

#endif
