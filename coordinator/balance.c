#include "coordinator/balance.h"

#include <stdlib.h>

#include "base/xmem.h"

/* A plan under way. */
struct planning {
    struct balance *b;
    size_t *first; /* each pod's guilds, as they were: first[pod] … first[pod + 1] - 1 */
    bool *stuck;   /* no move from this pod helps */
    bool *filled;  /* its guilds are there */
    double mean;
    bool overfull; /* capacity only weighs */
};

static double capacity_of(const struct balance_pod *pod)
{
    return pod->capacity ? pod->capacity : 1;
}

static double carries(const struct balance_pod *pod)
{
    return pod->weight / capacity_of(pod);
}

static double mean_of(const struct balance *b)
{
    double weight = 0, capacity = 0;

    for (size_t i = 0; i < b->pod_count; i++) {
        if (!b->pods[i].takes)
            continue;
        weight += b->pods[i].weight;
        capacity += capacity_of(&b->pods[i]);
    }
    return capacity > 0 ? weight / capacity : 0;
}

struct balance_skew balance_skew(const struct balance *b)
{
    struct balance_skew skew = { 1, 1 };
    double mean = mean_of(b);

    for (size_t i = 0; i < b->pod_count && mean > 0; i++) {
        double its = carries(&b->pods[i]) / mean;
        if (!b->pods[i].takes)
            continue;
        skew.most = its > skew.most ? its : skew.most;
        skew.least = its < skew.least ? its : skew.least;
    }
    return skew;
}

static bool is_overfull(const struct balance *b)
{
    uint64_t guilds = 0, room = 0;

    for (size_t i = 0; i < b->pod_count; i++) {
        guilds += b->pods[i].takes ? b->pods[i].guilds : 0;
        room += b->pods[i].takes ? b->pods[i].capacity : 0;
    }
    return guilds > room;
}

/* ---- one move ---- */

/* Lowers the heavier of the two by half of the guild's weight or more. */
static bool helps(const struct balance_pod *from, const struct balance_pod *to, double weight)
{
    double after = (to->weight + weight) / capacity_of(to);

    return after <= carries(from) - weight / capacity_of(from) / 2;
}

static bool can_have(const struct planning *p, int to, const struct balance_guild *g)
{
    const struct balance_pod *pod = &p->b->pods[to];

    return pod->takes && to != g->pod && pod->schema >= g->schema && carries(pod) < p->mean &&
           (p->overfull || pod->guilds < pod->capacity) &&
           helps(&p->b->pods[g->pod], pod, g->weight);
}

/* How much of the weight brings the worse of the two towards the mean, less what goes beyond. */
static double use_of(const struct planning *p, int from, int to, double weight)
{
    const struct balance_pod *f = &p->b->pods[from], *t = &p->b->pods[to];
    double over = f->weight - p->mean * capacity_of(f),
           under = p->mean * capacity_of(t) - t->weight;
    bool is_heavy = carries(f) - p->mean >= p->mean - carries(t);
    double equal = (carries(f) - carries(t)) / (1 / capacity_of(f) + 1 / capacity_of(t));
    double wanted = is_heavy ? over : under;

    wanted = wanted < equal ? wanted : equal;
    return weight <= wanted ? weight : 2 * wanted - weight;
}

struct best {
    struct balance_move move;
    double score;
    bool found;
};

static void consider(const struct planning *p, struct best *best, size_t guild, int to,
                     bool is_standby)
{
    const struct balance_guild *g = &p->b->guilds[guild];

    if (!can_have(p, to, g))
        return;
    double use = use_of(p, g->pod, to, g->weight);
    double score = is_standby && use > 0 ? 2 * use : use; /* it has the guild already */
    if (best->found && score <= best->score)
        return;
    *best = (struct best){
        .move = { guild, g->pod, to, is_standby, carries(&p->b->pods[g->pod]) / p->mean,
                  carries(&p->b->pods[to]) / p->mean },
        .score = score,
        .found = true,
    };
}

static bool is_candidate(const struct planning *p, size_t guild, int from)
{
    const struct balance_guild *g = &p->b->guilds[guild];

    return g->movable && g->pod == from && g->weight <= p->b->pods[from].weight / 2;
}

static struct best best_move(const struct planning *p, int from, int lightest)
{
    struct best best = { 0 };

