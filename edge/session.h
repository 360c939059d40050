/* session.h - who a visitor is, kept in the visitor's browser: sealed cookies.
 *
 * The edge keeps no sessions: a cookie is AES-256-GCM under a key made from SESSION_SECRET, so it
 * can neither be read nor forged outside, and any edge with the same secret opens it. Two kinds,
 * bound to their purpose: the login cookie lives from /login to /oauth/callback (10 minutes), the
 * session cookie until logout, 12 hours without a visit or 7 days.
 *
 * THREAD: any; a struct belongs to one thread. */
#ifndef EDGE_SESSION_H
#define EDGE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

enum {
    SESSION_IDLE_S = 12 * 3600,
    SESSION_LIFE_S = 7 * 24 * 3600,
    SESSION_RENEW_S = 10 * 60, /* how old seen_s may be before the cookie is written anew */
    LOGIN_LIFE_S = 10 * 60,
    SESSION_ID_HEX = 33,
    CSRF_SIZE = 65,
};

struct session_keys {
    uint8_t seal[32], csrf[32];
    bool https; /* cookies get Secure and the __Host- prefix */
};
/* secret: SESSION_SECRET. */
void session_keys_init(struct session_keys *keys, const char *secret, bool https);

/* Text points into the arena that session_open was given. */
struct session {
    char id[SESSION_ID_HEX]; /* random, of this login */
    uint64_t user_id;
    const char *name;  /* the visitor's; hostile */
    const char *token; /* Discord access token: never shown, never logged */
    int64_t issued_s, seen_s, expires_s;
};

/* A Set-Cookie value from the arena; NULL when the arena is full or the cookie would pass 4,000
 * bytes. */
char *session_seal(const struct session_keys *keys, const struct session *s, struct arena *a)
    MUST_CHECK;
/* cookie: the cookie's value or NULL. False: none, forged, damaged, of another key, or over. */
bool session_open(const struct session_keys *keys, const char *cookie, int64_t now_s,
                  struct arena *a, struct session *ret) MUST_CHECK;
const char *session_cookie_name(const struct session_keys *keys);
/* Set-Cookie value that removes it. */
const char *session_clear(const struct session_keys *keys);

/* Hex text to put into forms; the session's own. */
void session_csrf(const struct session_keys *keys, const struct session *s,
                  char ret_token[CSRF_SIZE]);
bool session_csrf_fits(const struct session_keys *keys, const struct session *s, const char *token);

/* From /login to the callback. */
struct login {
    char state[33];    /* 128 random bits, hex */
    char verifier[65]; /* PKCE: 256 random bits, hex */
    const char *next;  /* local path to go to afterwards */
    int64_t issued_s;
};
char *login_seal(const struct session_keys *keys, const struct login *l, struct arena *a)
    MUST_CHECK;
bool login_open(const struct session_keys *keys, const char *cookie, int64_t now_s, struct arena *a,
                struct login *ret) MUST_CHECK;
const char *login_cookie_name(const struct session_keys *keys);
const char *login_clear(const struct session_keys *keys);

#endif
