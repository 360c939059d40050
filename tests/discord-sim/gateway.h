/* gateway.h - Discord's side of the gateway: connections, sessions, what they missed. Pure: no
 * socket, no clock.
 *
 *     socket ─▶ gw_conn_on_text ─▶ session ◀─ gateway_dispatch ◀─ the world
 *     socket ◀─ gw_conn_next    ◀─┘  (ring of the last events, for RESUME)
 *
 * A session outlives its connection unless the client closed it with 1000 or 1001; it takes what is
 * dispatched while nobody is connected and gives it to the RESUME. An event's body is serialised
 * once and shared by all sessions; only the frame around it, which has the session's sequence
 * number, is made for each.
 *
 * Sources: Discord's documentation, "Gateway", "Opcodes and status codes".
 *
 * THREAD: confined. */
#ifndef SIM_GATEWAY_H
#define SIM_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/world.h"

enum event_type {
#define EVENT_TYPE(name, guild, dm) EVENT_##name,
#include "tests/discord-sim/events.def"
#undef EVENT_TYPE
    EVENT_TYPE_COUNT
};
const char *event_type_name(enum event_type type);
/* EVENT_OTHER when it is not in the table. */
enum event_type event_type_by_name(const char *name);

/* Discord: 4096 bytes a payload from the client, 120 of them in 60 s. Members, presences and message
 * content must be approved for an application, else IDENTIFY ends with 4014. */
#define PRIVILEGED_INTENTS (PERM(1) | PERM(8) | PERM(15))
enum { GATEWAY_MAX_PAYLOAD = 4096, GATEWAY_MAX_SENDS = 120, GATEWAY_SEND_WINDOW_MS = 60000 };
enum {
    CLOSE_UNKNOWN_ERROR = 4000,
    CLOSE_UNKNOWN_OPCODE = 4001,
    CLOSE_DECODE_ERROR = 4002,
    CLOSE_NOT_AUTHENTICATED = 4003,
    CLOSE_AUTHENTICATION_FAILED = 4004,
    CLOSE_ALREADY_AUTHENTICATED = 4005,
    CLOSE_INVALID_SEQ = 4007,
    CLOSE_RATE_LIMITED = 4008,
    CLOSE_SESSION_TIMED_OUT = 4009,
    CLOSE_INVALID_SHARD = 4010,
    CLOSE_SHARDING_REQUIRED = 4011,
    CLOSE_INVALID_VERSION = 4012,
    CLOSE_INVALID_INTENTS = 4013,
    CLOSE_DISALLOWED_INTENTS = 4014,
};

struct gateway;
struct gw_conn;
struct event;

struct gateway_config {
    const char *token; /* copied */
    const struct world *world;
    uint64_t seed;       /* of what is shuffled */
    uint64_t privileged; /* approved ones of PRIVILEGED_INTENTS */
    int64_t heartbeat_ms;
    int64_t max_concurrency, identify_window_ms; /* so many IDENTIFYs a window, one for each key */
    int64_t identify_total;                      /* a day; one more resets the token */
    int64_t session_keep_ms;                     /* how long a session waits for its RESUME */
    size_t replay;                               /* events that a session keeps */
    /* A guild was put into a new session (GUILD_CREATE). May be NULL. */
    void (*on_guild)(void *ctx, const struct guild *g);
    /* One became unavailable (GUILD_DELETE). May be NULL. */
    void (*on_guild_gone)(void *ctx, const struct guild *g);
    void *ctx;
};
struct gateway *gateway_new(const struct gateway_config *config);
void gateway_free(struct gateway *gw);
DEFINE_CLEANUP(struct gateway *, gateway_free)

/* ---- one connection ---- */
struct gw_hello {
    int version;             /* ?v= */
    bool json;               /* ?encoding=json */
    const char *resume_url;  /* what READY will name */
    void (*wake)(void *ctx); /* there is something to send or the connection is to be closed */
    void *ctx;
};
struct gw_conn *gateway_connect(struct gateway *gw, const struct gw_hello *hello, int64_t now_ms);
void gw_conn_on_text(struct gw_conn *c, const char *text, size_t size, int64_t now_ms);
/* Not JSON text: binary, or longer than GATEWAY_MAX_PAYLOAD. */
void gw_conn_on_garbage(struct gw_conn *c);
/* The next frame into *frame (cleared first); false: nothing to send. */
bool gw_conn_next(struct gw_conn *c, struct out *frame);
/* 0: stays open. Otherwise to be closed once gw_conn_next has nothing left. */
int gw_conn_close_code(const struct gw_conn *c);
/* To be cut without a close frame. */
bool gw_conn_is_dropped(const struct gw_conn *c);
/* Half-open: nothing is read or written any more, and nobody is told. */
bool gw_conn_is_stalled(const struct gw_conn *c);
/* IDENTIFY asked for each payload to be compressed by itself. */
bool gw_conn_wants_deflate(const struct gw_conn *c);
/* It is closed, by the peer with code (0: none given, or by us). Frees c. */
void gw_conn_gone(struct gw_conn *c, int code, int64_t now_ms);

