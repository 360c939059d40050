#include "bench/placement/phases.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/xmem.h"
#include "bench/placement/clock.h"

enum { SERVED_S = 3600 };

static double seconds_since(int64_t from_us)
{
    return (double)(sim_now_us() - from_us) / 1e6;
}

/* ---- measuring ---- */

static bool takes(const struct sim *s, size_t pod)
{
    return s->world.pods[pod].is_up && !s->world.pods[pod].is_draining;
}

static struct spread spread_of(const double *values, size_t count, double *ret_mean)
{
    struct spread spread = { 0, 1e300 };
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += values[i];
        spread.most = values[i] > spread.most ? values[i] : spread.most;
        spread.least = values[i] < spread.least ? values[i] : spread.least;
    }
    *ret_mean = count ? sum / (double)count : 0;
    if (*ret_mean <= 0)
        return (struct spread){ 1, 1 };
    return (struct spread){ spread.most / *ret_mean, spread.least / *ret_mean };
}

static struct skew measure(const struct sim *s)
{
    const struct world *w = &s->world;
    CLEANUP(xfree) double *guilds = xcalloc(w->pod_count + 1, sizeof(*guilds));
    CLEANUP(xfree) double *loads = xcalloc(w->pod_count + 1, sizeof(*loads));
    struct skew skew = { 0 };
    double mean;

    for (size_t i = 0; i < w->pod_count; i++) {
        if (!takes(s, i))
            continue;
        guilds[skew.pods] = w->pods[i].count;
        loads[skew.pods++] = w->pods[i].load;
    }
    skew.guilds = spread_of(guilds, skew.pods, &skew.guilds_mean);
    skew.load = spread_of(loads, skew.pods, &skew.load_mean);
    double each = skew.guilds_mean > 0 ? skew.load_mean / skew.guilds_mean : 0;
    for (size_t i = 0; i < skew.pods; i++) /* as in coordinator/rebalance.c */
        guilds[i] = guilds[i] * (each > 1 ? each : 1) + loads[i];
    skew.weight = spread_of(guilds, skew.pods, &mean);
    return skew;
}

static bool has_standby(const struct mirror_guild *g)
{
    for (unsigned i = 0; i < g->follower_count; i++) {
        const struct follower *f = &g->followers[i];
        if (f->rank > STANDBY_DROP && f->told == f->pod->process &&
            f->pod->row.status == POD_ACTIVE)
            return true;
    }
    return false;
}

static uint64_t count_without(const struct sim *s)
{
    uint64_t count = 0;

    for (size_t i = 0; i < s->world.guild_count; i++) {
        const struct mirror_guild *g = mirror_guild(s->leader.mirror, world_id(i));
        count += !g || !has_standby(g);
    }
    return count;
}

/* ---- the frame of each ---- */

static struct phase PRINTF(2, 3) begin(struct sim *s, const char *name, ...)
{
    struct phase p = { .before = measure(s) };
    va_list args;

    va_start(args, name);
    (void)vsnprintf(p.name, sizeof(p.name), name, args);
    va_end(args);
    s->counts = (struct sim_counts){ 0 };
    (void)meter_read();
    return p;
}

static void wait_until_served(struct sim *s, struct phase *p, int64_t from_us)
{
    bool is_served = sim_run(s, sim_is_served, SERVED_S);

    p->served_s = seconds_since(from_us);
    bool is_followed = sim_run(s, sim_has_standbys, SERVED_S);
    p->standbys_s = seconds_since(from_us);
    if (is_served && is_followed)
        return;
    (void)fprintf(stderr, "%s: after %.0f s guilds still wait for an owner or a standby\n", p->name,
                  p->standbys_s);
    s->has_failed = true;
}

static void wait_until_even(struct sim *s, struct phase *p, int64_t from_us)
{
    wait_until_served(s, p, from_us);
    s->quiet_from_us = sim_now_us();
    p->is_settled = sim_run(s, sim_is_settled, s->patience_s);
    p->settled_s = s->counts.rebalance_moves ? (double)(s->rebalanced_us - from_us) / 1e6 : 0;
}

static void end(struct sim *s, struct phase *p, int64_t from_us)
{
    p->simulated_s = seconds_since(from_us);
    p->counts = s->counts;
    p->meter = meter_read();
    p->after = measure(s);
    p->without_standby = count_without(s);
    (void)meter_read(); /* measuring is not of the next one */
}

/* ---- what happens ---- */

static struct phase place_all(struct sim *s)
{
    struct phase p = begin(s, "place %d guilds", (int)s->world.guild_count);
    int64_t from_us = sim_now_us();

    sim_start(s);
    wait_until_even(s, &p, from_us);
    end(s, &p, from_us);
    return p;
}

/* Guilds of these pods, by number. */
static uint32_t *guilds_of(const struct sim *s, int first, int count, size_t *ret_count)
{
    uint32_t *all = xcalloc(s->world.guild_count, sizeof(*all));

    *ret_count = 0;
    for (int i = first; i < first + count; i++) {
        for (uint32_t g = 0; g < s->world.pods[i].count; g++)
            all[(*ret_count)++] = s->world.pods[i].guilds[g];
    }
    return all;
}

