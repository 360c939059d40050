/* gateway.c - connections and opcodes. */
#include "tests/discord-sim/gateway.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"
#include "tests/discord-sim/gateway_internal.h"
#include "tests/discord-sim/objects.h"

enum {
    OP_DISPATCH = 0,
    OP_HEARTBEAT = 1,
    OP_IDENTIFY = 2,
    OP_PRESENCE = 3,
    OP_VOICE_STATE = 4,
    OP_RESUME = 6,
    OP_RECONNECT = 7,
    OP_REQUEST_MEMBERS = 8,
    OP_INVALID_SESSION = 9,
    OP_HELLO = 10,
    OP_ACK = 11,
    OP_REQUEST_SOUNDBOARD = 31,
    OP_REQUEST_CHANNEL_INFO = 43,
};
enum { DAY_MS = 24 * 3600 * 1000, MAX_GUILDS_PER_SHARD = 2500, MEMBERS_CHUNK = 100 };
/* Discord: intents 0 to 16, 20, 21, 24 and 25 exist. */
#define KNOWN_INTENTS ((PERM(17) - 1) | PERM(20) | PERM(21) | PERM(24) | PERM(25))

struct gateway *gateway_new(const struct gateway_config *config)
{
    struct gateway *gw = xcalloc(1, sizeof(*gw));

    gw->config = *config;
    gw->identified_ms = xcalloc((size_t)config->max_concurrency, sizeof(*gw->identified_ms));
    return gw;
}

