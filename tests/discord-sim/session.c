/* session.c - sessions: their ring of events, who sees what, and the frames. */
#include <stdlib.h>
#include <string.h>

#include "base/sign.h"
#include "base/xmem.h"
#include "tests/discord-sim/gateway_internal.h"
#include "tests/discord-sim/objects.h"

static const struct {
    const char *name;
    int guild_intent, dm_intent;
} event_types[] = {
#define EVENT_TYPE(name, guild, dm) { #name, guild, dm },
#include "tests/discord-sim/events.def"
#undef EVENT_TYPE
};

const char *event_type_name(enum event_type type)
{
    return event_types[type].name;
}

enum event_type event_type_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(event_types); i++)
        if (!strcmp(event_types[i].name, name))
            return (enum event_type)i;
    return EVENT_OTHER;
}

struct event *event_new(enum event_type type, const char *name, const char *body,
                        const char *blanked)
{
    struct event *e = xcalloc(1, sizeof(*e));

    e->refs = 1;
    e->type = type;
    e->name = name ? xstrdup(name) : NULL;
    e->body = body ? xstrdup(body) : NULL;
    e->blanked = blanked ? xstrdup(blanked) : NULL;
    return e;
}

struct event *event_for_guild(const struct guild *g)
{
    struct event *e = event_new(EVENT_GUILD_CREATE, NULL, NULL, NULL);

    e->lazy_guild = g;
    return e;
}

void event_unref(struct event *e)
{
    if (--e->refs)
        return;
    free(e->name);
    free(e->body);
    free(e->blanked);
    free(e);
}

struct session *session_new(struct gateway *gw)
{
    struct session *s = xcalloc(1, sizeof(*s));
    uint8_t id[16];

    s->gw = gw;
    sign_random(id, sizeof(id));
    sign_hex(id, sizeof(id), s->id);
    s->first_seq = s->next_seq = s->sent_seq = 1;
    s->next = gw->sessions;
    gw->sessions = s;
    gw->session_count++;
    gw->coverage_known = false;
    return s;
}

static void session_unlink(struct session *s)
{
    s->gw->coverage_known = false;
    for (struct session **at = &s->gw->sessions; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            s->gw->session_count--;
            return;
        }
    }
}

void session_end(struct session *s)
{
    if (s->conn)
        s->conn->session = NULL;
    session_unlink(s);
    for (uint64_t seq = s->first_seq; seq < s->next_seq; seq++)
        event_unref(s->ring[seq & (s->cap - 1)]);
    free(s->ring);
    free(s);
}

void session_detach(struct session *s)
{
    if (s->conn)
        s->conn->session = NULL;
    s->conn = NULL;
    s->left_ms = s->gw->now_ms;
}

struct session *session_find(struct gateway *gw, const char *id)
{
    for (struct session *s = gw->sessions; s; s = s->next)
        if (!strcmp(s->id, id))
            return s;
    return NULL;
}

static void ring_grow(struct session *s)
{
    size_t cap = s->cap ? s->cap * 2 : 64;
    struct event **ring = xcalloc(cap, sizeof(struct event *));

    for (uint64_t seq = s->first_seq; seq < s->next_seq; seq++)
        ring[seq & (cap - 1)] = s->ring[seq & (s->cap - 1)];
    free(s->ring);
    s->ring = ring;
    s->cap = cap;
}

void session_push(struct session *s, struct event *e)
{
    size_t kept = (size_t)(s->next_seq - s->first_seq);

    if (kept == s->gw->config.replay) {
        event_unref(s->ring[s->first_seq & (s->cap - 1)]);
        s->first_seq++;
        /* A client that does not read loses its place; so it does at Discord. */
        if (s->conn && s->sent_seq < s->first_seq)
            conn_close(s->conn, CLOSE_UNKNOWN_ERROR);
    } else if (kept == s->cap) {
        ring_grow(s);
    }
    e->refs++;
    s->ring[s->next_seq++ & (s->cap - 1)] = e;
    if (s->conn)
        conn_wake(s->conn);
}

