/* shard.h - one Discord gateway session as a pure state machine.
 *
 *     WAIT ─▶ GRANT ─▶ CONNECT ─▶ HELLO ─▶ START ─▶ LIVE
 *      └─ with a session ─▲      (op 10)  (RESUME or IDENTIFY sent)
 *
 *     any drop: ─▶ WAIT (back-off), then RESUME;  op 9 false: session forgotten, ─▶ WAIT ─▶ GRANT
 *
 * shard_step(shard, input, now) changes the state and says what to do: the driver (shard_holder.c)
 * connects, sends and publishes. Nothing here reads a clock, the network or a source of randomness,
 * so that tests can say all of it.
 *
 * A session is given up only when Discord says so (op 9 false, the close codes of close_codes) or
 * when RESUMEs that did reach it stay unanswered SHARD_RESUME_TRIES times in SHARD_RESUME_MS.
 * Connections that fail cost no session, however long: a dead resume host costs one try, because
 * tries alternate with the main URL, and without network nothing is known.
 *
 * THREAD: any; a value. */
#ifndef GATEWAY_SHARD_H
#define GATEWAY_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/frame.h"

enum {
    SHARD_SESSION_SIZE = 96,
    SHARD_URL_SIZE = 256,
    SHARD_SENDS = 120, /* Discord: 120 sends per 60 s and connection, else close code 4008 */
    SHARD_SENDS_FOR_BEATS = 10, /* of these, kept for heartbeats */
    SHARD_CLOSE_KEEPS = 4200,   /* any code but 1000 and 1001 keeps the session */
    SHARD_RESUME_TRIES = 6,
    SHARD_RESUME_MS = 60000,
};

/* What is needed to RESUME, by this pod or another. */
struct shard_session {
    char id[SHARD_SESSION_SIZE]; /* "": none */
    char resume_url[SHARD_URL_SIZE];
    uint64_t seq; /* last one received; in the saved record the last one durably published */
};

enum shard_phase {
    SHARD_IDLE,    /* not started */
    SHARD_WAIT,    /* back-off until wake_ms */
    SHARD_GRANT,   /* no session: may I IDENTIFY? */
    SHARD_CONNECT, /* WebSocket under way */
    SHARD_HELLO,   /* open, no op 10 yet */
    SHARD_START,   /* RESUME or IDENTIFY sent */
    SHARD_LIVE,
    SHARD_STOPPED, /* as asked */
    SHARD_FATAL,   /* Discord refuses this shard for good; fatal_code says why */
};

struct shard {
    enum shard_phase phase;
    struct shard_session session;
    uint64_t random;     /* state of the generator: back-off, jitter */
    int64_t wake_ms;     /* when the phase has waited long enough */
    int64_t grant_ms;    /* when the grant in hand was given; 0: none in hand */
    int64_t beat_ms;     /* next heartbeat; 0: none due */
    int64_t interval_ms; /* of heartbeats */
    int64_t live_ms;     /* since when it is live */
    bool beaten, heard;  /* a heartbeat was sent; something came since then */
    bool deaf;           /* the driver does not read now (back-pressure): silence means nothing */
    unsigned tries;      /* connections since one stayed live: back-off */
    unsigned unresumed;  /* connections of the session since it was live: which URL is next */
    unsigned unanswered; /* RESUMEs since anything came of one */
    int64_t asked_ms;    /* the first of these was sent */
    unsigned malformed;  /* payloads in a row that were not JSON */
    int fatal_code;
    /* Heartbeats of this connection: sent, answered, and the one whose answer SHARD_ON_PROBE waits
     * for; 0: none. */
    uint32_t beats, acks, probe;
    uint32_t send_count; /* sends of this connection, sent_ms[] is a ring of the last ones */
    int64_t sent_ms[SHARD_SENDS];
};

enum shard_event {
    SHARD_ON_START, /* session: to resume, or NULL */
    SHARD_ON_GRANTED,
    SHARD_ON_OPEN,      /* WebSocket established */
    SHARD_ON_CLOSE,     /* code; 0: connection failed or dropped */
    SHARD_ON_FRAME,     /* frame */
    SHARD_ON_MALFORMED, /* a payload that is not JSON, or is too large */
    SHARD_ON_RECONNECT, /* the driver cannot go on with this connection */
    SHARD_ON_TIME,
    SHARD_ON_PROBE, /* send a heartbeat now if Discord's limit allows it; see shard_is_caught_up */
    SHARD_ON_STOP,
};
struct shard_input {
    enum shard_event event;
    int code;
    const struct frame *frame;
    const struct shard_session *session;
};

enum shard_act {
    SHARD_DO_CONNECT, /* to shard_wants_main() ? main URL : session.resume_url */
    SHARD_DO_CLOSE, /* code; the driver forgets the connection and reports nothing of it any more */
    SHARD_DO_IDENTIFY,
    SHARD_DO_RESUME,
    SHARD_DO_BEAT,
    SHARD_DO_GRANT,   /* ask until granted */
    SHARD_DO_REFRESH, /* ask for the main URL again */
    SHARD_DO_SESSION, /* session is new: it began (READY), before its first dispatch is handed on */
    SHARD_DO_DISPATCH, /* the input's frame */
    SHARD_DO_FORGET,   /* the session is dead */
    SHARD_DO_FATAL,    /* code */
};
struct shard_action {
    enum shard_act what;
    int code;
};
enum { SHARD_ACTIONS = 8 };
struct shard_actions {
    size_t count;
    struct shard_action list[SHARD_ACTIONS];
};

void shard_init(struct shard *shard, uint64_t random);
/* Appends what to do to *todo, in order. */
void shard_step(struct shard *shard, const struct shard_input *in, int64_t now_ms,
                struct shard_actions *todo);
/* When SHARD_ON_TIME is due; INT64_MAX: never. */
int64_t shard_deadline(const struct shard *shard);
/* deaf: the driver does not read from the connection now, so silence means nothing. */
void shard_set_deaf(struct shard *shard, bool deaf);
bool shard_wants_main(const struct shard *shard);
bool shard_is_connected(const struct shard *shard);
/* The heartbeat of SHARD_ON_PROBE was answered on this connection: Discord answers in order, so
 * what it had sent before is here. */
bool shard_is_caught_up(const struct shard *shard);
const char *shard_phase_name(enum shard_phase phase);
/* Why a fatal code is fatal and what the operator can do. */
const char *shard_fatal_text(int code);

#endif