static void conn_free(struct gw_conn *c)
{
    for (struct gw_conn **at = &c->gw->conns; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    for (size_t i = 0; i < c->control_count; i++)
        free(c->control[i]);
    free(c->resume_url);
    free(c);
}

void gateway_free(struct gateway *gw)
{
    if (!gw)
        return;
    while (gw->conns)
        conn_free(gw->conns);
    while (gw->sessions) {
        gw->sessions->conn = NULL;
        session_end(gw->sessions);
    }
    free(gw->identified_ms);
    free(gw);
}

void conn_wake(struct gw_conn *c)
{
    c->wake(c->ctx);
}

void conn_close(struct gw_conn *c, int code)
{
    if (c->close_code)
        return;
    if (code >= 4000 && code < 4016)
        c->gw->counts.closes[code - 4000]++;
    c->close_code = code;
    if (c->session)
        session_detach(c->session);
    log_info("gateway_close", "code=%d", code);
    conn_wake(c);
}

static void conn_control(struct gw_conn *c, const char *text)
{
    if (c->control_count == GATEWAY_MAX_CONTROL) {
        conn_close(c, CLOSE_RATE_LIMITED);
        return;
    }
    c->control[c->control_count++] = xstrdup(text);
    conn_wake(c);
}

struct gw_conn *gateway_connect(struct gateway *gw, const struct gw_hello *hello, int64_t now_ms)
{
    struct gw_conn *c = xcalloc(1, sizeof(*c));

    gw->now_ms = now_ms;
    c->gw = gw;
    c->resume_url = xstrdup(hello->resume_url);
    c->wake = hello->wake;
    c->ctx = hello->ctx;
    c->last_beat_ms = c->window_start_ms = now_ms;
    c->next = gw->conns;
    gw->conns = c;
    if (hello->version < 9 || hello->version > 10 || !hello->json) {
        conn_close(c, CLOSE_INVALID_VERSION);
        return c;
    }
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    out_json(&o, "{'t':null,'s':null,'op':10,'d':{'heartbeat_interval':%l,'_trace':[]}}",
             gw->config.heartbeat_ms);
    conn_control(c, o.text);
    return c;
}

/* ---- sending ---- */

bool gw_conn_next(struct gw_conn *c, struct out *frame)
{
    struct session *s = c->session;

    out_clear(frame);
    if (c->control_count) {
        out_text(frame, c->control[0]);
        free(c->control[0]);
        memmove(c->control, c->control + 1, --c->control_count * sizeof(c->control[0]));
        return true;
    }
    if (!s || s->sent_seq == s->next_seq)
        return false;
    session_frame(s, s->sent_seq++, frame);
    return true;
}

int gw_conn_close_code(const struct gw_conn *c)
{
    return c->close_code;
}

bool gw_conn_is_dropped(const struct gw_conn *c)
{
    return c->dropped;
}

void gw_conn_gone(struct gw_conn *c, int code, int64_t now_ms)
{
    struct session *s = c->session;

    c->gw->now_ms = now_ms;
    if (s && (code == 1000 || code == 1001)) {
        /* Discord: these two say that the client will not come back. */
        c->gw->counts.peer_closed_1000++;
        session_end(s);
    } else if (s) {
        session_detach(s);
    }
    conn_free(c);
}

/* ---- IDENTIFY ---- */

static void invalid_session(struct gw_conn *c, bool resumable)
{
    c->gw->counts.invalid_sessions++;
    conn_control(c, resumable ? "{\"t\":null,\"s\":null,\"op\":9,\"d\":true}"
                              : "{\"t\":null,\"s\":null,\"op\":9,\"d\":false}");
}

static bool is_token(const struct gateway *gw, const json_t *d)
{
    const char *token = json_str(d, "token");

    if (!strncmp(token, "Bot ", 4)) /* discord.js cuts it off, others send it */
        token += 4;
    return !strcmp(token, gw->config.token);
}

/* False: not an array of two numbers with 0 <= id < count. */
static bool read_shard(const json_t *d, uint32_t *ret_shard, uint32_t *ret_shards)
{
    const json_t *shard = json_object_get(d, "shard");

    *ret_shard = 0;
    *ret_shards = 1;
    if (!shard)
        return true;
    const json_t *id = json_array_get(shard, 0), *count = json_array_get(shard, 1);
    if (json_array_size(shard) != 2 || !json_is_integer(id) || !json_is_integer(count))
        return false;
    json_int_t i = json_integer_value(id), n = json_integer_value(count);
    if (n < 1 || n > 16000 || i < 0 || i >= n)
        return false;
    *ret_shard = (uint32_t)i;
    *ret_shards = (uint32_t)n;
    return true;
}

/* Discord: max_concurrency keys, each may identify once in five seconds. */
static bool take_identify_slot(struct gateway *gw, uint32_t shard, int64_t now_ms)
{
    int64_t *last = &gw->identified_ms[shard % (uint64_t)gw->config.max_concurrency];

    if (*last && now_ms - *last < gw->config.identify_window_ms)
        return false;
    *last = now_ms ? now_ms : 1;
    return true;
}

static bool take_identify_budget(struct gateway *gw, int64_t now_ms)
{
    if (!gw->budget_used || now_ms - gw->budget_start_ms >= DAY_MS) {
        gw->budget_start_ms = now_ms;
        gw->budget_used = 0;
    }
    if (gw->budget_used >= gw->config.identify_total)
        return false;
    gw->budget_used++;
    return true;
}

static void push_ready(struct session *s)
{
    const struct world *w = s->gw->config.world;
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_text(&o, "{\"v\":10,\"user_settings\":{},\"user\":");
    object_user(&o, &w->bot);
    out_json(&o,
             ",'session_type':'normal','session_id':%S,'resume_gateway_url':%S,'shard':[%d,%d],"
             "'relationships':[],'private_channels':[],'presences':[],'guild_join_requests':[],"
             "'geo_ordered_rtc_regions':[],'auth':{},'application':{'id':%I,'flags':565248},"
             "'guilds':[",
             s->id, s->conn->resume_url, (int)s->shard, (int)s->shards, w->bot.id);
    for (size_t i = 0; i < w->guild_count; i++)
        if (session_wants(s, w->guilds[i]->id, EVENT_READY))
            out_json(&o, "{'id':%I,'unavailable':true},", w->guilds[i]->id);
    out_drop(&o, ',');
    out_text(&o, "]}");
    struct event *ready = event_new(EVENT_READY, NULL, o.text, NULL);
    session_push(s, ready);
    event_unref(ready);
}

static void push_guilds(struct session *s)
{
    const struct world *w = s->gw->config.world;

    for (size_t i = 0; i < w->guild_count; i++) {
        if (!session_wants(s, w->guilds[i]->id, EVENT_GUILD_CREATE))
            continue;
        struct event *e = event_for_guild(w->guilds[i]);
        session_push(s, e);
        event_unref(e);
        if (s->gw->config.on_guild)
            s->gw->config.on_guild(s->gw->config.ctx, w->guilds[i]);
    }
}

static void start_session(struct gw_conn *c, const json_t *d, uint32_t shard, uint32_t shards)
{
    struct session *s = session_new(c->gw);
    int64_t threshold = json_int(d, "large_threshold", 50);

    s->shard = shard;
    s->shards = shards;
    s->large_threshold = threshold < 50 ? 50 : threshold > 250 ? 250 : (uint32_t)threshold;
    s->intents = (uint64_t)json_int(d, "intents", 0);
    s->conn = c;
    c->session = s;
    c->gw->counts.identifies++;
    log_info("gateway_identify", "shard=%" PRIu32 " of=%" PRIu32 " intents=%" PRIu64, shard, shards,
             s->intents);
    push_ready(s);
    push_guilds(s);
}

/* The close code for an IDENTIFY that can never work; 0: it can. */
static int judge_identify(const struct gateway *gw, const json_t *d, uint32_t *ret_shard,
                          uint32_t *ret_shards)
{
    int64_t intents = json_int(d, "intents", -1);

    if (!is_token(gw, d))
        return CLOSE_AUTHENTICATION_FAILED;
    if (!read_shard(d, ret_shard, ret_shards))
        return CLOSE_INVALID_SHARD;
    if (gw->config.world->guild_count / *ret_shards > MAX_GUILDS_PER_SHARD)
        return CLOSE_SHARDING_REQUIRED;
    if (intents < 0 || (uint64_t)intents & ~KNOWN_INTENTS)
        return CLOSE_INVALID_INTENTS;
    if (!json_is_object(json_object_get(d, "properties")))
        return CLOSE_DECODE_ERROR;
    return 0;
}

static void on_identify(struct gw_conn *c, const json_t *d, int64_t now_ms)
{
    uint32_t shard = 0, shards = 1;

    if (c->session) {
        conn_close(c, CLOSE_ALREADY_AUTHENTICATED);
        return;
    }
    int code = judge_identify(c->gw, d, &shard, &shards);
    if (!code && c->gw->session_count >= GATEWAY_MAX_SESSIONS)
        code = CLOSE_UNKNOWN_ERROR;
    /* At Discord the spent budget ends all sessions and resets the token; nobody may get that far.
     */
    if (!code && !take_identify_budget(c->gw, now_ms))
        code = CLOSE_AUTHENTICATION_FAILED;
    if (code)
        conn_close(c, code);
    else if (!take_identify_slot(c->gw, shard, now_ms))
        invalid_session(c, false);
    else
        start_session(c, d, shard, shards);
}

/* ---- the other opcodes ---- */

static void take_over(struct session *s, struct gw_conn *c)
{
    struct gw_conn *before = s->conn;

    if (before)
        conn_close(before, CLOSE_UNKNOWN_ERROR);
    s->conn = c;
    c->session = s;
}

static void on_resume(struct gw_conn *c, const json_t *d)
{
    struct gateway *gw = c->gw;
    struct session *s = session_find(gw, json_str(d, "session_id"));
    int64_t seq = json_int(d, "seq", -1);

    if (c->session || !is_token(gw, d)) {
        conn_close(c, c->session ? CLOSE_ALREADY_AUTHENTICATED : CLOSE_AUTHENTICATION_FAILED);
        return;
    }
    if (!s || seq < 0 || (uint64_t)seq + 1 < s->first_seq) {
        gw->counts.resumes_refused++;
        invalid_session(c, false);
        return;
    }
    if ((uint64_t)seq >= s->next_seq) {
        gw->counts.resumes_refused++;
        conn_close(c, CLOSE_INVALID_SEQ);
        return;
    }
    take_over(s, c);
    s->sent_seq = (uint64_t)seq + 1;
    gw->counts.resumes++;
    gw->counts.replayed += s->next_seq - s->sent_seq;
    log_info("gateway_resume", "shard=%" PRIu32 " of=%" PRIu32 " seq=%" PRId64 " replay=%" PRIu64,
             s->shard, s->shards, seq, s->next_seq - s->sent_seq);
    struct event *resumed = event_new(EVENT_RESUMED, NULL, "{\"_trace\":[]}", NULL);
    session_push(s, resumed);
    event_unref(resumed);
}

static void on_heartbeat(struct gw_conn *c, const json_t *d, int64_t now_ms)
{
    c->last_beat_ms = now_ms;
    c->gw->counts.heartbeats++;
    if (c->session && json_is_integer(d))
        c->session->heartbeat_seq = (uint64_t)json_integer_value(d);
    if (!c->gw->no_acks)
        conn_control(c, "{\"t\":null,\"s\":null,\"op\":11,\"d\":null}");
}

static bool is_asked_for(const struct member *m, const json_t *ids, const char *query)
{
    size_t i;
    const json_t *id;

    if (!member_is_here(m))
        return false;
    if (!ids)
        return !strncmp(m->user->username, query, strlen(query));
    if (json_is_string(ids)) {
        uint64_t one = 0;
        return id_parse(json_string_value(ids), &one) && one == m->user->id;
    }
    json_array_foreach(ids, i, id)
    {
        uint64_t one = 0;
        if (json_is_string(id) && id_parse(json_string_value(id), &one) && one == m->user->id)
            return true;
    }
    return false;
}

static void on_request_members(struct gw_conn *c, const json_t *d)
{
    const struct guild *g = world_guild(c->gw->config.world, json_id(d, "guild_id"));
    const json_t *ids = json_object_get(d, "user_ids");
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    size_t found = 0;

    if (!g || !session_wants(c->session, g->id, EVENT_GUILD_MEMBERS_CHUNK))
        return;
    out_json(&o, "{'guild_id':%I,'nonce':%S,'chunk_index':0,'chunk_count':1,'members':[", g->id,
             json_str(d, "nonce"));
    for (size_t i = 0; i < g->member_count && found < MEMBERS_CHUNK; i++) {
        if (!is_asked_for(&g->members[i], ids, json_str(d, "query")))
            continue;
        object_member(&o, g, &g->members[i], true, false);
        out_text(&o, ",");
        found++;
    }
    out_drop(&o, ',');
    out_text(&o, "]}");
    struct event *chunk = event_new(EVENT_GUILD_MEMBERS_CHUNK, NULL, o.text, NULL);
    session_push(c->session, chunk);
    event_unref(chunk);
}

static bool is_within_rate(struct gw_conn *c, int64_t now_ms)
{
    if (now_ms - c->window_start_ms >= GATEWAY_SEND_WINDOW_MS) {
        c->window_start_ms = now_ms;
        c->window_sends = 0;
    }
    return ++c->window_sends <= GATEWAY_MAX_SENDS;
}

static bool is_known_op(int64_t op)
{
    return op == OP_PRESENCE || op == OP_VOICE_STATE || op == OP_REQUEST_MEMBERS ||
           op == OP_REQUEST_SOUNDBOARD || op == OP_REQUEST_CHANNEL_INFO;
}

static void on_authenticated_op(struct gw_conn *c, int64_t op, const json_t *d)
{
    if (!is_known_op(op))
        conn_close(c, CLOSE_UNKNOWN_OPCODE);
    else if (!c->session)
        conn_close(c, CLOSE_NOT_AUTHENTICATED);
    else if (op == OP_REQUEST_MEMBERS)
        on_request_members(c, d);
}

static void on_payload(struct gw_conn *c, const json_t *root, int64_t now_ms)
{
    const json_t *d = json_object_get(root, "d");
    int64_t op = json_int(root, "op", -1);

    if (op == OP_HEARTBEAT)
        on_heartbeat(c, d, now_ms);
    else if (op == OP_IDENTIFY)
        on_identify(c, d, now_ms);
    else if (op == OP_RESUME)
        on_resume(c, d);
    else
        on_authenticated_op(c, op, d);
}

void gw_conn_on_text(struct gw_conn *c, const char *text, size_t size, int64_t now_ms)
{
    CLEANUP(json_decref) json_t *root = NULL;

    c->gw->now_ms = now_ms;
    if (c->close_code || c->dropped)
        return;
    if (!is_within_rate(c, now_ms))
        conn_close(c, CLOSE_RATE_LIMITED);
    else if (size > GATEWAY_MAX_PAYLOAD || json_parse(text, size, &root, NULL) != STATUS_OK ||
             !json_is_object(root))
        conn_close(c, CLOSE_DECODE_ERROR);
    else
        on_payload(c, root, now_ms);
}

void gw_conn_on_garbage(struct gw_conn *c)
{
    conn_close(c, CLOSE_DECODE_ERROR);
}

/* ---- faults and upkeep ---- */

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
    case FAULT_CLOSE:
        conn_close(c, code);
        if (code == 1000 || code == 1001 || code == CLOSE_INVALID_SEQ)
            session_end(s);
        break;
    case FAULT_DROP:
        session_detach(s);
        c->dropped = true;
        conn_wake(c);
        break;
    case FAULT_INVALID_RESUMABLE:
        session_detach(s);
        invalid_session(c, true);
        break;
    case FAULT_INVALID:
        session_end(s);
        invalid_session(c, false);
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
        if (!c->session || c->close_code || (shard >= 0 && c->session->shard != shard))
            continue;
        fault_conn(c, fault, code);
        met++;
    }
    return met;
}

