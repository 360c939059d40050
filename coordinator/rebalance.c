#include "coordinator/rebalance.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"

enum {
    LEADER_CYCLES = 4, /* a new leader waits so long, */
    POD_CYCLES = 2,    /* and for a new pod */
    CYCLE_PART = 40,   /* a fortieth of the guilds a cycle, */
    CYCLE_MOST = 100,  /* but not more */
};

/* Stop within this of the mean. */
static const double even = 0.05;

static struct metric skew_gauge = METRIC_GAUGE("guildbus_coordinator_skew_percent",
                                               "what the heaviest pod carries above the mean");
static struct metric planned_total = METRIC_COUNTER("guildbus_coordinator_rebalance_moves_total",
                                                    "moves planned to even out the load");
static struct metric frozen_gauge = METRIC_GAUGE("guildbus_coordinator_rebalance_frozen",
                                                 "1 while nothing is moved to even out the load");

/* ---- what is there ---- */

/* What each guild carries at least: as in place.h, the average guild's load or one unit a second. */
static double each_carries(const struct coordinator *c, int64_t now_ms)
{
    double load = 0, guilds = 0;

    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        load += ewma_at(&c->mirror->pods[i]->load, now_ms);
        guilds += c->mirror->pods[i]->assigned;
    }
    return guilds > 0 && load / guilds > 1000 ? load / guilds : 1000;
}

static struct balance pods_of(const struct coordinator *c, int64_t now_ms)
{
    struct balance b = { .pods = xcalloc(c->mirror->pod_count + 1, sizeof(struct balance_pod)),
                         .pod_count = c->mirror->pod_count };
    double each = each_carries(c, now_ms);

    for (size_t i = 0; i < b.pod_count; i++) {
        struct mirror_pod *pod = c->mirror->pods[i];
        pod->index = i;
        b.guild_count += pod->assigned;
        b.pods[i] = (struct balance_pod){
            .id = pod->row.pod,
            .weight = pod->assigned * each + ewma_at(&pod->load, now_ms),
            .capacity = pod->row.capacity,
            .guilds = pod->assigned,
            .schema = pod->row.schema,
            .takes = pod_takes(c, pod),
        };
    }
    return b;
}

static bool is_known(const struct mirror_guild *g, int64_t now_ms)
{
    return g->load.at_ms && now_ms - g->load.at_ms < LOAD_KNOWN_MS;
}

/* What the pod carries beside the guilds that are known to be busy, for each of the others. */
static double rest_of(const struct mirror_pod *pod, int64_t now_ms)
{
    double rest = ewma_at(&pod->load, now_ms), others = 0;

    for (const struct link *l = pod->guilds.next; l != &pod->guilds; l = l->next) {
        const struct mirror_guild *g =
            (const struct mirror_guild *)((const char *)l - offsetof(struct mirror_guild, of_pod));
        if (is_known(g, now_ms))
            rest -= ewma_at(&g->load, now_ms);
        else
            others++;
    }
    return others > 0 && rest > 0 ? rest / others : 0;
}

struct gathering {
    const struct coordinator *c;
    int64_t now_ms, db_ms;
    double each;
    bool ignores_cool_down;
};

/* Who was never anywhere else has no cool-down: a first pod gives away at once. */
static bool is_movable(const struct gathering *at, const struct mirror_guild *g)
{
    bool is_cool = g->row.epoch == 1 || at->ignores_cool_down ||
                   at->db_ms - g->row.assigned_ms >= at->c->config->rebalance_cooldown_ms;

    return is_cool && handoff_can_begin(g, at->now_ms) && g->no_balance_before_ms <= at->now_ms;
}

static struct balance_guild weighed(const struct gathering *at, const struct mirror_guild *g,
                                    double load)
{
    struct balance_guild guild = { .guild_id = g->row.guild_id,
                                   .weight = at->each + load,
                                   .schema = g->row.schema,
                                   .pod = (int)g->pod->index,
                                   .standbys = { -1, -1 },
                                   .movable = is_movable(at, g) };

    for (unsigned i = 0; i < g->follower_count; i++) {
        const struct follower *f = &g->followers[i];
        if (f->rank > STANDBY_DROP)
            guild.standbys[f->rank - 1] = (int)f->pod->index;
    }
    return guild;
}

