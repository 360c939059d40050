/* Resharding, carried out: what reshard.h decides is stored, then told with the answers to
 * heartbeats, and what the pods say of their shards goes into the next step. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/sign.h"
#include "coordinator/state.h"

enum { AUTO_EACH_MS = 1000, AUTO_AGAIN_MS = 60000, CANCELLED_REST_MS = 600000 };

static struct metric stage_gauge =
    METRIC_GAUGE("guildbus_coordinator_reshard_stage", "0 none, 1 opening, 2 keeping, 3 retiring");
static struct metric next_gauge =
    METRIC_GAUGE("guildbus_coordinator_next_shards", "shards that a reshard leads to; 0: none");
static struct metric ready_gauge =
    METRIC_GAUGE("guildbus_coordinator_next_shards_ready", "of these, live with their guilds");
static struct metric done_total =
    METRIC_COUNTER("guildbus_coordinator_reshards_total", "reshards that were done");

/* ---- what pods say ---- */

static void note_next(struct coordinator *c, const char *pod, const Guildbus__V1__Heartbeat *h)
{
    struct mirror *m = c->mirror;

    for (uint32_t i = 0; i < m->next_count; i++) {
        if (!strcmp(m->next[i].pod, pod))
            m->next[i].ready = m->next[i].keeping = false;
    }
    for (size_t i = 0; i < h->n_next_ready; i++) {
        uint32_t id = h->next_ready[i];
        if (id < m->next_count && !strcmp(m->next[id].pod, pod))
            m->next[id].ready = true;
    }
    for (size_t i = 0; i < h->n_next_keeping; i++) {
        uint32_t id = h->next_keeping[i];
        if (id < m->next_count && !strcmp(m->next[id].pod, pod))
            m->next[id].keeping = true;
    }
}

static void note_retired(struct coordinator *c, const char *pod, const Guildbus__V1__Heartbeat *h)
{
    struct mirror *m = c->mirror;

    for (size_t i = 0; i < h->n_retired; i++) {
        uint32_t id = h->retired[i];
        if (id < m->shard_count && !strcmp(m->shards[id], pod))
            m->retired[id] = true;
    }
}

void reshards_heard(struct coordinator *c, struct mirror_pod *pod, const Guildbus__V1__Heartbeat *h)
{
    const struct session_facts facts = { h->session_total, h->session_remaining,
                                         h->session_reset_after_ms, h->facts_age_ms };
    int64_t now_ms = clock_now_ms();

    c->shards_changed |= h->can_reshard != pod->can_reshard || h->can_reshard == pod->is_too_old;
    pod->can_reshard = h->can_reshard;
    pod->is_too_old = !h->can_reshard;
    pod->reshard_round = h->reshard_round;
    pod->shards_unsettled = h->shards_unsettled;
    if (h->recommended_shards && h->recommended_shards <= MOST_SHARDS) {
        pod->recommended_shards = h->recommended_shards;
        pod->recommended_ms = now_ms - h->facts_age_ms;
    }
    if (facts.total)
        session_budget_hear(&c->sessions, &facts, now_ms);
    if (c->reshard.stage == RESHARD_NONE || h->reshard_round != c->reshard.round)
        return;
    note_next(c, pod->row.pod, h);
    if (c->reshard.stage == RESHARD_RETIRING)
        note_retired(c, pod->row.pod, h);
}

/* And knows what the stage is, and which shards are its. */
static bool is_heard(const struct coordinator *c, const char *name)
{
    const struct mirror_pod *pod = *name ? mirror_pod(c->mirror, name) : NULL;

    return pod && pod_is_alive(c, pod) && pod->can_reshard &&
           pod->reshard_round == c->reshard.round;
}

static struct reshard_sight look(const struct coordinator *c)
{
    const struct mirror *m = c->mirror;
    struct reshard_sight s = { .current = m->shard_count, .next = m->next_count };

    for (size_t i = 0; i < m->pod_count; i++) {
        if (pod_is_alive(c, m->pods[i]))
            s.unsettled += m->pods[i]->shards_unsettled;
    }
    for (uint32_t i = 0; i < m->shard_count; i++) {
        s.unsettled += !is_heard(c, m->shards[i]);
        s.retired += m->retired[i];
    }
    for (uint32_t i = 0; i < m->next_count; i++) {
        bool heard = is_heard(c, m->next[i].pod);
        s.ready += heard && m->next[i].ready;
        s.keeping += heard && m->next[i].keeping;
    }
    return s;
}

/* ---- its way ---- */

static void measure(const struct coordinator *c, uint32_t ready)
{
    metric_set(&stage_gauge, c->reshard.stage);
    metric_set(&next_gauge, c->mirror->next_count);
    metric_set(&ready_gauge, ready);
}

