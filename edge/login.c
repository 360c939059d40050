#include "edge/login.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"

enum {
    CODE_LIMIT = 512,       /* bytes; Discord's are 30 */
    NAME_LIMIT = 200,       /* bytes of the visitor's name that are kept */
    STATES_KEPT = 4096,     /* used states, so that each is taken once; the oldest goes first */
    CALL_TIMEOUT_MS = 8000, /* a person waits */
    ANSWER_LIMIT = 64 * 1024,
};

static struct metric logins = METRIC_COUNTER("guildbus_edge_logins_total", "visitors logged in");

/* --- to Discord --- */

void login_begin(struct visit *v)
{
    const char *next = http_query(v->x, "next");
    struct login l = { .next = next && path_is_local(next) ? next : "/guilds",
                       .issued_s = edge_now_s() };
    uint8_t random[32];

    if (v->session.user_id) {
        visit_redirect(v, l.next);
        return;
    }
    sign_random(random, 16);
    sign_hex(random, 16, l.state);
    sign_random(random, sizeof(random));
    sign_hex(random, sizeof(random), l.verifier);
    const char *cookie = login_seal(&v->edge->keys, &l, v->arena);
    const char *url = oauth_authorize_url(&v->edge->oauth, l.state, l.verifier, v->arena);
    if (!cookie || !url) {
        visit_fail(v, STATUS_INTERNAL);
        return;
    }
    http_answer_header(v->x, "set-cookie", cookie);
    visit_redirect(v, url);
}

/* --- and back --- */

struct coming {
    struct visit *v;
    struct login login;
    struct oauth_token token;
};

/* False: this state was taken before (here; at Discord the code is good for once, too). */
static bool take_state(const char *state)
{
    static char used[STATES_KEPT][33];
    static size_t next;

    for (size_t i = 0; i < STATES_KEPT; i++)
        if (memcmp(used[i], state, sizeof(used[i])) == 0)
            return false;
    memcpy(used[next], state, sizeof(used[next]));
    next = (next + 1) % STATES_KEPT;
    return true;
}

static void no_login(struct visit *v, const char *why)
{
    log_set_trace(v->traceparent);
    log_info("login_refused", "why=%s", LOG_QUOTE(why));
    log_set_trace(NULL);
    visit_problem(
        v, 400, "You are not logged in",
        "The login was cancelled, took too long or did not begin in this browser. Please start "
        "again.");
}

static void discord_away(struct visit *v, const char *doing, const struct http_result *r)
{
    log_set_trace(v->traceparent);
    log_warn("login_failed", "doing=%s code=%d why=%s", doing, r->code, LOG_QUOTE(r->error));
    log_set_trace(NULL);
    visit_problem(v, 503, "Discord does not answer",
                  "Logging in did not work. Please try again in a minute.");
}

/* The name as it is shown: what the visitor calls itself, cut to what a cookie can hold. */
static const char *visitor_name(const json_t *user, struct arena *a)
{
    const char *name = json_str(user, "global_name");
    size_t size;

    if (!*name)
        name = json_str(user, "username");
    size = strlen(name);
    if (size > NAME_LIMIT)
        for (size = NAME_LIMIT; size > 0 && ((unsigned char)name[size] & 0xC0) == 0x80;)
            size--; /* not inside a character */
    return arena_printf(a, "%.*s", (int)size, name);
}

static char *new_session(struct coming *c, const json_t *user)
{
    struct session *s = &c->v->session;
    int64_t now_s = edge_now_s();
    uint8_t random[16];

    sign_random(random, sizeof(random));
    sign_hex(random, sizeof(random), s->id);
    s->user_id = json_id(user, "id");
    s->name = visitor_name(user, c->v->arena);
    s->token = c->token.token;
    s->issued_s = s->seen_s = now_s;
    s->expires_s = now_s + (c->token.life_s < SESSION_LIFE_S ? c->token.life_s : SESSION_LIFE_S);
    return s->user_id && s->name ? session_seal(&c->v->edge->keys, s, c->v->arena) : NULL;
}

static void on_user(void *ctx, uint64_t tag UNUSED, const struct http_result *r)
{
    struct coming *c = ctx;
    CLEANUP(json_decref) json_t *user = NULL;

    if (r->status != STATUS_OK || r->code != 200 ||
        json_parse(r->body, r->size, &user, NULL) != STATUS_OK) {
        discord_away(c->v, "user", r);
        return;
    }
    const char *cookie = new_session(c, user);
    if (!cookie) {
        memset(&c->v->session, 0, sizeof(c->v->session));
        discord_away(c->v, "session", r);
        return;
    }
    metric_add(&logins, 1);
    http_answer_header(c->v->x, "set-cookie", cookie);
    visit_redirect(c->v, c->login.next);
}

