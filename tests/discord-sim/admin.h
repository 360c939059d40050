/* admin.h - the operator's side: what to send, what was sent, what to break. JSON over HTTP,
 * loopback.
 *
 * docs/discord-sim.md lists the endpoints.
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_ADMIN_H
#define SIM_ADMIN_H

#include <jansson.h>

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/sim.h"

struct admin_call {
    struct sim *s;
    struct http_exchange *x;
    json_t *body; /* an object */
};
void admin_serve(void *sim, struct http_exchange *x);

void admin_answer(struct admin_call *c, int status, const struct out *json);
/* {"error":why} */
void admin_refuse(struct admin_call *c, int status, const char *why);
/* The query's number; otherwise when it is not there or none. */
uint64_t admin_query(struct admin_call *c, const char *name, uint64_t otherwise);

#define ADMIN(method, path, handler, help) void handler(struct admin_call *c);
#include "tests/discord-sim/admin.def"
#undef ADMIN

#endif
