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
    ALONE_MS = 20000,          /* nobody says how the resharding goes: what is kept goes out */
    RETIRING_MAX_MS = 30000,   /* likewise, when somebody's shards do not retire */
    FACTS_MS = 10 * 60 * 1000, /* Discord's recommendation grows with the bot */
};

/* A set of shards, as far as it is this pod's. */
struct shard_set {
    uint32_t count;
    uint32_t ids[SHARDS_MAX];
    size_t id_count;
};

struct shards {
    struct confined thread;
    struct shard_pod pod;
    struct shard_set now, next;
    struct shard_set retired; /* of now, in SHARDS_RETIRING */
    enum shards_stage stage;
    int64_t retiring_since_ms; /* 0: it is not the stage */
    bool is_alone;             /* the next shards publish before they may */
    struct loop_timer *alone_timer;
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
    s->now.id_count = s->next.id_count = 0;
    loop_timer_stop(s->alone_timer);
    reconcile(s);
    finish_when_empty(s);
}

/* ---- what is wanted, and what is there ---- */

static bool has_shard(const struct shard_set *set, uint32_t id)
{
    for (size_t i = 0; i < set->id_count; i++)
        if (set->ids[i] == id)
            return true;
    return false;
}

static bool is_of(const struct shard_holder *h, const struct shard_set *set)
{
    return shard_holder_count(h) == set->count;
}

static bool is_wanted(const struct shard_holder *h, const struct shard_set *set)
{
    return is_of(h, set) && has_shard(set, shard_holder_id(h));
}

static const struct shard_holder *holder_of(const struct shards *s, const struct shard_set *set,
                                            uint32_t id)
{
    for (size_t i = 0; i < s->holder_count; i++)
        if (is_of(s->holders[i], set) && shard_holder_id(s->holders[i]) == id)
            return s->holders[i];
    return NULL;
}

static void note_retired(struct shards *s, const struct shard_holder *h)
{
    if (is_of(h, &s->now) && s->stage == SHARDS_RETIRING && s->retired.id_count < SHARDS_MAX)
        s->retired.ids[s->retired.id_count++] = shard_holder_id(h);
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
    if (shard_holder_was_retired(holder))
        note_retired(s, holder);
    shard_holder_free(holder);
    reconcile(s);
    finish_when_empty(s);
}

static enum publish_mode next_mode(const struct shards *s)
{
    if (s->is_alone)
        return PUBLISH_SENDS;
    return s->stage == SHARDS_OPENING ? PUBLISH_DROPS : PUBLISH_KEEPS;
}

/* A shard that is another pod's now is released to it; one of a set that is over goes for good. */
static void steer(struct shards *s, struct shard_holder *h)
{
    if (is_wanted(h, &s->now) && s->stage == SHARDS_RETIRING)
        shard_holder_retire(h);
    else if (is_wanted(h, &s->now))
        shard_holder_set_mode(h, PUBLISH_SENDS);
    else if (is_wanted(h, &s->next))
        shard_holder_set_mode(h, next_mode(s));
    else if (is_of(h, &s->now) || is_of(h, &s->next) || s->now.count == 0)
        shard_holder_stop(h);
    else
        shard_holder_discard(h);
}

static void hold_set(struct shards *s, const struct shard_set *set)
{
    bool is_next = set == &s->next;

    for (size_t i = 0; i < set->id_count && s->holder_count < SHARDS_MAX; i++) {
        const struct shard_post post = { .shard = set->ids[i],
                                         .count = set->count,
                                         .is_next = is_next,
                                         .mode = is_next ? next_mode(s) : PUBLISH_SENDS };
        if (holder_of(s, set, post.shard) || (!is_next && has_shard(&s->retired, post.shard)))
            continue;
        s->holders[s->holder_count++] = shard_holder_new(&s->pod, &post, on_end, s);
    }
}

static void reconcile(struct shards *s)
{
    if (!s->lost_waits) {
        hold_set(s, &s->now);
        hold_set(s, &s->next);
    }
    for (size_t i = 0; i < s->holder_count; i++)
        steer(s, s->holders[i]);
}

