#include "tests/discord-sim/oauth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/rest.h"

/* Discord: a code lives for a minute, an access token for a week. */
enum {
    CODE_MS = 60 * 1000,
    TOKEN_S = 604800,
    MAX_GRANTS = 4096,
    SECRET_SIZE = 33,
    TEXT_SIZE = 256
};

/* From the code to the tokens: one row of a ring, the oldest is forgotten. */
struct grant {
    struct user *user;
    char code[SECRET_SIZE], access[SECRET_SIZE], refresh[SECRET_SIZE]; /* "": spent or none */
    char scope[TEXT_SIZE], redirect_uri[1024], challenge[64];
    int64_t made_ms, expires_ms; /* expires: of the access token */
};
struct oauth {
    struct grant grants[MAX_GRANTS];
    size_t next;
    struct oauth_tricks tricks;
};

struct oauth *oauth_new(void)
{
    return xcalloc(1, sizeof(struct oauth));
}

void oauth_free(struct oauth *o)
{
    free(o);
}

struct oauth_tricks *oauth_tricks(struct oauth *o)
{
    return &o->tricks;
}

void oauth_revoke_all(struct oauth *o)
{
    memset(o->grants, 0, sizeof(o->grants));
}

static const struct grant *find_access(const struct oauth *o, const char *token)
{
    for (size_t i = 0; *token && i < MAX_GRANTS; i++)
        if (!strcmp(o->grants[i].access, token))
            return clock_now_ms() < o->grants[i].expires_ms ? &o->grants[i] : NULL;
    return NULL;
}

struct user *oauth_user(const struct oauth *o, const char *access_token)
{
    const struct grant *g = find_access(o, access_token);

    return g ? g->user : NULL;
}

const char *oauth_scope(const struct oauth *o, const char *access_token)
{
    const struct grant *g = find_access(o, access_token);

    return g ? g->scope : NULL;
}

static void make_secret(char into[SECRET_SIZE])
{
    uint8_t bytes[16];

    sign_random(bytes, sizeof(bytes));
    sign_hex(bytes, sizeof(bytes), into);
}

/* ---- the page ---- */

static void add_encoded(struct out *o, const char *text)
{
    char one[4];

    for (; *text; text++) {
        unsigned char ch = (unsigned char)*text;
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || strchr("-._~", ch);
        (void)snprintf(one, sizeof(one), plain ? "%c" : "%%%02X", ch);
        out_text(o, one);
    }
}

static const char *query(struct rest_call *c, const char *name)
{
    const char *value = http_query(c->x, name);

    return value ? value : "";
}

static void add_person(struct rest_call *c, struct out *o, const struct user *u, const char *role)
{
    char id[24];

    (void)snprintf(id, sizeof(id), "%llu", (unsigned long long)u->id);
    out_text(o, "<li><a href=\"?");
    out_html(o, http_query_raw(c->x));
    out_text(o, "&amp;as=");
    out_text(o, id);
    out_text(o, "\">Continue as <bdi>");
    out_html(o, u->global_name ? u->global_name : u->username);
    out_text(o, "</bdi></a> (");
    out_text(o, role);
    out_text(o, ")</li>");
}

static void show_page(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = c->s->world->guilds[0];
    const struct member *moderator = guild_first_moderator(g), *plain = guild_first_plain(g);

    out_text(&o, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
                 "<title>Authorize</title><h1>Who are you?</h1><p>In ");
    out_html(&o, g->name);
    out_text(&o, ":</p><ul>");
    add_person(c, &o, g->members[0].user, "owner");
    if (moderator)
        add_person(c, &o, moderator->user, "moderator");
    if (plain)
        add_person(c, &o, plain->user, "member");
    for (size_t i = 3; i < g->member_count && i < 8; i++)
        if (!g->members[i].user->bot)
            add_person(c, &o, g->members[i].user, "member");
    out_text(&o, "</ul></html>");
    http_respond(c->x, 200, "text/html; charset=utf-8", o.text, o.size);
}

