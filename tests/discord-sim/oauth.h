/* oauth.h - OAuth2 as Discord does it: codes that work once, PKCE, access and refresh tokens.
 *
 * THREAD: confined. */
#ifndef SIM_OAUTH_H
#define SIM_OAUTH_H

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

#endif
