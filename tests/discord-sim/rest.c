#include "tests/discord-sim/rest.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"
#include "tests/discord-sim/arrivals.h"
#include "tests/discord-sim/calls.h"
#include "tests/discord-sim/faults.h"
#include "tests/discord-sim/oauth.h"
#include "tests/discord-sim/publish.h"

enum rest_auth { AUTH_OPEN, AUTH_BOT, AUTH_ANY, AUTH_TOKEN };
/* Discord: JSON error codes */
enum {
    UNKNOWN_CHANNEL = 10003,
    UNKNOWN_GUILD = 10004,
    UNKNOWN_MEMBER = 10007,
    UNKNOWN_MESSAGE = 10008,
    BAD_USER_AGENT = 40333,
    EMPTY_MESSAGE = 50006,
    INVALID_FORM = 50035,
};
enum { MAX_CONTENT_BYTES = 4 * 2000, MAX_EMBEDS = 10, MAX_COMPONENTS = 40, MAX_PATH_BYTES = 1024 };

static const struct route {
    enum http_method method;
    const char *pattern;
    enum rest_auth auth;
    void (*handler)(struct rest_call *c);
} routes[] = {
#define ROUTE(method, pattern, auth, handler) { HTTP_##method, pattern, AUTH_##auth, handler },
#include "tests/discord-sim/routes.def"
#undef ROUTE
};

/* ---- answers ---- */

void rest_answer(struct rest_call *c, int status, const struct out *json)
{
    http_respond(c->x, status, "application/json", json->text, json->size);
}

void rest_answer_json(struct rest_call *c, int status, const json_t *value)
{
    CLEANUP(xfree) char *text = json_text(value);

    http_respond_json(c->x, status, text);
}

void rest_done(struct rest_call *c)
{
    http_respond(c->x, 204, NULL, NULL, 0);
}

void rest_error(struct rest_call *c, int status, int code, const char *message)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    c->s->rest.not_found += status == 404;
    c->s->rest.bad_request += status == 400;
    c->s->rest.unauthorized += status == 401;
    if (status == 401 || status == 403)
        rates_count_invalid(c->s->rates, clock_now_ms());
    log_debug("rest_refused", "path=%s status=%d code=%d", http_path(c->x), status, code);
    out_json(&o, "{'message':%S,'code':%d}", message, code);
    rest_answer(c, status, &o);
}

PRINTF(3, 4)
static void set_header(struct rest_call *c, const char *name, const char *fmt, ...)
{
    char value[64];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    http_answer_header(c->x, name, value);
}

static void set_rate_headers(struct rest_call *c, const struct rate_answer *rate, unsigned route)
{
    int64_t reset = clock_wall_ms() + rate->reset_after_ms;

    set_header(c, "x-ratelimit-limit", "%" PRId64, rate->limit);
    set_header(c, "x-ratelimit-remaining", "%" PRId64, rate->remaining);
    set_header(c, "x-ratelimit-reset", "%" PRId64 ".%03d", reset / 1000, (int)(reset % 1000));
    set_header(c, "x-ratelimit-reset-after", "%" PRId64 ".%03d", rate->reset_after_ms / 1000,
               (int)(rate->reset_after_ms % 1000));
    set_header(c, "x-ratelimit-bucket", "%08x", (route + 1) * 2654435761U);
}

/* seconds with three digits */
static void add_seconds(struct out *o, int64_t ms)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));
    out_text(o, text);
}

void rest_limited(struct rest_call *c, const struct rate_answer *rate)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    bool global = rate->scope == RATE_GLOBAL;

    c->s->rest.limited++;
    c->s->rest.limited_again += rate->again;
    c->s->rest.limited_by[rate->scope]++;
    arrivals_refused(c->s->arrivals, c->arrival, rate_scope_name(rate->scope));
    if (rate->scope != RATE_SHARED)
        rates_count_invalid(c->s->rates, clock_now_ms());
    if (global)
        set_header(c, "x-ratelimit-global", "true");
    else
        set_rate_headers(c, rate, c->route);
    set_header(c, "x-ratelimit-scope", "%s", rate_scope_name(rate->scope));
    set_header(c, "retry-after", "%d", (int)(rate->reset_after_ms + 999) / 1000);
    out_json(&o, "{'message':%S,'retry_after':",
             rate->scope == RATE_SHARED ? "The resource is being rate limited."
                                        : "You are being rate limited.");
    add_seconds(&o, rate->reset_after_ms);
    out_json(&o, ",'global':%b}", global);
    rest_answer(c, 429, &o);
}

