/* rest.h - Discord's REST API: routes, who may call, rate limits, answers.
 *
 *     exchange ─▶ rest_serve ─▶ route ─▶ authorization ─▶ bucket ─▶ handler(call) ─▶ one answer
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_REST_H
#define SIM_REST_H

#include <jansson.h>

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/sim.h"

enum { REST_MAX_PARTS = 3 };
struct rest_call {
    struct sim *s;
    struct http_exchange *x;
    unsigned route;                   /* its number */
    uint64_t arrival;                 /* of arrivals.h */
    const char *part[REST_MAX_PARTS]; /* what the {} stood for */
    uint64_t id[REST_MAX_PARTS];      /* the same as snowflakes; 0: it is none */
    json_t *body;                     /* of POST, PUT, PATCH with JSON; else an empty object */
    struct user *as;                  /* whose Bearer token; the bot's user for "Bot …" */
    bool is_bearer;
};

/* Any path: also those that are not there. */
void rest_serve(void *sim, struct http_exchange *x);

/* Calls that wait for their delay are never answered. Before the loop is freed. */
void rest_forget_delayed(struct sim *s);

/* Each ends the call. */
void rest_answer(struct rest_call *c, int status, const struct out *json);
void rest_answer_json(struct rest_call *c, int status, const json_t *value);
void rest_done(struct rest_call *c); /* 204 */
void rest_error(struct rest_call *c, int status, int code, const char *message);
void rest_limited(struct rest_call *c, const struct rate_answer *rate);

/* NULL: answered 404. */
struct guild *rest_guild(struct rest_call *c, size_t part);
struct channel *rest_channel(struct rest_call *c, size_t part);
struct message *rest_message(struct rest_call *c, size_t channel_part);
/* One that is there. */
struct member *rest_member(struct rest_call *c, struct guild *g, size_t part);
/* False: answered 400. Checks content, embeds and components of a message to be made. */
bool rest_check_message(struct rest_call *c, const json_t *body, bool is_patch);
/* An audit log entry, by the bot, with the call's reason. */
void rest_audit(struct rest_call *c, struct guild *g, int action, uint64_t target_id);

#define ROUTE(method, pattern, auth, handler) void handler(struct rest_call *c);
#include "tests/discord-sim/routes.def"
#undef ROUTE

#endif
