/* handoff.c - who owns a guild: orders of the coordinator, claims, and the move from a source S to
 * a target T.
 *
 *     coordinator       T                                S
 *        Warm ────────▶ reads the log, follows it        serves
 *        ◀── WARM ───── warm
 *        Take ────────▶ Yield ─────────────────────────▶ lets REST calls end, serves meanwhile
 *                                                        stops serving, appends Seal
 *                       ◀─────────────────────── sealed  forwards what it gets; T holds it
 *                       appends Claim, serves
 *        ◀── Claimed ── Released ──────────────────────▶ forwards 500 ms longer, drains,
 *                                                        removes the rows
 *
 * S may take the guild back (un-seal: Claim of unseal_epoch at the same idx) when T stays silent.
 * Both compete for one idx of the log, so nobody has to guess what the other did. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/guild.h"
#include "gateway/report.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    SEAL_WAIT_MS = 2000,     /* for REST calls under way: their results belong to the source */
    YIELD_TIMEOUT_MS = 4000, /* more than SEAL_WAIT_MS */
    SWEEP_MS = 30000,
};

static struct metric handoffs =
    METRIC_COUNTER("guildbus_handoffs_total", "guilds taken over from a living pod");
static struct metric pause_us = METRIC_HISTOGRAM(
    "guildbus_handoff_pause_seconds", "from the source's last unit to the target's Claim");
static struct metric fenced = METRIC_COUNTER(
    "guildbus_fenced_total", "times another pod's record stood where ours should be");
static struct metric outdated =
    METRIC_COUNTER("guildbus_claims_outdated_total",
                   "orders to own a guild that the log has given to another pod");
static struct metric unsealed =
    METRIC_COUNTER("guildbus_unsealed_total", "guilds taken back because the target stayed silent");

/* ---- fenced ---- */

static void take_no_requests(struct guild *g)
{
    guild_requests_stop(g);
    guild_drop_held(g);
}

/* There is more behind the Seal: it was that of an earlier handoff, and the source still serves. */
static void wait_for_another_seal(struct guild *g)
{
    guild_drop_batches(g);
    owner_set_state(g, GUILD_TAKING);
    take_no_requests(g);
    g->move.sealed_seen_us = 0;
    if (!g->reading)
        guild_read_on(g);
}

void guild_fence(struct guild *g)
{
    metric_add(&fenced, 1);
    if (g->state == GUILD_CLAIMING && g->claim_reason == CLAIM_HANDOFF) {
        wait_for_another_seal(g);
        return;
    }
    if (g->state == GUILD_CLAIMING && g->claim_reason != CLAIM_UNSEAL) {
        /* a last record of the former owner came first: it is history; read on and claim again */
        guild_drop_batches(g);
        g->claim_epoch = g->epoch;
        guild_load(g);
        return;
    }
    guild_leave(g, g->last_pod);
}

/* ---- claiming ---- */

void guild_claim(struct guild *g, uint64_t epoch, uint32_t reason)
{
    g->epoch = epoch;
    g->forget_at_ms = 0;
    g->claim_epoch = 0;
    g->claim_reason = reason;
    g->tenure = ++g->owner->last_tenure;
    owner_set_state(g, GUILD_CLAIMING);
    guild_requests_start(g); /* what comes is held until the Claim is in the log */
    guild_batch(g, BATCH_CLAIM)->claim_reason = reason;
}

/* The log has given the guild to another pod since the order was sent. */
static void leave_outdated(struct guild *g, uint64_t epoch)
{
    metric_add(&outdated, 1);
    log_warn("claim_outdated",
             "guild=%" PRIu64 " epoch=%" PRIu64 " log_epoch=%" PRIu64 " log_pod=%s", g->id, epoch,
             g->pos.epoch, g->last_pod);
    guild_leave(g, g->last_pod);
}

/* The source has sealed. */
static void take_over(struct guild *g)
{
    if (g->pos.epoch >= g->move.epoch)
        leave_outdated(g, g->move.epoch);
    else
        guild_claim(g, g->move.epoch, CLAIM_HANDOFF);
}

/* The pause is from the source's last unit to our Claim: what the source says it took, and what we
 * took since. When the source never said: from our asking, which is more than the pause. Not
 * measured when the guild came another way in the end. */