static void copy_text(char *into, size_t size, const char *text)
{
    (void)snprintf(into, size, "%s", text);
}

/* Back to the bot's site with one more parameter. */
static void redirect(struct rest_call *c, const char *name, const char *value)
{
    const char *uri = query(c, "redirect_uri");
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_text(&o, uri);
    out_text(&o, strchr(uri, '?') ? "&" : "?");
    out_text(&o, name);
    out_text(&o, "=");
    out_text(&o, value);
    if (*query(c, "state")) {
        out_text(&o, "&state=");
        add_encoded(&o, query(c, "state"));
    }
    if (strpbrk(o.text, "\r\n"))
        http_respond_text(c->x, 400, "redirect_uri");
    else
        http_redirect(c->x, o.text);
}

static void redirect_with_code(struct rest_call *c, struct user *u)
{
    struct grant *g = &c->s->oauth->grants[c->s->oauth->next++ % MAX_GRANTS];

    *g = (struct grant){ .user = u, .made_ms = clock_now_ms() };
    make_secret(g->code);
    copy_text(g->scope, sizeof(g->scope), query(c, "scope"));
    copy_text(g->redirect_uri, sizeof(g->redirect_uri), query(c, "redirect_uri"));
    if (!strcmp(query(c, "code_challenge_method"), "S256"))
        copy_text(g->challenge, sizeof(g->challenge), query(c, "code_challenge"));
    redirect(c, "code", g->code);
}

void on_oauth_authorize(struct rest_call *c)
{
    uint64_t client = 0, as = 0;
    struct user *u = NULL;

    (void)id_parse(query(c, "client_id"), &client);
    if (client != c->s->application_id) {
        http_respond_text(c->x, 400, "Unknown application");
        return;
    }
    if (strcmp(query(c, "response_type"), "code") != 0 ||
        strncmp(query(c, "redirect_uri"), "http", 4) != 0) {
        http_respond_text(c->x, 400, "response_type must be code, redirect_uri an address");
        return;
    }
    if (c->s->oauth->tricks.deny || !strcmp(query(c, "as"), "deny")) {
        redirect(c, "error_description=The+resource+owner+denied+the+request&error",
                 "access_denied");
        return;
    }
    if (id_parse(query(c, "as"), &as))
        u = world_user(c->s->world, as);
    if (u)
        redirect_with_code(c, u);
    else
        show_page(c);
}

/* ---- tokens ---- */

static const char *form(struct rest_call *c, const char *name)
{
    const char *value = http_form(c->x, name);

    return value ? value : "";
}

static bool is_pair(struct rest_call *c, const char *id, const char *secret)
{
    return !strcmp(id, c->s->config.application_id_text) &&
           !strcmp(secret, c->s->config.client_secret);
}

static int base64_value(char ch)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = ch ? strchr(digits, ch) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* "id:secret" out of a Basic header; "" when it is none. */
static void decode_basic(const char *text, char into[TEXT_SIZE])
{
    unsigned bits = 0, have = 0;
    size_t used = 0;

    for (; base64_value(*text) >= 0 && used < TEXT_SIZE - 1; text++) {
        bits = bits << 6 | (unsigned)base64_value(*text);
        have += 6;
        if (have >= 8) {
            have -= 8;
            into[used++] = (char)(bits >> have & 0xff);
        }
    }
    into[used] = '\0';
}

static bool is_client(struct rest_call *c)
{
    const char *given = http_header(c->x, "authorization");
    char pair[TEXT_SIZE];

    if (!given || strncmp(given, "Basic ", 6) != 0)
        return is_pair(c, form(c, "client_id"), form(c, "client_secret"));
    decode_basic(given + 6, pair);
    char *colon = strchr(pair, ':');
    if (!colon)
        return false;
    *colon = '\0';
    return is_pair(c, pair, colon + 1);
}

