/* oauth.h - OAuth2 as Discord does it: codes that work once, PKCE, access and refresh tokens.
 *
 * THREAD: confined. */
#ifndef SIM_OAUTH_H
#define SIM_OAUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "tests/discord-sim/world.h"

struct oauth;
struct oauth *oauth_new(void);
void oauth_free(struct oauth *o);
DEFINE_CLEANUP(struct oauth *, oauth_free)
/* Whose access token it is; NULL: nobody's. */
struct user *oauth_user(const struct oauth *o, const char *access_token);
/* "identify guilds"; NULL: no such token. */
const char *oauth_scope(const struct oauth *o, const char *access_token);
/* Set and read at any time. */
struct oauth_tricks {
    bool deny;         /* whoever is asked says no: error=access_denied */
    bool drop_scope;   /* tokens are for "identify" only, whatever was asked */
    int64_t expires_s; /* of access tokens; 0: a week */
    int64_t code_ms;   /* of codes; 0: a minute */
};
struct oauth_tricks *oauth_tricks(struct oauth *o);
/* No token and no code works any more. */
void oauth_revoke_all(struct oauth *o);

#endif