static void measure(struct guild *g)
{
    const struct handoff *m = &g->move;
    int64_t from_us =
        m->source_us && m->sealed_seen_us ? m->sealed_seen_us - m->source_us : m->yield_sent_us;
    int64_t us = m->claimed_us - from_us;

    if (from_us <= 0 || us <= 0 || us > UINT32_MAX)
        return;
    g->pause_us = (uint32_t)us;
    metric_observe_us(&pause_us, us);
    log_info("handed_over", "guild=%" PRIu64 " epoch=%" PRIu64 " source=%s pause_us=%u", g->id,
             g->epoch, g->move.peer, g->pause_us);
}

static void on_handed_over(struct guild *g)
{
    g->move.claimed_us = clock_now_us();
    metric_add(&handoffs, 1);
    report_released(g);
    if (g->move.yield_sent && !g->move.source_us)
        return; /* the tail was faster than the source's answer, which has its part of the figure */
    measure(g);
    report_claimed(g);
    FAILPOINT("target_7_reported");
}

void guild_on_claimed(struct guild *g, const struct batch *b)
{
    g->sure_recheck = 0; /* the order may have been an old one: the coordinator has to say so */
    if (g->state == GUILD_CLAIMING) {
        owner_set_state(g, GUILD_SERVING);
        bus_unsubscribe(&g->tail);
        g->move.wanted = g->hold_actions = false;
        g->pause_us = 0;
        g->standby = false;
        if (b->claim_reason == CLAIM_HANDOFF)
            FAILPOINT("target_6_claimed");
        else
            FAILPOINT("failover_f_claimed");
        if (b->claim_reason == CLAIM_UNSEAL)
            metric_add(&unsealed, 1);
        guild_start_all_actions(g); /* before new units: their actions wait for the log */
        guild_feed_start(g);
        g->claimed_event_seq = g->event_seq;
        guild_look_for_gap(g);
        guild_release_held(g);
        guild_catch_up(g);
    }
    log_info("claimed", "guild=%" PRIu64 " epoch=%" PRIu64 " idx=%" PRIu64 " reason=%u", g->id,
             b->epoch, b->idx, b->claim_reason);
    g->report_claim = g->owner->config.has_coordinator;
    if (b->claim_reason == CLAIM_HANDOFF)
        on_handed_over(g);
    else
        report_claimed(g);
}

void guild_on_loaded(struct guild *g)
{
    if (g->state == GUILD_TAKING) {
        if (g->last_is_seal)
            take_over(g);
        return;
    }
    if (!g->claim_epoch) {
        owner_set_state(g, GUILD_WARM);
        if (g->move.move_id) {
            FAILPOINT("target_2_warm");
            report_move(g, GUILDBUS__V1__MOVE_STEP__MOVE_WARM, "");
        }
        if (!g->move.move_id && !g->standby)
            owner_wake_in(g, g->forget_at_ms - clock_now_ms());
        return;
    }
    if (g->claim_epoch == UINT64_MAX) /* a fixed list: nobody hands out epochs */
        g->claim_epoch = g->pos.epoch + 1;
    if (g->pos.epoch >= g->claim_epoch || (g->claim_unless && g->pos.epoch >= g->claim_unless)) {
        leave_outdated(g, g->claim_epoch);
        return;
    }
    guild_claim(g, g->claim_epoch, g->claim_reason);
}

/* The move came to nothing: a standby goes on following. */
static void end_move(struct guild *g, const char *owner)
{
    if (!g->standby) {
        guild_leave(g, owner);
        return;
    }
    g->move.move_id = 0;
    owner_set_state(g, g->state == GUILD_LOADING ? GUILD_LOADING : GUILD_WARM);
    take_no_requests(g);
}

void guild_on_record(struct guild *g, const Guildbus__V1__LogRecord *r)
{
    if (g->state != GUILD_TAKING)
        return;
    if (r->kind_case == GUILDBUS__V1__LOG_RECORD__KIND_SEAL) {
        if (!g->move.sealed_seen_us)
            g->move.sealed_seen_us = clock_now_us();
        FAILPOINT("target_6_seal_seen");
        take_over(g);
    } else if (r->kind_case == GUILDBUS__V1__LOG_RECORD__KIND_CLAIM &&
               r->epoch >= g->move.epoch) { /* an earlier one is history: this pod lags */
        report_move(g, GUILDBUS__V1__MOVE_STEP__MOVE_UNSEALED,
                    "the source has taken the guild back");
        end_move(g, r->pod);
    }
}

