#include "edge/query.h"

#include "base/clock.h"
#include "base/log.h"
#include "edge/owner.h"
#include "messages/codec.h"
#include "messages/subjects.h"

struct question {
    struct visit *v;
    struct query q;
    struct subject subject;
    struct bus_header header;
};

static enum status read_reply(struct question *a, const struct bus_in *in,
                              const Guildbus__V1__PortalReply **ret_reply)
{
    Guildbus__V1__Envelope *e = NULL;
    bool json = codec_is_json(bus_header_get(in, "Content-Type"));

    if (codec_decode_as(json, in->data, in->size, a->v->arena, &e, NULL) != STATUS_OK)
        return STATUS_CORRUPT;
    if (e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR)
        return owner_error(e->error);
    if (e->body_case != GUILDBUS__V1__ENVELOPE__BODY_PORTAL_REPLY ||
        e->portal_reply->guild_id != a->q.guild_id || e->portal_reply->reply_case != a->q.want)
        return STATUS_CORRUPT;
    *ret_reply = e->portal_reply;
    return STATUS_OK;
}

static enum ask_verdict on_answer(void *ctx, const struct bus_in *in)
{
    struct question *a = ctx;
    const Guildbus__V1__PortalReply *reply = NULL;
    enum status status = read_reply(a, in, &reply);

    if (retry_is_worth(status))
        return ASK_REFUSED;
    a->q.on_done(a->q.ctx, status, reply);
    return ASK_DONE;
}

static void on_end(void *ctx, enum status why)
{
    struct question *a = ctx;

    a->q.on_done(a->q.ctx, why, NULL);
}

bool query_start(struct visit *v, const struct query *q)
{
    struct question *a = arena_alloc(v->arena, sizeof(*a));
    Guildbus__V1__PortalRequest request = *q->ask;
    Guildbus__V1__Envelope e;
    int64_t end_ms = clock_now_ms() + q->timeout_ms;
    struct ask_call call = { .retry = { .repeat_ms = v->edge->config->repeat_ms,
                                        .repeat_until_ms = end_ms,
                                        .give_up_ms = end_ms },
                             .on_answer = on_answer,
                             .on_end = on_end,
                             .ctx = a };

    guildbus__v1__envelope__init(&e);
    request.guild_id = q->guild_id;
    request.actor_id = v->session.user_id;
    request.actor_name = mutable_text(v->session.name);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_PORTAL;
    e.portal = &request;
    if (!a || !owner_encode(&call.out, &e, v->arena))
        return false;
    a->v = v;
    a->q = *q;
    a->subject = subject_portal(q->guild_id);
    a->header = (struct bus_header){ "traceparent", v->traceparent };
    call.out.subject = a->subject.text;
    call.out.headers = &a->header;
    call.out.header_count = 1;
    (void)ask_start(v->edge->asks, &call);
    return true;
}
