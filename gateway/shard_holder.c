#include "gateway/shard_holder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/shard.h"
#include "gateway/shard_keeper.h"

/* guilds, members*, moderation, messages, reactions, direct messages, message content*, automod
 * execution; * privileged */
enum {
    INTENTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 9 | 1 << 10 | 1 << 12 | 1 << 15 | 1 << 21,
    STOP_MAX_MS = 10000, /* for the last acks and the last save */
    PAUSE_WARN_EACH_MS = 10000,
    SEND_TEXT_MAX = 4096,  /* Discord: bytes a payload, else close code 4002 */
    FLOOD_MS = 5000,       /* guilds that Discord has not sent by then are unavailable */
    RETIRE_MAX_MS = 15000, /* to catch up; meanwhile the next shards' events wait */
    PROBE_MS = 5000,       /* without an answer the connection is half open */
    RETIRE_LOOK_MS = 250,
};

static struct metric opened =
    METRIC_COUNTER("guildbus_shard_connections_total", "WebSocket connections to Discord opened");
static struct metric resumes = METRIC_COUNTER("guildbus_shard_resumes_total", "RESUMEs sent");
static struct metric identifies =
    METRIC_COUNTER("guildbus_shard_identifies_total", "IDENTIFYs sent");
static struct metric closes =
    METRIC_COUNTER("guildbus_shard_drops_total", "connections that ended");

static struct metric pauses = METRIC_COUNTER("guildbus_shard_pauses_total",
                                             "times a shard was not read because the bus was slow");

enum life { TAKING, HOLDING, STOPPING, ENDED };

struct shard_holder {
    const struct shard_pod *pod;
    uint32_t shard, count;
    enum life life;
    bool lost, paused, retiring, retire_steps, discarding, ended_well;
    bool was_paused;      /* since it was live last */
    bool live_to_retire;  /* when it became so: what it has not read the next ones keep */
    uint32_t guilds_left; /* of those READY named */
    int64_t last_guild_ms, retire_until_ms, probe_until_ms;
    struct shard machine;
    struct shard_socket *socket;
    struct shard_keeper *keeper;
    struct shard_publisher *publisher;
    struct identify_wish *wish;
    int64_t pause_warn_ms;
    struct loop_timer *timer; /* the machine's */
    struct loop_timer *retire_timer;
    struct loop_timer *end_timer; /* STOP_MAX_MS, then the report of the end */
    void (*on_end)(void *ctx, struct shard_holder *holder);
    void *ctx;
};

static void step(struct shard_holder *h, const struct shard_input *in);

/* ---- the end ---- */

/* Reported from a timer, so that nobody frees the holder beneath its own callbacks. */
static void end(struct shard_holder *h)
{
    if (h->life == ENDED)
        return;
    h->life = ENDED;
    loop_timer_start(h->end_timer, 0);
}

static void on_end_timer(void *ctx)
{
    struct shard_holder *h = ctx;

    if (h->life == STOPPING && !h->discarding)
        log_error("shard_stop_incomplete",
                  "shard=%u text=\"NATS did not confirm in time; what is not confirmed comes again "
                  "with the next RESUME\"",
                  h->shard);
    h->life = ENDED;
    h->on_end(h->ctx, h);
}

static void save(struct shard_holder *h)
{
    struct shard_session session = h->machine.session;

    if (h->life != HOLDING && h->life != STOPPING)
        return;
    if (session.id[0] != '\0')
        session.seq = shard_publisher_watermark(h->publisher);
    shard_keeper_save(h->keeper, &session);
}

static void release_when_idle(struct shard_holder *h)
{
    /* What is kept comes again with the next RESUME. */
    bool done = shard_publisher_is_idle(h->publisher) ||
                shard_publisher_mode(h->publisher) == PUBLISH_KEEPS;

    if (h->life != STOPPING || !done)
        return;
    if (h->discarding)
        shard_keeper_discard(h->keeper);
    else
        shard_keeper_release(h->keeper);
}

/* ---- back-pressure ---- */