/* ---- events ---- */
/* blanked: body for sessions without MESSAGE_CONTENT; NULL: the same. Bodies are copied. name: only
 * of EVENT_OTHER. */
struct event *event_new(enum event_type type, const char *name, const char *body,
                        const char *blanked) MUST_CHECK;
/* Puts it into each session that should see it; returns how many. Takes *event. guild_id 0: shard
 * 0. */
size_t gateway_dispatch(struct gateway *gw, uint64_t guild_id, struct event **event);
/* Whether a session reads messages without their content, so that event_new needs the second body.
 */
bool gateway_needs_blanked(const struct gateway *gw);
/* Whether a session would take such an event. */
bool gateway_would_take(const struct gateway *gw, uint64_t guild_id, enum event_type type);

/* ---- for the traffic: when to send ---- */
/* Some shard count has a live or resumable session on every shard. */
bool gateway_is_covered(struct gateway *gw);
/* No live session has more than so many unsent events and none that waits is half full. */
bool gateway_has_room(const struct gateway *gw, size_t unsent);

/* ---- what an operator may do ---- */
enum gateway_fault {
    FAULT_RECONNECT,         /* op 7 */
    FAULT_CLOSE,             /* close frame with code */
    FAULT_DROP,              /* the TCP connection is cut */
    FAULT_INVALID_RESUMABLE, /* op 9 d:true */
    FAULT_INVALID,           /* op 9 d:false, the session is gone */
    FAULT_HEARTBEAT,         /* op 1: asks for a heartbeat */
    FAULT_STALL,             /* the connection is half open from now on */
    FAULT_GARBAGE,           /* a payload that is no JSON */
    FAULT_UNKNOWN_OP,        /* an opcode that nobody knows, which changes nothing */
    FAULT_COUNT
};
const char *gateway_fault_name(enum gateway_fault fault);
/* FAULT_COUNT: it is none. */
enum gateway_fault gateway_fault_by_name(const char *name);
/* shard -1: all. Returns how many connections it met. */
size_t gateway_fault(struct gateway *gw, int64_t shard, enum gateway_fault fault, int code,
                     int64_t now_ms);
/* Each guild of the shard (-1: all) becomes unavailable, then comes back, all of them in an order of
 * the seed. Returns how many. */
size_t gateway_outage(struct gateway *gw, int64_t shard, int64_t now_ms);
/* Sessions that wait for their RESUME are gone. Returns how many. */
size_t gateway_expire(struct gateway *gw, int64_t now_ms);
/* From now on this is the token, and no other. Sessions stay. */
void gateway_set_token(struct gateway *gw, const char *token);
const char *gateway_token(const struct gateway *gw);
/* Set and read at any time. */
struct gateway_tricks {
    bool no_acks;         /* heartbeats are not answered, as on a dead connection */
    bool shuffle_guilds;  /* GUILD_CREATE in an order of the seed, and after other events */
    bool silent;          /* connections get no HELLO */
    int early_reconnects; /* so many connections get op 7 before HELLO */
    int refused_resumes;  /* so many RESUMEs get op 9 d:true and must be sent again */
    int64_t hello_ms;     /* heartbeat interval in HELLO; 0: the configured one */
};
struct gateway_tricks *gateway_tricks(struct gateway *gw);
/* Heartbeats that stay away, sessions that nobody resumed. Once a second or so. */
void gateway_tick(struct gateway *gw, int64_t now_ms);

struct gateway_counts {
    size_t connections, sessions, live;
    uint64_t identifies, resumes, resumes_refused, invalid_sessions, closes[16]; /* 4000 … 4015 */
    uint64_t dispatched, replayed, heartbeats, peer_closed_1000, token_resets, member_chunks;
    int64_t identify_remaining, identify_reset_ms;
};
void gateway_count(struct gateway *gw, struct gateway_counts *ret, int64_t now_ms);
/* [{"session_id":…,"shard":[0,1],"connected":true,"seq":…,"sent":…,"heartbeat_seq":…}] */
void gateway_describe(const struct gateway *gw, struct out *o);

#endif
