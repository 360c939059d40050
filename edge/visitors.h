/* visitors.h - which guilds a visitor moderates: Discord's answer, kept for at most five minutes.
 *
 *     visitors_look(session) ──cached──▶ on_guilds(OK, …)
 *           └─▶ GET /users/@me/guilds with the visitor's token (once, however many wait) ─▶
 * on_guilds(…)
 *
 * Bounded: the visitor longest unseen goes first. Guilds without a moderator's permission are not
 * kept at all, so what is not found is denied.
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_VISITORS_H
#define EDGE_VISITORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/http_client.h"
#include "base/loop.h"
#include "edge/session.h"

enum { VISITORS_LIMIT = 2000, VISITOR_GUILDS_LIMIT = 200, VISITORS_KEEP_MS = 5 * 60 * 1000 };

struct membership {
    uint64_t guild_id, permissions;
    bool owner;
    const char *name; /* hostile */
};

/* OK: the guilds the visitor moderates, by name; valid during the call. DENIED: Discord does not
 * take the token any more. BUSY: Discord's rate limit. UNAVAILABLE, TIMEOUT: no answer. */
typedef void (*visitors_on_guilds)(void *ctx, enum status status, const struct membership *guilds,
                                   size_t count);

struct visitors;

struct visitors *visitors_new(struct loop *loop, struct http_client *http, const char *api_url)
    MUST_CHECK;
void visitors_free(struct visitors *v);
DEFINE_CLEANUP(struct visitors *, visitors_free)

/* on_guilds is called once: at once when the answer is known, else later. */
void visitors_look(struct visitors *v, const struct session *s, visitors_on_guilds on_guilds,
                   void *ctx);
/* After a logout. */
void visitors_forget(struct visitors *v, const struct session *s);
size_t visitors_count(const struct visitors *v);

/* Reads Discord's list, keeps what is moderated, sorted by name. *ret_guilds is malloc'd with its
 * names in one block; one free() frees all. INVALID: not such a list. */
enum status memberships_read(const char *body, size_t size, struct membership **ret_guilds,
                             size_t *ret_count, struct err *err) MUST_CHECK;

#endif