/* Not Discord: the proxy before it, which knows no JSON and no bucket. */
static void answer_as_cloudflare(struct rest_call *c, int status, int64_t ms)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    c->s->rest.cloudflare++;
    http_answer_header(c->x, "server", "cloudflare");
    if (status == 429)
        set_header(c, "retry-after", "%d", (int)(ms + 999) / 1000);
    out_text(&o,
             "<!DOCTYPE html><html lang=\"en-US\"><head><title>Access denied | discord.com used "
             "Cloudflare to restrict access</title></head><body><h1>Error 1015</h1><p>You are "
             "being rate limited</p><p>error code: 1015</p></body></html>");
    http_respond(c->x, status, "text/html; charset=UTF-8", o.text, o.size);
}

/* ---- finding ---- */

/* /api/v10/x and /api/x are x; NULL: neither. */
static const char *below_api(const char *path)
{
    if (strncmp(path, "/api/", 5) != 0)
        return NULL;
    path += 4;
    if (path[1] == 'v' && isdigit((unsigned char)path[2])) {
        const char *end = strchr(path + 1, '/');
        return end ? end : "/";
    }
    return path;
}

static bool match_segment(struct rest_call *c, const char *pattern, const char *segment,
                          size_t *captured)
{
    if (strcmp(pattern, "{}") != 0)
        return !strcmp(pattern, segment);
    if (*captured == REST_MAX_PARTS || !*segment)
        return false;
    c->part[*captured] = segment;
    c->id[*captured] = 0;
    (void)id_parse(segment, &c->id[*captured]);
    (*captured)++;
    return true;
}

/* path is a copy that is cut up; the parts point into it. */
static bool match_route(struct rest_call *c, const char *pattern, char *path)
{
    char want[MAX_PATH_BYTES], *want_rest, *path_rest;
    size_t captured = 0;

    (void)snprintf(want, sizeof(want), "%s", pattern);
    char *w = strtok_r(want, "/", &want_rest), *p = strtok_r(path, "/", &path_rest);
    while (w && p) {
        if (!match_segment(c, w, p, &captured))
            return false;
        w = strtok_r(NULL, "/", &want_rest);
        p = strtok_r(NULL, "/", &path_rest);
    }
    return !w && !p;
}

static const struct route *find_route(struct rest_call *c, const char *path, bool *ret_is_known)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        char *copy = arena_printf(http_arena(c->x), "%s", path);
        if (!copy || !match_route(c, routes[i].pattern, copy))
            continue;
        *ret_is_known = true;
        if (routes[i].method == http_method(c->x))
            return &routes[i];
    }
    return NULL;
}

struct guild *rest_guild(struct rest_call *c, size_t part)
{
    struct guild *g = world_guild(c->s->world, c->id[part]);

    if (!g)
        rest_error(c, 404, UNKNOWN_GUILD, "Unknown Guild");
    return g;
}

struct channel *rest_channel(struct rest_call *c, size_t part)
{
    struct channel *channel = world_channel(c->s->world, c->id[part]);

    if (!channel)
        rest_error(c, 404, UNKNOWN_CHANNEL, "Unknown Channel");
    return channel;
}

struct message *rest_message(struct rest_call *c, size_t channel_part)
{
    struct message *m = store_get(c->s->store, c->id[channel_part + 1]);

    if (!m || m->channel_id != c->id[channel_part] || m->hidden) {
        rest_error(c, 404, UNKNOWN_MESSAGE, "Unknown Message");
        return NULL;
    }
    return m;
}

struct member *rest_member(struct rest_call *c, struct guild *g, size_t part)
{
    struct member *m = guild_member(g, c->id[part]);

    if (!member_is_here(m)) {
        rest_error(c, 404, UNKNOWN_MEMBER, "Unknown Member");
        return NULL;
    }
    return m;
}

bool rest_check_message(struct rest_call *c, const json_t *body, bool is_patch)
{
    const char *content = json_str(body, "content");
    const json_t *embeds = json_object_get(body, "embeds"),
                 *components = json_object_get(body, "components");
    bool is_forward = json_int(json_object_get(body, "message_reference"), "type", 0) == 1;

    if ((embeds && !json_is_array(embeds) && !json_is_null(embeds)) ||
        (components && !json_is_array(components) && !json_is_null(components)) ||
        strlen(content) > MAX_CONTENT_BYTES || json_array_size(embeds) > MAX_EMBEDS ||
        json_array_size(components) > MAX_COMPONENTS) {
        rest_error(c, 400, INVALID_FORM, "Invalid Form Body");
        return false;
    }
    if (!is_patch && !is_forward && !*content && !json_array_size(embeds) &&
        !json_array_size(components) && !json_object_get(body, "poll")) {
        rest_error(c, 400, EMPTY_MESSAGE, "Cannot send an empty message");
        return false;
    }
    return true;
}

