/* gateway_faults.c - what an operator may do to connections and sessions. */
#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"
#include "tests/discord-sim/gateway_internal.h"

static const char *const names[FAULT_COUNT] = {
    "reconnect",       "close",     "drop",  "invalid_session_resumable",
    "invalid_session", "heartbeat", "stall", "garbage",
    "unknown_op",
};

const char *gateway_fault_name(enum gateway_fault fault)
{
    return names[fault];
}

enum gateway_fault gateway_fault_by_name(const char *name)
{
    size_t i = 0;

    while (i < FAULT_COUNT && strcmp(names[i], name) != 0)
        i++;
    return (enum gateway_fault)i;
}

static void fault_conn(struct gw_conn *c, enum gateway_fault fault, int code)
{
    struct session *s = c->session;

    switch (fault) {
    case FAULT_RECONNECT:
        conn_control(c, "{\"t\":null,\"s\":null,\"op\":7,\"d\":null}");
        break;
    case FAULT_HEARTBEAT:
        conn_control(c, "{\"t\":null,\"s\":null,\"op\":1,\"d\":null}");
        break;
    case FAULT_UNKNOWN_OP:
        conn_control(c, "{\"t\":null,\"s\":null,\"op\":99,\"d\":{\"new\":[]}}");
        break;
    case FAULT_GARBAGE:
        conn_control(c, "{\"t\":\"MESSAGE_CREATE\",\"s\":,\"op\":0,\"d\":{");
        break;
    case FAULT_CLOSE:
        conn_close(c, code);
        if (code == 1000 || code == 1001 || code == CLOSE_INVALID_SEQ)
            session_end(s);
        break;
    case FAULT_DROP:
        conn_drop(c);
        break;
    case FAULT_STALL:
        c->stalled = true;
        conn_wake(c);
        break;
    case FAULT_INVALID_RESUMABLE:
        session_detach(s);
        conn_invalid_session(c, true);
        break;
    case FAULT_INVALID:
        session_end(s);
        conn_invalid_session(c, false);
        break;
    case FAULT_COUNT:
        break;
    }
}

size_t gateway_fault(struct gateway *gw, int64_t shard, enum gateway_fault fault, int code,
                     int64_t now_ms)
{
    size_t met = 0;

    gw->now_ms = now_ms;
    for (struct gw_conn *c = gw->conns, *next; c; c = next) {
        next = c->next;
        if (!c->session || c->close_code || c->stalled ||
            (shard >= 0 && c->session->shard != shard))
            continue;
        fault_conn(c, fault, code);
        met++;
    }
    return met;
}

static void push_unavailable(struct session *s, const struct guild *g)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_json(&o, "{'id':%I,'unavailable':true}", g->id);
    struct event *gone = event_new(EVENT_GUILD_DELETE, NULL, o.text, NULL);
    session_push(s, gone);
    event_unref(gone);
}

size_t gateway_outage(struct gateway *gw, int64_t shard, int64_t now_ms)
{
    const struct world *w = gw->config.world;
    size_t met = 0;

    gw->now_ms = now_ms;
    for (struct session *s = gw->sessions; s; s = s->next) {
        if (shard >= 0 && s->shard != shard)
            continue;
        for (size_t i = 0; i < w->guild_count; i++) {
            if (!session_wants(s, w->guilds[i]->id, EVENT_GUILD_DELETE))
                continue;
            push_unavailable(s, w->guilds[i]);
            if (gw->config.on_guild_gone)
                gw->config.on_guild_gone(gw->config.ctx, w->guilds[i]);
            met++;
        }
        bool before = gw->tricks.shuffle_guilds;
        gw->tricks.shuffle_guilds = true;
        session_push_guilds(s);
        gw->tricks.shuffle_guilds = before;
    }
    return met;
}

size_t gateway_expire(struct gateway *gw, int64_t now_ms)
{
    size_t met = 0;

    gw->now_ms = now_ms;
    for (struct session *s = gw->sessions, *next; s; s = next) {
        next = s->next;
        if (s->conn)
            continue;
        session_end(s);
        met++;
    }
    return met;
}

void gateway_set_token(struct gateway *gw, const char *token)
{
    free(gw->token);
    gw->token = xstrdup(token);
}

const char *gateway_token(const struct gateway *gw)
{
    return gw->token;
}

struct gateway_tricks *gateway_tricks(struct gateway *gw)
{
    return &gw->tricks;
}
