#include "gateway/shards.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/confined.h"
#include "base/log.h"
#include "base/xmem.h"
#include "gateway/gateway_info.h"
#include "gateway/interactions.h"
#include "gateway/shard_holder.h"

enum {
    SHARDS_MAX = 4096, /* that one pod may be told to hold */
    TOKEN_MAX = 256,
    LOST_WAIT_MS =
        10000, /* wanted here though another pod took it: let the coordinator decide first */
    CLOSE_WAIT_MS = 1000, /* for the last close frames to leave */
    CLOSE_POLL_MS = 10,
};

struct shards {
    struct confined thread;
    struct shard_pod pod;
    uint32_t count;
    uint32_t wanted[SHARDS_MAX];
    size_t wanted_count;
    struct shard_holder *holders[SHARDS_MAX];
    size_t holder_count;
    struct loop_timer *lost_timer; /* runs: lost shards are not taken again yet */
    bool lost_waits;
    struct loop_timer *close_timer;
    int64_t close_until_ms;
    void (*stopped)(void *ctx); /* set: stopping */
    void *stopped_ctx;
};

static void reconcile(struct shards *s);

/* ---- stopping ---- */

static void on_close_timer(void *ctx)
{
    struct shards *s = ctx;

    if (shard_net_count(s->pod.net) > 0 && clock_now_ms() < s->close_until_ms) {
        loop_timer_start(s->close_timer, CLOSE_POLL_MS);
        return;
    }
    s->stopped(s->stopped_ctx);
}

static void finish_when_empty(struct shards *s)
{
    if (!s->stopped || s->holder_count > 0 || s->close_until_ms != 0)
        return;
    s->close_until_ms = clock_now_ms() + CLOSE_WAIT_MS;
    loop_timer_start(s->close_timer, 0);
}

void shards_stop(struct shards *s, void (*done)(void *ctx), void *ctx)
{
    confined_check(&s->thread);
    s->stopped = done;
    s->stopped_ctx = ctx;
    s->wanted_count = 0;
    reconcile(s);
    finish_when_empty(s);
}

/* ---- what is wanted, and what is there ---- */

static bool is_wanted(const struct shards *s, uint32_t id)
{
    for (size_t i = 0; i < s->wanted_count; i++)
        if (s->wanted[i] == id)
            return true;
    return false;
}

static bool has_holder(const struct shards *s, uint32_t id)
{
    for (size_t i = 0; i < s->holder_count; i++)
        if (shard_holder_id(s->holders[i]) == id)
            return true;
    return false;
}

static void on_lost_timer(void *ctx)
{
    struct shards *s = ctx;

    s->lost_waits = false;
    reconcile(s);
}

static void on_end(void *ctx, struct shard_holder *holder)
{
    struct shards *s = ctx;

    for (size_t i = 0; i < s->holder_count; i++) {
        if (s->holders[i] != holder)
            continue;
        s->holders[i] = s->holders[--s->holder_count];
        break;
    }
    if (shard_holder_was_lost(holder)) {
        s->lost_waits = true;
        loop_timer_start(s->lost_timer, LOST_WAIT_MS);
    }
    shard_holder_free(holder);
    reconcile(s);
    finish_when_empty(s);
}

static void reconcile(struct shards *s)
{
    for (size_t i = 0; i < s->holder_count; i++) {
        struct shard_holder *h = s->holders[i];
        if (shard_holder_count(h) != s->count || !is_wanted(s, shard_holder_id(h)))
            shard_holder_stop(h);
    }
    if (s->lost_waits)
        return;
    for (size_t i = 0; i < s->wanted_count && s->holder_count < SHARDS_MAX; i++)
        if (!has_holder(s, s->wanted[i]))
            s->holders[s->holder_count++] =
                shard_holder_new(&s->pod, s->wanted[i], s->count, on_end, s);
}

void shards_want(struct shards *s, uint32_t count, const uint32_t *ids, size_t id_count)
{
    confined_check(&s->thread);
    if (s->stopped)
        return;
    s->count = count;
    s->wanted_count = 0;
    for (size_t i = 0; i < id_count && s->wanted_count < SHARDS_MAX; i++)
        if (ids[i] < count)
            s->wanted[s->wanted_count++] = ids[i];
    if (s->wanted_count < id_count && count != 0)
        log_warn("shards_ignored", "count=%u asked=%zu taken=%zu", count, id_count,
                 s->wanted_count);
    reconcile(s);
}

uint32_t shards_recommended(const struct shards *s)
{
    const struct gateway_facts *facts = gateway_info_facts(s->pod.info);
    return facts ? facts->shards : 0;
}

size_t shards_held(const struct shards *s, uint32_t *ret_ids, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < s->holder_count && n < max; i++)
        if (shard_holder_holds(s->holders[i]))
            ret_ids[n++] = shard_holder_id(s->holders[i]);
    return n;
}

/* ---- life ---- */

/* It is written into JSON as it is. */
static enum status check_token(const char *token, struct err *err)
{
    size_t size = strlen(token);

    if (size == 0 || size > TOKEN_MAX)
        return err_set(err, STATUS_INVALID, "the bot token is empty or over %d characters",
                       TOKEN_MAX);
    for (size_t i = 0; i < size; i++)
        if (token[i] <= ' ' || token[i] > '~' || token[i] == '"' || token[i] == '\\')
            return err_set(err, STATUS_INVALID, "the bot token has a character that no token has");
    return STATUS_OK;
}

enum status shards_new(const struct shards_config *config, struct shards **ret_shards,
                       struct err *err)
{
    TRY(check_token(config->token, err));
    CLEANUP(shards_free) struct shards *s = xcalloc(1, sizeof(*s));
    s->pod = (struct shard_pod){ .loop = config->loop,
                                 .bus = config->bus,
                                 .token = config->token,
                                 .pod = config->pod,
                                 .incarnation = config->incarnation };
    TRY(shard_net_new(config->loop, config->compress, &s->pod.net, err));
    s->pod.info = gateway_info_new(config->loop, config->rest);
    s->pod.gate = identify_gate_new(&(struct identify_gate_config){
        .loop = config->loop,
        .bus = config->bus,
        .info = s->pod.info,
        .pod = config->pod,
        .ask_coordinator = config->ask_coordinator,
    });
    s->pod.interactions = interactions_new(&(struct interactions_config){
        .loop = config->loop, .bus = config->bus, .rest = config->rest });
    if (config->ask_coordinator)
        s->pod.seen = guilds_seen_new(config->loop, config->bus, config->pod);
    s->lost_timer = loop_timer_new(config->loop, on_lost_timer, s);
    s->close_timer = loop_timer_new(config->loop, on_close_timer, s);
    *ret_shards = TAKE(s);
    return STATUS_OK;
}

void shards_free(struct shards *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->holder_count; i++)
        shard_holder_free(s->holders[i]);
    interactions_free(s->pod.interactions);
    guilds_seen_free(s->pod.seen);
    identify_gate_free(s->pod.gate);
    gateway_info_free(s->pod.info);
    shard_net_free(s->pod.net);
    loop_timer_free(s->lost_timer);
    loop_timer_free(s->close_timer);
    free(s);
}