/* For balance.fill: with a million guilds it would take a fifth of a second to look at all. */
static void gather_pod(void *ctx, int index, struct balance_guild *into)
{
    const struct gathering *at = ctx;
    const struct mirror_pod *pod = at->c->mirror->pods[index];
    double rest = rest_of(pod, at->now_ms);

    for (const struct link *l = pod->guilds.next; l != &pod->guilds; l = l->next) {
        const struct mirror_guild *g =
            (const struct mirror_guild *)((const char *)l - offsetof(struct mirror_guild, of_pod));
        double load = is_known(g, at->now_ms) ? ewma_at(&g->load, at->now_ms) : rest;
        *into++ = weighed(at, g, load);
    }
}

/* ---- when it rests ---- */

/* What even an operator does not overrule; false: nothing. */
static bool find_obstacle(const struct coordinator *c, char *why, size_t size)
{
    if (c->held || pods_are_silent(c)) {
        (void)snprintf(why, size, "pods are silent");
        return true;
    }
    if (!list_is_empty(&c->mirror->fresh) || !list_is_empty(&c->mirror->claiming)) {
        (void)snprintf(why, size, "guilds wait for their owner");
        return true;
    }
    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        const struct mirror_pod *pod = c->mirror->pods[i];
        if (pod->row.status != POD_DRAINING || !pod->assigned || !pod_is_alive(c, pod))
            continue;
        (void)snprintf(why, size, "pod %s drains", pod->row.pod);
        return true;
    }
    return false;
}

/* Two living pods that run different versions: an update is under way, and what moves now moves
 * again when its pod is restarted. false: there are none. */
static bool find_versions(const struct coordinator *c, const struct mirror_pod *ret_pods[2])
{
    ret_pods[0] = NULL;
    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        const struct mirror_pod *pod = c->mirror->pods[i];
        if (!pod_is_alive(c, pod))
            continue;
        if (!ret_pods[0])
            ret_pods[0] = pod;
        ret_pods[1] = pod;
        if (strcmp(pod->row.version, ret_pods[0]->row.version) != 0)
            return true;
    }
    return false;
}

static void watch_versions(struct coordinator *c, int64_t now_ms)
{
    const struct mirror_pod *pods[2];

    if (!find_versions(c, pods))
        c->mixed_since_ms = 0;
    else if (!c->mixed_since_ms)
        c->mixed_since_ms = now_ms;
}

/* What passes by itself, and what an operator may overrule. */
static bool find_reason_to_wait(const struct coordinator *c, int64_t now_ms, char *why, size_t size)
{
    int64_t cycle_ms = c->config->rebalance_ms;
    const struct mirror_pod *pods[2];

    if (now_ms - c->leads_since_ms < LEADER_CYCLES * cycle_ms) {
        (void)snprintf(why, size, "this coordinator has just begun to lead");
        return true;
    }
    if (find_versions(c, pods) && now_ms - c->mixed_since_ms < c->config->rebalance_mixed_ms) {
        (void)snprintf(why, size, "pods run different versions: %.40s %s, %.40s %s",
                       pods[0]->row.pod, pods[0]->row.version, pods[1]->row.pod,
                       pods[1]->row.version);
        return true;
    }
    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        const struct mirror_pod *pod = c->mirror->pods[i];
        if (!pod->registered_ms || now_ms - pod->registered_ms >= POD_CYCLES * cycle_ms ||
            !pod_is_alive(c, pod))
            continue;
        (void)snprintf(why, size, "pod %s has just come", pod->row.pod);
        return true;
    }
    return false;
}

/* ---- making moves ---- */

static size_t cycle_limit(const struct coordinator *c)
{
    size_t part = idmap_count(c->mirror->guilds) / CYCLE_PART;

    return part < 1 ? 1 : part > CYCLE_MOST ? CYCLE_MOST : part;
}

static void plan(struct coordinator *c, struct rebalance_outcome *o, bool ignores_cool_down,
                 size_t limit)
{
    int64_t now_ms = clock_now_ms();
    struct gathering at = { .c = c,
                            .now_ms = now_ms,
                            .db_ms = db_now_ms(c),
                            .each = each_carries(c, now_ms),
                            .ignores_cool_down = ignores_cool_down };

    o->b = pods_of(c, now_ms);
    o->b.guilds = xcalloc(o->b.guild_count + 1, sizeof(struct balance_guild));
    o->b.fill = gather_pod;
    o->b.ctx = &at;
    o->moves = xcalloc(limit, sizeof(*o->moves));
    o->move_ids = xcalloc(limit, sizeof(*o->move_ids));
    o->before = balance_skew(&o->b);
    o->count = balance_plan(&o->b, even, o->moves, limit);
    o->after = balance_skew(&o->b);
    o->has_more = o->count == limit;
    o->b.fill = NULL;
    o->b.ctx = NULL;
}