static void ask_user(struct coming *c)
{
    struct edge *edge = c->v->edge;
    CLEANUP(xfree) char *url = xasprintf("%s/users/@me", edge->config->api_url);
    CLEANUP(xfree) char *authorization = xasprintf("Authorization: Bearer %s", c->token.token);
    const char *const headers[] = { authorization, "Accept: application/json", NULL };

    http_client_send(edge->http, &(struct http_call){ .method = "GET",
                                                      .url = url,
                                                      .headers = headers,
                                                      .timeout_ms = CALL_TIMEOUT_MS,
                                                      .max_answer = ANSWER_LIMIT,
                                                      .box = loop_mailbox(edge->loop),
                                                      .on_done = on_user,
                                                      .ctx = c });
}

static void on_token(void *ctx, uint64_t tag UNUSED, const struct http_result *r)
{
    struct coming *c = ctx;
    struct err err;

    if (r->status == STATUS_OK && r->code >= 400 && r->code < 500 && r->code != 429)
        no_login(c->v, "Discord does not take the code");
    else if (r->status != STATUS_OK || r->code != 200 ||
             oauth_token_read(r->body, r->size, c->v->arena, &c->token, &err) != STATUS_OK)
        discord_away(c->v, "token", r);
    else
        ask_user(c);
}

static void post_form(struct edge *edge, const char *path, const char *form,
                      void (*on_done)(void *ctx, uint64_t tag, const struct http_result *r),
                      void *ctx)
{
    static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded",
                                           "Accept: application/json", NULL };
    CLEANUP(xfree) char *url = xasprintf("%s%s", edge->config->api_url, path);

    http_client_send(edge->http, &(struct http_call){ .method = "POST",
                                                      .url = url,
                                                      .headers = headers,
                                                      .body = form,
                                                      .size = strlen(form),
                                                      .timeout_ms = CALL_TIMEOUT_MS,
                                                      .max_answer = ANSWER_LIMIT,
                                                      .box = loop_mailbox(edge->loop),
                                                      .on_done = on_done,
                                                      .ctx = ctx });
}

void login_finish(struct visit *v)
{
    const char *state = http_query(v->x, "state"), *code = http_query(v->x, "code");
    const char *cookie = http_cookie(v->x, login_cookie_name(&v->edge->keys));
    struct coming *c = arena_alloc(v->arena, sizeof(*c));

    memset(&v->session, 0,
           sizeof(v->session)); /* whoever was logged in before does not matter here */
    http_answer_header(v->x, "set-cookie", login_clear(&v->edge->keys));
    if (!c || !login_open(&v->edge->keys, cookie, edge_now_s(), v->arena, &c->login))
        no_login(v, "no login under way in this browser");
    else if (!state || strlen(state) != strlen(c->login.state) ||
             !sign_equal(state, c->login.state, strlen(state)))
        no_login(v, "another state");
    else if (!code || !*code || strlen(code) > CODE_LIMIT)
        no_login(v, "no code");
    else if (!take_state(c->login.state))
        no_login(v, "state was used");
    else {
        c->v = v;
        const char *form = oauth_token_form(&v->edge->oauth, code, c->login.verifier, v->arena);
        if (form)
            post_form(v->edge, "/oauth2/token", form, on_token, c);
        else
            visit_fail(v, STATUS_INTERNAL);
    }
}

/* --- out --- */

bool login_is_own_form(struct visit *v)
{
    const char *site = http_header(v->x, "sec-fetch-site"), *origin = http_header(v->x, "origin");

    if (site && strcmp(site, "same-origin") != 0)
        return false;
    if (origin && strcmp(origin, v->edge->portal_origin) != 0)
        return false;
    return session_csrf_fits(&v->edge->keys, &v->session, http_form(v->x, "csrf"));
}

static void on_revoked(void *ctx UNUSED, uint64_t tag UNUSED, const struct http_result *r)
{
    if (r->status != STATUS_OK || r->code != 200)
        log_warn("token_not_revoked", "code=%d why=%s", r->code, LOG_QUOTE(r->error));
}

void login_end(struct visit *v)
{
    if (!v->session.user_id) {
        visit_redirect(v, "/");
        return;
    }
    if (!login_is_own_form(v)) {
        visit_problem(v, 403, "You are still logged in",
                      "The form was not sent by our page. Please try again.");
        return;
    }
    /* The cookie cannot be recalled, but without its Discord token it opens nothing (visitors.h).
     */
    const char *form = oauth_revoke_form(&v->edge->oauth, v->session.token, v->arena);
    if (form)
        post_form(v->edge, "/oauth2/token/revoke", form, on_revoked, NULL);
    visitors_forget(v->edge->visitors, &v->session);
    http_answer_header(v->x, "set-cookie", session_clear(&v->edge->keys));
    visit_redirect(v, "/");
}
