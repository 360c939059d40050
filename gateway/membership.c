#include "gateway/membership.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/discord_rest.h"
#include "gateway/store.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    BEAT_MS = 1000,
    BUSY_BEAT_MS = 200, /* while next shards keep events that wait for what others report */
    BEAT_TIMEOUT_MS = 1500,
    REGISTER_AGAIN_MS = 500,
    REFUSALS_BEFORE_END_MS = 8000, /* a predecessor that was killed keeps its lease 4 s; who is
                                      alive keeps it for ever */
    MAX_SHARDS = 1024,
};

static struct metric beats_missed =
    METRIC_COUNTER("guildbus_heartbeats_unanswered_total", "heartbeats without an answer");
static struct metric lease_left =
    METRIC_GAUGE("guildbus_lease_left_ms", "how long the lease still ran at the last beat");

struct membership {
    struct membership_config config;
    struct loop_timer *timer;
    bool registered, waiting, draining, refused, is_busy;
    uint32_t missed; /* heartbeats without an answer, since the last that had one */
    uint64_t reshard_round;
    int64_t sent_ms, lease_until_ms, first_refused_ms, drain_deadline_ms;
    int64_t counted_ms;
    uint64_t counted_units;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
};

static void send(struct membership *m, const char *subject, const Guildbus__V1__Envelope *e,
                 bus_on_reply on_reply)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct bus_out out = { .subject = subject };
    struct err err = { 0 };
    void *data = NULL;

    if (codec_encode(e, arena, &data, &out.size, &err) != STATUS_OK) {
        log_warn("membership_encode_failed", "text=%s", LOG_QUOTE(err.text));
        return;
    }
    out.data = data;
    m->waiting = true;
    m->sent_ms = clock_now_ms();
    bus_request(
        m->config.bus, &out,
        &(struct bus_waiter){ loop_mailbox(m->config.loop), on_reply, m, 0, BEAT_TIMEOUT_MS });
}

static void refuse(struct membership *m, const char *why)
{
    if (m->refused)
        return;
    m->refused = true;
    m->config.on_refused(m->config.ctx, why);
}

static void renew(struct membership *m, uint32_t lease_ms)
{
    m->lease_until_ms = m->sent_ms + lease_ms;
    owner_set_lease(m->config.owner, m->lease_until_ms);
    metric_set(&lease_left, m->lease_until_ms - clock_now_ms());
}

/* ---- registration ---- */

static void on_refused_once(struct membership *m, const char *text)
{
    int64_t now_ms = clock_now_ms();

    if (!m->first_refused_ms)
        m->first_refused_ms = now_ms;
    log_warn("register_refused", "pod=%s text=%s", m->config.pod, LOG_QUOTE(text));
    if (now_ms - m->first_refused_ms > REFUSALS_BEFORE_END_MS)
        refuse(m, text);
}

static void on_registered(void *ctx, uint64_t tag UNUSED, enum status status,
                          const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct membership *m = ctx;
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };

    m->waiting = false;
    if (status == STATUS_OK)
        status = codec_decode(in->data, in->size, arena, &e, &err);
    if (status != STATUS_OK || e->body_case != GUILDBUS__V1__ENVELOPE__BODY_REGISTER_REPLY) {
        log_warn("coordinator_unreachable", "status=%s next=register_again retry_in_ms=%d",
                 status_name(status), REGISTER_AGAIN_MS);
    } else if (e->register_reply->status != STATUS_OK) {
        on_refused_once(m, e->register_reply->text);
    } else {
        m->registered = true;
        m->first_refused_ms = 0;
        owner_recheck(m->config.owner);
        renew(m, e->register_reply->lease_ms);
        log_info("registered", "pod=%s incarnation=%016" PRIx64 " lease_ms=%u", m->config.pod,
                 m->config.incarnation, e->register_reply->lease_ms);
    }
    loop_timer_start(m->timer, m->registered ? 0 : REGISTER_AGAIN_MS);
}

static void send_register(struct membership *m)
{
    Guildbus__V1__Register r = GUILDBUS__V1__REGISTER__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_coordinator("register");

    r.pod = mutable_text(m->config.pod);
    r.incarnation = m->config.incarnation;
    r.version = mutable_text(GUILDBUS_VERSION);
    r.schema = STORE_SCHEMA_VERSION;
    r.capacity = m->config.capacity;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_REGISTER_POD;
    e.register_pod = &r;
    send(m, subject.text, &e, on_registered);
}

/* ---- heartbeats ---- */

static void drained(struct membership *m)
{
    if (!m->on_drained)
        return;
    void (*done)(void *) = m->on_drained;
    m->on_drained = NULL;
    done(m->drained_ctx);
}

static void on_left(void *ctx, uint64_t tag UNUSED, enum status status UNUSED,
                    const struct bus_in *in UNUSED)
{
    struct membership *m = ctx;

    m->waiting = false;
    drained(m);
}