/* ---- the source ---- */

static void answer_yield(struct guild *g, enum status status, const char *text)
{
    struct handoff *m = &g->move;
    uint32_t seal_us = m->sealing_us ? (uint32_t)(clock_now_us() - m->sealing_us) : 0;

    if (!m->yield_reply_to)
        return;
    report_control(g->owner, m->yield_reply_to, m->yield_json,
                   &(struct control_answer){ .status = status,
                                             .text = text,
                                             .epoch = g->epoch,
                                             .idx = g->pos.idx,
                                             .log_seq = g->pos.log_seq,
                                             .seal_us = seal_us });
    free(m->yield_reply_to);
    m->yield_reply_to = NULL;
}

void guild_try_seal(struct guild *g)
{
    if (g->state != GUILD_SERVING || !g->move.wanted)
        return;
    if (g->actions_in_flight && clock_now_ms() < g->move.seal_by_ms)
        return;
    g->move.wanted = false;
    g->move.sealing_us = clock_now_us();
    owner_set_state(g, GUILD_SEALING);
    guild_feed_stop(g);
    guild_batch(g, BATCH_SEAL);
}

void guild_on_sealed(struct guild *g)
{
    owner_set_state(g, GUILD_SEALED);
    FAILPOINT("source_5_sealed");
    answer_yield(g, STATUS_OK, "");
    g->move.unseal_at_ms = clock_now_ms() + g->owner->config.unseal_ms;
    owner_wake_in(g, g->owner->config.unseal_ms);
    guild_release_held(g);
}

static void on_yield(struct guild *g, const Guildbus__V1__Yield *y, const struct bus_in *in,
                     bool json)
{
    struct handoff *m = &g->move;

    FAILPOINT("source_5_yield_got");
    free(m->yield_reply_to);
    m->yield_reply_to = in->reply ? xstrdup(in->reply) : NULL;
    m->yield_json = json;
    if (g->state == GUILD_SEALED && m->move_id == y->move_id) {
        answer_yield(g, STATUS_OK, "");
        return;
    }
    if (g->state == GUILD_SEALING)
        return; /* answered when the Seal is in the log */
    if (g->state != GUILD_SERVING || y->epoch <= g->epoch) {
        answer_yield(g, STATUS_NOT_OWNER, "this pod does not serve the guild at an earlier epoch");
        return;
    }
    m->move_id = y->move_id;
    m->epoch = y->epoch;
    m->unseal_epoch = y->unseal_epoch;
    (void)snprintf(m->peer, sizeof(m->peer), "%s", y->target);
    m->wanted = g->hold_actions = true;
    guild_withdraw_actions(g); /* calls that wait for Discord's limits are the target's to make */
    m->seal_by_ms = clock_now_ms() + SEAL_WAIT_MS;
    owner_wake_in(g, SEAL_WAIT_MS);
    guild_try_seal(g);
}

/* ---- the target ---- */

static void on_yielded(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct guild *g = owner_ask_take(ctx, serial);
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };

    if (!g)
        return;
    FAILPOINT("target_5_yielded");
    g->move.yield_sent = false;
    if (status == STATUS_OK)
        status = codec_decode(in->data, in->size, arena, &e, &err);
    if (status == STATUS_OK && e->body_case == GUILDBUS__V1__ENVELOPE__BODY_CONTROL_REPLY)
        g->move.source_us = e->control_reply->seal_us;
    if (g->state == GUILD_SERVING && g->report_claim && !g->pause_us) {
        measure(g);
        report_claimed(g);
    }
    if (g->state != GUILD_TAKING)
        return; /* the tail brought the Seal before this answer */
    if (status != STATUS_OK || e->body_case != GUILDBUS__V1__ENVELOPE__BODY_CONTROL_REPLY) {
        log_warn("yield_unanswered", "guild=%" PRIu64 " source=%s status=%s next=wait_for_order",
                 g->id, g->move.peer, status_name(status));
        return;
    }
    if (e->control_reply->status != STATUS_OK) {
        report_move(g, GUILDBUS__V1__MOVE_STEP__MOVE_FAILED, e->control_reply->text);
        owner_set_state(g, GUILD_WARM);
        take_no_requests(g);
        return;
    }
    if (!g->move.sealed_seen_us)
        g->move.sealed_seen_us = clock_now_us();
    guild_requests_start(g);
    if (e->control_reply->log_seq > g->tail_head)
        g->tail_head = e->control_reply->log_seq;
    owner_wake_in(g, 0); /* reads what the tail has not brought yet */
}

