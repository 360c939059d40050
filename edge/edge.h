/* edge.h - the edge's objects, and one request on its way through them.
 *
 *     http_server ─▶ server.c: route, gate ─▶ handler(visit) … visit_respond_*()
 *                                     │            │ ask.h ─▶ the guild's owner
 *                                     └ visitors.h ─▶ Discord: which guilds does the visitor
 * moderate?
 *
 * Stateless: what is kept between requests are caches that may be lost.
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_EDGE_H
#define EDGE_EDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/http_client.h"
#include "base/http_server.h"
#include "base/loop.h"
#include "base/sign.h"
#include "edge/ask.h"
#include "edge/config.h"
#include "edge/html.h"
#include "edge/late.h"
#include "edge/oauth.h"
#include "edge/paths.h"
#include "edge/session.h"
#include "edge/visitors.h"

enum { EDGE_VISITS_LIMIT = 10000 }; /* requests in flight; more are answered 503 */

struct edge {
    const struct edge_config *config;
    struct loop *loop;
    struct bus *bus;
    struct http_client *http;
    struct http_server *server;
    struct asks *asks;
    struct lates *lates;
    struct sign_key *public_key;
    /* the portal's; unset when there is none */
    bool has_portal;
    struct session_keys keys;
    struct oauth_client oauth;
    struct visitors *visitors;
    const char *portal_url;    /* without a trailing slash */
    const char *portal_origin; /* as browsers write it */
    size_t visits;             /* in flight */
    bool stopping;
};

enum { TRACEPARENT_SIZE = 56 };

/* One request; lives in the exchange's arena until it is answered. */
struct visit {
    struct edge *edge;
    struct http_exchange *x;
    struct arena *arena;
    struct route_match match;
    int64_t arrived_us; /* monotonic */
    char traceparent[TRACEPARENT_SIZE];
    bool is_webhook;
    /* behind the VISITOR gate */
    struct session session;
    const struct membership *guilds; /* those the visitor moderates; a copy */
    size_t guild_count;
    /* behind the MODERATOR gate */
    const struct membership *guild;
};

/* http_server's on_request; ctx is the edge. */
void edge_on_request(void *ctx, struct http_exchange *x);

/* The answers; each ends the visit. */
void visit_respond(struct visit *v, int code, const char *type, const void *body, size_t size);
void visit_respond_json(struct visit *v, int code, const char *json);
/* Takes the page's bytes; adds the headers that every page has. */
void visit_respond_page(struct visit *v, int code, struct html *page);
void visit_redirect(struct visit *v, const char *location);
/* A page that says what is wrong and what to do about it. */
void visit_problem(struct visit *v, int code, const char *title, const char *advice);
/* The same from a status, e.g. an owner's. */
void visit_fail(struct visit *v, enum status status);
/* The visitor has to log in (again): to /login, and back here afterwards when this is a page. */
void visit_ask_login(struct visit *v);
/* Wall clock, seconds. */
int64_t edge_now_s(void);

#endif