static void oauth_error(struct rest_call *c, int status, const char *error)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_json(&o, "{'error':%S}", error);
    rest_answer(c, status, &o);
}

static bool is_proof(const struct grant *g, const char *verifier)
{
    uint8_t hash[32];

    if (!*g->challenge)
        return true;
    sign_sha256(verifier, strlen(verifier), hash);
    CLEANUP(xfree) char *text = sign_base64url(hash, sizeof(hash));
    return !strcmp(text, g->challenge);
}

/* The grant that the form's code or refresh token is good for; NULL: none. Spends it. */
static struct grant *redeem(struct rest_call *c)
{
    const char *code = form(c, "code"), *refresh = form(c, "refresh_token");
    bool by_code = !strcmp(form(c, "grant_type"), "authorization_code");

    for (size_t i = 0; i < MAX_GRANTS; i++) {
        struct grant *g = &c->s->oauth->grants[i];
        if (by_code && *code && !strcmp(g->code, code)) {
            g->code[0] = '\0'; /* works once, whatever comes of it */
            int64_t lives_ms = c->s->oauth->tricks.code_ms ? c->s->oauth->tricks.code_ms : CODE_MS;
            bool fits = clock_now_ms() - g->made_ms <= lives_ms &&
                        !strcmp(g->redirect_uri, form(c, "redirect_uri")) &&
                        is_proof(g, form(c, "code_verifier"));
            return fits ? g : NULL;
        }
        if (!by_code && *refresh && !strcmp(g->refresh, refresh))
            return g;
    }
    return NULL;
}

void on_oauth_token(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const char *kind = http_header(c->x, "content-type"), *type = form(c, "grant_type");

    if (!kind || strncmp(kind, "application/x-www-form-urlencoded", 33) != 0) {
        oauth_error(c, 415, "unsupported_media_type");
        return;
    }
    if (!is_client(c)) {
        oauth_error(c, 401, "invalid_client");
        return;
    }
    if (strcmp(type, "authorization_code") != 0 && strcmp(type, "refresh_token") != 0) {
        oauth_error(c, 400, "unsupported_grant_type");
        return;
    }
    struct grant *g = redeem(c);
    if (!g) {
        oauth_error(c, 400, "invalid_grant");
        return;
    }
    int64_t expires_s = c->s->oauth->tricks.expires_s ? c->s->oauth->tricks.expires_s : TOKEN_S;
    g->expires_ms = clock_now_ms() + expires_s * 1000;
    if (c->s->oauth->tricks.drop_scope)
        copy_text(g->scope, sizeof(g->scope), "identify");
    make_secret(g->access);
    make_secret(g->refresh);
    out_json(&o,
             "{'token_type':'Bearer','access_token':%S,'expires_in':%l,'refresh_token':%S,"
             "'scope':%S}",
             g->access, expires_s, g->refresh, g->scope);
    rest_answer(c, 200, &o);
}

void on_oauth_revoke(struct rest_call *c)
{
    const char *token = form(c, "token");

    if (!is_client(c)) {
        oauth_error(c, 401, "invalid_client");
        return;
    }
    for (size_t i = 0; *token && i < MAX_GRANTS; i++) {
        struct grant *g = &c->s->oauth->grants[i];
        if (!strcmp(g->access, token) || !strcmp(g->refresh, token))
            g->access[0] = g->refresh[0] = '\0';
    }
    http_respond_json(c->x, 200, "{}");
}

void on_get_authorization(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const char *token = http_header(c->x, "authorization");
    const char *scope = c->is_bearer ? oauth_scope(c->s->oauth, token + 7) : "bot";

    out_json(&o, "{'application':{'id':%I,'name':'Guildbus'},'scopes':[%S],'user':",
             c->s->application_id, scope);
    object_user(&o, c->as);
    out_text(&o, "}");
    rest_answer(c, 200, &o);
}