static void send_yield(struct guild *g)
{
    if (g->move.yield_sent)
        return;
    g->move.yield_sent = true;
    g->move.yield_sent_us = clock_now_us();
    g->move.source_us = 0;
    report_yield(g, YIELD_TIMEOUT_MS, on_yielded, owner_ask_new(g));
    FAILPOINT("target_5_yield_sent");
}

/* Sent long ago: to take the guild at that epoch now would put it behind a later one. */
static bool take_is_old(const struct guild *g, const Guildbus__V1__Take *t)
{
    return g->pos.epoch >= t->epoch || (g->state == GUILD_TAKING && g->move.epoch > t->epoch);
}

static enum status on_take(struct guild *g, const Guildbus__V1__Take *t, struct err *err)
{
    FAILPOINT("target_4_take_got");
    if (!g)
        return err_set(err, STATUS_NOT_FOUND, "this pod has no warm copy of the guild");
    if (g->state == GUILD_SERVING && g->epoch == t->epoch) {
        report_claimed(g);
        return STATUS_OK;
    }
    if (g->state == GUILD_CLAIMING && g->epoch == t->epoch)
        return STATUS_OK;
    if (g->state != GUILD_WARM && g->state != GUILD_TAKING)
        return err_set(err, STATUS_CONFLICT, "the guild is %s here", guild_state_name(g->state));
    if (take_is_old(g, t))
        return err_set(err, STATUS_CONFLICT, "epoch %" PRIu64 " is over", t->epoch);
    g->move.move_id = t->move_id;
    g->move.epoch = t->epoch;
    g->move.unseal_epoch = t->unseal_epoch;
    (void)snprintf(g->move.peer, sizeof(g->move.peer), "%s", t->source);
    if (g->state == GUILD_WARM)
        g->move.sealed_seen_us = 0;
    owner_set_state(g, GUILD_TAKING);
    send_yield(g);
    return STATUS_OK;
}

/* ---- orders ---- */

/* A guild that is still forwarding, or was never here, begins anew. */
static struct guild *begin_anew(struct owner *o, struct guild *g, uint64_t guild_id)
{
    if (!g)
        return owner_guild_new(o, guild_id);
    g->pos = (struct guild_position){ 0 };
    g->tail_head = 0;
    g->move.move_id = 0;
    g->move.peer[0] = '\0';
    return g;
}

static void note_claim(struct guild *g, const Guildbus__V1__Own *own)
{
    g->claim_reason = own->reason;
    g->claim_unless = own->unless_epoch;
    g->unowned_since_ms = own->unowned_since_ms;
}

/* While it serves: the log goes on at the new epoch, without a pause. The handoff that it has agreed
 * to and not sealed for yet is off. */
static void go_on(struct guild *g, const Guildbus__V1__Own *own)
{
    g->epoch = own->epoch;
    guild_batch(g, BATCH_CLAIM)->claim_reason = own->reason;
    if (!g->move.wanted)
        return;
    g->move.wanted = g->hold_actions = false;
    answer_yield(g, STATUS_NOT_OWNER, "this pod was told to go on at a later epoch");
    guild_start_left_actions(g);
}

static enum status on_own(struct owner *o, struct guild *g, const Guildbus__V1__Own *own,
                          struct err *err)
{
    FAILPOINT("failover_f_own_got");
    bool serving =
        g && (g->state == GUILD_SERVING || g->state == GUILD_CLAIMING || g->state == GUILD_SEALING);