static void pause_when_full(struct shard_holder *h)
{
    if (h->paused || !shard_publisher_is_full(h->publisher))
        return;
    int64_t now = clock_now_ms();
    metric_add(&pauses, 1);
    if (now >= h->pause_warn_ms) {
        log_warn("shard_paused", "shard=%u text=\"the bus is slower than Discord\"", h->shard);
        h->pause_warn_ms = now + PAUSE_WARN_EACH_MS;
    }
    h->paused = h->was_paused = true;
    shard_set_deaf(&h->machine, true);
    if (h->socket)
        shard_socket_read(h->socket, false);
}

static void go_on_with_room(struct shard_holder *h)
{
    if (!h->paused || !shard_publisher_has_room(h->publisher))
        return;
    h->paused = false;
    shard_set_deaf(&h->machine, false);
    if (h->socket)
        shard_socket_read(h->socket, true);
}

static void on_progress(void *ctx)
{
    struct shard_holder *h = ctx;

    if (h->life == ENDED)
        return;
    go_on_with_room(h);
    save(h);
    release_when_idle(h);
}

/* ---- what the machine asks for ---- */

static void on_open(void *ctx)
{
    struct shard_holder *h = ctx;

    if (h->paused)
        shard_socket_read(h->socket, false);
    step(h, &(struct shard_input){ .event = SHARD_ON_OPEN });
}

static void on_part(void *ctx)
{
    struct shard_holder *h = ctx;
    h->machine.heard = true;
}

static void on_close(void *ctx, const struct shard_socket_end *how)
{
    struct shard_holder *h = ctx;
    enum shard_event event = how->unreadable ? SHARD_ON_MALFORMED : SHARD_ON_CLOSE;

    h->socket = NULL;
    metric_add(&closes, 1);
    log_info("shard_closed", "shard=%u code=%d phase=%s why=%s", h->shard, how->code,
             shard_phase_name(h->machine.phase), LOG_QUOTE(how->why));
    step(h, &(struct shard_input){ .event = event, .code = how->code });
}

static void on_text(void *ctx, const char *text, size_t size)
{
    struct shard_holder *h = ctx;
    struct frame frame;
    struct err err;

    if (frame_parse(text, size, &frame, &err) != STATUS_OK) {
        log_warn("shard_payload_malformed", "shard=%u seq=%" PRIu64 " error=%s", h->shard,
                 h->machine.session.seq, LOG_QUOTE(err.text));
        step(h, &(struct shard_input){ .event = SHARD_ON_MALFORMED });
        return;
    }
    step(h, &(struct shard_input){ .event = SHARD_ON_FRAME, .frame = &frame });
}

static void do_connect(struct shard_holder *h)
{
    const struct shard_socket_events events = { on_open, on_text, on_part, on_close, h };
    const struct gateway_facts *facts = gateway_info_facts(h->pod->info);
    bool wants_main = shard_wants_main(&h->machine);
    const char *url = wants_main ? (facts ? facts->url : "") : h->machine.session.resume_url;
    struct err err;

    metric_add(&opened, 1);
    log_info("shard_connects", "shard=%u url=%s try=%u", h->shard, LOG_QUOTE(url),
             h->machine.tries);
    if (shard_socket_open(h->pod->net, url, &events, &h->socket, &err) == STATUS_OK)
        return;
    log_warn("shard_url_unusable", "shard=%u error=%s", h->shard, LOG_QUOTE(err.text));
    h->machine.wake_ms = 0; /* its time for connecting is over */
}

static void do_send(struct shard_holder *h, const char *text)
{
    if (!h->socket || shard_socket_send(h->socket, text) != STATUS_OK)
        log_warn("shard_send_failed", "shard=%u phase=%s", h->shard,
                 shard_phase_name(h->machine.phase));
}

static void do_identify(struct shard_holder *h)
{
    char text[SEND_TEXT_MAX];

    identify_cancel(&h->wish);
    (void)snprintf(
        text, sizeof(text),
        "{\"op\":2,\"d\":{\"token\":\"%s\",\"intents\":%d,\"shard\":[%u,%u],\"large_threshold\":50,"
        "\"properties\":{\"os\":\"linux\",\"browser\":\"guildbus\",\"device\":\"guildbus\"}}}",
        h->pod->token, (int)INTENTS, h->shard, h->count);
    metric_add(&identifies, 1);
    log_info("shard_identifies", "shard=%u count=%u", h->shard, h->count);
    do_send(h, text);
}

