/* gateway_internal.h - what gateway.c (opcodes) and session.c (sequences) share.
 *
 * THREAD: confined. */
#ifndef SIM_GATEWAY_INTERNAL_H
#define SIM_GATEWAY_INTERNAL_H

#include <jansson.h>

#include "tests/discord-sim/gateway.h"

enum {
    GATEWAY_MAX_SESSIONS = 4096,
    GATEWAY_MAX_CONTROL = 256,
    SESSION_ID_SIZE = 33,
    INTENT_MESSAGE_CONTENT = 15,
    INTENT_GUILD_MEMBERS = 1,
    INTENT_GUILD_MESSAGES = 9,
};

struct event {
    uint32_t refs;
    enum event_type type;
    const struct guild *lazy_guild; /* GUILD_CREATE whose body is made when it is sent */
    char *name, *body, *blanked;    /* name: of EVENT_OTHER; blanked: NULL means as body */
};

struct session {
    struct session *next;
    struct gateway *gw;
    char id[SESSION_ID_SIZE];
    uint32_t shard, shards, large_threshold;
    uint64_t intents;
    /* ring holds the events with first_seq <= seq < next_seq at ring[seq & (cap - 1)] */
    struct event **ring;
    size_t cap;
    uint64_t first_seq, next_seq, sent_seq; /* sent_seq: the next one to go out */
    uint64_t heartbeat_seq;                 /* what the client said it has */
    uint64_t members_guild_id;              /* whole-guild request: of which guild, and when */
    int64_t members_ms;
    struct gw_conn *conn; /* NULL: waits for RESUME */
    int64_t left_ms;
};

struct gw_conn {
    struct gw_conn *next;
    struct gateway *gw;
    struct session *session;
    char *resume_url;
    void (*wake)(void *ctx);
    void *ctx;
    char *control[GATEWAY_MAX_CONTROL]; /* frames beside the events, oldest first */
    size_t control_count;
    int close_code;
    bool dropped, stalled, wants_deflate;
    int64_t last_beat_ms, window_start_ms;
    int window_sends;
};

struct gateway {
    struct gateway_config config;
    struct session *sessions;
    struct gw_conn *conns;
    size_t session_count;
    bool coverage_known, is_covered;
    char *token; /* NULL: it was reset and nobody has a new one yet */
    struct gateway_tricks tricks;
    struct rng rng;
    int64_t now_ms;         /* of the last call that said */
    int64_t *identified_ms; /* by key = shard % max_concurrency; 0: never */
    int64_t budget_start_ms, budget_used;
    struct gateway_counts counts;
};

void event_unref(struct event *e);
struct event *event_for_guild(const struct guild *g);

struct session *session_new(struct gateway *gw);
/* Detaches its connection, if any, and frees it. */
void session_end(struct session *s);
struct session *session_find(struct gateway *gw, const char *id);
/* Shares the event. */
void session_push(struct session *s, struct event *e);
bool session_wants(const struct session *s, uint64_t guild_id, enum event_type type);
void session_frame(const struct session *s, uint64_t seq, struct out *frame);
/* It waits for a RESUME from now on. */
void session_detach(struct session *s);

/* Has the shard's guilds sent, each of them once. */
void session_push_guilds(struct session *s);
/* op 8; in gateway_members.c */
void conn_request_members(struct gw_conn *c, const json_t *d);

void conn_control(struct gw_conn *c, const char *text);
void conn_invalid_session(struct gw_conn *c, bool resumable);
void conn_close(struct gw_conn *c, int code);
/* Cut without a word; its session waits. */
void conn_drop(struct gw_conn *c);
void conn_wake(struct gw_conn *c);

#endif
