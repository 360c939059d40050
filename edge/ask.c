#include "edge/ask.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/idmap.h"
#include "base/metrics.h"
#include "base/xmem.h"

struct asks {
    struct loop *loop;
    struct bus *bus;
    struct idmap *open;
    uint64_t last_key;
};

struct ask {
    struct asks *asks;
    uint64_t key;
    struct ask_call call;
    struct loop_timer *timer;
    enum status last; /* what the last attempt came to */
};

static struct metric attempts =
    METRIC_COUNTER("guildbus_edge_bus_requests_total", "requests sent to owners and the stream");
static struct metric refusals = METRIC_COUNTER(
    "guildbus_edge_bus_refusals_total", "requests that nobody took, or whose owner declined");

struct asks *asks_new(struct loop *loop, struct bus *bus)
{
    struct asks *asks = xcalloc(1, sizeof(*asks));

    asks->loop = loop;
    asks->bus = bus;
    asks->open = idmap_new();
    return asks;
}

static void ask_free(struct ask *a)
{
    idmap_remove(a->asks->open, a->key);
    loop_timer_free(a->timer);
    free(a);
}

static void free_each(void *ctx UNUSED, uint64_t key UNUSED, void *value)
{
    ask_free(value);
}

void asks_free(struct asks *asks)
{
    if (!asks)
        return;
    idmap_each(asks->open, free_each, NULL);
    idmap_free(asks->open);
    free(asks);
}

static void run_step(struct ask *a, enum retry_input input);

static void on_reply(void *ctx, uint64_t key, enum status status, const struct bus_in *in)
{
    struct asks *asks = ctx;
    struct ask *a = idmap_get(asks->open, key);

    if (!a)
        return; /* another attempt was faster, or nobody wants it any more */
    if (status == STATUS_OK) {
        enum ask_verdict verdict = a->call.on_answer(a->call.ctx, in);
        a = idmap_get(asks->open, key);
        if (a && verdict == ASK_DONE)
            ask_free(a);
        if (!a || verdict == ASK_DONE)
            return;
        status = STATUS_UNAVAILABLE;
    }
    a->last = status;
    if (status == STATUS_INVALID)
        a->call.retry.give_up_ms = 0; /* too large; it will not shrink */
    metric_add(&refusals, 1);
    run_step(a, RETRY_REFUSED);
}

static void run_step(struct ask *a, enum retry_input input)
{
    int64_t now_ms = clock_now_ms();
    struct retry_step step = retry_step(&a->call.retry, input, now_ms);

    if (step.give_up && input == RETRY_START) {
        loop_timer_start(a->timer, 0); /* no callback from inside ask_start */
        return;
    }
    if (step.give_up) {
        struct ask_call call = a->call;
        enum status why = a->last;
        ask_free(a);
        call.on_end(call.ctx, why);
        return;
    }
    loop_timer_start(a->timer, step.wake_ms - now_ms);
    if (step.send) {
        metric_add(&attempts, 1);
        bus_request(a->asks->bus, &a->call.out,
                    &(struct bus_waiter){ loop_mailbox(a->asks->loop), on_reply, a->asks, a->key,
                                          (int)(a->call.retry.give_up_ms - now_ms) });
    }
}

static void on_time(void *ctx)
{
    run_step(ctx, RETRY_TIME);
}

uint64_t ask_start(struct asks *asks, const struct ask_call *call)
{
    struct ask *a = xcalloc(1, sizeof(*a));

    a->asks = asks;
    a->key = ++asks->last_key;
    a->call = *call;
    a->last = STATUS_TIMEOUT;
    a->timer = loop_timer_new(asks->loop, on_time, a);
    idmap_put(asks->open, a->key, a);
    uint64_t key = a->key;
    run_step(a, RETRY_START);
    return key;
}

void ask_cancel(struct asks *asks, uint64_t key)
{
    struct ask *a = idmap_get(asks->open, key);

    if (a)
        ask_free(a);
}