static struct heirs heirs_of(const struct sim *s, const uint32_t *guilds, size_t count)
{
    CLEANUP(xfree) uint32_t *got = xcalloc(s->world.pod_count, sizeof(*got));
    struct heirs h = { .guilds = count };
    size_t alive = 0;

    for (size_t i = 0; i < count; i++) {
        const struct mirror_guild *g = mirror_guild(s->leader.mirror, world_id(guilds[i]));
        int pod = s->world.guilds[guilds[i]].pod;
        h.without_standby += !has_standby(g);
        if (pod != NOBODY)
            got[pod]++;
    }
    for (size_t i = 0; i < s->world.pod_count; i++) {
        alive += s->world.pods[i].is_up;
        h.pods += got[i] > 0;
        h.most = got[i] > h.most ? got[i] : h.most;
    }
    h.mean = alive ? (double)count / (double)alive : 0;
    return h;
}

static int first_killed, last_killed; /* that sim_run waits for */

static bool is_noticed(const struct sim *s)
{
    for (int i = first_killed; i <= last_killed; i++) {
        const struct mirror_pod *pod = mirror_pod(s->leader.mirror, s->world.pods[i].id);
        if (pod && pod->row.status != POD_OFFLINE)
            return false;
    }
    return true;
}

/* Pods side by side, as they stand in a rack. Only after the last are the others waited for to be
 * even. */
static struct phase kill_pods(struct sim *s, int first, int count, bool is_last)
{
    struct phase p = begin(s, count == 1 ? "kill %d pod" : "kill %d pods", count);
    int64_t from_us = sim_now_us();
    size_t lost;
    CLEANUP(xfree) uint32_t *guilds = guilds_of(s, first, count, &lost);

    for (int i = first; i < first + count; i++)
        sim_kill(s, i);
    last_killed = first + count - 1;
    first_killed = first;
    if (sim_run(s, is_noticed, SERVED_S) && sim_run(s, sim_is_served, SERVED_S))
        p.heirs = heirs_of(s, guilds, lost);
    (is_last ? wait_until_even : wait_until_served)(s, &p, from_us);
    end(s, &p, from_us);
    return p;
}

static struct phase add_pods(struct sim *s, size_t count)
{
    struct phase p = begin(s, "add %d pods", (int)count);
    int64_t from_us = sim_now_us();

    for (size_t i = 0; i < count; i++)
        (void)sim_add_pod(s);
    wait_until_even(s, &p, from_us);
    end(s, &p, from_us);
    return p;
}

static int restarting; /* the pod that sim_run waits for */

static bool has_restarted(const struct sim *s)
{
    return !sim_is_restarting(s, restarting);
}

static struct phase roll_pods(struct sim *s, size_t count)
{
    struct phase p = begin(s, "restart %d pods in turn", (int)count);
    int64_t from_us = sim_now_us();

    for (size_t i = 0; i < s->world.pod_count && count; i++) {
        restarting = (int)i;
        if (!takes(s, i))
            continue;
        sim_restart(s, restarting);
        if (!sim_run(s, has_restarted, SERVED_S))
            break;
        count--;
    }
    wait_until_even(s, &p, from_us);
    end(s, &p, from_us);
    return p;
}

static struct phase change_load(struct sim *s)
{
    struct phase p = begin(s, "%d %% of the guilds ten times as busy", 10);
    int64_t from_us = sim_now_us();

    for (size_t i = 0; i < s->world.guild_count; i++) {
        if (world_random(&s->world) % 10 == 0)
            world_set_load(&s->world, i, (double)s->world.guilds[i].load * 10);
    }
    p.before = measure(s); /* what is to be mended */
    wait_until_even(s, &p, from_us);
    end(s, &p, from_us);
    return p;
}

static struct phase run_one(struct sim *s, size_t n, int pods)
{
    int few = pods < 200 ? 2 : pods / 100, rack = pods < 60 ? 3 : pods / 20;

    switch (n) {
    case 0:
        return place_all(s);
    case 1:
        return kill_pods(s, 0, 1, false);
    case 2:
        return kill_pods(s, 1, few, false);
    case 3:
        return kill_pods(s, 1 + few, rack, true);
    case 4:
        return add_pods(s, (size_t)pods / 10);
    case 5:
        return roll_pods(s, (size_t)pods / 10);
    default:
        return change_load(s);
    }
}

size_t phases_run(struct sim *s, void (*tell)(const struct phase *phase),
                  struct phase ret_phases[PHASES])
{
    int pods = (int)s->world.pod_count;
    size_t n = 0;

    while (n < PHASES && !s->has_failed) {
        ret_phases[n] = run_one(s, n, pods);
        tell(&ret_phases[n++]);
    }
    return s->has_failed ? 0 : n;
}
