/* Who follows which guild's log. A guild's standbys are looked at again when its owner changes, and
 * those of all guilds when pods come, go or change; what is decided is stored before anybody is
 * told. All of it waits while guilds wait for an owner.
 *
 *   owner or pods changed ─▶ review ──commit──▶ tell ──Warm, Drop──▶ confirmed
 *
 * A pod that drains or is away keeps its places for a while, because most return: a rolling restart
 * then loads no guild anew. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "coordinator/standby.h"
#include "coordinator/state.h"

enum {
    PATIENCE_LEASES = 5, /* so long a pod that is away keeps its places */
    REVIEW_EACH_MS = 1000,
    EVEN_EACH_MS = 30000, /* whether some pods have too many places */
    EVEN_SELDOM_MS = 600000,
    MOST_REVIEWED = 20000, /* a turn */
    MOST_TOLD = 4096,
    IN_FLIGHT = 64,
    AGAIN_MS = 1000, /* doubled with each try, up to */
    AGAIN_MOST_MS = 16000,
    DOUBT_LEASES = 15, /* so long a pod says that it follows fewer than it confirmed */
    DOUBT_AGAIN_LEASES = 75,
};

static struct metric told_total = METRIC_COUNTER("guildbus_coordinator_standby_orders_total",
                                                 "orders to follow a guild, or to stop it");
static struct metric missing_gauge = METRIC_GAUGE("guildbus_coordinator_standbys_untold",
                                                  "guilds with a standby that was not told yet");

/* ---- pods that are away ---- */

static void watch(struct coordinator *c, struct mirror_pod *pod, int64_t now_ms)
{
    if (pod->did_not_hear && pod_is_alive(c, pod)) {
        pod->did_not_hear = false;
        c->standbys_changed = true;
    }
    if (pod_takes(c, pod)) {
        bool was_away = pod->away_since_ms != 0;
        pod->away_since_ms = 0;
        /* Whoever was missed is one more to choose from. */
        c->standbys_changed |= pod->is_missed || (was_away && pod->told < pod->standing);
        pod->is_missed = false;
        return;
    }
    if (!pod->away_since_ms)
        pod->away_since_ms = now_ms;
    if (pod->is_missed || now_ms - pod->away_since_ms < c->config->lease_ms * PATIENCE_LEASES)
        return;
    pod->is_missed = true;
    c->standbys_changed |= pod->standing > 0;
}

void standbys_heard(struct coordinator *c, struct mirror_pod *pod, uint32_t follows)
{
    int64_t now_ms = clock_now_ms();

    if (follows >= pod->told) {
        pod->fewer_since_ms = 0;
        return;
    }
    if (!pod->fewer_since_ms)
        pod->fewer_since_ms = now_ms;
    if (now_ms - pod->fewer_since_ms < c->config->lease_ms * DOUBT_LEASES ||
        now_ms < pod->not_told_until_ms)
        return;
    log_info("standbys_told_again", "pod=%s follows=%u confirmed=%u", pod->row.pod, follows,
             pod->told);
    standbys_forgotten(c, pod);
    pod->not_told_until_ms = now_ms + c->config->lease_ms * DOUBT_AGAIN_LEASES;
}

void standbys_forgotten(struct coordinator *c, struct mirror_pod *pod)
{
    pod->process++;
    pod->told = 0;
    pod->fewer_since_ms = 0;
    c->standbys_changed = true;
}

/* ---- review ---- */

static struct standby_pods pods_of(const struct coordinator *c)
{
    struct standby_pods all = { .pods = xcalloc(c->mirror->pod_count, sizeof(struct standby_pod)),
                                .count = c->mirror->pod_count };

