/* thread_search.h - whether a thread that was to be made has been made already (pure).
 *
 * POST /channels/<id>/threads takes no nonce. When its pod dies before the answer is in the guild's
 * log, the next owner cannot know whether it was made; so it looks first, in Discord's answer to
 * GET /guilds/<id>/threads/active.
 *
 * THREAD: any. */
#ifndef GATEWAY_THREAD_SEARCH_H
#define GATEWAY_THREAD_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { THREAD_SEARCH_SKEW_MS = 60000 }; /* between the pod's clock and Discord's */

struct thread_wish {
    const char *path;      /* of the call */
    const char *body_json; /* of the call: has its name */
    int64_t wished_ms;     /* wall clock: not older than this, but for skew */
};
bool thread_search_fits(const char *method, const char *path);
/* The thread as JSON, malloc'd; NULL: it is not among them. */
char *thread_search(const struct thread_wish *wish, const char *active, size_t size);

#endif
