/* oauth.h - the texts of Discord's OAuth2 code flow with PKCE (pure).
 *
 * THREAD: any. */
#ifndef EDGE_OAUTH_H
#define EDGE_OAUTH_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

struct oauth_client {
    const char *api_url; /* https://discord.com/api/v10 */
    const char *client_id, *client_secret;
    const char *redirect_url; /* <portal>/oauth/callback */
};

/* All from the arena; NULL when it is full. */
/* Where the visitor agrees: on the API URL's origin. */
char *oauth_authorize_url(const struct oauth_client *c, const char *state, const char *verifier,
                          struct arena *a) MUST_CHECK;
/* Form body that turns the code into a token. */
char *oauth_token_form(const struct oauth_client *c, const char *code, const char *verifier,
                       struct arena *a) MUST_CHECK;
/* Form body that ends a token. */
char *oauth_revoke_form(const struct oauth_client *c, const char *token, struct arena *a)
    MUST_CHECK;
/* scheme://host[:port] of a URL. */
char *url_origin(const char *url, struct arena *a) MUST_CHECK;
/* The same as a browser writes it in Origin: lower case, without the scheme's usual port. */
char *url_browser_origin(const char *url, struct arena *a) MUST_CHECK;

struct oauth_token {
    const char *token; /* from the arena */
    int64_t life_s;
};
/* INVALID: not a bearer token. */
enum status oauth_token_read(const char *body, size_t size, struct arena *a,
                             struct oauth_token *ret, struct err *err) MUST_CHECK;

#endif