    for (size_t i = 0; i < all.count; i++) {
        struct mirror_pod *pod = c->mirror->pods[i];
        pod->index = i;
        all.pods[i] = (struct standby_pod){
            .id = pod->row.pod,
            .capacity = pod->row.capacity,
            .schema = pod->row.schema,
            .standing = pod->standing,
            .takes = pod_takes(c, pod),
            .user = pod,
        };
    }
    standby_prepare(&all, idmap_count(c->mirror->guilds) * (uint64_t)c->config->standbys);
    return all;
}

static void pods_release_at(struct standby_pods *all)
{
    free(all->pods);
}

/* A guild's standbys as they shall be. */
struct choice {
    const struct mirror_guild *g;
    const struct mirror_pod *owner;
    struct mirror_pod *pods[MOST_STANDBYS];
    size_t count;
    bool waits; /* for a pod that may come back */
};

static bool is_chosen(const struct choice *choice, const struct mirror_pod *pod)
{
    for (size_t i = 0; i < choice->count; i++) {
        if (choice->pods[i] == pod)
            return true;
    }
    return false;
}

static bool can_follow(const struct mirror_guild *g, const struct mirror_pod *pod)
{
    return pod != g->pod && pod->row.schema >= g->row.schema && !pod->is_missed;
}

static void keep_fit(const struct coordinator *c, struct choice *choice)
{
    const struct mirror_guild *g = choice->g;

    for (int rank = 1; rank <= MOST_STANDBYS; rank++) {
        for (unsigned i = 0; i < g->follower_count; i++) {
            const struct follower *f = &g->followers[i];
            if (f->rank == rank && choice->count < (size_t)c->config->standbys &&
                can_follow(g, f->pod))
                choice->pods[choice->count++] = f->pod;
        }
    }
}

static struct standby_ask ask_for(const struct standby_pods *all, const struct choice *choice)
{
    struct standby_ask ask = { .guild_id = choice->g->row.guild_id,
                               .schema = choice->g->row.schema,
                               .except = { &all->pods[choice->owner->index] } };

    for (size_t i = 0; i < choice->count; i++) {
        must(choice->pods[i]);
        ask.except[1 + i] = &all->pods[choice->pods[i]->index];
    }
    return ask;
}

/* Where the guild was before, its rows are still; where it cannot be now, it may be soon. */
static struct mirror_pod *former_owner(const struct coordinator *c, struct choice *choice)
{
    struct mirror_pod *pod = choice->g->came_from;

    if (!pod || !can_follow(choice->g, pod) || is_chosen(choice, pod))
        return NULL;
    choice->waits = !pod_takes(c, pod);
    return pod;
}

static void fill(const struct coordinator *c, struct standby_pods *all, struct choice *choice)
{
    while (choice->count < (size_t)c->config->standbys && !choice->waits) {
        const struct standby_ask ask = ask_for(all, choice);
        struct mirror_pod *former = former_owner(c, choice);
        if (choice->waits)
            return;
        if (former)
            all->pods[former->index].standing++;
        const struct standby_pod *pod =
            former ? &all->pods[former->index] : standby_choose(all, &ask);
        if (!pod)
            return;
        choice->pods[choice->count++] = pod->user;
    }
}

static void even_out(struct coordinator *c, struct standby_pods *all, struct choice *choice)
{
    for (size_t i = 0; i < choice->count; i++) {
        const struct standby_ask ask = ask_for(all, choice);
        const struct standby_pod *pod =
            standby_better(all, &ask, &all->pods[choice->pods[i]->index]);
        if (!pod)
            continue;
        choice->pods[i] = pod->user;
        c->evened++;
    }
}

static void plan_follower(struct coordinator *c, const struct mirror_guild *g,
                          const struct mirror_pod *pod, int rank)
{
    struct standby_row row = { .guild_id = g->row.guild_id, .rank = rank };

    text_copy(row.pod, sizeof(row.pod), pod->row.pod);
    plan_standby(&c->plan, &row);
}

