/* One request from the socket to its handler: bounds, route, gate. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "edge/assets.h"
#include "edge/edge.h"
#include "edge/login.h"
#include "edge/permission.h"
#include "edge/portal.h"
#include "edge/webhook.h"

enum gate { GATE_OPEN, GATE_SIGNED, GATE_VISITOR, GATE_MODERATOR, GATE_MANAGER };

static const struct {
    enum gate gate;
    void (*handler)(struct visit *v);
} routes[] = {
#define ROUTE(name, method, path, gate, handler) { GATE_##gate, handler },
#include "edge/routes.def"
#undef ROUTE
};

static struct metric overloaded = METRIC_COUNTER("guildbus_edge_overloaded_total",
                                                 "requests refused because too many are in flight");

/* W3C Trace Context: version, trace id, span id, sampled. */
static void make_traceparent(char ret_text[TRACEPARENT_SIZE])
{
    snprintf(ret_text, TRACEPARENT_SIZE, "00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-01",
             sign_random_u64(), sign_random_u64(), sign_random_u64());
}

/* --- the gates --- */

static void pass(struct visit *v)
{
    struct session *s = &v->session;

    if (s->user_id && edge_now_s() - s->seen_s > SESSION_RENEW_S) {
        s->seen_s = edge_now_s();
        const char *cookie = session_seal(&v->edge->keys, s, v->arena);
        if (cookie)
            http_answer_header(v->x, "set-cookie", cookie);
    }
    routes[v->match.route].handler(v);
}

static const struct membership *find_guild(const struct membership *guilds, size_t count,
                                           uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (guilds[i].guild_id == id)
            return &guilds[i];
    return NULL;
}

/* A copy in the visit's arena, because the cache may drop its own; NULL: the arena is full. */
static const struct membership *keep_guild(struct visit *v, const struct membership *from)
{
    struct membership *copy = arena_alloc(v->arena, sizeof(*copy));

    if (!copy)
        return NULL;
    *copy = *from;
    copy->name = arena_printf(v->arena, "%s", from->name);
    return copy->name ? copy : NULL;
}

static void on_guilds(void *ctx, enum status status, const struct membership *guilds, size_t count)
{
    struct visit *v = ctx;
    const struct membership *found =
        status == STATUS_OK ? find_guild(guilds, count, v->match.guild_id) : NULL;

    if (status == STATUS_DENIED) {
        http_answer_header(v->x, "set-cookie", session_clear(&v->edge->keys));
        visit_ask_login(v);
    } else if (status == STATUS_BUSY) {
        visit_fail(v, STATUS_BUSY);
    } else if (status != STATUS_OK) {
        visit_problem(
            v, 503, "Discord does not answer",
            "We ask Discord what you may see here, and it did not tell. Please try again in a "
            "minute.");
    } else if (!found || (routes[v->match.route].gate == GATE_MANAGER &&
                          !permission_manages(found->owner, found->permissions))) {
        visit_fail(v, STATUS_DENIED);
    } else {
        v->guild = keep_guild(v, found);
        if (v->guild)
            pass(v);
        else
            visit_fail(v, STATUS_INTERNAL);
    }
}

static void enter(struct visit *v)
{
    enum gate gate = routes[v->match.route].gate;
    const char *cookie;

    if (gate == GATE_SIGNED || v->match.route == ROUTE_ASSET) {
        pass(v);
        return;
    }
    cookie = http_cookie(v->x, session_cookie_name(&v->edge->keys));
    if (!session_open(&v->edge->keys, cookie, edge_now_s(), v->arena, &v->session) &&
        gate != GATE_OPEN)
        visit_ask_login(v);
    else if (gate == GATE_MODERATOR || gate == GATE_MANAGER)
        visitors_look(v->edge->visitors, &v->session, on_guilds, v);
    else
        pass(v);
}

/* --- the door --- */

static void refuse_method(struct visit *v)
{
    http_answer_header(v->x, "allow", v->match.allow);
    visit_problem(v, 405, "Not that way", "This address does not take that kind of request.");
}

void edge_on_request(void *ctx, struct http_exchange *x)
{
    struct edge *edge = ctx;
    struct visit *v =
        edge->visits < EDGE_VISITS_LIMIT ? arena_alloc(http_arena(x), sizeof(*v)) : NULL;

    if (!v) {
        metric_add(&overloaded, 1);
        http_answer_header(x, "retry-after", "1");
        http_respond_text(x, 503, "too many requests in flight");
        return;
    }
    edge->visits++;
    v->edge = edge;
    v->x = x;
    v->arena = http_arena(x);
    v->arrived_us = clock_now_us();
    v->match = route_find(http_method(x), http_path(x));
    v->is_webhook = v->match.route == ROUTE_WEBHOOK;
    make_traceparent(v->traceparent);
    if (!edge->has_portal && !v->is_webhook)
        visit_respond(v, 404, "text/plain; charset=utf-8", "no portal here\n", 15);
    else if (v->match.route == ROUTE_NONE)
        visit_problem(v, 404, "Not found", "There is nothing at this address.");
    else if (v->match.route == ROUTE_WRONG_METHOD)
        refuse_method(v);
    else
        enter(v);
}
