/* login.h - Discord's OAuth2 code flow with state and PKCE, and logging out.
 *
 *     /login ─▶ Discord ─▶ /oauth/callback?code&state ─▶ token ─▶ who is it? ─▶ session cookie
 *
 * A login's state is random, sealed in the browser that began it, and taken once.
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_LOGIN_H
#define EDGE_LOGIN_H

#include "edge/edge.h"

void login_begin(struct visit *v);
void login_finish(struct visit *v);
void login_end(struct visit *v);

/* For each POST of a visitor: the form's token fits the session, and the browser says that our own
 * page sent it. */
bool login_is_own_form(struct visit *v);

#endif