static enum status enter(struct coordinator *c, enum reshard_stage stage, struct err *err)
{
    const struct reshard_row row = { .to = c->mirror->next_count, .stage = stage };

    TRY(store_reshard(c->store, &row, err));
    log_info("reshard_stage", "from=%s to=%s shards=%u next_shards=%u",
             reshard_stage_text(c->reshard.stage), reshard_stage_text(stage),
             c->mirror->shard_count, c->mirror->next_count);
    reshard_enter(&c->reshard, stage, clock_now_ms());
    return STATUS_OK;
}

static enum status finish(struct coordinator *c, struct err *err)
{
    uint32_t from = c->mirror->shard_count, to = c->mirror->next_count;
    char why[REASON_SIZE];

    (void)snprintf(why, sizeof(why), "%u to %u shards", from, to);
    const struct reshard_row none = { .what = "resharded", .why = why };
    TRY(store_reshard_commit(c->store, to, &none, err));
    mirror_take_next(c->mirror);
    reshard_enter(&c->reshard, RESHARD_NONE, clock_now_ms());
    metric_add(&done_total, 1);
    log_info("resharded", "from=%u to=%u", from, to);
    c->shards_changed = true;
    return STATUS_OK;
}

static void warn_when_late(struct coordinator *c, const struct reshard_sight *s)
{
    int64_t now_ms = clock_now_ms();

    if (now_ms - c->reshard.entered_ms < RESHARD_WARN_MS || now_ms < c->next_reshard_warning_ms)
        return;
    c->next_reshard_warning_ms = now_ms + RESHARD_WARN_MS;
    log_warn("reshard_waits",
             "stage=%s next_shards=%u ready=%u keeping=%u shards=%u unsettled=%u retired=%u "
             "next=\"goes on by itself, or guildbusctl reshard --cancel\"",
             reshard_stage_text(c->reshard.stage), s->next, s->ready, s->keeping, s->current,
             s->unsettled, s->retired);
}

static enum status go_on(struct coordinator *c, struct err *err)
{
    const struct reshard_sight sight = look(c);
    enum reshard_stage stage = reshard_step(&c->reshard, &sight, clock_now_ms());

    measure(c, sight.ready);
    if (stage == c->reshard.stage) {
        warn_when_late(c, &sight);
        return STATUS_OK;
    }
    return stage == RESHARD_NONE ? finish(c, err) : enter(c, stage, err);
}

/* ---- its beginning and end ---- */

/* By the pod that asked Discord last. */
static uint32_t recommended(const struct coordinator *c)
{
    const struct mirror_pod *latest = NULL;

    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        const struct mirror_pod *pod = c->mirror->pods[i];
        if (pod_is_alive(c, pod) && pod->recommended_shards &&
            (!latest || pod->recommended_ms > latest->recommended_ms))
            latest = pod;
    }
    return latest ? latest->recommended_shards : 0;
}

static bool is_auto(const struct coordinator *c)
{
    return !strcmp(c->config->reshard, "auto");
}

static struct reshard_case case_of(const struct coordinator *c, uint32_t to)
{
    struct reshard_case r = {
        .current = c->mirror->shard_count,
        .to = to,
        .most = MOST_SHARDS,
        .under_way = c->mirror->next_count,
        .setting = is_auto(c) ? (uint32_t)c->config->shard_count : 0,
        .guilds = idmap_count(c->mirror->guilds),
        .sessions_total = c->sessions.total,
        .sessions = session_budget_spare(&c->sessions, c->config->identify_reserve_percent),
    };

    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        r.pods += pod_is_alive(c, c->mirror->pods[i]);
        r.pods_unable += pod_is_alive(c, c->mirror->pods[i]) && !c->mirror->pods[i]->can_reshard;
    }
    return r;
}

static enum status begin(struct coordinator *c, uint32_t to, const char *who, struct err *err)
{
    char why[REASON_SIZE];

    (void)snprintf(why, sizeof(why), "%u to %u: %s", c->mirror->shard_count, to, who);
    const struct reshard_row row = {
        .to = to, .stage = RESHARD_OPENING, .what = "reshard_begins", .why = why
    };
    c->reshard_decided = recommended(c);
    TRY(store_set_meta(c->store, "reshard_decided", c->reshard_decided, err));
    TRY(store_reshard(c->store, &row, err));
    mirror_set_next_count(c->mirror, to);
    reshard_enter(&c->reshard, RESHARD_OPENING, clock_now_ms());
    c->shards_changed = true;
    log_info("reshard_begins", "from=%u to=%u by=%s", c->mirror->shard_count, to, who);
    return STATUS_OK;
}