static void send_leave(struct membership *m)
{
    Guildbus__V1__Leave l = GUILDBUS__V1__LEAVE__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_coordinator("leave");

    l.pod = mutable_text(m->config.pod);
    l.incarnation = m->config.incarnation;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_LEAVE;
    e.leave = &l;
    send(m, subject.text, &e, on_left);
}

static enum shards_stage stage_of(Guildbus__V1__ReshardStage stage)
{
    return stage == GUILDBUS__V1__RESHARD_STAGE__RESHARD_OPENING    ? SHARDS_OPENING
           : stage == GUILDBUS__V1__RESHARD_STAGE__RESHARD_KEEPING  ? SHARDS_KEEPING
           : stage == GUILDBUS__V1__RESHARD_STAGE__RESHARD_RETIRING ? SHARDS_RETIRING
                                                                    : SHARDS_NONE;
}

static void want_shards(struct membership *m, const Guildbus__V1__HeartbeatReply *r)
{
    const struct shards_wish wish = { .count = r->shard_count,
                                      .ids = r->shards,
                                      .id_count = r->n_shards,
                                      .next_count = r->next_shard_count,
                                      .next_ids = r->next_shards,
                                      .next_id_count = r->n_next_shards,
                                      .stage = stage_of(r->reshard_stage) };

    if (r->n_shards > MAX_SHARDS || r->n_next_shards > MAX_SHARDS) {
        log_warn("shards_refused", "shards=%zu next_shards=%zu most=%d", r->n_shards,
                 r->n_next_shards, MAX_SHARDS);
        return;
    }
    m->is_busy = wish.stage == SHARDS_KEEPING || wish.stage == SHARDS_RETIRING;
    shards_want(m->config.shards, &wish);
    m->reshard_round = r->reshard_round;
}

static void obey(struct membership *m, const Guildbus__V1__HeartbeatReply *r)
{
    renew(m, r->lease_ms);
    discord_rest_set_budget(m->config.rest, &(struct discord_budget){
                                                .calls = r->rest_calls,
                                                .until_ms = m->lease_until_ms,
                                                .drip_ms = r->rest_drip_ms,
                                                .invalid_elsewhere = r->rest_invalid_elsewhere,
                                            });
    if (m->config.shards)
        want_shards(m, r);
    if (m->draining && r->may_leave) {
        log_info("drained", "guilds=%u next=leave", owner_guild_count(m->config.owner));
        send_leave(m);
    }
}

static void on_beat_answered(void *ctx, uint64_t tag UNUSED, enum status status,
                             const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct membership *m = ctx;
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };
    int64_t left_ms = m->lease_until_ms - clock_now_ms();

    m->waiting = false;
    if (status == STATUS_OK)
        status = codec_decode(in->data, in->size, arena, &e, &err);
    if (status == STATUS_OK && e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR)
        status = err_set(&err, (enum status)e->error->status, "%s", e->error->text);
    if (status != STATUS_OK || e->body_case != GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT_REPLY) {
        metric_add(&beats_missed, 1);
        m->missed++;
        log_warn("heartbeat_unanswered", "status=%s text=%s lease_left_ms=%" PRId64 " next=%s",
                 status_name(status), LOG_QUOTE(err.text), left_ms,
                 left_ms > 0 ? "keep_serving" : "ask_the_log_before_reads");
    } else if (e->heartbeat_reply->status == STATUS_NOT_FOUND) {
        m->registered = false;
        log_warn("heartbeat_refused", "text=%s next=register", LOG_QUOTE(e->heartbeat_reply->text));
    } else if (e->heartbeat_reply->status != STATUS_OK) {
        refuse(m, e->heartbeat_reply->text);
    } else {
        if (m->missed)
            log_info("heartbeat_answered_again", "missed=%u", m->missed);
        m->missed = 0;
        obey(m, e->heartbeat_reply);
    }
    if (!m->waiting)
        loop_timer_start(m->timer, status != STATUS_OK ? REGISTER_AGAIN_MS
                                   : m->is_busy        ? BUSY_BEAT_MS
                                                       : BEAT_MS);
}

static uint32_t units_per_s(struct membership *m)
{
    uint64_t units = owner_unit_count(m->config.owner);
    int64_t now_ms = clock_now_ms(), ms = now_ms - m->counted_ms;
    uint64_t rate = ms > 0 ? (units - m->counted_units) * 1000 / (uint64_t)ms : 0;

    m->counted_units = units;
    m->counted_ms = now_ms;
    return (uint32_t)rate;
}

static size_t put_loads(struct membership *m, Guildbus__V1__GuildLoad values[OWNER_BUSIEST],
                        Guildbus__V1__GuildLoad *loads[OWNER_BUSIEST])
{
    struct guild_load busiest[OWNER_BUSIEST];
    size_t n = owner_busiest(m->config.owner, busiest);

    for (size_t i = 0; i < n; i++) {
        guildbus__v1__guild_load__init(&values[i]);
        values[i].guild_id = busiest[i].guild_id;
        values[i].units_per_min = busiest[i].units_per_min;
        loads[i] = &values[i];
    }
    return n;
}

