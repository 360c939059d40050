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

/* By more than one, so that few places do not make it restless. */
static bool has_clearly_more(const struct standby_pod *pod)
{
    return pod->standing > pod->share * clearly_more + 1;
}

static bool has_clearly_less(const struct standby_pod *pod)
{
    return pod->takes && pod->standing + 1 < pod->share * clearly_less;
}

void standby_prepare(struct standby_pods *all, uint64_t places)
{
    double sum = 0;

    for (size_t i = 0; i < all->count; i++) {
        all->pods[i].seed = seed_of(all->pods[i].id);
        sum += all->pods[i].takes ? capacity_of(&all->pods[i]) : 0;
    }
    all->less = NULL;
    for (size_t i = all->count; i-- > 0;) {
        struct standby_pod *pod = &all->pods[i];
        pod->share = pod->takes ? (double)places * capacity_of(pod) / sum : 0;
        if (!has_clearly_less(pod))
            continue;
        pod->next_less = all->less;
        all->less = pod;
    }
}

/* What decides between a guild and a pod: 53 bits. */
static uint64_t lot(const struct standby_pod *pod, uint64_t mixed_guild)
{
    return mix(pod->seed ^ mixed_guild) >> 11;
}

static double score(const struct standby_pod *pod, uint64_t its_lot)
{
    double u = ((double)its_lot + 0.5) * 0x1p-53; /* above 0, below 1 */

    return -capacity_of(pod) / log(u);
}

/* The pod that has the guild, so far. */
struct best {
    struct standby_pod *pod; /* NULL: none */
    uint64_t lot;
};

/* Of all pods that have this capacity each gets the highest score equally often; twice the capacity,
 * twice as often. Between two of the same capacity the lots say it, without a logarithm. */
static bool beats(const struct standby_pod *pod, uint64_t its_lot, const struct best *best)
{
    if (!best->pod)
        return true;
    if (pod->capacity == best->pod->capacity)
        return its_lot > best->lot;
    return score(pod, its_lot) > score(best->pod, best->lot);
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
    uint64_t guild = mix(ask->guild_id);
    struct best best = { 0 };

    for (size_t i = 0; i < all->count; i++) {
        struct standby_pod *pod = &all->pods[i];
        if (!may_take(pod, ask) || (limit > 0 && pod->standing + 1 > pod->share * limit + 1))
            continue;
        uint64_t its = lot(pod, guild);
        if (beats(pod, its, &best))
            best = (struct best){ pod, its };
    }
    return best.pod;
}

/* The highest score of all, if it is one's with clearly less than its share; else NULL. Most often
 * there are few of these, and another pod that beats them is soon found. */
static struct standby_pod *best_of_less(struct standby_pods *all, const struct standby_ask *ask)
{
    uint64_t guild = mix(ask->guild_id);
    struct best best = { 0 };

    for (struct standby_pod *pod = all->less; pod; pod = pod->next_less) {
        uint64_t its = lot(pod, guild);
        if (has_clearly_less(pod) && may_take(pod, ask) && beats(pod, its, &best))
            best = (struct best){ pod, its };
    }
    for (size_t i = 0; i < all->count && best.pod; i++) {
        if (may_take(&all->pods[i], ask) && beats(&all->pods[i], lot(&all->pods[i], guild), &best))
            return NULL;
    }
    return best.pod;
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

struct standby_pod *standby_better(struct standby_pods *all, const struct standby_ask *ask,
                                   struct standby_pod *at)
{
    if (at->standing <= at->share + 1)
        return NULL;
    struct standby_pod *best =
        has_clearly_more(at) ? best_below(all, ask, 0) : best_of_less(all, ask);
    if (!best || best == at || best->standing + 1 > best->share)
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