static bool is_on_shard(const struct session *s, uint64_t guild_id)
{
    return (guild_id >> 22) % s->shards == s->shard;
}

bool session_wants(const struct session *s, uint64_t guild_id, enum event_type type)
{
    int intent = guild_id ? event_types[type].guild_intent : event_types[type].dm_intent;

    return is_on_shard(s, guild_id) && (intent < 0 || (s->intents >> intent & 1));
}

void session_frame(const struct session *s, uint64_t seq, struct out *frame)
{
    const struct event *e = s->ring[seq & (s->cap - 1)];
    bool blanked = e->blanked && !(s->intents >> INTENT_MESSAGE_CONTENT & 1);

    out_json(frame, "{'t':%S,'s':%u,'op':0,'d':", e->name ? e->name : event_type_name(e->type),
             seq);
    if (e->lazy_guild)
        object_guild_create(frame, e->lazy_guild,
                            s->intents >> INTENT_GUILD_MEMBERS & 1 ? s->large_threshold : 0);
    else
        out_text(frame, blanked ? e->blanked : e->body);
    out_text(frame, "}");
}

size_t gateway_dispatch(struct gateway *gw, uint64_t guild_id, struct event **event)
{
    struct event *e = TAKE(*event);
    size_t taken = 0;

    for (struct session *s = gw->sessions; s; s = s->next) {
        if (!session_wants(s, guild_id, e->type))
            continue;
        session_push(s, e);
        taken++;
    }
    gw->counts.dispatched += taken;
    event_unref(e);
    return taken;
}

bool gateway_needs_blanked(const struct gateway *gw)
{
    for (const struct session *s = gw->sessions; s; s = s->next)
        if (!(s->intents >> INTENT_MESSAGE_CONTENT & 1))
            return true;
    return false;
}

bool gateway_would_take(const struct gateway *gw, uint64_t guild_id, enum event_type type)
{
    for (const struct session *s = gw->sessions; s; s = s->next)
        if (session_wants(s, guild_id, type))
            return true;
    return false;
}

static bool is_shard_covered(const struct gateway *gw, uint32_t shard, uint32_t shards)
{
    for (const struct session *s = gw->sessions; s; s = s->next)
        if (s->shards == shards && s->shard == shard)
            return true;
    return false;
}

static bool compute_coverage(const struct gateway *gw)
{
    for (const struct session *s = gw->sessions; s; s = s->next) {
        uint32_t covered = 0;
        while (covered < s->shards && is_shard_covered(gw, covered, s->shards))
            covered++;
        if (covered == s->shards)
            return true;
    }
    return false;
}

bool gateway_is_covered(struct gateway *gw)
{
    if (!gw->coverage_known)
        gw->is_covered = compute_coverage(gw);
    gw->coverage_known = true;
    return gw->is_covered;
}

bool gateway_has_room(const struct gateway *gw, size_t unsent)
{
    for (const struct session *s = gw->sessions; s; s = s->next) {
        uint64_t waiting = s->next_seq - s->sent_seq;
        if (waiting > (s->conn ? unsent : gw->config.replay / 2))
            return false;
    }
    return true;
}

void gateway_describe(const struct gateway *gw, struct out *o)
{
    out_text(o, "[");
    for (const struct session *s = gw->sessions; s; s = s->next)
        out_json(o,
                 "{'session_id':%S,'shard':[%d,%d],'intents':%u,'connected':%b,'seq':%u,'sent':%u,"
                 "'heartbeat_seq':%u},",
                 s->id, (int)s->shard, (int)s->shards, s->intents, s->conn != NULL, s->next_seq - 1,
                 s->sent_seq - 1, s->heartbeat_seq);
    out_drop(o, ',');
    out_text(o, "]");
}