/* ---- serving ---- */

static bool has_agent(struct http_exchange *x)
{
    const char *agent = http_header(x, "user-agent");

    /* Discord: "DiscordBot ($url, $versionNumber)" or Cloudflare blocks it */
    return agent && !strncmp(agent, "DiscordBot (", 12);
}

static bool authorize(struct rest_call *c, enum rest_auth auth)
{
    const char *given = http_header(c->x, "authorization");
    const char *token = gateway_token(c->s->gateway);

    if (auth == AUTH_OPEN || auth == AUTH_TOKEN)
        return true;
    if (given && token && !strncmp(given, "Bot ", 4) && !strcmp(given + 4, token)) {
        c->as = &c->s->world->bot;
        if (has_agent(c->x))
            return true;
        c->s->rest.bad_agent++;
        rest_error(c, 403, BAD_USER_AGENT, "internal network error");
        return false;
    }
    if (auth == AUTH_ANY && given && !strncmp(given, "Bearer ", 7)) {
        c->is_bearer = true;
        c->as = oauth_user(c->s->oauth, given + 7);
    }
    if (!c->as)
        rest_error(c, 401, 0, "401: Unauthorized");
    return c->as != NULL;
}

static bool read_body(struct rest_call *c)
{
    size_t size;
    const char *body = http_body(c->x, &size);
    const char *kind = http_header(c->x, "content-type");

    if (!size || !kind || strncmp(kind, "application/json", 16) != 0) {
        c->body = json_object();
        return true;
    }
    if (json_parse(body, size, &c->body, NULL) == STATUS_OK)
        return true;
    rest_error(c, 400, 50109, "The request body contains invalid JSON.");
    return false;
}

static const char *method_name(enum http_method method)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT", [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE"
    };

    return names[method];
}

static void record_call(struct rest_call *c, const struct route *route)
{
    size_t size;
    const char *body = http_body(c->x, &size);

    if (route->auth == AUTH_BOT || route->auth == AUTH_TOKEN)
        calls_add(c->s->calls, method_name(route->method), below_api(http_path(c->x)), body, size);
}

static uint64_t record_arrival(const struct rest_call *c, const struct route *route)
{
    const char *given = http_header(c->x, "authorization");
    bool as_bot = given && !strncmp(given, "Bot ", 4);
    const struct arrival a = { .method = method_name(route->method),
                               .path = route->pattern,
                               .major = c->id[0],
                               .in_global = as_bot && route->auth != AUTH_TOKEN };

    return arrivals_add(c->s->arrivals, a);
}

/* Interaction webhooks are told apart by id and token. */
static uint64_t major_of(const struct rest_call *c, const struct route *route)
{
    if (route->auth != AUTH_TOKEN || !c->part[1])
        return c->id[0];
    return c->id[0] ^ hash_bytes(c->part[1], strlen(c->part[1]));
}

/* Authorized, and within its limits; false: answered. */
static bool admit(struct rest_call *c, const struct route *route)
{
    if (!authorize(c, route->auth))
        return false;
    if (route->auth != AUTH_OPEN) {
        struct rate_answer rate = rates_take(c->s->rates, c->route, major_of(c, route),
                                             route->auth != AUTH_TOKEN, clock_now_ms());
        if (rate.limited) {
            rest_limited(c, &rate);
            return false;
        }
        set_rate_headers(c, &rate, c->route);
    }
    return true;
}

static void perform(struct rest_call *c, const struct route *route)
{
    if (route->method != HTTP_GET)
        record_call(c, route);
    if (read_body(c))
        route->handler(c);
    json_decref(c->body);
}

static void serve_route(struct rest_call *c, const struct route *route)
{
    if (admit(c, route))
        perform(c, route);
}

/* ---- what goes wrong ---- */

struct delayed {
    struct rest_call call;
    const struct route *route;
    struct loop_timer *timer;
    struct delayed *next;
};

