/* A replica that does not lead has the one that does answer what changes something.
 *
 *     HTTP ─▶ this replica ──coordinator.api, with a proof──▶ the leader ─▶ store
 *        ◀── its answer ◀──────────────────────────────────────┘
 *
 * The proof is made with COORDINATOR_TOKEN, which does not travel: a NATS client without it changes
 * nothing here. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "coordinator/api_call.h"
#include "coordinator/api_forward.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    ANSWER_MS = 5000,
    FRESH_MS = 60000, /* clocks of replicas differ by less */
};

static int64_t wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void prove(const char *token, const Guildbus__V1__ApiRequest *r, uint8_t ret_proof[32])
{
    CLEANUP(xfree)
    char *text = xasprintf("%" PRId64 "\n%s\n%s\n", r->sent_ms, r->path, r->body_json);

    sign_hmac_sha256(token, strlen(token), text, strlen(text), ret_proof);
}

/* ---- where it was asked ---- */

struct forwarded {
    struct coordinator *c;
    struct api_call *call;
};

static enum status take_answer(struct api_call *call, enum status status, const struct bus_in *in,
                               struct err *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *e = NULL;

    if (status == STATUS_UNAVAILABLE)
        return err_set(err, status, "no coordinator leads at the moment: ask again in a second");
    if (status != STATUS_OK)
        return err_set(err, status,
                       "the leading coordinator does not answer: nobody knows whether this was "
                       "stored");
    TRY(codec_decode(in->data, in->size, arena, &e, err));
    if (e->body_case != GUILDBUS__V1__ENVELOPE__BODY_API_REPLY)
        return err_set(err, STATUS_CORRUPT, "the leading coordinator's answer is something else");
    call->code = (int)e->api_reply->code;
    call->json = xstrdup(e->api_reply->answer_json);
    return STATUS_OK;
}

static void on_forwarded(void *ctx, uint64_t tag UNUSED, enum status status,
                         const struct bus_in *in)
{
    struct forwarded *f = ctx;

    if (take_answer(f->call, status, in, &f->call->err) != STATUS_OK)
        log_info("api_not_forwarded", "path=%s text=%s", f->call->path,
                 LOG_QUOTE(f->call->err.text));
    api_return(f->c, f->call);
    free(f);
}

void api_forward(struct coordinator *c, struct api_call *call)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const struct subject subject = subject_coordinator("api");
    struct bus_out out = { .subject = subject.text };
    Guildbus__V1__ApiRequest r;
    Guildbus__V1__Envelope e;
    uint8_t proof[32];
    void *data = NULL;

    guildbus__v1__api_request__init(&r);
    guildbus__v1__envelope__init(&e);
    r.path = mutable_text(call->path);
    r.body_json = call->body;
    r.sent_ms = wall_ms();
    prove(c->config->token, &r, proof);
    r.proof = (ProtobufCBinaryData){ sizeof(proof), proof };
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_API_REQUEST;
    e.api_request = &r;
    if (codec_encode(&e, arena, &data, &out.size, &call->err) != STATUS_OK) {
        api_return(c, call);
        return;
    }
    out.data = data;
    struct forwarded *f = xcalloc(1, sizeof(*f));
    *f = (struct forwarded){ c, call };
    bus_request(c->bus, &out, &(struct bus_waiter){ c->box, on_forwarded, f, 0, ANSWER_MS });
}

/* ---- where it is done ---- */

static enum status check(const struct coordinator *c, const Guildbus__V1__ApiRequest *r,
                         struct err *err)
{
    uint8_t proof[32];
    int64_t age_ms = wall_ms() - r->sent_ms;

    if (!c->config->token)
        return err_set(err, STATUS_DENIED,
                       "changes are off: the leading coordinator has no COORDINATOR_TOKEN");
    if (strlen(r->body_json) > API_MAX_BODY)
        return err_set(err, STATUS_INVALID, "the body is too long");
    prove(c->config->token, r, proof);
    if (r->proof.len != sizeof(proof) || !sign_equal(proof, r->proof.data, sizeof(proof)))
        return err_set(err, STATUS_DENIED,
                       "the proof is not made with the leading coordinator's COORDINATOR_TOKEN");
    if (age_ms > FRESH_MS || age_ms < -FRESH_MS)
        return err_set(err, STATUS_DENIED, "sent more than a minute ago: see the machines' clocks");
    return STATUS_OK;
}

void api_forwarded(struct coordinator *c, const Guildbus__V1__ApiRequest *r, struct caller *caller)
{
    Guildbus__V1__ApiReply reply;
    Guildbus__V1__Envelope e;
    struct api_call *call = xcalloc(1, sizeof(*call));

    guildbus__v1__api_reply__init(&reply);
    guildbus__v1__envelope__init(&e);
    if (check(c, r, &call->err) == STATUS_OK &&
        api_parse_change(r->path, r->body_json, call, &call->err) == STATUS_OK)
        api_answer(c, call);
    if (!call->json) {
        call->code = status_http(call->err.code);
        call->json = api_error_json(&call->err);
    }
    reply.code = (uint32_t)call->code;
    reply.answer_json = call->json;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_API_REPLY;
    e.api_reply = &reply;
    answer(c, caller, &e);
    api_call_free(call);
}