static void do_resume(struct shard_holder *h)
{
    char text[SEND_TEXT_MAX];

    (void)snprintf(text, sizeof(text),
                   "{\"op\":6,\"d\":{\"token\":\"%s\",\"session_id\":\"%s\",\"seq\":%" PRIu64 "}}",
                   h->pod->token, h->machine.session.id, h->machine.session.seq);
    metric_add(&resumes, 1);
    log_info("shard_resumes", "shard=%u seq=%" PRIu64, h->shard, h->machine.session.seq);
    do_send(h, text);
}

static void do_beat(struct shard_holder *h)
{
    char text[64];

    if (h->machine.session.seq > 0)
        (void)snprintf(text, sizeof(text), "{\"op\":1,\"d\":%" PRIu64 "}", h->machine.session.seq);
    else
        (void)snprintf(text, sizeof(text), "{\"op\":1,\"d\":null}");
    do_send(h, text);
}

static void on_granted(void *ctx)
{
    struct shard_holder *h = ctx;

    identify_cancel(&h->wish);
    step(h, &(struct shard_input){ .event = SHARD_ON_GRANTED });
}

static void do_grant(struct shard_holder *h)
{
    identify_cancel(&h->wish);
    h->wish = identify_ask(h->pod->gate, h->shard, h->count, on_granted, h);
}

static void see_guild(struct shard_holder *h, uint64_t id)
{
    if (h->pod->seen)
        guilds_seen_add(h->pod->seen, id);
}

/* READY names the guilds, then a GUILD_CREATE brings each. */
static void see_ready(struct shard_holder *h, const struct frame *f)
{
    struct scan_walk walk;
    struct span key, guild;
    uint64_t id;

    h->guilds_left = 0;
    h->last_guild_ms = clock_now_ms();
    if (!scan_walk_start(scan_member(f->d, "guilds"), &walk))
        return;
    while (scan_walk_next(&walk, &key, &guild)) {
        if ((id = scan_id(scan_member(guild, "id"))) == 0)
            continue;
        see_guild(h, id);
        h->guilds_left++;
    }
}

/* Guild 0 stands for direct messages and user installs, which come on shard 0. */
static void tell_guilds(struct shard_holder *h, const struct frame *f)
{
    bool is_ready = strcmp(f->type, "READY") == 0, is_resumed = strcmp(f->type, "RESUMED") == 0;

    if (h->shard == 0 && (is_ready || is_resumed))
        see_guild(h, 0);
    if (is_ready)
        see_ready(h, f);
    if (is_resumed)
        h->guilds_left = 0; /* what was still to come was replayed */
    if (strcmp(f->type, "GUILD_CREATE") != 0 || !f->id)
        return;
    see_guild(h, f->id);
    h->guilds_left -= h->guilds_left > 0;
    h->last_guild_ms = clock_now_ms();
}

static void on_interaction_end(void *ctx, uint64_t place, bool store)
{
    struct shard_holder *h = ctx;

    if (store)
        shard_publisher_send(h->publisher, place);
    else
        shard_publisher_release(h->publisher, place);
}

/* False: it goes the way of all events; its owner answers it when it comes there. */
static bool take_interaction(struct shard_holder *h, const struct frame *f)
{
    struct interaction_place place = { .on_end = on_interaction_end, .ctx = h };

    if (strcmp(f->type, "INTERACTION_CREATE") != 0 ||
        shard_publisher_mode(h->publisher) == PUBLISH_DROPS ||
        !interactions_would_take(h->pod->interactions, f) ||
        shard_publisher_hold(h->publisher, f, &place.place, NULL) != STATUS_OK)
        return false;
    interactions_take(h->pod->interactions, f, &place);
    return true;
}