static void on_delayed(void *ctx)
{
    struct delayed *d = ctx, **at = &d->call.s->delayed;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    perform(&d->call, d->route);
    loop_timer_free(d->timer);
    free(d);
}

/* It counts as made now. */
static void serve_later(struct rest_call *c, const struct route *route, int64_t ms)
{
    if (!admit(c, route))
        return;
    struct delayed *d = xcalloc(1, sizeof(*d));
    d->call = *c;
    d->route = route;
    d->timer = loop_timer_new(c->s->loop, on_delayed, d);
    d->next = c->s->delayed;
    c->s->delayed = d;
    loop_timer_start(d->timer, ms);
}

void rest_forget_delayed(struct sim *s)
{
    for (struct delayed *d = TAKE(s->delayed), *next; d; d = next) {
        next = d->next;
        loop_timer_free(d->timer);
        free(d);
    }
}

static void answer_status(struct rest_call *c, const struct rest_fault *f)
{
    bool is_json = *f->body == '{' || *f->body == '[';

    if (!*f->body)
        rest_error(c, f->status, f->code, "injected");
    else
        http_respond(c->x, f->status, is_json ? "application/json" : "text/html", f->body,
                     strlen(f->body));
}

static void go_wrong(struct rest_call *c, const struct route *route, const struct rest_fault *f)
{
    static const char half[] = "{\"id\":\"13370\",\"content\":\"half an ob";

    switch (f->how) {
    case REST_FAULT_LIMIT: {
        struct rate_answer rate =
            rates_block(c->s->rates, c->route, major_of(c, route), f->scope, f->ms, clock_now_ms());
        rest_limited(c, &rate);
        break;
    }
    case REST_FAULT_STATUS:
        answer_status(c, f);
        break;
    case REST_FAULT_CLOUDFLARE:
        answer_as_cloudflare(c, f->status, f->ms);
        break;
    case REST_FAULT_GARBAGE:
        http_respond(c->x, 200, "application/json", half, sizeof(half) - 1);
        break;
    case REST_FAULT_CUT:
        http_mute(c->x);
        http_respond(c->x, 500, NULL, NULL, 0);
        break;
    case REST_FAULT_LOSE:
        http_mute(c->x);
        serve_route(c, route);
        break;
    case REST_FAULT_DELAY:
        serve_later(c, route, f->ms);
        break;
    case REST_FAULT_COUNT:
        break;
    }
}

void rest_serve(void *sim, struct http_exchange *x)
{
    struct rest_call c = { .s = sim, .x = x };
    const char *path = below_api(http_path(x));
    int64_t banned_ms = rates_banned_ms(c.s->rates, clock_now_ms());
    bool is_known = false;

    c.s->rest.requests++;
    if (banned_ms && path) {
        answer_as_cloudflare(&c, 429, banned_ms);
        return;
    }
    if (!strcmp(http_path(x), "/oauth2/authorize")) /* the browser's page has no /api */
        path = http_path(x);
    const struct route *route =
        path && strlen(path) < MAX_PATH_BYTES ? find_route(&c, path, &is_known) : NULL;
    if (!route) {
        rest_error(&c, is_known ? 405 : 404, 0,
                   is_known ? "405: Method Not Allowed" : "404: Not Found");
        return;
    }
    c.route = (unsigned)(route - routes);
    c.arrival = record_arrival(&c, route);
    const struct rest_fault *fault = faults_take(c.s->faults, method_name(route->method), path);
    if (fault)
        go_wrong(&c, route, fault);
    else
        serve_route(&c, route);
}

void rest_audit(struct rest_call *c, struct guild *g, int action, uint64_t target_id)
{
    const char *reason = http_header(c->x, "x-audit-log-reason");
    CLEANUP(json_decref)
    json_t *entry =
        json_pack("{s:o,s:o,s:o,s:o,s:i}", "id", json_from_id(world_new_id(c->s->world)),
                  "guild_id", json_from_id(g->id), "user_id", json_from_id(c->s->world->bot.id),
                  "target_id", json_from_id(target_id), "action_type", action);

    if (reason)
        (void)json_object_set_new(entry, "reason", json_string(reason));
    (void)publish_raw(c->s, g->id, "GUILD_AUDIT_LOG_ENTRY_CREATE", entry);
    (void)json_array_insert(c->s->audit, 0, entry);
    if (json_array_size(c->s->audit) > AUDIT_KEPT)
        (void)json_array_remove(c->s->audit, AUDIT_KEPT);
}
