#include "gateway/report.h"

#include <inttypes.h>

#include "base/log.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum { ANSWER_TIMEOUT_MS = 2000, AGAIN_MS = 1000 };

/* on_reply NULL: published, nobody answers. */
static void send(struct owner *o, const char *subject, const Guildbus__V1__Envelope *e,
                 int timeout_ms, bus_on_reply on_reply, uint64_t serial)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct bus_out out = { .subject = subject };
    struct err err = { 0 };
    void *data = NULL;

    enum status status = codec_encode(e, arena, &data, &out.size, &err);
    out.data = data;
    if (status == STATUS_OK && on_reply)
        bus_request(o->bus, &out, &(struct bus_waiter){ o->box, on_reply, o, serial, timeout_ms });
    else if (status == STATUS_OK)
        status = bus_publish(o->bus, &out, &err);
    if (status != STATUS_OK)
        log_warn("report_failed", "subject=%s text=%s", subject, LOG_QUOTE(err.text));
}

void report_control(struct owner *o, const char *reply_to, bool json,
                    const struct control_answer *a)
{
    Guildbus__V1__ControlReply reply = GUILDBUS__V1__CONTROL_REPLY__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;

    reply.status = (uint32_t)a->status;
    reply.text = mutable_text(a->text ? a->text : "");
    reply.epoch = a->epoch;
    reply.idx = a->idx;
    reply.log_seq = a->log_seq;
    reply.seal_us = a->seal_us;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CONTROL_REPLY;
    e.control_reply = &reply;
    owner_respond_envelope(o, reply_to, json, &e);
}

static void on_claim_known(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct ask_about about = { 0 };
    struct guild *g = owner_ask_take_about(ctx, serial, &about);
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };

    if (!g || !g->report_claim || g->state != GUILD_SERVING || about.epoch != g->epoch)
        return;
    uint64_t rechecks = (uint64_t)about.detail;
    if (status == STATUS_OK)
        status = codec_decode(in->data, in->size, arena, &e, &err);
    if (status != STATUS_OK) {
        log_debug("claim_not_reported", "guild=%" PRIu64 " status=%s next=repeat", g->id,
                  status_name(status));
        owner_wake_in(g, AGAIN_MS);
        return; /* the sweep repeats it too */
    }
    if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR)
        log_warn("claim_refused", "guild=%" PRIu64 " epoch=%" PRIu64 " text=%s next=wait_for_order",
                 g->id, g->epoch, LOG_QUOTE(e->error->text));
    else if (rechecks > g->sure_recheck)
        g->sure_recheck = rechecks;
    g->report_claim = rechecks < g->owner->rechecks; /* asked before the lease was lost */
    if (g->report_claim)
        report_claimed(g);
}

void report_claimed(struct guild *g)
{
    Guildbus__V1__Claimed claimed = GUILDBUS__V1__CLAIMED__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_coordinator("claimed");

    if (!g->owner->config.has_coordinator || g->pos.epoch != g->epoch)
        return;
    claimed.guild_id = g->id;
    claimed.pod = mutable_text(g->owner->config.pod);
    claimed.incarnation = g->owner->config.incarnation;
    claimed.epoch = g->epoch;
    claimed.idx = g->pos.idx;
    claimed.move_id =
        g->claim_reason == CLAIM_HANDOFF || g->claim_reason == CLAIM_UNSEAL ? g->move.move_id : 0;
    claimed.pause_us = g->pause_us;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CLAIMED;
    e.claimed = &claimed;
    send(g->owner, subject.text, &e, ANSWER_TIMEOUT_MS, on_claim_known,
         owner_ask_about(g, (int64_t)g->owner->rechecks));
}

void report_move(struct guild *g, Guildbus__V1__MoveStep step, const char *text)
{
    Guildbus__V1__MoveReport report = GUILDBUS__V1__MOVE_REPORT__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_coordinator("move");

    report.move_id = g->move.move_id;
    report.guild_id = g->id;
    report.pod = mutable_text(g->owner->config.pod);
    report.step = step;
    report.text = mutable_text(text ? text : "");
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_MOVE_REPORT;
    e.move_report = &report;
    send(g->owner, subject.text, &e, 0, NULL,
         0); /* lost: the coordinator repeats its order, and we our report */
}

void report_released(struct guild *g)
{
    Guildbus__V1__Released released = GUILDBUS__V1__RELEASED__INIT;
    Guildbus__V1__Control control = GUILDBUS__V1__CONTROL__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_control(g->move.peer);

    released.move_id = g->move.move_id;
    released.guild_id = g->id;
    released.epoch = g->epoch;
    control.order_case = GUILDBUS__V1__CONTROL__ORDER_RELEASED;
    control.released = &released;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CONTROL;
    e.control = &control;
    send(g->owner, subject.text, &e, 0, NULL,
         0); /* lost: the source tries to un-seal, is refused and lets go */
}

void report_yield(struct guild *g, int timeout_ms, bus_on_reply on_reply, uint64_t serial)
{
    Guildbus__V1__Yield yield = GUILDBUS__V1__YIELD__INIT;
    Guildbus__V1__Control control = GUILDBUS__V1__CONTROL__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    const struct subject subject = subject_control(g->move.peer);

    yield.move_id = g->move.move_id;
    yield.guild_id = g->id;
    yield.epoch = g->move.epoch;
    yield.unseal_epoch = g->move.unseal_epoch;
    yield.target = mutable_text(g->owner->config.pod);
    control.order_case = GUILDBUS__V1__CONTROL__ORDER_YIELD;
    control.yield = &yield;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CONTROL;
    e.control = &control;
    send(g->owner, subject.text, &e, timeout_ms, on_reply, serial);
}