static void do_dispatch(struct shard_holder *h, const struct frame *f)
{
    struct err err;

    must(f);
    tell_guilds(h, f);
    if (take_interaction(h, f)) {
        pause_when_full(h);
        return;
    }
    if (shard_publisher_add(h->publisher, f, &err) != STATUS_OK) {
        /* Never with flow control at work. The session goes back to what was taken in. */
        log_error("shard_overrun", "shard=%u seq=%" PRIu64 " error=%s", h->shard, f->seq,
                  LOG_QUOTE(err.text));
        h->machine.session.seq = f->seq - 1;
        step(h, &(struct shard_input){ .event = SHARD_ON_RECONNECT });
        return;
    }
    pause_when_full(h);
}

static void do_session(struct shard_holder *h)
{
    struct shard_session begun = h->machine.session;

    begun.seq = 0;
    log_info("shard_ready", "shard=%u session=%.8s… url=%s", h->shard, begun.id, begun.resume_url);
    shard_publisher_begin(h->publisher, &begun);
}

static void do_fatal(struct shard_holder *h, int code)
{
    log_error("shard_refused", "shard=%u code=%d text=\"%s\"", h->shard, code,
              shard_fatal_text(code));
    save(h);
}

static void perform(struct shard_holder *h, const struct shard_action *a,
                    const struct shard_input *in)
{
    switch (a->what) {
    case SHARD_DO_CONNECT:
        do_connect(h);
        break;
    case SHARD_DO_CLOSE:
        log_info("shard_leaves", "shard=%u code=%d", h->shard, a->code);
        shard_socket_close(&h->socket, a->code);
        break;
    case SHARD_DO_IDENTIFY:
        do_identify(h);
        break;
    case SHARD_DO_RESUME:
        do_resume(h);
        break;
    case SHARD_DO_BEAT:
        do_beat(h);
        break;
    case SHARD_DO_GRANT:
        do_grant(h);
        break;
    case SHARD_DO_REFRESH:
        gateway_info_refresh(h->pod->info);
        break;
    case SHARD_DO_SESSION:
        do_session(h);
        break;
    case SHARD_DO_DISPATCH:
        do_dispatch(h, in->frame);
        break;
    case SHARD_DO_FORGET:
        log_warn("shard_session_lost",
                 "shard=%u text=\"Discord does not resume it: a new one begins\"", h->shard);
        save(h);
        break;
    case SHARD_DO_FATAL:
        do_fatal(h, a->code);
        break;
    }
}

static void set_timer(struct shard_holder *h)
{
    int64_t due = shard_deadline(&h->machine);

    if (due == INT64_MAX || h->life == ENDED)
        loop_timer_stop(h->timer);
    else
        loop_timer_start(h->timer, due - clock_now_ms());
    if (h->retiring && h->life == HOLDING && !h->discarding)
        loop_timer_start(h->retire_timer, RETIRE_LOOK_MS);
}

/* ---- the end of a set of shards ---- */

static void begin_stop(struct shard_holder *h)
{
    bool was_held = h->life == HOLDING;

    step(h, &(struct shard_input){ .event = SHARD_ON_STOP });
    identify_cancel(&h->wish);
    h->life = STOPPING;
    loop_timer_start(h->end_timer, STOP_MAX_MS);
    if (was_held)
        save(h);
    release_when_idle(h);
}

static void leave_for_good(struct shard_holder *h, const char *how)
{
    log_info("shard_retires", "shard=%u count=%u how=%s", h->shard, h->count, how);
    h->discarding = true;
    begin_stop(h);
}

static void leave_late(struct shard_holder *h)
{
    log_warn("shard_retires_late",
             "shard=%u phase=%s text=\"what Discord had not sent yet after %d s may be missing\"",
             h->shard, shard_phase_name(h->machine.phase), RETIRE_MAX_MS / 1000);
    leave_for_good(h, "late");
}

static void retire_step(struct shard_holder *h, enum shard_event event)
{
    h->retire_steps = true; /* a step asks how retiring goes on: not this one */
    step(h, &(struct shard_input){ .event = event });
    h->retire_steps = false;
    h->probe_until_ms = clock_now_ms() + PROBE_MS;
}

