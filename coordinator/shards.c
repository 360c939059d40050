#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "coordinator/state.h"

enum {
    IDENTIFY_MS = 5000, /* Discord: one IDENTIFY per bucket and 5 s */
    MOST_BUCKETS = 4096,
    WAIT_FOR_HOLDER_MS = 1000,
    RESERVE_WARN_MS = 60000,
};

static struct metric sessions_left =
    METRIC_GAUGE("guildbus_coordinator_session_starts_left", "of today's, by Discord's word");

static enum status set_count(struct coordinator *c, uint32_t count, const char *why,
                             struct err *err)
{
    TRY(store_set_meta(c->store, "shard_count", count, err));
    TRY(store_cut_shards(c->store, count, err));
    mirror_set_shard_count(c->mirror, count);
    log_info("shard_count", "count=%u from=%s", count, why);
    c->shards_changed = true;
    return STATUS_OK;
}

static void on_shard(void *ctx, const struct shard_row *row)
{
    struct coordinator *c = ctx;

    mirror_put_shard(c->mirror, row);
}

/* Else another count is a reshard: their sessions may have events to come. */
static bool has_holders(const struct mirror *m)
{
    for (uint32_t i = 0; i < m->shard_count; i++) {
        if (*m->shards[i])
            return true;
    }
    return m->next_count > 0;
}

enum status shards_load(struct coordinator *c, struct err *err)
{
    uint64_t stored = 0;

    TRY(store_meta(c->store, "shard_count", &stored, err));
    if (stored && stored <= MOST_SHARDS)
        mirror_set_shard_count(c->mirror, (uint32_t)stored);
    TRY(reshards_load(c, err));
    TRY(store_shards(c->store, on_shard, c, err));
    mirror_count_shards(c->mirror);
    c->shards_changed = true;
    bool differs = c->config->shard_count && (uint64_t)c->config->shard_count != stored;
    if (differs && !has_holders(c->mirror))
        TRY(set_count(c, (uint32_t)c->config->shard_count, "SHARD_COUNT", err));
    return STATUS_OK;
}

enum status shards_recommended(struct coordinator *c, uint32_t count, struct err *err)
{
    return set_count(c, count, "recommended_shards", err);
}

/* A shard stays where it is unless its holder is gone, or somebody else can hold it and its holder
 * drains, or would never let it retire. */
static bool wants_holder(const struct coordinator *c, const char *holder, const struct place *place)
{
    const struct mirror_pod *pod = *holder ? mirror_pod(c->mirror, holder) : NULL;

    if (!pod || pod->row.status == POD_OFFLINE)
        return true;
    if (pod->row.status != POD_DRAINING && !(c->mirror->next_count && pod->is_too_old))
        return false;
    for (size_t i = 0; i < place->count; i++) {
        if (place->pods[i].takes)
            return true;
    }
    return false;
}

static enum status place_all(struct coordinator *c, struct place *place, bool next, bool *all,
                             struct err *err)
{
    const struct mirror *m = c->mirror;

    for (uint32_t i = 0; i < (next ? m->next_count : m->shard_count); i++) {
        const char *holder = next ? m->next[i].pod : m->shards[i];
        struct shard_row row = { .shard = i, .is_next = next };
        if (!wants_holder(c, holder, place))
            continue;
        const struct place_pod *pod = place_shard(place, NULL);
        if (pod)
            text_copy(row.pod, sizeof(row.pod), pod->id);
        else
            *all = false;
        if (!strcmp(row.pod, holder))
            continue;
        reshard_turn_over(&c->reshard);
        log_info("shard_assigned", "shard=%u of=%u from=%s to=%s", i,
                 next ? m->next_count : m->shard_count, *holder ? holder : "-",
                 *row.pod ? row.pod : "-");
        plan_shard(&c->plan, &row);
        if (c->plan.shard_count == PLAN_GUILDS)
            TRY(commit(c, err));
    }
    return commit(c, err);
}

/* A current shard that a pod of an older version takes over would never retire. */
static void prefer_able(struct place *place)
{
    bool any = false;

    for (size_t i = 0; i < place->count; i++)
        any |=
            place->pods[i].takes && ((const struct mirror_pod *)place->pods[i].user)->can_reshard;
    for (size_t i = 0; any && i < place->count; i++)
        place->pods[i].takes &= ((const struct mirror_pod *)place->pods[i].user)->can_reshard;
}

/* Spread by themselves, over pods that can hold two sets. */
static void count_next_only(struct place *place)
{
    for (size_t i = 0; i < place->count; i++) {
        const struct mirror_pod *pod = place->pods[i].user;
        place->pods[i].shards = pod->next_shards;
        place->pods[i].takes &= pod->can_reshard;
    }
}