static void plan_choice(struct coordinator *c, struct standby_pods *all,
                        const struct choice *choice)
{
    const struct mirror_guild *g = choice->g;

    for (size_t i = 0; i < choice->count; i++) {
        const struct follower *f = mirror_follower(g, choice->pods[i]);
        if (!f || f->rank != (int)i + 1)
            plan_follower(c, g, choice->pods[i], (int)i + 1);
    }
    for (unsigned i = 0; i < g->follower_count; i++) {
        const struct follower *f = &g->followers[i];
        if (is_chosen(choice, f->pod))
            continue;
        if (f->rank > STANDBY_DROP) {
            plan_follower(c, g, f->pod, STANDBY_DROP);
            all->pods[f->pod->index].standing--;
        } else if (f->dropped) {
            plan_follower(c, g, f->pod, STANDBY_NONE);
        }
    }
}

/* An owner is not told that it is no standby: it may become one again. */
static bool is_to_be_told(const struct mirror_guild *g, const struct follower *f)
{
    if (f->rank > STANDBY_DROP)
        return f->told != f->pod->process;
    return !f->dropped && f->pod != g->pod;
}

/* false: later, once more. */
static bool review(struct coordinator *c, struct standby_pods *all, struct mirror_guild *g)
{
    struct choice choice = { .g = g, .owner = g->pod };

    if (g->row.state != GUILD_OWNED || !choice.owner)
        return true; /* it comes again when it is */
    if (g->move)
        return false;
    keep_fit(c, &choice);
    if (c->evening)
        even_out(c, all, &choice);
    fill(c, all, &choice);
    if (!choice.waits)
        g->came_from = NULL;
    plan_choice(c, all, &choice);
    for (unsigned i = 0; i < g->follower_count; i++) {
        if (is_to_be_told(g, &g->followers[i]) && !link_is_in_list(&g->tell))
            list_append(&c->mirror->tell, &g->tell);
    }
    return !choice.waits;
}

static enum status review_some(struct coordinator *c, struct err *err)
{
    __attribute__((cleanup(pods_release_at))) struct standby_pods all = pods_of(c);
    struct link *list = &c->mirror->review;

    for (int n = 0;
         n < MOST_REVIEWED && !list_is_empty(list) && c->plan.standby_count < PLAN_GUILDS; n++) {
        struct mirror_guild *g = CONTAINER_OF(list->next, struct mirror_guild, review);
        link_remove(&g->review);
        if (!review(c, &all, g))
            list_append(&c->mirror->review_later, &g->review);
    }
    return commit(c, err);
}

static void begin_evening(struct coordinator *c, int64_t now_ms)
{
    __attribute__((cleanup(pods_release_at))) struct standby_pods all = pods_of(c);

    c->next_even_ms = now_ms + EVEN_EACH_MS;
    if (!standby_is_uneven(&all))
        return;
    c->evening = true;
    c->evened = 0;
    mirror_review_all(c->mirror);
}

static void end_evening(struct coordinator *c, int64_t now_ms)
{
    c->evening = false;
    if (c->evened)
        log_info("standbys_evened", "changed=%zu", c->evened);
    else /* it cannot be better, until something changes */
        c->next_even_ms = now_ms + EVEN_SELDOM_MS;
}

static void begin_review(struct coordinator *c, int64_t now_ms)
{
    struct mirror *m = c->mirror;

    c->next_review_ms = now_ms + REVIEW_EACH_MS;
    while (!list_is_empty(&m->review_later))
        list_append(&m->review, m->review_later.next);
    if (!c->standbys_changed)
        return;
    c->standbys_changed = false;
    mirror_review_all(m);
    if (c->next_even_ms > now_ms + EVEN_EACH_MS)
        c->next_even_ms = now_ms + EVEN_EACH_MS;
}

