#include "gateway/shard.h"

#include <string.h>

enum {
    CONNECT_MS = 15000, /* TCP, TLS, upgrade */
    HELLO_MS = 15000,
    START_MS = 60000, /* READY or RESUMED, or any dispatch of a replay */
    GRANT_MS = 10000, /* a grant is for the IDENTIFY now: Discord counts 5 s windows */
    STABLE_MS = 5000, /* live so long: the next drop is a fresh one */
    TRIES_LIVE = 3,   /* it did go live: Discord is there, a second is enough between drops */
    BACKOFF_MS = 250,
    BACKOFF_MAX_MS = 60000,
    SEND_WINDOW_MS = 60000,
    INTERVAL_MIN_MS = 100, /* what HELLO may ask for */
    INTERVAL_MAX_MS = 600000,
    INTERVAL_MS = 41250, /* it did not say: Discord's usual one */
    MALFORMED_MAX = 3,
};

/* What a close code from Discord means for the session. Every other code, and a lost connection:
 * RESUME, op 9 tells otherwise (general rule of the documentation). */
enum consequence { RESUME, IDENTIFY, REFUSED };
static const struct {
    int code;
    enum consequence then;
    const char *text;
} close_codes[] = {
    { 4003, IDENTIFY, "not authenticated" },
    { 4004, REFUSED, "the bot token is wrong: set DISCORD_TOKEN" },
    { 4005, IDENTIFY, "already authenticated" },
    { 4006, IDENTIFY, "session no longer valid" }, /* undocumented: another token's session */
    { 4007, IDENTIFY, "invalid seq" },
    { 4010, REFUSED, "this shard id does not exist with this shard count" },
    { 4011, REFUSED, "the bot is in too many guilds for this shard count: raise it" },
    { 4012, REFUSED, "the gateway version is no longer supported" },
    { 4013, REFUSED, "invalid intents" },
    { 4014, REFUSED,
      "privileged intents are off: enable Server Members and Message Content for the bot in the developer portal" },
};

static enum consequence consequence_of(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(close_codes); i++)
        if (close_codes[i].code == code)
            return close_codes[i].then;
    return RESUME;
}

const char *shard_fatal_text(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(close_codes); i++)
        if (close_codes[i].code == code)
            return close_codes[i].text;
    return "";
}

const char *shard_phase_name(enum shard_phase phase)
{
    static const char *const names[] = { "idle",  "wait", "grant",   "connect", "hello",
                                         "start", "live", "stopped", "fatal" };
    return names[phase];
}

