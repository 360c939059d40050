#include "edge/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/sign.h"
#include "edge/paths.h"

enum { COOKIE_LIMIT = 4000 }; /* browsers keep 4,096 bytes of name and value (RFC 6265, 6.1) */

static const char SESSION_PURPOSE[] = "guildbus session 1";
static const char LOGIN_PURPOSE[] = "guildbus login 1";

void session_keys_init(struct session_keys *keys, const char *secret, bool https)
{
    static const char seal[] = "guildbus cookie sealing", csrf[] = "guildbus form tokens";

    sign_hmac_sha256(secret, strlen(secret), seal, strlen(seal), keys->seal);
    sign_hmac_sha256(secret, strlen(secret), csrf, strlen(csrf), keys->csrf);
    keys->https = https;
}

const char *session_cookie_name(const struct session_keys *keys)
{
    return keys->https ? "__Host-guildbus" : "guildbus";
}

const char *login_cookie_name(const struct session_keys *keys)
{
    return keys->https ? "__Host-guildbus-login" : "guildbus-login";
}

const char *session_clear(const struct session_keys *keys)
{
    return keys->https ? "__Host-guildbus=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
                       : "guildbus=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
}

const char *login_clear(const struct session_keys *keys)
{
    return keys->https ? "__Host-guildbus-login=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
                       : "guildbus-login=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
}

/* Seals value, which may be NULL, into a Set-Cookie value. */
static char *make_cookie(const struct session_keys *keys, const char *name, const char *purpose,
                         const json_t *value, struct arena *a)
{
    char *text = value ? json_text(value) : NULL;
    char *sealed = text ? sign_seal(keys->seal, purpose, text, strlen(text)) : NULL;
    char *cookie = NULL;

    if (sealed && strlen(sealed) <= COOKIE_LIMIT)
        cookie = arena_printf(a, "%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s", name,
                              sealed, purpose == LOGIN_PURPOSE ? LOGIN_LIFE_S : SESSION_LIFE_S,
                              keys->https ? "; Secure" : "");
    free(sealed);
    free(text);
    return cookie;
}

/* The JSON object that a cookie holds, or NULL. */
static json_t *read_cookie(const struct session_keys *keys, const char *purpose, const char *cookie)
{
    size_t size = 0;
    json_t *value = NULL;

    if (!cookie || strlen(cookie) > COOKIE_LIMIT)
        return NULL;
    char *text = sign_open(keys->seal, purpose, cookie, &size);
    if (text && json_parse(text, size, &value, NULL) != STATUS_OK)
        value = NULL;
    free(text);
    return value;
}

/* Copies a field of exactly size - 1 characters. */
static bool copy_field(const json_t *object, const char *key, char *into, size_t size)
{
    const char *text = json_str(object, key);

    if (strlen(text) != size - 1)
        return false;
    memcpy(into, text, size);
    return true;
}

char *session_seal(const struct session_keys *keys, const struct session *s, struct arena *a)
{
    CLEANUP(json_decref)
    json_t *value = json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:I}", "id", s->id, "user",
                              json_from_id(s->user_id), "name", s->name, "token", s->token,
                              "issued", (json_int_t)s->issued_s, "seen", (json_int_t)s->seen_s,
                              "expires", (json_int_t)s->expires_s);

    return make_cookie(keys, session_cookie_name(keys), SESSION_PURPOSE, value, a);
}

static bool is_alive(const struct session *s, int64_t now_s)
{
    return now_s < s->expires_s && now_s - s->issued_s < SESSION_LIFE_S &&
           now_s - s->seen_s < SESSION_IDLE_S;
}

bool session_open(const struct session_keys *keys, const char *cookie, int64_t now_s,
                  struct arena *a, struct session *ret)
{
    CLEANUP(json_decref) json_t *value = read_cookie(keys, SESSION_PURPOSE, cookie);
    struct session s = { 0 };

    if (!value || !copy_field(value, "id", s.id, sizeof(s.id)))
        return false;
    s.user_id = json_id(value, "user");
    s.issued_s = json_int(value, "issued", 0);
    s.seen_s = json_int(value, "seen", 0);
    s.expires_s = json_int(value, "expires", 0);
    s.name = arena_printf(a, "%s", json_str(value, "name"));
    s.token = arena_printf(a, "%s", json_str(value, "token"));
    if (!s.user_id || !s.name || !s.token || !is_alive(&s, now_s))
        return false;
    *ret = s;
    return true;
}

void session_csrf(const struct session_keys *keys, const struct session *s,
                  char ret_token[CSRF_SIZE])
{
    uint8_t mac[32];

    sign_hmac_sha256(keys->csrf, sizeof(keys->csrf), s->id, strlen(s->id), mac);
    sign_hex(mac, sizeof(mac), ret_token);
}

bool session_csrf_fits(const struct session_keys *keys, const struct session *s, const char *token)
{
    char right[CSRF_SIZE];

    session_csrf(keys, s, right);
    return token && strlen(token) == CSRF_SIZE - 1 && sign_equal(token, right, CSRF_SIZE - 1);
}

char *login_seal(const struct session_keys *keys, const struct login *l, struct arena *a)
{
    CLEANUP(json_decref)
    json_t *value = json_pack("{s:s, s:s, s:s, s:I}", "state", l->state, "verifier", l->verifier,
                              "next", l->next, "issued", (json_int_t)l->issued_s);

    return make_cookie(keys, login_cookie_name(keys), LOGIN_PURPOSE, value, a);
}

bool login_open(const struct session_keys *keys, const char *cookie, int64_t now_s, struct arena *a,
                struct login *ret)
{
    CLEANUP(json_decref) json_t *value = read_cookie(keys, LOGIN_PURPOSE, cookie);
    struct login l = { 0 };

    if (!value || !copy_field(value, "state", l.state, sizeof(l.state)) ||
        !copy_field(value, "verifier", l.verifier, sizeof(l.verifier)))
        return false;
    l.issued_s = json_int(value, "issued", 0);
    l.next = arena_printf(a, "%s", json_str(value, "next"));
    if (!l.next || !path_is_local(l.next) || now_s - l.issued_s >= LOGIN_LIFE_S)
        return false;
    *ret = l;
    return true;
}