void gateway_set_acks(struct gateway *gw, bool on)
{
    gw->no_acks = !on;
}

void gateway_tick(struct gateway *gw, int64_t now_ms)
{
    gw->now_ms = now_ms;
    for (struct gw_conn *c = gw->conns; c; c = c->next)
        if (!c->close_code && !c->dropped &&
            now_ms - c->last_beat_ms > gw->config.heartbeat_ms * 3 / 2)
            conn_close(c, CLOSE_SESSION_TIMED_OUT);
    for (struct session *s = gw->sessions, *next; s; s = next) {
        next = s->next;
        if (!s->conn && now_ms - s->left_ms > gw->config.session_keep_ms)
            session_end(s);
    }
}

void gateway_count(struct gateway *gw, struct gateway_counts *ret, int64_t now_ms)
{
    bool spent_day = gw->budget_used && now_ms - gw->budget_start_ms < DAY_MS;

    *ret = gw->counts;
    for (const struct gw_conn *c = gw->conns; c; c = c->next)
        ret->connections++;
    for (const struct session *s = gw->sessions; s; s = s->next) {
        ret->sessions++;
        ret->live += s->conn != NULL;
    }
    ret->identify_remaining = gw->config.identify_total - (spent_day ? gw->budget_used : 0);
    ret->identify_reset_ms = spent_day ? gw->budget_start_ms + DAY_MS - now_ms : 0;
}