    for (size_t i = p->first[from]; i < p->first[from + 1]; i++) {
        if (!is_candidate(p, i, from))
            continue;
        for (size_t s = 0; s < MOST_STANDBYS; s++) {
            if (p->b->guilds[i].standbys[s] >= 0)
                consider(p, &best, i, p->b->guilds[i].standbys[s], true);
        }
        consider(p, &best, i, lightest, false);
    }
    return best;
}

/* The lightest one that carries more than this one, or as much and comes later; -1: none. */
static int next_lightest(const struct planning *p, int after)
{
    const struct balance_pod *pods = p->b->pods;
    int found = -1;

    for (int i = 0; i < (int)p->b->pod_count; i++) {
        double its = carries(&pods[i]);
        if (!pods[i].takes || its >= p->mean ||
            (after >= 0 &&
             (its < carries(&pods[after]) || (its <= carries(&pods[after]) && i <= after))))
            continue;
        if (found < 0 || its < carries(&pods[found]))
            found = i;
    }
    return found;
}

static int heaviest(const struct planning *p)
{
    const struct balance_pod *pods = p->b->pods;
    int found = -1;

    for (int i = 0; i < (int)p->b->pod_count; i++) {
        if (pods[i].takes && !p->stuck[i] && carries(&pods[i]) > p->mean &&
            (found < 0 || carries(&pods[i]) > carries(&pods[found])))
            found = i;
    }
    return found;
}

static void fill_pod(const struct planning *p, int pod)
{
    const struct balance *b = p->b;

    if (b->fill && !p->filled[pod])
        b->fill(b->ctx, pod, b->guilds + p->first[pod]);
    p->filled[pod] = true;
}

static struct best next_move(const struct planning *p, int from)
{
    struct best best = { 0 };

    fill_pod(p, from);
    for (int to = next_lightest(p, -1); to >= 0 && !best.found; to = next_lightest(p, to))
        best = best_move(p, from, to);
    return best;
}

static void apply(struct planning *p, const struct balance_move *move)
{
    struct balance_guild *g = &p->b->guilds[move->guild];
    struct balance_pod *from = &p->b->pods[move->from], *to = &p->b->pods[move->to];

    from->weight -= g->weight;
    from->guilds--;
    to->weight += g->weight;
    to->guilds++;
    g->pod = move->to;
    g->movable = false;
}

/* ---- the plan ---- */

static void index_guilds(struct planning *p)
{
    const struct balance *b = p->b;
    size_t at = 0;

    for (size_t pod = 0; pod < b->pod_count; pod++) {
        p->first[pod] = at;
        at += b->fill ? b->pods[pod].guilds : 0;
        while (!b->fill && at < b->guild_count && b->guilds[at].pod == (int)pod)
            at++;
    }
    p->first[b->pod_count] = at;
    must(at == b->guild_count);
}

static bool is_even(const struct balance *b, double even)
{
    const struct balance_skew skew = balance_skew(b);

    return skew.most <= 1 + even && skew.least >= 1 - even;
}

size_t balance_plan(struct balance *b, double even, struct balance_move *ret_moves, size_t most)
{
    CLEANUP(xfree) size_t *first = xcalloc(b->pod_count + 1, sizeof(*first));
    CLEANUP(xfree) bool *stuck = xcalloc(b->pod_count + 1, sizeof(*stuck));
    CLEANUP(xfree) bool *filled = xcalloc(b->pod_count + 1, sizeof(*filled));
    struct planning p = { .b = b,
                          .first = first,
                          .stuck = stuck,
                          .filled = filled,
                          .mean = mean_of(b),
                          .overfull = is_overfull(b) };
    size_t count = 0;

    index_guilds(&p);
    while (count < most && !is_even(b, even)) {
        int from = heaviest(&p);
        if (from < 0)
            break;
        const struct best best = next_move(&p, from);
        if (!best.found) {
            stuck[from] = true;
            continue;
        }
        apply(&p, &best.move);
        ret_moves[count++] = best.move;
    }
    return count;
}

bool balance_watch_step(struct balance_watch *watch, struct balance_skew skew, double threshold,
                        double even)
{
    bool skewed = skew.most > 1 + threshold || skew.least < 1 - threshold;
    bool is_done = skew.most <= 1 + even && skew.least >= 1 - even;

    watch->skewed = skewed ? watch->skewed + 1 : 0;
    if (is_done)
        watch->active = false;
    else if (watch->skewed >= BALANCE_CYCLES)
        watch->active = true;
    return watch->active;
}