static void probe(struct shard_holder *h)
{
    retire_step(h, SHARD_ON_PROBE);
    if (h->machine.phase == SHARD_LIVE && h->machine.probe == 0)
        retire_step(h, SHARD_ON_RECONNECT); /* this connection has no sends left */
}

/* A session that is gone has nothing to catch up with. One that is not read has: only the bus is
 * slow, and what Discord had to send meanwhile the next shards may have dropped before they kept. An
 * answered heartbeat might overtake that, RESUMED has its place in the order. */
static void go_on_retiring(struct shard_holder *h)
{
    int64_t now_ms = clock_now_ms();

    if (!h->retiring || h->retire_steps || h->discarding || h->lost || h->life != HOLDING)
        return;
    if (h->paused) {
        h->retire_until_ms = now_ms + RETIRE_MAX_MS;
        h->probe_until_ms = now_ms + PROBE_MS;
    }
    if (h->machine.phase == SHARD_FATAL || h->machine.session.id[0] == '\0')
        leave_for_good(h, "no_session");
    else if (now_ms >= h->retire_until_ms)
        leave_late(h);
    else if (h->machine.phase == SHARD_LIVE && h->machine.probe == 0)
        probe(h);
    else if (h->machine.phase == SHARD_LIVE && !h->paused &&
             ((h->was_paused && !h->live_to_retire) ||
              (now_ms >= h->probe_until_ms && !shard_is_caught_up(&h->machine))))
        retire_step(h, SHARD_ON_RECONNECT);
    else if (!h->paused && shard_is_caught_up(&h->machine))
        leave_for_good(h, "caught_up");
}

static void on_retire_timer(void *ctx)
{
    struct shard_holder *h = ctx;

    go_on_retiring(h);
    set_timer(h);
}

void shard_holder_retire(struct shard_holder *h)
{
    if (!h->retiring)
        h->retire_until_ms = clock_now_ms() + RETIRE_MAX_MS;
    h->retiring = true;
    shard_holder_set_mode(h, PUBLISH_SENDS);
    go_on_retiring(h);
}

void shard_holder_discard(struct shard_holder *h)
{
    if (h->life == STOPPING || h->life == ENDED)
        return;
    h->discarding = true;
    shard_publisher_set_mode(h->publisher, PUBLISH_DROPS);
    begin_stop(h);
}

void shard_holder_set_mode(struct shard_holder *h, enum publish_mode mode)
{
    if (h->life == TAKING || h->life == HOLDING)
        shard_publisher_set_mode(h->publisher, mode);
}

static void step(struct shard_holder *h, const struct shard_input *in)
{
    struct shard_actions todo = { .count = 0 };
    enum shard_phase before = h->machine.phase;

    if (h->life == ENDED)
        return;
    shard_step(&h->machine, in, clock_now_ms(), &todo);
    for (size_t i = 0; i < todo.count; i++)
        perform(h, &todo.list[i], in);
    if (h->machine.phase == SHARD_LIVE && before != SHARD_LIVE) {
        h->was_paused = h->paused;
        h->live_to_retire = h->retiring;
        log_info("shard_live", "shard=%u seq=%" PRIu64, h->shard, h->machine.session.seq);
    }
    set_timer(h);
    save(h);
    go_on_retiring(h);
}

static void on_time(void *ctx)
{
    step(ctx, &(struct shard_input){ .event = SHARD_ON_TIME });
}

/* ---- the record ---- */

static void on_taken(void *ctx, const struct shard_session *session)
{
    struct shard_holder *h = ctx;

    if (h->life != TAKING)
        return;
    h->life = HOLDING;
    h->retire_until_ms = clock_now_ms() + RETIRE_MAX_MS;
    log_info("shard_taken", "shard=%u count=%u resume=%s seq=%" PRIu64, h->shard, h->count,
             session ? "yes" : "no", session ? session->seq : 0);
    if (session)
        shard_publisher_begin(h->publisher, session);
    if (h->retiring && !session) {
        leave_for_good(h, "no_session");
        return;
    }
    step(h, &(struct shard_input){ .event = SHARD_ON_START, .session = session });
}