/* splitmix64; uniform enough in [0, below). */
static int64_t draw(struct shard *s, int64_t below)
{
    uint64_t z = (s->random += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return below > 0 ? (int64_t)(z % (uint64_t)below) : 0;
}

static void act(struct shard_actions *todo, enum shard_act what, int code)
{
    if (todo->count < SHARD_ACTIONS)
        todo->list[todo->count++] = (struct shard_action){ what, code };
}

void shard_init(struct shard *shard, uint64_t random)
{
    *shard = (struct shard){ .random = random };
}

static bool has_session(const struct shard *s)
{
    return s->session.id[0] != '\0';
}

bool shard_is_connected(const struct shard *s)
{
    return s->phase == SHARD_CONNECT || s->phase == SHARD_HELLO || s->phase == SHARD_START ||
           s->phase == SHARD_LIVE;
}

bool shard_is_caught_up(const struct shard *s)
{
    return s->phase == SHARD_LIVE && s->probe != 0 && s->acks >= s->probe;
}

void shard_set_deaf(struct shard *s, bool deaf)
{
    s->deaf = deaf;
    s->heard = true; /* the silence until now was ours */
}

bool shard_wants_main(const struct shard *s)
{
    return !has_session(s) || s->session.resume_url[0] == '\0' || s->unresumed % 2 == 1;
}

int64_t shard_deadline(const struct shard *s)
{
    int64_t wake = INT64_MAX;

    if (s->phase == SHARD_WAIT || s->phase == SHARD_CONNECT || s->phase == SHARD_HELLO ||
        s->phase == SHARD_START)
        wake = s->wake_ms;
    if (s->beat_ms != 0 && shard_is_connected(s) && s->beat_ms < wake)
        wake = s->beat_ms;
    return wake;
}

/* ---- connections ---- */

static int64_t backoff(struct shard *s)
{
    if (s->tries == 0)
        return 0;
    unsigned doublings = s->tries - 1 < 8 ? s->tries - 1 : 8;
    int64_t most = (int64_t)BACKOFF_MS << doublings;
    if (most > BACKOFF_MAX_MS)
        most = BACKOFF_MAX_MS;
    return most / 2 + draw(s, most / 2 + 1);
}

static void open_connection(struct shard *s, int64_t now, struct shard_actions *todo)
{
    s->phase = SHARD_CONNECT;
    s->wake_ms = now + CONNECT_MS;
    s->beat_ms = 0;
    s->interval_ms = 0;
    s->beaten = s->heard = false;
    s->beats = s->acks = s->probe = 0;
    s->send_count = 0;
    act(todo, SHARD_DO_CONNECT, 0);
}

static void begin(struct shard *s, int64_t now, struct shard_actions *todo)
{
    if (has_session(s) || (s->grant_ms != 0 && now - s->grant_ms <= GRANT_MS)) {
        open_connection(s, now, todo);
        return;
    }
    s->phase = SHARD_GRANT;
    s->grant_ms = 0;
    act(todo, SHARD_DO_GRANT, 0);
}

static void forget(struct shard *s, struct shard_actions *todo)
{
    if (has_session(s))
        act(todo, SHARD_DO_FORGET, 0);
    s->session = (struct shard_session){ .seq = 0 };
    s->unresumed = s->unanswered = 0;
}

/* A RESUME was sent on this connection and nothing came of it. */
static bool is_hopeless(struct shard *s, int64_t now)
{
    if (s->phase != SHARD_START)
        return false;
    return ++s->unanswered >= SHARD_RESUME_TRIES && now - s->asked_ms >= SHARD_RESUME_MS;
}

/* The connection is gone: wait, then begin again. least_ms: Discord asked for so much. */
static void retry(struct shard *s, int64_t least_ms, int64_t now, struct shard_actions *todo)
{
    if (s->phase == SHARD_LIVE) {
        s->unresumed = 0;
        if (now - s->live_ms >= STABLE_MS)
            s->tries = 0;
        else if (s->tries > TRIES_LIVE)
            s->tries = TRIES_LIVE;
    } else if (has_session(s)) {
        s->unresumed++;
        if (is_hopeless(s, now))
            forget(s, todo);
    }
    if (shard_wants_main(s) && s->phase != SHARD_LIVE)
        act(todo, SHARD_DO_REFRESH, 0);
    int64_t wait = backoff(s);
    s->tries++;
    s->phase = SHARD_WAIT;
    s->wake_ms = now + (wait > least_ms ? wait : least_ms);
    if (s->wake_ms <= now)
        begin(s, now, todo);
}

static void drop(struct shard *s, int64_t least_ms, int64_t now, struct shard_actions *todo)
{
    act(todo, SHARD_DO_CLOSE, SHARD_CLOSE_KEEPS);
    retry(s, least_ms, now, todo);
}

static void on_close(struct shard *s, const struct shard_input *in, int64_t now,
                     struct shard_actions *todo)
{
    if (!shard_is_connected(s))
        return;
    switch (consequence_of(in->code)) {
    case REFUSED:
        s->phase = SHARD_FATAL;
        s->fatal_code = in->code;
        act(todo, SHARD_DO_FATAL, in->code);
        return;
    case IDENTIFY:
        forget(s, todo);
        break;
    case RESUME:
        break;
    }
    retry(s, 0, now, todo);
}

static void on_open(struct shard *s, int64_t now)
{
    if (s->phase != SHARD_CONNECT)
        return;
    s->phase = SHARD_HELLO;
    s->wake_ms = now + HELLO_MS;
}

/* ---- sending ---- */

static bool may_send(const struct shard *s, unsigned limit, int64_t now)
{
    if (s->send_count < limit)
        return true;
    return now - s->sent_ms[(s->send_count - limit) % SHARD_SENDS] >= SEND_WINDOW_MS;
}

static void send_one(struct shard *s, enum shard_act what, int64_t now, struct shard_actions *todo)
{
    s->sent_ms[s->send_count++ % SHARD_SENDS] = now;
    act(todo, what, 0);
}

static void beat(struct shard *s, int64_t now, struct shard_actions *todo)
{
    s->beat_ms = now + s->interval_ms;
    s->beaten = true;
    s->heard = false;
    if (!may_send(s, SHARD_SENDS, now))
        return;
    s->beats++;
    send_one(s, SHARD_DO_BEAT, now, todo);
}

static void on_probe(struct shard *s, int64_t now, struct shard_actions *todo)
{
    if (s->phase != SHARD_LIVE || !may_send(s, SHARD_SENDS, now))
        return;
    beat(s, now, todo);
    s->probe = s->beats;
}

static void on_beat_due(struct shard *s, int64_t now, struct shard_actions *todo)
{
    /* Any payload since the last heartbeat shows life, not only op 11: an ACK can wait behind a
     * flood of GUILD_CREATE. */
    if (s->beaten && !s->heard && !s->deaf)
        drop(s, 0, now, todo);
    else
        beat(s, now, todo);
}

/* ---- what Discord sends ---- */

static void on_hello(struct shard *s, const struct frame *f, int64_t now,
                     struct shard_actions *todo)
{
    uint64_t interval = scan_id(scan_member(f->d, "heartbeat_interval"));

    if (interval == 0)
        interval = INTERVAL_MS;
    if (interval < INTERVAL_MIN_MS)
        interval = INTERVAL_MIN_MS;
    if (interval > INTERVAL_MAX_MS)
        interval = INTERVAL_MAX_MS;
    s->interval_ms = (int64_t)interval;
    s->beat_ms =
        now + draw(s, s->interval_ms); /* interval × jitter, so that shards do not beat together */
    if (s->phase != SHARD_HELLO)
        return;
    if (!has_session(s) && (s->grant_ms == 0 || now - s->grant_ms > GRANT_MS)) {
        drop(s, 0, now, todo); /* connecting took longer than the grant is good for */
        return;
    }
    s->phase = SHARD_START;
    s->wake_ms = now + START_MS;
    if (!may_send(s, SHARD_SENDS - SHARD_SENDS_FOR_BEATS, now))
        return;
    if (has_session(s) && s->unanswered == 0)
        s->asked_ms = now;
    send_one(s, has_session(s) ? SHARD_DO_RESUME : SHARD_DO_IDENTIFY, now, todo);
    s->grant_ms = 0;
}

static void on_invalid_session(struct shard *s, const struct frame *f, int64_t now,
                               struct shard_actions *todo)
{
    if (!scan_is_true(f->d))
        forget(s, todo);
    drop(s, 1000 + draw(s, 4001), now, todo); /* Discord: wait a random 1 to 5 s */
}

static bool read_ready(struct shard *s, const struct frame *f)
{
    struct shard_session fresh = { .seq = 0 };

    if (!scan_text(scan_member(f->d, "session_id"), fresh.id, sizeof(fresh.id)) ||
        fresh.id[0] == '\0')
        return false;
    if (!scan_text(scan_member(f->d, "resume_gateway_url"), fresh.resume_url,
                   sizeof(fresh.resume_url)))
        fresh.resume_url[0] = '\0'; /* the main URL will do */
    s->session = fresh;
    return true;
}

static void become_live(struct shard *s, int64_t now)
{
    s->phase = SHARD_LIVE;
    s->live_ms = now;
    s->unresumed = s->unanswered = 0;
}

static void on_dispatch(struct shard *s, const struct frame *f, int64_t now,
                        struct shard_actions *todo)
{
    if ((s->phase != SHARD_START && s->phase != SHARD_LIVE) || !f->has_seq)
        return;
    if (strcmp(f->type, "READY") == 0) {
        if (!read_ready(s, f)) {
            drop(s, 1000, now, todo);
            return;
        }
        become_live(s, now);
        act(todo, SHARD_DO_SESSION, 0);
    } else if (strcmp(f->type, "RESUMED") == 0) {
        become_live(s, now);
    }
    s->wake_ms = now + START_MS; /* a replay goes on */
    if (!has_session(s) || f->seq <= s->session.seq)
        return; /* handed on before */
    s->session.seq = f->seq;
    s->unanswered = 0;
    s->malformed = 0;
    act(todo, SHARD_DO_DISPATCH, 0);
}

static void on_frame(struct shard *s, const struct shard_input *in, int64_t now,
                     struct shard_actions *todo)
{
    if (!shard_is_connected(s))
        return;
    s->heard = true;
    switch (in->frame->op) {
    case 0:
        on_dispatch(s, in->frame, now, todo);
        break;
    case 1: /* asked to beat at once */
        if (s->interval_ms > 0)
            beat(s, now, todo);
        break;
    case 7: /* may also come before HELLO */
        drop(s, 0, now, todo);
        break;
    case 9:
        on_invalid_session(s, in->frame, now, todo);
        break;
    case 10:
        on_hello(s, in->frame, now, todo);
        break;
    case 11:
        s->acks += s->acks < s->beats;
        break;
    default: /* not for us */
        break;
    }
}

static void on_malformed(struct shard *s, int64_t now, struct shard_actions *todo)
{
    if (!shard_is_connected(s))
        return;
    if (++s->malformed >=
        MALFORMED_MAX) { /* RESUME replays the same bytes: only a new session gets past them */
        s->malformed = 0;
        forget(s, todo);
    }
    drop(s, 0, now, todo);
}

/* ---- the rest ---- */

static void on_start(struct shard *s, const struct shard_input *in, int64_t now,
                     struct shard_actions *todo)
{
    if (s->phase != SHARD_IDLE)
        return;
    if (in->session)
        s->session = *in->session;
    begin(s, now, todo);
}

static void on_granted(struct shard *s, int64_t now, struct shard_actions *todo)
{
    if (s->phase != SHARD_GRANT)
        return;
    s->grant_ms = now;
    open_connection(s, now, todo);
}

static void on_time(struct shard *s, int64_t now, struct shard_actions *todo)
{
    if (shard_is_connected(s) && s->beat_ms != 0 && now >= s->beat_ms)
        on_beat_due(s, now, todo);
    if (s->phase == SHARD_LIVE || now < s->wake_ms)
        return;
    if (s->phase == SHARD_WAIT)
        begin(s, now, todo);
    else if (shard_is_connected(s) && s->deaf)
        s->wake_ms = now + START_MS;
    else if (shard_is_connected(s))
        drop(s, 0, now, todo);
}

static void on_stop(struct shard *s, struct shard_actions *todo)
{
    if (shard_is_connected(s))
        act(todo, SHARD_DO_CLOSE, SHARD_CLOSE_KEEPS);
    if (s->phase != SHARD_FATAL)
        s->phase = SHARD_STOPPED;
}

void shard_step(struct shard *s, const struct shard_input *in, int64_t now,
                struct shard_actions *todo)
{
    switch (in->event) {
    case SHARD_ON_START:
        on_start(s, in, now, todo);
        break;
    case SHARD_ON_GRANTED:
        on_granted(s, now, todo);
        break;
    case SHARD_ON_OPEN:
        on_open(s, now);
        break;
    case SHARD_ON_CLOSE:
        on_close(s, in, now, todo);
        break;
    case SHARD_ON_FRAME:
        on_frame(s, in, now, todo);
        break;
    case SHARD_ON_MALFORMED:
        on_malformed(s, now, todo);
        break;
    case SHARD_ON_RECONNECT:
        if (shard_is_connected(s))
            drop(s, 0, now, todo);
        break;
    case SHARD_ON_TIME:
        on_time(s, now, todo);
        break;
    case SHARD_ON_PROBE:
        on_probe(s, now, todo);
        break;
    case SHARD_ON_STOP:
        on_stop(s, todo);
        break;
    }
}