enum status standbys_turn(struct coordinator *c, struct err *err)
{
    struct mirror *m = c->mirror;
    int64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < m->pod_count; i++)
        watch(c, m->pods[i], now_ms);
    if (!list_is_empty(&m->fresh) || !c->next_turn_ms)
        return STATUS_OK; /* owners first */
    if (now_ms >= c->next_review_ms)
        begin_review(c, now_ms);
    if (list_is_empty(&m->review) && now_ms >= c->next_even_ms)
        begin_evening(c, now_ms);
    if (list_is_empty(&m->review))
        return STATUS_OK;
    TRY(review_some(c, err));
    if (c->evening && list_is_empty(&m->review))
        end_evening(c, now_ms);
    return STATUS_OK;
}

/* ---- telling ---- */

static bool has_room(const struct coordinator *c)
{
    return c->standby_in_flight < IN_FLIGHT && c->in_flight < ORDERS_IN_FLIGHT;
}

/* Whether somebody is still to be told who can hear it. */
static bool tell(struct coordinator *c, struct mirror_guild *g, int64_t now_ms)
{
    bool is_left = false;

    for (unsigned i = 0; i < g->follower_count; i++) {
        struct follower *f = &g->followers[i];
        bool stands = f->rank > STANDBY_DROP;
        if (!is_to_be_told(g, f))
            continue;
        if (!(stands ? pod_takes(c, f->pod) : pod_is_alive(c, f->pod))) {
            f->pod->did_not_hear |= !stands; /* a standby is told when it takes guilds again */
            continue;
        }
        is_left = true;
        if (f->in_flight || now_ms < f->next_ms || !has_room(c))
            continue;
        f->in_flight = true;
        f->next_ms = now_ms + AGAIN_MS;
        metric_add(&told_total, 1);
        order_standby(c, g, f);
    }
    return is_left;
}

void standbys_send(struct coordinator *c)
{
    struct link *list = &c->mirror->tell, *last = list->prev;
    int64_t now_ms = clock_now_ms();
    int looked = 0;

    if (!list_is_empty(&c->mirror->fresh) || list_is_empty(list))
        return;
    for (struct link *l = list->next, *next; has_room(c) && looked++ < MOST_TOLD; l = next) {
        struct mirror_guild *g = CONTAINER_OF(l, struct mirror_guild, tell);
        bool is_last = l == last;
        next = l->next;
        if (tell(c, g, now_ms))
            list_append(list, l); /* behind the last */
        else
            link_remove(l);
        if (is_last)
            break;
    }
}

void standbys_answered(struct coordinator *c, const struct standby_told *told, enum status status)
{
    struct mirror_guild *g = mirror_guild(c->mirror, told->guild_id);
    struct mirror_pod *pod = mirror_pod(c->mirror, told->pod);
    struct follower *f = g && pod ? mirror_follower(g, pod) : NULL;
    int64_t now_ms = clock_now_ms();

    if (!f)
        return;
    f->in_flight = false;
    if ((f->rank > STANDBY_DROP) != told->stands) {
        f->next_ms = 0; /* it has changed meanwhile */
    } else if (status != STATUS_OK) {
        int64_t wait_ms = (int64_t)AGAIN_MS << (f->tries < 4 ? f->tries : 4);
        f->tries += f->tries < 4;
        f->next_ms = now_ms + (wait_ms < AGAIN_MOST_MS ? wait_ms : AGAIN_MOST_MS);
    } else if (told->stands) {
        f->tries = 0;
        follower_set_told(f, told->process);
    } else {
        f->dropped = true;
        if (!link_is_in_list(&g->review))
            list_append(&c->mirror->review, &g->review);
    }
    if (is_to_be_told(g, f) && !link_is_in_list(&g->tell))
        list_append(&c->mirror->tell, &g->tell);
}

void standbys_measure(const struct coordinator *c)
{
    int64_t untold = 0;

    for (size_t i = 0; i < c->mirror->pod_count; i++)
        untold += c->mirror->pods[i]->standing - c->mirror->pods[i]->told;
    metric_set(&missing_gauge, untold);
}