enum status shards_place(struct coordinator *c, struct err *err)
{
    if (!c->shards_changed || !c->mirror->shard_count)
        return STATUS_OK;
    CLEANUP(place_release) struct place place = place_of(c);
    bool all = true;

    if (c->mirror->next_count)
        prefer_able(&place);
    TRY(place_all(c, &place, false, &all, err));
    count_next_only(&place);
    TRY(place_all(c, &place, true, &all, err));
    c->shards_changed = !all;
    return STATUS_OK;
}

/* ---- IDENTIFY ---- */

static void answer_identify(struct coordinator *c, struct caller *caller, int64_t wait_ms,
                            const char *why)
{
    Guildbus__V1__IdentifyReply reply;
    Guildbus__V1__Envelope e;
    char text[256];

    guildbus__v1__identify_reply__init(&reply);
    guildbus__v1__envelope__init(&e);
    text_copy(text, sizeof(text), why);
    reply.granted = wait_ms == 0;
    reply.wait_ms = (uint32_t)wait_ms;
    reply.text = text;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_IDENTIFY_REPLY;
    e.identify_reply = &reply;
    answer(c, caller, &e);
}

/* The shard is another living pod's. */
static bool is_held_elsewhere(const struct coordinator *c, const Guildbus__V1__IdentifyRequest *r)
{
    const struct mirror *m = c->mirror;
    bool is_next = m->next_count && r->shard_count == m->next_count;
    const char *pod = r->pod;

    if (r->shard >= (is_next ? m->next_count : m->shard_count))
        return false;
    const char *holder = is_next ? m->next[r->shard].pod : m->shards[r->shard];
    return *holder && strcmp(holder, pod) != 0 && pod_is_alive(c, mirror_pod(c->mirror, holder));
}

/* A pod that has not heard yet that a reshard was done or given up. */
static bool is_of_no_set(const struct coordinator *c, const Guildbus__V1__IdentifyRequest *r)
{
    const struct mirror *m = c->mirror;

    return r->shard_count && m->shard_count && r->shard_count != m->shard_count &&
           r->shard_count != m->next_count;
}

/* 0: today's budget has one more. */
static int64_t budget_wait(struct coordinator *c, const Guildbus__V1__IdentifyRequest *r, char *why,
                           size_t why_size)
{
    const struct session_facts facts = { r->total, r->remaining, r->reset_after_ms, r->age_ms };
    int64_t now_ms = clock_now_ms();

    session_budget_hear(&c->sessions, &facts, now_ms);
    metric_set(&sessions_left, c->sessions.left);
    int64_t wait_ms = session_budget_wait(&c->sessions, c->config->identify_reserve_percent, now_ms,
                                          why, why_size);
    if (wait_ms && now_ms >= c->next_reserve_warning_ms) {
        c->next_reserve_warning_ms = now_ms + RESERVE_WARN_MS;
        log_error("identify_refused", "pod=%s shard=%u why=%s", r->pod, r->shard, LOG_QUOTE(why));
    }
    return wait_ms;
}

enum status shards_identify(struct coordinator *c, const Guildbus__V1__IdentifyRequest *r,
                            struct caller *caller, struct err *err)
{
    uint32_t concurrency = !r->max_concurrency                 ? 1
                           : r->max_concurrency > MOST_BUCKETS ? MOST_BUCKETS
                                                               : r->max_concurrency;
    struct err refused = { 0 };
    char why[256];
    int64_t wait_ms = 0;

    if (!pod_id_is_valid(r->pod)) {
        refused.code = err_set(&refused, STATUS_INVALID, "pod must be 1 to 64 of A-Z a-z 0-9 _ -");
        answer_err(c, caller, &refused);
        return STATUS_OK;
    }
    if (is_of_no_set(c, r)) {
        answer_identify(c, caller, WAIT_FOR_HOLDER_MS, "there are not so many shards any more");
        return STATUS_OK;
    }
    if (is_held_elsewhere(c, r)) {
        answer_identify(c, caller, WAIT_FOR_HOLDER_MS, "the shard is assigned to another pod");
        return STATUS_OK;
    }
    wait_ms = budget_wait(c, r, why, sizeof(why));
    if (wait_ms) {
        answer_identify(c, caller, wait_ms, why);
        return STATUS_OK;
    }
    TRY(store_identify(c->store, r->shard % concurrency, IDENTIFY_MS, &wait_ms, err));
    log_info("identify", "pod=%s shard=%u of=%u bucket=%u wait_ms=%" PRId64, r->pod, r->shard,
             r->shard_count, r->shard % concurrency, wait_ms);
    if (!wait_ms)
        session_budget_spend(&c->sessions, clock_now_ms());
    answer_identify(c, caller, wait_ms, wait_ms ? "its bucket was used less than 5 s ago" : "");
    return STATUS_OK;
}
