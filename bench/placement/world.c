#include "bench/placement/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/xmem.h"

enum {
    COUNT_MS = 5000,     /* gateway/busiest.c */
    FIRST_ID = 40000000, /* >> 22 of a snowflake */
};

/* Of the logarithm: the busiest of a million guilds does some ten thousand times what the average
 * one does, and a hundredth of the guilds more than half of all. */
static const double sigma = 2.5;
static const double most_load = 5000; /* units a second of one guild */

uint64_t world_random(struct world *w)
{
    uint64_t x = w->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Above 0, below 1. */
static double uniform(struct world *w)
{
    return ((double)(world_random(w) >> 11) + 0.5) * 0x1p-53;
}

static double log_normal(struct world *w, double mean)
{
    double normal = sqrt(-2 * log(uniform(w))) * cos(2 * M_PI * uniform(w));
    double load = mean * exp(sigma * normal - sigma * sigma / 2);

    return load < most_load ? load : most_load;
}

void world_init(struct world *w, const struct world_options *o)
{
    *w = (struct world){ .random = o->seed, .guild_count = o->guilds, .pod_room = o->most_pods };
    w->guilds = xcalloc(o->guilds, sizeof(*w->guilds));
    w->pods = xcalloc(o->most_pods, sizeof(*w->pods));
    w->capacity = (uint32_t)(o->guilds / o->pods * 3 / 2 + 10);
    for (size_t i = 0; i < o->guilds; i++) {
        struct world_guild *g = &w->guilds[i];
        g->load = (float)log_normal(w, o->load);
        g->pod = g->had = NOBODY;
        for (size_t f = 0; f < MOST_FOLLOWERS; f++)
            g->followers[f].pod = NOBODY;
    }
    while (w->pod_count < o->pods)
        (void)world_add_pod(w);
}

void world_release(struct world *w)
{
    for (size_t i = 0; i < w->pod_count; i++)
        free(w->pods[i].guilds);
    free(w->pods);
    free(w->guilds);
}

uint64_t world_id(size_t guild)
{
    return (uint64_t)(FIRST_ID + guild) << 22;
}

size_t world_guild_of(const struct world *w, uint64_t guild_id)
{
    size_t guild = (size_t)(guild_id >> 22) - FIRST_ID;

    must(guild < w->guild_count);
    return guild;
}

int world_pod_of(const struct world *w, const char *id)
{
    long number = strncmp(id, "gw-", 3) ? -1 : strtol(id + 3, NULL, 10);

    return number >= 0 && (size_t)number < w->pod_count ? (int)number : NOBODY;
}

int world_add_pod(struct world *w)
{
    must(w->pod_count < w->pod_room);
    struct world_pod *pod = &w->pods[w->pod_count];
    (void)snprintf(pod->id, sizeof(pod->id), "gw-%05u", (unsigned)w->pod_count);
    pod->life = 1;
    return (int)w->pod_count++;
}

static void take_away(struct world *w, size_t guild)
{
    struct world_guild *g = &w->guilds[guild];

    if (g->pod == NOBODY)
        return;
    struct world_pod *pod = &w->pods[g->pod];
    uint32_t last = pod->guilds[--pod->count];
    pod->guilds[g->at] = last;
    w->guilds[last].at = g->at;
    pod->load -= (double)g->load;
    pod->is_changed = true;
    g->had = g->pod;
    g->had_life = pod->life;
    g->pod = NOBODY;
}

void world_give(struct world *w, size_t guild, int to)
{
    struct world_guild *g = &w->guilds[guild];
    struct world_pod *pod = &w->pods[to];

    if (g->pod == to)
        return;
    take_away(w, guild);
    if (pod->count == pod->room) {
        pod->room = pod->room ? pod->room * 2 : 64;
        pod->guilds = xrealloc(pod->guilds, pod->room * sizeof(*pod->guilds));
    }
    g->at = pod->count;
    g->pod = to;
    pod->guilds[pod->count++] = (uint32_t)guild;
    pod->load += (double)g->load;
    pod->is_changed = true;
}

void world_end_process(struct world *w, int number)
{
    struct world_pod *pod = &w->pods[number];

    pod->life++;
    pod->followed = 0;
    pod->is_up = pod->is_draining = pod->may_leave = false;
    pod->busy_until_us = 0;
}

void world_set_load(struct world *w, size_t guild, double load)
{
    struct world_guild *g = &w->guilds[guild];

    if (g->pod != NOBODY) {
        w->pods[g->pod].load += load - (double)g->load;
        w->pods[g->pod].is_changed = true;
    }
    g->load = (float)load;
}

bool world_follows(const struct world *w, size_t guild, int pod)
{
    const struct world_guild *g = &w->guilds[guild];

    for (size_t f = 0; f < MOST_FOLLOWERS; f++) {
        if (g->followers[f].pod == pod && g->followers[f].life == w->pods[pod].life)
            return true;
    }
    return false;
}

void world_follow(struct world *w, size_t guild, int pod, bool follows)
{
    struct world_guild *g = &w->guilds[guild];

    if (follows == world_follows(w, guild, pod))
        return;
    for (size_t f = 0; f < MOST_FOLLOWERS; f++) {
        int other = g->followers[f].pod;
        bool is_gone = other != NOBODY && g->followers[f].life != w->pods[other].life;
        if (other == pod || is_gone)
            g->followers[f].pod = NOBODY;
    }
    w->pods[pod].followed += follows ? 1 : (uint32_t)-1;
    for (size_t f = 0; follows && f < MOST_FOLLOWERS; f++) {
        if (g->followers[f].pod != NOBODY)
            continue;
        g->followers[f].pod = pod;
        g->followers[f].life = w->pods[pod].life;
        return;
    }
    must(!follows);
}

bool world_has_rows(const struct world *w, size_t guild, int pod)
{
    const struct world_guild *g = &w->guilds[guild];

    return (g->had == pod && g->had_life == w->pods[pod].life) || world_follows(w, guild, pod);
}

/* Keeps the list in order. */
static void put_busy(const struct world *w, struct world_pod *pod, uint32_t guild)
{
    const struct world_guild *all = w->guilds;
    size_t at = pod->busiest_count;

    if (at == WORLD_BUSIEST && all[guild].load <= all[pod->busiest[at - 1]].load)
        return;
    if (at == WORLD_BUSIEST)
        at--;
    else
        pod->busiest_count++;
    for (; at && all[pod->busiest[at - 1]].load < all[guild].load; at--)
        pod->busiest[at] = pod->busiest[at - 1];
    pod->busiest[at] = guild;
}

void world_count_busiest(struct world *w, int number, int64_t now_ms)
{
    struct world_pod *pod = &w->pods[number];

    if (!pod->is_changed || now_ms - pod->counted_ms < COUNT_MS)
        return;
    pod->counted_ms = now_ms;
    pod->is_changed = false;
    pod->busiest_count = 0;
    for (uint32_t i = 0; i < pod->count; i++) {
        /* Who does nothing within the count is not told. */
        if ((double)w->guilds[pod->guilds[i]].load * COUNT_MS >= 1000)
            put_busy(w, pod, pod->guilds[i]);
    }
}