static enum status cancel(struct coordinator *c, struct err *refused, struct err *err)
{
    char why[REASON_SIZE];

    if (c->reshard.stage == RESHARD_NONE || c->reshard.stage == RESHARD_RETIRING) {
        refused->code =
            err_set(refused, STATUS_CONFLICT,
                    c->reshard.stage == RESHARD_NONE
                        ? "no reshard is under way"
                        : "too late: the former shards retire already, it is done in a moment");
        return STATUS_OK;
    }
    (void)snprintf(why, sizeof(why), "%u to %u: operator", c->mirror->shard_count,
                   c->mirror->next_count);
    TRY(store_reshard(c->store, &(struct reshard_row){ .what = "reshard_cancelled", .why = why },
                      err));
    log_info("reshard_cancelled", "from=%u to=%u", c->mirror->shard_count, c->mirror->next_count);
    mirror_set_next_count(c->mirror, 0);
    reshard_enter(&c->reshard, RESHARD_NONE, clock_now_ms());
    c->next_reshard_ms = clock_now_ms() + CANCELLED_REST_MS;
    return STATUS_OK;
}

enum status reshards_wish(struct coordinator *c, const struct reshard_wish *wish,
                          struct reshard_case *ret_case, struct err *refused, struct err *err)
{
    uint32_t to = wish->to ? wish->to : recommended(c);

    *ret_case = case_of(c, to);
    if (wish->cancel)
        return cancel(c, refused, err);
    if (!to) {
        refused->code = err_set(refused, STATUS_UNAVAILABLE,
                                "no pod has said yet how many shards Discord recommends");
        return STATUS_OK;
    }
    if (reshard_judge(ret_case, refused) != STATUS_OK || wish->dry_run)
        return STATUS_OK;
    return begin(c, to, "operator", err);
}

static enum status begin_by_itself(struct coordinator *c, struct err *err)
{
    const struct reshard_reasons reasons = {
        .setting = (uint32_t)c->config->shard_count,
        .current = c->mirror->shard_count,
        .recommended = recommended(c),
        .decided = c->reshard_decided,
        .guilds = idmap_count(c->mirror->guilds),
    };
    uint32_t to = reshard_wanted(&reasons);
    struct err why = { 0 };

    c->next_reshard_ms = clock_now_ms() + AUTO_EACH_MS;
    if (!to)
        return STATUS_OK;
    const struct reshard_case r = case_of(c, to);
    if (is_auto(c) && reshard_judge(&r, &why) == STATUS_OK)
        return begin(c, to, reasons.setting ? "SHARD_COUNT" : "recommended", err);
    if (is_auto(c) && (!r.pods || r.pods_unable || !r.sessions_total))
        return STATUS_OK; /* it has just begun to lead */
    c->next_reshard_ms = clock_now_ms() + AUTO_AGAIN_MS;
    log_warn("reshard_is_due", "shards=%u wanted=%u text=%s", reasons.current, to,
             LOG_QUOTE(is_auto(c) ? why.text : "GUILDBUS_RESHARD is off: see guildbusctl reshard"));
    return STATUS_OK;
}

enum status reshards_turn(struct coordinator *c, struct err *err)
{
    if (c->reshard.stage != RESHARD_NONE)
        return go_on(c, err);
    measure(c, 0);
    return clock_now_ms() >= c->next_reshard_ms ? begin_by_itself(c, err) : STATUS_OK;
}

enum status reshards_load(struct coordinator *c, struct err *err)
{
    uint64_t count = 0, stage = 0, decided = 0;

    TRY(store_meta(c->store, "reshard_count", &count, err));
    TRY(store_meta(c->store, "reshard_stage", &stage, err));
    TRY(store_meta(c->store, "reshard_decided", &decided, err));
    c->reshard_decided = (uint32_t)decided;
    c->next_reshard_ms = 0;
    bool is_under_way = count && count <= MOST_SHARDS && stage && stage <= RESHARD_RETIRING;
    mirror_set_next_count(c->mirror, is_under_way ? (uint32_t)count : 0);
    c->reshard.round = sign_random_u64(); /* no other leader's */
    reshard_enter(&c->reshard, is_under_way ? (enum reshard_stage)stage : RESHARD_NONE,
                  clock_now_ms());
    return STATUS_OK;
}

void reshards_say(const struct coordinator *c, char *text, size_t size)
{
    text[0] = '\0';
    if (c->reshard.stage == RESHARD_NONE)
        return;
    const struct reshard_sight s = look(c);
    (void)snprintf(text, size, "%u to %u shards: %s, %u of %u ready, %u of %u retired", s.current,
                   s.next, reshard_stage_text(c->reshard.stage), s.ready, s.next, s.retired,
                   s.current);
}
