#include "gateway/identify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xmem.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    REQUEST_MS = 3000,
    NO_FACTS_MS = 100,
    FRESH_MS = 60000, /* older facts about the budget are asked for again */
    RETRY_MS = 500,
    RETRY_MAX_MS = 15000,
    WAIT_MAX_MS = 60000, /* a budget may be raised by hand: look again at least so often */
};

struct identify_gate {
    struct identify_gate_config config;
    struct identify_buckets buckets;
    int64_t warned_ms;
};

/* Cancelled while a request is under way, it lives until the answer. */
struct identify_wish {
    struct identify_gate *gate;
    uint32_t shard, count;
    void (*on_granted)(void *ctx);
    void *ctx;
    struct loop_timer *timer;
    int64_t retry_ms;
    bool under_way, cancelled;
};

int64_t identify_take(struct identify_buckets *buckets, uint32_t shard, uint32_t max_concurrency,
                      int64_t now_ms)
{
    uint32_t keys = max_concurrency < IDENTIFY_BUCKETS ? max_concurrency : IDENTIFY_BUCKETS;
    int64_t *free_ms = &buckets->free_ms[keys ? shard % keys : 0];

    if (now_ms < *free_ms)
        return *free_ms - now_ms;
    *free_ms = now_ms + IDENTIFY_EACH_MS;
    return 0;
}

static void wish_free(struct identify_wish *w)
{
    loop_timer_free(w->timer);
    free(w);
}

static void wait_ms(struct identify_wish *w, int64_t ms)
{
    loop_timer_start(w->timer, ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS);
}

static void grant(struct identify_wish *w)
{
    gateway_info_spend(w->gate->config.info);
    w->on_granted(w->ctx);
}

/* ---- the coordinator ---- */

static void retry(struct identify_wish *w, const char *why)
{
    log_warn("identify_unanswered", "shard=%u retry_ms=%" PRId64 " error=%s", w->shard, w->retry_ms,
             LOG_QUOTE(why));
    wait_ms(w, w->retry_ms);
    w->retry_ms = w->retry_ms * 2 < RETRY_MAX_MS ? w->retry_ms * 2 : RETRY_MAX_MS;
}

static void on_decision(struct identify_wish *w, const Guildbus__V1__IdentifyReply *reply)
{
    w->retry_ms = RETRY_MS;
    if (reply->granted) {
        grant(w);
        return;
    }
    log_info("identify_waits", "shard=%u wait_ms=%u why=%s", w->shard, reply->wait_ms,
             LOG_QUOTE(reply->text));
    wait_ms(w, reply->wait_ms > 0 ? reply->wait_ms : RETRY_MS);
}

static void on_reply(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    struct identify_wish *w = ctx;
    Guildbus__V1__Envelope *envelope = NULL;
    struct err err = { .text = "" };

    w->under_way = false;
    if (w->cancelled) {
        wish_free(w);
        return;
    }
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    if (status != STATUS_OK)
        retry(w, status_name(status));
    else if (codec_decode(in->data, in->size, arena, &envelope, &err) != STATUS_OK)
        retry(w, err.text);
    else if (envelope->body_case != GUILDBUS__V1__ENVELOPE__BODY_IDENTIFY_REPLY)
        retry(w, "not an IdentifyReply");
    else
        on_decision(w, envelope->identify_reply);
}

