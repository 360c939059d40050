/* interactions.h - interactions out to the bot, and what became of each.
 *
 *     ask ─▶ payload ─▶ Ed25519 ─▶ POST to the endpoint ─▶ (3 s) judge ─▶ answered | deferred | failed
 *                   └─▶ without one: INTERACTION_CREATE ─▶ (3 s) POST …/callback ─▶ judge
 *     deferred ─▶ a webhook call ─▶ completed
 *
 * An endpoint that does not refuse a probe with 401 is taken away, as Discord does it.
 *
 * Sources: Discord's documentation, "Receiving and responding to interactions".
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_INTERACTIONS_H
#define SIM_INTERACTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/sim.h"

/* Discord: the first answer within 3 s, the token lives 15 minutes. */
enum { INTERACTION_DEADLINE_MS = 3000, INTERACTION_TOKEN_MS = 15 * 60 * 1000 };
enum interaction_type {
    INTERACTION_PING = 1,
    INTERACTION_COMMAND = 2,
    INTERACTION_COMPONENT = 3,
    INTERACTION_AUTOCOMPLETE = 4,
    INTERACTION_MODAL = 5,
};
enum callback_type {
    CALLBACK_PONG = 1,
    CALLBACK_MESSAGE = 4,
    CALLBACK_DEFERRED_MESSAGE = 5,
    CALLBACK_DEFERRED_UPDATE = 6,
    CALLBACK_UPDATE = 7,
    CALLBACK_AUTOCOMPLETE = 8,
    CALLBACK_MODAL = 9,
    CALLBACK_ACTIVITY = 12,
};
enum fate { FATE_PENDING, FATE_ANSWERED, FATE_DEFERRED, FATE_COMPLETED, FATE_FAILED };

struct interaction {
    uint64_t number, id, guild_id, channel_id, user_id, target_id, original_id, source_message_id;
    enum interaction_type type;
    const char *kind; /* static: Report, Track, modreport, … */
    char token[64];
    enum fate fate;
    int http_code, callback;
    bool ephemeral, is_probe, by_gateway;
    const char *reason;   /* static: why it failed */
    uint64_t answer_hash; /* of the HTTP answer's body (calls.h); 0: none came */
    char *says; /* how the answer's text begins, for those who read the record; NULL: it has none */
    int64_t sent_us, sent_ms, answered_us,
        completed_us;     /* answered, completed: after sent; 0: not */
    uint32_t completions; /* webhook calls that completed or changed the answer */
    /* Told once, when it is answered or failed. NULL: nobody waits. */
    void (*on_done)(void *ctx, const struct interaction *i, const char *body);
    void *ctx;
};

/* What to send. target: of Report and Track a message, of modreport a user. data, message: of type
 * 3, 4 and 5. */
struct interaction_ask {
    const char *kind; /* static */
    enum interaction_type type;
    struct guild *guild; /* NULL: a direct message */
    struct user *by;
    struct channel *channel;
    const struct message *target, *message;
    struct user *target_user;
    const char *data;  /* JSON of the data field as it is; NULL: made from kind and target */
    const char *probe; /* signature, timestamp, body, missing, other_key: must be refused with 401;
                          NULL: honest */
    void (*on_done)(void *ctx, const struct interaction *i, const char *body);
    void *ctx;
};

struct interactions *interactions_new(struct sim *s);
void interactions_free(struct interactions *all);
/* url is copied; sends a PING. on_done as in an ask. NULL: interactions go over the gateway from now
 * on, and on_done is not called. */
void interactions_set_url(struct interactions *all, const char *url,
                          void (*on_done)(void *ctx, const struct interaction *i, const char *body),
                          void *ctx);
const char *interactions_url(const struct interactions *all);
struct interaction *interactions_send(struct interactions *all, const struct interaction_ask *ask);
/* A PING with a signature that is wrong in one of five ways; nothing without an endpoint. */
void interactions_probe(struct interactions *all, size_t way);
/* By its token; NULL: nobody's, or older than 15 minutes. */
struct interaction *interactions_by_token(struct interactions *all, const char *token);
struct interaction *interactions_get(const struct interactions *all, uint64_t number);
struct interaction *interactions_by_id(const struct interactions *all, uint64_t id);
/* A webhook call or POST callback changed its answer. */
void interactions_completed(struct interactions *all, struct interaction *i);
/* interaction_metadata of a message that answers it. */
json_t *interactions_about(const struct sim *s, const struct interaction *i);
/* The POST …/callback way of answering. NULL: accepted; else Discord's error is returned as reason.
 */
const char *interactions_callback(struct interactions *all, struct interaction *i,
                                  const json_t *callback);

/* Whether the callback comes in time; fails it otherwise. */
bool interactions_in_time(struct interactions *all, struct interaction *i);
/* Gives up on those that wait for a callback and had none in time. Once a second or so. */
void interactions_tick(struct interactions *all);

struct interaction_counts { /* without PINGs and probes */
    uint64_t sent, answered, deferred, completed, failed, in_flight, by_gateway;
    uint64_t probes, probes_passed, endpoints_removed;
    int64_t p50_us, p99_us, max_us, complete_p50_us, complete_p99_us;
};
void interactions_count(const struct interactions *all, struct interaction_counts *ret);
/* {"reason":count,…} */
void interactions_failures(const struct interactions *all, struct out *o);
void interaction_line(const struct interaction *i, struct out *o);

/* ---- pure ---- */
struct judgement {
    enum fate fate;
    int callback;
    const char *reason; /* static; NULL: fine */
};
/* What Discord makes of an answer. callback: the parsed body. */
struct judgement judge_callback(enum interaction_type type, const json_t *callback);
void interaction_payload(const struct sim *s, const struct interaction *i,
                         const struct interaction_ask *ask, struct out *o);

#endif
