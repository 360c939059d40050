#include "coordinator/standby.h"

#include <math.h>

#include "base/macros.h"

/* Of a pod's share. */
static const double most = 1.25, clearly_more = 1.15, clearly_less = 0.85;

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64 */
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t seed_of(const char *id)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (; *id; id++)
        h = (h ^ (unsigned char)*id) * UINT64_C(0x100000001b3);
    return h;
}

static double capacity_of(const struct standby_pod *pod)
{
    return pod->capacity ? pod->capacity : 1;
}

void standby_prepare(struct standby_pods *all, uint64_t places)
{
    double sum = 0;

    for (size_t i = 0; i < all->count; i++) {
        all->pods[i].seed = seed_of(all->pods[i].id);
        sum += all->pods[i].takes ? capacity_of(&all->pods[i]) : 0;
    }
    for (size_t i = 0; i < all->count; i++) {
        struct standby_pod *pod = &all->pods[i];
        pod->share = pod->takes ? (double)places * capacity_of(pod) / sum : 0;
    }
}

/* Of all pods that have this capacity each gets the highest score equally often; twice the capacity,
 * twice as often. */
static double score(const struct standby_pod *pod, uint64_t guild_id)
{
    uint64_t hash = mix(pod->seed ^ mix(guild_id));
    double u = ((double)(hash >> 11) + 0.5) * 0x1p-53; /* above 0, below 1 */

    return -capacity_of(pod) / log(u);
}

static bool may_take(const struct standby_pod *pod, const struct standby_ask *ask)
{
    if (!pod->takes || pod->schema < ask->schema)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(ask->except); i++) {
        if (ask->except[i] == pod)
            return false;
    }
    return true;
}

/* The highest score among the pods whose places are below limit times their share. */
static struct standby_pod *best_below(struct standby_pods *all, const struct standby_ask *ask,
                                      double limit)
{
    struct standby_pod *best = NULL;
    double best_score = 0;

    for (size_t i = 0; i < all->count; i++) {
        struct standby_pod *pod = &all->pods[i];
        if (!may_take(pod, ask) || (limit > 0 && pod->standing + 1 > pod->share * limit + 1))
            continue;
        double its = score(pod, ask->guild_id);
        if (best && its <= best_score)
            continue;
        best = pod;
        best_score = its;
    }
    return best;
}

struct standby_pod *standby_choose(struct standby_pods *all, const struct standby_ask *ask)
{
    struct standby_pod *best = best_below(all, ask, most);

    if (!best)
        best = best_below(all, ask, 0);
    if (best)
        best->standing++;
    return best;
}

/* By more than one, so that few places do not make it restless. */
static bool has_clearly_more(const struct standby_pod *pod)
{
    return pod->standing > pod->share * clearly_more + 1;
}

static bool has_clearly_less(const struct standby_pod *pod)
{
    return pod->takes && pod->standing + 1 < pod->share * clearly_less;
}

struct standby_pod *standby_better(struct standby_pods *all, const struct standby_ask *ask,
                                   struct standby_pod *at)
{
    if (at->standing <= at->share + 1)
        return NULL;
    struct standby_pod *best = best_below(all, ask, 0);
    if (!best || best == at || best->standing + 1 > best->share ||
        !(has_clearly_more(at) || has_clearly_less(best)))
        return NULL;
    at->standing--;
    best->standing++;
    return best;
}

bool standby_is_uneven(const struct standby_pods *all)
{
    bool uneven = false;

    for (size_t i = 0; i < all->count; i++)
        uneven |= has_clearly_more(&all->pods[i]) || has_clearly_less(&all->pods[i]);
    return uneven;
}