static uint32_t u32(int64_t value)
{
    return value < 0 ? 0 : value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void put_facts(Guildbus__V1__IdentifyRequest *request, const struct gateway_info *info)
{
    const struct gateway_facts *facts = gateway_info_facts(info);
    int64_t age_ms = gateway_info_age_ms(info);

    request->max_concurrency = facts->max_concurrency;
    request->total = u32(facts->total);
    request->remaining = u32(facts->remaining);
    request->reset_after_ms = u32(facts->reset_after_ms - age_ms);
    request->age_ms = u32(age_ms);
}

static void ask_coordinator(struct identify_wish *w)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__IdentifyRequest request;
    Guildbus__V1__Envelope envelope;
    struct subject subject = subject_coordinator("identify");
    char pod[65];
    void *data = NULL;
    size_t size = 0;

    guildbus__v1__identify_request__init(&request);
    guildbus__v1__envelope__init(&envelope);
    (void)snprintf(pod, sizeof(pod), "%s", w->gate->config.pod);
    request.pod = pod;
    request.shard = w->shard;
    request.shard_count = w->count;
    put_facts(&request, w->gate->config.info);
    envelope.body_case = GUILDBUS__V1__ENVELOPE__BODY_IDENTIFY;
    envelope.identify = &request;
    must(codec_encode(&envelope, arena, &data, &size, NULL) == STATUS_OK);
    const struct bus_out out = { .subject = subject.text, .data = data, .size = size };
    w->under_way = true;
    bus_request(
        w->gate->config.bus, &out,
        &(struct bus_waiter){ loop_mailbox(w->gate->config.loop), on_reply, w, 0, REQUEST_MS });
}

/* ---- the budget ---- */

static void warn_empty(struct identify_gate *gate, const struct gateway_facts *facts)
{
    int64_t now = clock_now_ms();
    if (gate->warned_ms != 0 && now - gate->warned_ms < FRESH_MS)
        return;
    gate->warned_ms = now;
    log_error("identify_budget_empty",
              "total=%" PRId64 " reset_after_ms=%" PRId64
              " text=\"no IDENTIFY left today: shards without a session wait for Discord's reset\"",
              facts->total, facts->reset_after_ms);
}

/* 0: go on; else wait so long and look again. */
static int64_t budget_wait(struct identify_gate *gate)
{
    const struct gateway_facts *facts = gateway_info_facts(gate->config.info);
    int64_t age = gateway_info_age_ms(gate->config.info);

    if (!facts)
        return NO_FACTS_MS;
    if (age > FRESH_MS)
        gateway_info_refresh(gate->config.info);
    if (facts->remaining > 0)
        return 0;
    warn_empty(gate, facts);
    int64_t left = facts->reset_after_ms - age;
    if (left <= 0) {
        gateway_info_refresh(gate->config.info);
        left = RETRY_MS;
    }
    return left;
}

static void try_now(void *ctx)
{
    struct identify_wish *w = ctx;
    struct identify_gate *gate = w->gate;

    if (w->under_way)
        return;
    int64_t wait = budget_wait(gate);
    if (wait == 0 && gate->config.ask_coordinator) {
        ask_coordinator(w);
        return;
    }
    if (wait == 0)
        wait =
            identify_take(&gate->buckets, w->shard,
                          gateway_info_facts(gate->config.info)->max_concurrency, clock_now_ms());
    if (wait > 0)
        wait_ms(w, wait);
    else
        grant(w);
}

struct identify_wish *identify_ask(struct identify_gate *gate, uint32_t shard, uint32_t count,
                                   void (*on_granted)(void *ctx), void *ctx)
{
    struct identify_wish *w = xcalloc(1, sizeof(*w));

    *w = (struct identify_wish){ .gate = gate,
                                 .shard = shard,
                                 .count = count,
                                 .on_granted = on_granted,
                                 .ctx = ctx,
                                 .retry_ms = RETRY_MS };
    w->timer = loop_timer_new(gate->config.loop, try_now, w);
    loop_timer_start(w->timer, 0);
    return w;
}

void identify_cancel(struct identify_wish **slot)
{
    struct identify_wish *w = TAKE(*slot);

    if (!w)
        return;
    w->cancelled = true;
    loop_timer_stop(w->timer);
    if (!w->under_way)
        wish_free(w);
}

struct identify_gate *identify_gate_new(const struct identify_gate_config *config)
{
    struct identify_gate *gate = xcalloc(1, sizeof(*gate));

    gate->config = *config;
    return gate;
}

void identify_gate_free(struct identify_gate *gate)
{
    free(gate);
}