static enum status make(struct coordinator *c, struct rebalance_outcome *o, struct err *err)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct balance_guild *g = &o->b.guilds[o->moves[i].guild];
        o->move_ids[i] = handoff_plan(c, mirror_guild(c->mirror, g->guild_id), o->b.pods[g->pod].id,
                                      "rebalance");
    }
    TRY(commit(c, err));
    metric_add(&planned_total, (int64_t)o->count);
    if (o->count)
        log_info("rebalancing", "moves=%zu most_before=%.2f most_after=%.2f", o->count,
                 o->before.most, o->after.most);
    return STATUS_OK;
}

void rebalance_outcome_release(struct rebalance_outcome *o)
{
    free(o->b.pods);
    free(o->b.guilds);
    free(o->moves);
    free(o->move_ids);
    *o = (struct rebalance_outcome){ 0 };
}

enum status rebalance_run(struct coordinator *c, const struct rebalance_wish *wish,
                          struct rebalance_outcome *o, struct err *refused, struct err *err)
{
    bool can_be_forced = false;

    *o = (struct rebalance_outcome){ 0 };
    watch_versions(c, clock_now_ms());
    bool frozen = find_obstacle(c, o->frozen, sizeof(o->frozen));
    if (!frozen)
        frozen = can_be_forced =
            find_reason_to_wait(c, clock_now_ms(), o->frozen, sizeof(o->frozen));
    if (frozen && !wish->dry_run && !(can_be_forced && wish->force)) {
        *refused = (struct err){ 0 };
        refused->code = err_set(refused, STATUS_CONFLICT, "no guild is moved now: %.180s%s",
                                o->frozen, can_be_forced ? "; \"force\":true overrules it" : "");
        return STATUS_OK;
    }
    plan(c, o, wish->force, wish->limit ? wish->limit : cycle_limit(c));
    return wish->dry_run ? STATUS_OK : make(c, o, err);
}

/* ---- by itself ---- */

static bool is_under_way(const struct coordinator *c)
{
    const struct link *list = &c->mirror->open_moves;

    for (const struct link *l = list->next; l != list; l = l->next) {
        const struct mirror_move *m =
            (const struct mirror_move *)((const char *)l - offsetof(struct mirror_move, all));
        if (!strcmp(m->row.reason, "rebalance"))
            return true;
    }
    return false;
}

static void note_frozen(struct coordinator *c, const char *why)
{
    if (strcmp(c->rebalance_frozen, why) != 0 && *why)
        log_info("rebalance_frozen", "why=\"%s\"", why);
    text_copy(c->rebalance_frozen, sizeof(c->rebalance_frozen), why);
    metric_set(&frozen_gauge, *why != '\0');
}

static bool is_wanted(struct coordinator *c, int64_t now_ms)
{
    struct balance pods = pods_of(c, now_ms);
    const struct balance_skew skew = balance_skew(&pods);

    free(pods.pods);
    metric_set(&skew_gauge, (int64_t)((skew.most - 1) * 100));
    return balance_watch_step(&c->watch, skew, (double)c->config->rebalance_percent / 100, even);
}

enum status rebalance_turn(struct coordinator *c, struct err *err)
{
    __attribute__((cleanup(rebalance_outcome_release_at))) struct rebalance_outcome o = { 0 };
    int64_t now_ms = clock_now_ms();
    char why[sizeof(c->rebalance_frozen)] = "";

    if (now_ms < c->next_rebalance_ms || !strcmp(c->config->rebalance, "off"))
        return STATUS_OK;
    c->next_rebalance_ms = now_ms + c->config->rebalance_ms;
    watch_versions(c, now_ms);
    if (!find_obstacle(c, why, sizeof(why)))
        (void)find_reason_to_wait(c, now_ms, why, sizeof(why));
    note_frozen(c, why);
    if (*why) {
        c->watch = (struct balance_watch){ 0 };
        return STATUS_OK;
    }
    if (!is_wanted(c, now_ms) || is_under_way(c))
        return STATUS_OK;
    plan(c, &o, false, cycle_limit(c));
    if (!o.count) /* as good as it can be */
        c->watch = (struct balance_watch){ 0 };
    return make(c, &o, err);
}

const char *rebalance_state(const struct coordinator *c)
{
    if (!strcmp(c->config->rebalance, "off"))
        return "off";
    if (*c->rebalance_frozen)
        return c->rebalance_frozen;
    return c->watch.active ? "moves guilds" : "rests";
}
