#include "edge/oauth.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/sign.h"
#include "edge/html.h"

enum { TOKEN_LIMIT = 512 }; /* bytes; Discord's are about 30 */

char *url_origin(const char *url, struct arena *a)
{
    const char *host = strstr(url, "://");
    size_t length = host ? (size_t)(host - url) + 3 + strcspn(host + 3, "/?#") : strlen(url);

    return arena_printf(a, "%.*s", (int)length, url);
}

char *url_browser_origin(const char *url, struct arena *a)
{
    char *origin = url_origin(url, a);
    const char *usual;

    if (!origin)
        return NULL;
    for (char *c = origin; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    usual = strncmp(origin, "https:", 6) == 0 ? ":443" : ":80";
    size_t size = strlen(origin), tail = strlen(usual);
    if (size > tail && strcmp(origin + size - tail, usual) == 0)
        origin[size - tail] = '\0';
    return origin;
}

/* PKCE S256 (RFC 7636, 4.2). */
static char *challenge_of(const char *verifier, struct arena *a)
{
    uint8_t hash[32];

    sign_sha256(verifier, strlen(verifier), hash);
    char *text = sign_base64url(hash, sizeof(hash));
    char *copy = text ? arena_printf(a, "%s", text) : NULL;
    free(text);
    return copy;
}

char *oauth_authorize_url(const struct oauth_client *c, const char *state, const char *verifier,
                          struct arena *a)
{
    char *origin = url_origin(c->api_url, a), *challenge = challenge_of(verifier, a);
    char *redirect = url_encode(a, c->redirect_url);

    if (!origin || !challenge || !redirect)
        return NULL;
    return arena_printf(
        a,
        "%s/oauth2/authorize?response_type=code&client_id=%s&scope=identify%%20guilds"
        "&state=%s&redirect_uri=%s&code_challenge=%s&code_challenge_method=S256"
        "&prompt=none",
        origin, c->client_id, state, redirect, challenge);
}

char *oauth_token_form(const struct oauth_client *c, const char *code, const char *verifier,
                       struct arena *a)
{
    char *code_text = url_encode(a, code), *redirect = url_encode(a, c->redirect_url);
    char *secret = url_encode(a, c->client_secret);

    if (!code_text || !redirect || !secret)
        return NULL;
    return arena_printf(a,
                        "grant_type=authorization_code&code=%s&redirect_uri=%s&client_id=%s"
                        "&client_secret=%s&code_verifier=%s",
                        code_text, redirect, c->client_id, secret, verifier);
}

char *oauth_revoke_form(const struct oauth_client *c, const char *token, struct arena *a)
{
    char *text = url_encode(a, token), *secret = url_encode(a, c->client_secret);

    if (!text || !secret)
        return NULL;
    return arena_printf(a, "token=%s&token_type_hint=access_token&client_id=%s&client_secret=%s",
                        text, c->client_id, secret);
}

/* A token goes into a header line: visible ASCII only. */
static bool is_token(const char *text)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return length > 0 && length <= TOKEN_LIMIT;
}

enum status oauth_token_read(const char *body, size_t size, struct arena *a,
                             struct oauth_token *ret, struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;

    TRY(json_parse(body, size, &root, err));
    const char *token = json_str(root, "access_token");
    if (!is_token(token) || strcasecmp(json_str(root, "token_type"), "bearer") != 0)
        return err_set(err, STATUS_INVALID, "the answer holds no bearer token");
    ret->token = arena_printf(a, "%s", token);
    ret->life_s = json_int(root, "expires_in", 0);
    if (!ret->token || ret->life_s <= 0)
        return err_set(err, STATUS_INVALID, "the answer holds no usable token");
    return STATUS_OK;
}