static uint32_t to_u32(int64_t value)
{
    return value < 0 ? 0 : value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

struct shard_lists {
    uint32_t held[MAX_SHARDS], ready[MAX_SHARDS], keeping[MAX_SHARDS], retired[MAX_SHARDS];
};

/* What Discord said of a day that is over says nothing of this one. */
static void put_facts(const struct membership *m, Guildbus__V1__Heartbeat *h)
{
    int64_t age_ms;
    const struct gateway_facts *facts = shards_facts(m->config.shards, &age_ms);

    if (!facts)
        return;
    h->recommended_shards = facts->shards;
    h->facts_age_ms = to_u32(age_ms);
    if (facts->total <= 0 || (facts->reset_after_ms && facts->reset_after_ms <= age_ms))
        return;
    h->session_total = to_u32(facts->total);
    h->session_remaining = to_u32(facts->remaining);
    h->session_reset_after_ms = to_u32(facts->reset_after_ms - age_ms);
}

static void put_shards(const struct membership *m, Guildbus__V1__Heartbeat *h,
                       struct shard_lists *lists)
{
    const struct shards *shards = m->config.shards;

    put_facts(m, h);
    h->shards_held = lists->held;
    h->n_shards_held = shards_held(shards, lists->held, MAX_SHARDS);
    h->can_reshard = true;
    h->reshard_round = m->reshard_round;
    h->next_ready = lists->ready;
    h->n_next_ready = shards_next_ready(shards, lists->ready, MAX_SHARDS);
    h->next_keeping = lists->keeping;
    h->n_next_keeping = shards_next_keeping(shards, lists->keeping, MAX_SHARDS);
    h->retired = lists->retired;
    h->n_retired = shards_retired(shards, lists->retired, MAX_SHARDS);
    h->shards_unsettled = shards_unsettled(shards);
}

static void send_beat(struct membership *m)
{
    Guildbus__V1__Heartbeat h = GUILDBUS__V1__HEARTBEAT__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_heartbeat(m->config.pod);
    struct shard_lists lists;
    struct discord_usage usage;
    Guildbus__V1__GuildLoad values[OWNER_BUSIEST], *loads[OWNER_BUSIEST];

    h.pod = mutable_text(m->config.pod);
    h.incarnation = m->config.incarnation;
    h.version = mutable_text(GUILDBUS_VERSION);
    h.schema = STORE_SCHEMA_VERSION;
    h.capacity = m->config.capacity;
    h.guild_count = owner_guild_count(m->config.owner);
    h.units_per_s = units_per_s(m);
    h.draining = m->draining;
    h.standby_count = owner_standby_count(m->config.owner);
    discord_rest_usage(m->config.rest, &usage);
    h.rest_in_force = usage.in_force;
    h.rest_wanted = usage.wanted;
    h.rest_invalid = usage.invalid;
    h.busiest = loads;
    h.n_busiest = put_loads(m, values, loads);
    if (m->config.shards)
        put_shards(m, &h, &lists);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT;
    e.heartbeat = &h;
    send(m, subject.text, &e, on_beat_answered);
}

static void on_time(void *ctx)
{
    struct membership *m = ctx;

    if (m->refused)
        return;
    if (m->draining && clock_now_ms() >= m->drain_deadline_ms) {
        log_warn("drain_deadline", "guilds=%u next=exit", owner_guild_count(m->config.owner));
        drained(m);
        return;
    }
    if (m->draining && m->registered && clock_now_ms() > m->lease_until_ms) {
        log_warn("drain_unheard", "guilds=%u next=exit", owner_guild_count(m->config.owner));
        drained(m); /* nobody hears us: by now the coordinator has given our guilds away */
        return;
    }
    if (m->waiting)
        return; /* its answer, or its time-out, starts the timer again */
    if (m->registered)
        send_beat(m);
    else if (m->draining)
        drained(m);
    else
        send_register(m);
}

/* ---- life ---- */

struct membership *membership_new(const struct membership_config *config)
{
    struct membership *m = xcalloc(1, sizeof(*m));

    m->config = *config;
    m->counted_ms = clock_now_ms();
    m->timer = loop_timer_new(config->loop, on_time, m);
    loop_timer_start(m->timer, 0);
    return m;
}

void membership_free(struct membership *m)
{
    if (!m)
        return;
    loop_timer_free(m->timer);
    free(m);
}

bool membership_is_ready(const struct membership *m, const char **ret_why)
{
    *ret_why = m->registered ? "the lease has run out" : "not registered with the coordinator yet";
    return m->registered && clock_now_ms() < m->lease_until_ms;
}

void membership_drain(struct membership *m, int64_t deadline_ms, void (*done)(void *ctx), void *ctx)
{
    m->on_drained = done;
    m->drained_ctx = ctx;
    m->draining = true;
    m->drain_deadline_ms = clock_now_ms() + deadline_ms;
    if (!m->waiting)
        loop_timer_start(m->timer, 0);
}