static void on_lost(void *ctx, const char *to_pod)
{
    struct shard_holder *h = ctx;

    log_warn("shard_lost", "shard=%u to=%s text=\"another pod took it over\"", h->shard, to_pod);
    h->lost = true;
    if (h->life == HOLDING)
        step(h, &(struct shard_input){ .event = SHARD_ON_STOP });
    end(h);
}

static void on_released(void *ctx)
{
    struct shard_holder *h = ctx;

    log_info(h->discarding ? "shard_discarded" : "shard_released", "shard=%u count=%u seq=%" PRIu64,
             h->shard, h->count, shard_publisher_watermark(h->publisher));
    h->ended_well = true;
    end(h);
}

/* ---- life ---- */

struct shard_holder *shard_holder_new(const struct shard_pod *pod, const struct shard_post *post,
                                      void (*on_end)(void *ctx, struct shard_holder *holder),
                                      void *ctx)
{
    struct shard_holder *h = xcalloc(1, sizeof(*h));

    *h = (struct shard_holder){
        .pod = pod, .shard = post->shard, .count = post->count, .on_end = on_end, .ctx = ctx
    };
    shard_init(&h->machine,
               pod->incarnation ^ (uint64_t)clock_now_us() ^ (uint64_t)post->shard << 32);
    h->timer = loop_timer_new(pod->loop, on_time, h);
    h->retire_timer = loop_timer_new(pod->loop, on_retire_timer, h);
    h->end_timer = loop_timer_new(pod->loop, on_end_timer, h);
    h->publisher = shard_publisher_new(&(struct shard_publisher_config){ .loop = pod->loop,
                                                                         .bus = pod->bus,
                                                                         .shard = post->shard,
                                                                         .mode = post->mode,
                                                                         .on_progress = on_progress,
                                                                         .ctx = h });
    h->keeper = shard_keeper_new(&(struct shard_keeper_config){ .loop = pod->loop,
                                                                .bus = pod->bus,
                                                                .pod = pod->pod,
                                                                .incarnation = pod->incarnation,
                                                                .shard = post->shard,
                                                                .shard_count = post->count,
                                                                .is_next = post->is_next,
                                                                .on_taken = on_taken,
                                                                .on_lost = on_lost,
                                                                .on_released = on_released,
                                                                .ctx = h });
    return h;
}

void shard_holder_free(struct shard_holder *h)
{
    if (!h)
        return;
    shard_socket_close(&h->socket, SHARD_CLOSE_KEEPS);
    identify_cancel(&h->wish);
    interactions_forget(h->pod->interactions, h);
    shard_keeper_free(h->keeper);
    shard_publisher_free(h->publisher);
    loop_timer_free(h->timer);
    loop_timer_free(h->retire_timer);
    loop_timer_free(h->end_timer);
    free(h);
}

void shard_holder_stop(struct shard_holder *h)
{
    if (h->life == STOPPING || h->life == ENDED)
        return;
    begin_stop(h);
}

uint32_t shard_holder_id(const struct shard_holder *h)
{
    return h->shard;
}

uint32_t shard_holder_count(const struct shard_holder *h)
{
    return h->count;
}

bool shard_holder_holds(const struct shard_holder *h)
{
    return (h->life == HOLDING || h->life == STOPPING) && h->machine.phase != SHARD_FATAL;
}

bool shard_holder_is_settled(const struct shard_holder *h)
{
    return h->life == HOLDING && h->machine.phase == SHARD_LIVE &&
           (h->guilds_left == 0 || clock_now_ms() - h->last_guild_ms > FLOOD_MS);
}

bool shard_holder_is_at_rest(const struct shard_holder *h)
{
    return h->life == HOLDING &&
           ((h->machine.phase == SHARD_LIVE && !h->paused) || h->machine.phase == SHARD_FATAL);
}

bool shard_holder_is_keeping(const struct shard_holder *h)
{
    return shard_holder_is_settled(h) && shard_publisher_is_keeping(h->publisher);
}

bool shard_holder_was_retired(const struct shard_holder *h)
{
    return h->retiring && h->discarding && h->ended_well;
}

bool shard_holder_was_lost(const struct shard_holder *h)
{
    return h->lost;
}