static void keep_no_longer(struct shards *s, const char *why)
{
    if (!s->is_alone)
        log_warn("reshard_alone", "next_count=%u text=\"%s: the next shards publish\"",
                 s->next.count, why);
    s->is_alone = true;
}

static void on_alone(void *ctx)
{
    struct shards *s = ctx;

    keep_no_longer(s, "no coordinator for 20 s");
    reconcile(s);
}

/* Shards of pods that are gone, and that nobody may take over yet, must not hold up all others. */
static void mind_time(struct shards *s)
{
    int64_t now_ms = clock_now_ms();

    if (s->stage != SHARDS_RETIRING)
        s->retiring_since_ms = 0;
    else if (!s->retiring_since_ms)
        s->retiring_since_ms = now_ms;
    if (s->retiring_since_ms && now_ms - s->retiring_since_ms >= RETIRING_MAX_MS)
        keep_no_longer(s, "some shards have not retired in 30 s");
    else
        s->is_alone = false;
}

static void set_ids(struct shard_set *set, uint32_t count, const uint32_t *ids, size_t id_count)
{
    set->count = count;
    set->id_count = 0;
    for (size_t i = 0; i < id_count && set->id_count < SHARDS_MAX; i++)
        if (ids[i] < count)
            set->ids[set->id_count++] = ids[i];
    if (set->id_count < id_count && count != 0)
        log_warn("shards_ignored", "count=%u asked=%zu taken=%zu", count, id_count, set->id_count);
}

void shards_want(struct shards *s, const struct shards_wish *wish)
{
    confined_check(&s->thread);
    if (s->stopped)
        return;
    if (wish->stage != SHARDS_RETIRING || wish->count != s->now.count)
        s->retired.id_count = 0;
    s->stage = wish->next_count ? wish->stage : SHARDS_NONE;
    set_ids(&s->now, wish->count, wish->ids, wish->id_count);
    set_ids(&s->next, wish->next_count, wish->next_ids, wish->next_id_count);
    mind_time(s);
    if (s->stage == SHARDS_KEEPING || s->stage == SHARDS_RETIRING)
        loop_timer_start(s->alone_timer, ALONE_MS);
    else
        loop_timer_stop(s->alone_timer);
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
        if (is_of(s->holders[i], &s->now) && shard_holder_holds(s->holders[i]))
            ret_ids[n++] = shard_holder_id(s->holders[i]);
    return n;
}

static size_t list_next(const struct shards *s, bool (*is_such)(const struct shard_holder *h),
                        uint32_t *ret_ids, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < s->holder_count && n < max; i++)
        if (is_wanted(s->holders[i], &s->next) && is_such(s->holders[i]))
            ret_ids[n++] = shard_holder_id(s->holders[i]);
    return n;
}

size_t shards_next_ready(const struct shards *s, uint32_t *ret_ids, size_t max)
{
    return list_next(s, shard_holder_is_settled, ret_ids, max);
}

size_t shards_next_keeping(const struct shards *s, uint32_t *ret_ids, size_t max)
{
    return list_next(s, shard_holder_is_keeping, ret_ids, max);
}

uint32_t shards_unsettled(const struct shards *s)
{
    uint32_t n = 0;

    for (size_t i = 0; i < s->now.id_count; i++) {
        const struct shard_holder *h = holder_of(s, &s->now, s->now.ids[i]);
        n += !h || !shard_holder_is_at_rest(h);
    }
    return n;
}

size_t shards_retired(const struct shards *s, uint32_t *ret_ids, size_t max)
{
    size_t n = s->retired.id_count < max ? s->retired.id_count : max;

    memcpy(ret_ids, s->retired.ids, n * sizeof(*ret_ids));
    return n;
}

const struct gateway_facts *shards_facts(const struct shards *s, int64_t *ret_age_ms)
{
    *ret_age_ms = gateway_info_age_ms(s->pod.info);
    if (*ret_age_ms > FACTS_MS)
        gateway_info_refresh(s->pod.info);
    return gateway_info_facts(s->pod.info);
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
    s->alone_timer = loop_timer_new(config->loop, on_alone, s);
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
    loop_timer_free(s->alone_timer);
    free(s);
}