    if (!own->epoch)
        return err_set(err, STATUS_INVALID, "own: epoch is missing");
    if (serving && g->epoch > own->epoch)
        return err_set(err, STATUS_CONFLICT, "owned at the later epoch %" PRIu64, g->epoch);
    if (serving && g->epoch == own->epoch) {
        if (g->state == GUILD_SERVING)
            report_claimed(g);
        return STATUS_OK;
    }
    if (g && g->state == GUILD_SERVING) {
        go_on(g, own);
        return STATUS_OK;
    }
    if (serving)
        return err_set(err, STATUS_BUSY, "the guild is %s here", guild_state_name(g->state));
    if (g && (g->state == GUILD_WARM || g->state == GUILD_TAKING || g->state == GUILD_SEALED)) {
        g->claim_epoch = own->epoch;
        note_claim(g, own);
        guild_load(g); /* to its end: the former owner may have written since */
        return STATUS_OK;
    }
    if (!g || g->state == GUILD_GONE)
        g = begin_anew(o, g, own->guild_id);
    if (own->epoch > g->claim_epoch) {
        g->claim_epoch = own->epoch;
        note_claim(g, own);
    }
    guild_load(g);
    return STATUS_OK;
}

static bool only_follows(const struct guild *g)
{
    return g->state == GUILD_WARM || (g->state == GUILD_LOADING && !g->claim_epoch);
}

static enum status on_warm(struct owner *o, struct guild *g, const Guildbus__V1__Warm *w,
                           struct err *err)
{
    FAILPOINT("target_1_warm_got");
    if (g && g->state != GUILD_GONE && !only_follows(g))
        return err_set(err, STATUS_CONFLICT, "the guild is %s here", guild_state_name(g->state));
    if (g && g->state == GUILD_GONE && w->standby) {
        g->standby = true; /* once it has nothing more to forward */
        return STATUS_OK;
    }
    bool is_new = !g || g->state == GUILD_GONE;
    if (is_new)
        g = begin_anew(o, g, w->guild_id);
    if (w->standby)
        g->standby = true;
    else
        g->move.move_id = w->move_id;
    if (is_new) {
        guild_start_following(g);
        (void)snprintf(g->move.peer, sizeof(g->move.peer), "%s", w->source);
    } else if (g->state == GUILD_WARM && !w->standby) {
        report_move(g, GUILDBUS__V1__MOVE_STEP__MOVE_WARM, "");
    }
    return STATUS_OK;
}

static enum status on_drop(struct guild *g, const Guildbus__V1__Drop *d)
{
    if (!g)
        return STATUS_OK;
    if (!d->move_id)
        g->standby = false;
    bool idle = g->state == GUILD_TAKING || only_follows(g);
    if (idle && g->move.move_id == d->move_id)
        end_move(g, g->move.peer);
    return STATUS_OK;
}

static enum status on_released(struct guild *g, const Guildbus__V1__Released *r)
{
    if (g && g->state == GUILD_SEALED && g->move.move_id == r->move_id) {
        char peer[65];
        (void)snprintf(peer, sizeof(peer), "%s", g->move.peer);
        FAILPOINT("source_8_released");
        guild_leave(g, peer);
    }
    return STATUS_OK;
}

static uint64_t order_guild(const Guildbus__V1__Control *c)
{
    switch (c->order_case) {
    case GUILDBUS__V1__CONTROL__ORDER_OWN:
        return c->own->guild_id;
    case GUILDBUS__V1__CONTROL__ORDER_WARM:
        return c->warm->guild_id;
    case GUILDBUS__V1__CONTROL__ORDER_TAKE:
        return c->take->guild_id;
    case GUILDBUS__V1__CONTROL__ORDER_YIELD:
        return c->yield->guild_id;
    case GUILDBUS__V1__CONTROL__ORDER_DROP:
        return c->drop->guild_id;
    case GUILDBUS__V1__CONTROL__ORDER_RELEASED:
        return c->released->guild_id;
    case GUILDBUS__V1__CONTROL__ORDER__NOT_SET:
    case _GUILDBUS__V1__CONTROL__ORDER__CASE_IS_INT_SIZE:
        break;
    }
    return 0;
}

