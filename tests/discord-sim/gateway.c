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
enum { DAY_MS = 24 * 3600 * 1000, MAX_GUILDS_PER_SHARD = 2500 };
/* Discord: intents 0 to 16, 20, 21, 24 and 25 exist. */
#define KNOWN_INTENTS ((PERM(17) - 1) | PERM(20) | PERM(21) | PERM(24) | PERM(25))

struct gateway *gateway_new(const struct gateway_config *config)
{
    struct gateway *gw = xcalloc(1, sizeof(*gw));

    gw->config = *config;
    gw->token = xstrdup(config->token);
    gw->rng.state = config->seed + 3;
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
    free(gw->token);
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

void conn_drop(struct gw_conn *c)
{
    if (c->session)
        session_detach(c->session);
    c->dropped = true;
    conn_wake(c);
}

void conn_control(struct gw_conn *c, const char *text)
{
    if (c->control_count == GATEWAY_MAX_CONTROL) {
        conn_close(c, CLOSE_RATE_LIMITED);
        return;
    }
    c->control[c->control_count++] = xstrdup(text);
    conn_wake(c);
}

static void say_hello(struct gw_conn *c)
{
    struct gateway_tricks *tricks = &c->gw->tricks;
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    if (tricks->silent)
        return;
    if (tricks->early_reconnects > 0) {
        tricks->early_reconnects--;
        conn_control(c, "{\"t\":null,\"s\":null,\"op\":7,\"d\":null}");
    }
    out_json(&o, "{'t':null,'s':null,'op':10,'d':{'heartbeat_interval':%l,'_trace':[]}}",
             tricks->hello_ms ? tricks->hello_ms : c->gw->config.heartbeat_ms);
    conn_control(c, o.text);
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
    say_hello(c);
    return c;
}

/* ---- sending ---- */

bool gw_conn_next(struct gw_conn *c, struct out *frame)
{
    struct session *s = c->session;

    out_clear(frame);
    if (c->stalled)
        return false;
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

bool gw_conn_is_stalled(const struct gw_conn *c)
{
    return c->stalled;
}

bool gw_conn_wants_deflate(const struct gw_conn *c)
{
    return c->wants_deflate;
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

void conn_invalid_session(struct gw_conn *c, bool resumable)
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
    return gw->token && !strcmp(token, gw->token);
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

/* Discord: who identifies beyond the day's budget loses all sessions and the token. */
static void reset_token(struct gateway *gw)
{
    gw->counts.token_resets++;
    free(TAKE(gw->token));
    log_warn("gateway_token_reset", "identify_total=%" PRId64, gw->config.identify_total);
    for (struct gw_conn *c = gw->conns; c; c = c->next)
        conn_close(c, CLOSE_AUTHENTICATION_FAILED);
    while (gw->sessions)
        session_end(gw->sessions);
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

/* In the world's order, or in one of the generator's. malloc'd. */
static const struct guild **guilds_of(struct session *s, size_t *ret_count)
{
    const struct world *w = s->gw->config.world;
    const struct guild **list = xcalloc(w->guild_count + 1, sizeof(struct guild *));
    size_t count = 0;

    for (size_t i = 0; i < w->guild_count; i++)
        if (session_wants(s, w->guilds[i]->id, EVENT_GUILD_CREATE))
            list[count++] = w->guilds[i];
    for (size_t i = count; s->gw->tricks.shuffle_guilds && i > 1; i--) {
        size_t other = rng_below(&s->gw->rng, i);
        const struct guild *g = list[other];
        list[other] = list[i - 1];
        list[i - 1] = g;
    }
    *ret_count = count;
    return list;
}

void session_push_guilds(struct session *s)
{
    size_t count;
    const struct guild **list = guilds_of(s, &count);

    for (size_t i = 0; i < count; i++) {
        struct event *e = event_for_guild(list[i]);
        session_push(s, e);
        event_unref(e);
        if (s->gw->config.on_guild)
            s->gw->config.on_guild(s->gw->config.ctx, list[i]);
    }
    free(list);
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
    c->wants_deflate = json_bool(d, "compress");
    c->gw->counts.identifies++;
    log_info("gateway_identify", "shard=%" PRIu32 " of=%" PRIu32 " intents=%" PRIu64, shard, shards,
             s->intents);
    push_ready(s);
    session_push_guilds(s);
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
    if ((uint64_t)intents & PRIVILEGED_INTENTS & ~gw->config.privileged)
        return CLOSE_DISALLOWED_INTENTS;
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
    if (!code && !take_identify_budget(c->gw, now_ms))
        reset_token(c->gw);
    else if (code)
        conn_close(c, code);
    else if (!take_identify_slot(c->gw, shard, now_ms))
        conn_invalid_session(c, false);
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
        conn_invalid_session(c, false);
        return;
    }
    if ((uint64_t)seq >= s->next_seq) {
        gw->counts.resumes_refused++;
        conn_close(c, CLOSE_INVALID_SEQ);
        return;
    }
    if (gw->tricks.refused_resumes > 0) {
        gw->tricks.refused_resumes--;
        conn_invalid_session(c, true);
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
    if (!c->gw->tricks.no_acks)
        conn_control(c, "{\"t\":null,\"s\":null,\"op\":11,\"d\":null}");
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
        conn_request_members(c, d);
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
    if (c->close_code || c->dropped || c->stalled)
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

/* ---- upkeep ---- */

void gateway_tick(struct gateway *gw, int64_t now_ms)
{
    int64_t silence_ms = (gw->tricks.hello_ms > gw->config.heartbeat_ms ? gw->tricks.hello_ms
                                                                        : gw->config.heartbeat_ms) *
                         3 / 2;

    gw->now_ms = now_ms;
    for (struct gw_conn *c = gw->conns; c; c = c->next) {
        if (c->close_code || c->dropped || now_ms - c->last_beat_ms <= silence_ms)
            continue;
        if (c->stalled) /* nobody is there to be told */
            conn_drop(c);
        else
            conn_close(c, CLOSE_SESSION_TIMED_OUT);
    }
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
