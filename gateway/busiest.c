/* busiest.c - what the pod's guilds cost, for the coordinator's placement: counted by the owner's
 * thread every few seconds, taken by the heartbeat. */
#include <malloc.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/guild.h"

enum { COUNT_MS = 5000, QUIET_UNITS = 100, TRIM_UNITS = 1000, TRIM_GUILDS = 100 };

struct count {
    struct owner *owner;
    int64_t ms;
    uint32_t standbys;
    uint64_t units;
    size_t guilds, n;
    struct guild_load busiest[OWNER_BUSIEST];
};

/* Keeps the list in order, busiest first. */
static void put(struct count *c, struct guild_load load)
{
    size_t at = c->n;

    if (c->n == OWNER_BUSIEST && load.units_per_min <= c->busiest[c->n - 1].units_per_min)
        return;
    if (c->n == OWNER_BUSIEST)
        at--;
    else
        c->n++;
    for (; at && c->busiest[at - 1].units_per_min < load.units_per_min; at--)
        c->busiest[at] = c->busiest[at - 1];
    c->busiest[at] = load;
}

static void count_guild(void *ctx, uint64_t id, void *value)
{
    struct guild *g = value;
    struct count *c = ctx;
    uint64_t units = g->units - g->units_counted;

    g->units_counted = g->units;
    c->units += units;
    c->guilds++;
    c->standbys += g->standby && g->state == GUILD_WARM;
    if (g->state == GUILD_SERVING && units)
        put(c, (struct guild_load){ id, (uint32_t)(units * 60000 / (uint64_t)c->ms) });
}

/* When it gets quiet after much work or many guilds: what that took and nobody needs any more goes back
 * to the system. malloc keeps it otherwise, a fifth of the pod's memory. */
static void trim(struct owner *o, const struct count *c)
{
    uint64_t units = atomic_load(&o->units);
    size_t apart = c->guilds > o->trimmed_guilds ? c->guilds - o->trimmed_guilds
                                                 : o->trimmed_guilds - c->guilds;

    if (c->units >= QUIET_UNITS || (units - o->trimmed_units < TRIM_UNITS && apart < TRIM_GUILDS))
        return;
    o->trimmed_units = units;
    o->trimmed_guilds = c->guilds;
    (void)malloc_trim(0);
}

void owner_count(struct owner *o)
{
    int64_t now_ms = clock_now_ms();
    struct count c = { .owner = o, .ms = now_ms - o->counted_ms };

    if (c.ms < COUNT_MS)
        return;
    idmap_each(o->guilds, count_guild, &c);
    trim(o, &c);
    if (!o->config.has_coordinator)
        store_alive_put(o->store, clock_wall_ms());
    o->counted_ms = now_ms;
    atomic_store(&o->standbys, c.standbys);
    pthread_mutex_lock(&o->busiest_mu);
    memcpy(o->busiest, c.busiest, c.n * sizeof(c.busiest[0]));
    o->busiest_count = c.n;
    pthread_mutex_unlock(&o->busiest_mu);
}

uint32_t owner_standby_count(const struct owner *o)
{
    return atomic_load(&o->standbys);
}

size_t owner_busiest(struct owner *o, struct guild_load ret[OWNER_BUSIEST])
{
    pthread_mutex_lock(&o->busiest_mu);
    size_t n = o->busiest_count;
    memcpy(ret, o->busiest, n * sizeof(ret[0]));
    pthread_mutex_unlock(&o->busiest_mu);
    return n;
}