static enum status obey(struct owner *o, struct guild *g, const Guildbus__V1__Control *c,
                        struct err *err)
{
    switch (c->order_case) {
    case GUILDBUS__V1__CONTROL__ORDER_OWN:
        return on_own(o, g, c->own, err);
    case GUILDBUS__V1__CONTROL__ORDER_WARM:
        return on_warm(o, g, c->warm, err);
    case GUILDBUS__V1__CONTROL__ORDER_TAKE:
        return on_take(g, c->take, err);
    case GUILDBUS__V1__CONTROL__ORDER_DROP:
        return on_drop(g, c->drop);
    case GUILDBUS__V1__CONTROL__ORDER_RELEASED:
        return on_released(g, c->released);
    case GUILDBUS__V1__CONTROL__ORDER_YIELD:
    case GUILDBUS__V1__CONTROL__ORDER__NOT_SET:
    case _GUILDBUS__V1__CONTROL__ORDER__CASE_IS_INT_SIZE:
        break;
    }
    return err_set(err, STATUS_INVALID,
                   "control: set one of own, warm, take, yield, drop, released");
}

void owner_on_control(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct owner *o = ctx;
    bool json = codec_is_json(bus_header_get(in, "Content-Type"));
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };

    enum status status = codec_decode_as(json, in->data, in->size, arena, &e, &err);
    if (status == STATUS_OK && e->body_case != GUILDBUS__V1__ENVELOPE__BODY_CONTROL)
        status = err_set(&err, STATUS_INVALID, "this subject takes an Envelope with control");
    if (status != STATUS_OK) {
        owner_respond_error(o, in->reply, json, status, err.text);
        return;
    }
    struct guild *g = owner_guild(o, order_guild(e->control));
    if (e->control->order_case == GUILDBUS__V1__CONTROL__ORDER_YIELD && g) {
        on_yield(g, e->control->yield, in, json);
        return;
    }
    status = e->control->order_case == GUILDBUS__V1__CONTROL__ORDER_YIELD
                 ? err_set(&err, STATUS_NOT_OWNER, "this pod does not have the guild")
                 : obey(o, g, e->control, &err);
    g = owner_guild(o, order_guild(e->control));
    report_control(o, in->reply, json,
                   &(struct control_answer){ .status = status,
                                             .text = err.text,
                                             .epoch = g ? g->epoch : 0,
                                             .idx = g ? g->pos.idx : 0 });
}

/* ---- time ---- */

static void sweep(struct guild *g, int64_t now_ms)
{
    if (now_ms < g->sweep_at_ms)
        return;
    if (g->sweep_at_ms && g->state == GUILD_WARM)
        guild_look_for_more(g);
    if (g->sweep_at_ms && g->state == GUILD_SERVING) {
        guild_prune(g);
        guild_catch_up(g); /* the very last event of a guild may have been lost on the way: nothing
                              follows that shows it */
        guild_look_for_gap(g);
        if (g->report_claim)
            report_claimed(g);
    }
    g->sweep_at_ms = now_ms + SWEEP_MS;
    owner_wake_in(g, SWEEP_MS);
}

void guild_on_time(struct guild *g, int64_t now_ms)
{
    guild_expire_held(g, now_ms);
    guild_reader_on_time(g, now_ms);
    sweep(g, now_ms);
    if (g->in_flight && !g->append_serial)
        owner_touch(g);
    switch (g->state) {
    case GUILD_LOADING:
        guild_load(g);
        break;
    case GUILD_TAKING:
        if (g->tail_head > g->pos.log_seq && !g->reading)
            guild_read_on(g);
        else if (g->move.sealed_seen_us && g->last_is_seal)
            take_over(g);
        break;
    case GUILD_SERVING:
        if (g->catching_up)
            guild_catch_up(g);
        guild_start_left_actions(g);
        guild_try_seal(g);
        break;
    case GUILD_SEALED:
        if (now_ms >= g->move.unseal_at_ms)
            guild_claim(g, g->move.unseal_epoch, CLAIM_UNSEAL);
        break;
    case GUILD_GONE:
        guild_on_gone_time(g, now_ms);
        break;
    case GUILD_WARM:
        if (g->forget_at_ms && !g->move.move_id && !g->standby && now_ms >= g->forget_at_ms)
            guild_leave(g, NULL);
        break;
    case GUILD_CLAIMING:
    case GUILD_SEALING:
        break;
    }
}
