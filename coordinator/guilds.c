#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "coordinator/state.h"

enum {
    MOST_CLAIMS = 65536,
    /* An epoch above this is not one that counting up by ones could have reached. */
    SANE_EPOCH_BITS = 48,
};

static struct metric assigned_total = METRIC_COUNTER("guildbus_coordinator_guilds_assigned_total",
                                                     "guilds given to a pod for the first time");
static struct metric failed_over_total = METRIC_COUNTER(
    "guildbus_coordinator_failovers_total", "guilds given on because their owner was gone");
static struct metric refused_claims_total = METRIC_COUNTER(
    "guildbus_coordinator_claims_refused_total", "claims of an epoch that does not count any more");

/* ---- placement ---- */

/* row becomes the pod's, at an epoch that nobody had. lease_ended_ms: its owner's, 0: not known.
 * Who was to claim it and never did has not owned it: then it has been without an owner for longer.
 */
static void authorise(struct guild_row *row, const struct pod_row *pod, int64_t lease_ended_ms)
{
    if (row->state != GUILD_CLAIMING)
        row->unowned_ms = lease_ended_ms;
    text_copy(row->pod, sizeof(row->pod), pod->pod);
    row->epoch = row->next_epoch++;
    row->incarnation = pod->incarnation;
    row->state = GUILD_CLAIMING;
}

static void warn_full(struct coordinator *c, const struct place_pod *pod)
{
    if (clock_now_ms() < c->next_warning_ms)
        return;
    log_warn("pods_full", "pod=%s guilds=%u capacity=%u why=\"all others carry more\"", pod->id,
             pod->assigned, pod->capacity);
    c->next_warning_ms = clock_now_ms() + 5000;
}

/* The least loaded. NULL: nobody can take it. */
static const struct pod_row *choose(struct coordinator *c, struct place *place,
                                    const struct guild_row *row)
{
    bool full = false;
    struct place_pod *best = place_guild(place, row->schema, NULL, &full);

    if (full)
        warn_full(c, best);
    return best ? &((struct mirror_pod *)best->user)->row : NULL;
}

/* Whoever has it warm: what a move was warming, else its standbys. NULL: nobody who can take it. */
static const struct pod_row *choose_warm(struct place *place, const struct mirror_guild *g)
{
    const struct mirror_pod *warm[1 + MOST_STANDBYS] = { 0 };

    for (size_t i = 0; *g->prefer && i < place->count; i++) {
        if (!strcmp(place->pods[i].id, g->prefer))
            warm[0] = place->pods[i].user;
    }
    for (unsigned i = 0; i < g->follower_count; i++) {
        if (g->followers[i].rank > STANDBY_DROP)
            warm[g->followers[i].rank] = g->followers[i].pod;
    }
    for (size_t i = 0; i < ARRAY_LEN(warm); i++) {
        struct place_pod *p = warm[i] ? &place->pods[warm[i]->index] : NULL;
        if (!p || !p->takes || p->schema < g->row.schema)
            continue;
        p->assigned++;
        return &warm[i]->row;
    }
    return NULL;
}

static void place_new(struct coordinator *c, struct place *place, uint64_t guild_id)
{
    struct guild_row row = { .guild_id = guild_id, .next_epoch = 1, .state = GUILD_UNASSIGNED };
    const struct pod_row *pod = choose(c, place, &row);

    if (pod) {
        authorise(&row, pod, 0);
        guild_row_note(&row, "new", "seen", 0);
    }
    plan_guild(&c->plan, &row);
}

enum status guilds_seen(struct coordinator *c, const Guildbus__V1__GuildsSeen *seen,
                        struct caller *caller, struct err *err)
{
    CLEANUP(place_release) struct place place = place_of(c);
    size_t fresh = 0;

    for (size_t i = 0; i < seen->n_guild_ids; i++) {
        if (mirror_guild(c->mirror, seen->guild_ids[i]) ||
            plan_has_guild(&c->plan, seen->guild_ids[i]))
            continue;
        if (idmap_count(c->mirror->guilds) + c->plan.guild_count >= MOST_GUILDS) {
            struct err full = { 0 };
            full.code = err_set(&full, STATUS_BUSY, "more than %d guilds", MOST_GUILDS);
            answer_err(c, caller, &full);
            break;
        }
        place_new(c, &place, seen->guild_ids[i]);
        fresh++;
        if (c->plan.guild_count == PLAN_GUILDS)
            TRY(commit(c, err));
    }
    TRY(commit(c, err));
    if (fresh) {
        metric_add(&assigned_total, (int64_t)fresh);
        log_info("guilds_seen", "pod=%.64s new=%zu of=%zu",
                 pod_id_is_valid(seen->pod) ? seen->pod : "?", fresh, seen->n_guild_ids);
    }
    answer_ok(c, caller);
    return STATUS_OK;
}

/* Guilds that no pod could take when they were seen. */
static enum status place_unassigned(struct coordinator *c, struct place *place, struct err *err)
{
    struct link *list = &c->mirror->unassigned;

    for (struct link *l = list->next; l != list && c->plan.guild_count < PLAN_GUILDS; l = l->next) {
        struct guild_row row = CONTAINER_OF(l, struct mirror_guild, wait)->row;
        const struct pod_row *pod = choose(c, place, &row);
        if (!pod)
            break;
        authorise(&row, pod, 0);
        guild_row_note(&row, "new", "seen", 0);
        plan_guild(&c->plan, &row);
    }
    if (c->plan.guild_count == PLAN_GUILDS)
        c->next_turn_ms = 0; /* more waits */
    return commit(c, err);
}

/* The owner is gone; a guild in cut-over waits for what its log says. */
static bool wants_owner(const struct mirror_guild *g)
{
    return !g->move || !move_state_is_open(g->move->row.state);
}

static bool plan_failover(struct coordinator *c, struct place *place, const struct mirror_guild *g)
{
    struct guild_row row = g->row;
    const struct pod_row *pod = wants_owner(g) ? choose_warm(place, g) : NULL;
    const char *why = pod ? "to a standby" : "to the least loaded";

    if (!pod)
        pod = wants_owner(g) ? choose(c, place, &row) : NULL;
    if (!pod)
        return false;
    authorise(&row, pod, lease_end_of(c, g->row.pod));
    guild_row_note(&row, "failover", why, 0);
    plan_guild(&c->plan, &row);
    return true;
}

static enum status fail_over(struct coordinator *c, struct place *place, struct mirror_pod *dead,
                             struct err *err)
{
    size_t count = 0;

    for (struct link *l = dead->guilds.next; l != &dead->guilds && count < PLAN_GUILDS; l = l->next)
        count += plan_failover(c, place, CONTAINER_OF(l, struct mirror_guild, of_pod));
    if (!count)
        return STATUS_OK;
    TRY(commit(c, err));
    FAILPOINT("coordinator_f_authorised");
    if (count == PLAN_GUILDS)
        c->next_turn_ms = 0; /* more waits */
    metric_add(&failed_over_total, (int64_t)count);
    log_warn("guilds_failed_over", "from=%s guilds=%zu left=%u", dead->row.pod, count,
             dead->assigned);
    return STATUS_OK;
}

/* The pod lives, but not the process that owned: it has the rows on its disk, so it goes on owning.
 */
static enum status reauthorise(struct coordinator *c, struct mirror_pod *pod, struct err *err)
{
    bool all = true;

    for (struct link *l = pod->guilds.next; l != &pod->guilds; l = l->next) {
        struct mirror_guild *g = CONTAINER_OF(l, struct mirror_guild, of_pod);
        if (g->row.incarnation == pod->row.incarnation)
            continue;
        all &= wants_owner(g) && c->plan.guild_count < PLAN_GUILDS;
        if (!wants_owner(g) || c->plan.guild_count >= PLAN_GUILDS)
            continue;
        struct guild_row row = g->row;
        authorise(&row, &pod->row, pod->row.lease_before_ms);
        guild_row_note(&row, "restart", "its process is another", 0);
        plan_guild(&c->plan, &row);
    }
    size_t count = c->plan.guild_count;
    TRY(commit(c, err));
    pod->may_hold_stale = !all;
    if (count == PLAN_GUILDS)
        c->next_turn_ms = 0; /* more waits */
    if (count)
        log_info("guilds_reauthorised", "pod=%s guilds=%zu", pod->row.pod, count);
    return STATUS_OK;
}

enum status guilds_place(struct coordinator *c, struct err *err)
{
    CLEANUP(place_release) struct place place = place_of(c);

    if (!list_is_empty(&c->mirror->unassigned))
        TRY(place_unassigned(c, &place, err));
    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        struct mirror_pod *pod = c->mirror->pods[i];
        if (pod->row.status == POD_OFFLINE && pod->assigned)
            TRY(fail_over(c, &place, pod, err));
        else if (pod->may_hold_stale && pod_is_alive(c, pod))
            TRY(reauthorise(c, pod, err));
    }
    return STATUS_OK;
}

enum status guild_catch_up(struct coordinator *c, struct mirror_guild *g, uint64_t epoch,
                           struct err *err)
{
    struct guild_row row = g->row;

    if (epoch >> SANE_EPOCH_BITS) {
        log_error("epoch_absurd", "guild=%" PRIu64 " pod=%s epoch=%" PRIu64, g->row.guild_id,
                  g->row.pod, epoch);
        return STATUS_OK;
    }
    log_warn("epochs_behind_log", "guild=%" PRIu64 " pod=%s known=%" PRIu64 " log=%" PRIu64,
             row.guild_id, row.pod, row.epoch, epoch);
    if (row.next_epoch <= epoch)
        row.next_epoch = epoch + 1;
    authorise(&row, &g->pod->row, 0);
    guild_row_note(&row, "catch-up", "the log knows a later epoch", 0);
    plan_guild(&c->plan, &row);
    return commit(c, err);
}

/* ---- claims ---- */

void guilds_claimed(struct coordinator *c, const Guildbus__V1__Claimed *claimed,
                    struct caller *caller)
{
    struct err refused = { 0 };

    if (!pod_id_is_valid(claimed->pod))
        refused.code = err_set(&refused, STATUS_INVALID, "pod must be 1 to 64 of A-Z a-z 0-9 _ -");
    else if (c->claim_count >= MOST_CLAIMS)
        refused.code = err_set(&refused, STATUS_BUSY, "too many claims at once");
    if (refused.code != STATUS_OK) {
        answer_err(c, caller, &refused);
        return;
    }
    if (c->claim_count == c->claim_room) {
        c->claim_room = c->claim_room ? c->claim_room * 2 : 64;
        c->claims = xrealloc(c->claims, c->claim_room * sizeof(c->claims[0]));
    }
    struct claim *claim = &c->claims[c->claim_count++];
    *claim = (struct claim){
        .caller = *caller,
        .guild_id = claimed->guild_id,
        .epoch = claimed->epoch,
        .incarnation = claimed->incarnation,
        .pause_us = claimed->pause_us,
    };
    text_copy(claim->pod, sizeof(claim->pod), claimed->pod);
    caller->reply = NULL;
}

static enum status refuse(struct claim *claim, enum status status, const char *why)
{
    (void)err_set(&claim->refused, status, "%s", why);
    claim->refused.code = status;
    metric_add(&refused_claims_total, 1);
    log_info("claim_refused", "guild=%" PRIu64 " pod=%s epoch=%" PRIu64 " why=\"%s\"",
             claim->guild_id, claim->pod, claim->epoch, why);
    return STATUS_OK;
}

static void own(struct coordinator *c, const struct mirror_guild *g, const struct mirror_pod *pod,
                const struct claim *claim, const char *what)
{
    struct guild_row row = g->row;

    text_copy(row.pod, sizeof(row.pod), pod->row.pod);
    row.epoch = claim->epoch;
    row.incarnation = pod->row.incarnation;
    row.state = GUILD_OWNED;
    row.unowned_ms = 0;
    guild_row_note(&row, what, "claimed", claim->move_id);
    if (pod->row.schema > row.schema)
        row.schema = pod->row.schema;
    plan_guild(&c->plan, &row);
}

/* true: the claim ended the guild's open move. */
static bool settles_move(struct coordinator *c, const struct mirror_guild *g,
                         const struct claim *claim)
{
    struct mirror_move *m = g->move;
    const struct claim_fact fact = { claim->incarnation, claim->pause_us };

    if (!m || m->row.state != MOVE_STATE_CUTOVER)
        return false;
    bool target = claim->epoch == m->row.epoch && !strcmp(claim->pod, m->row.target);
    bool source = claim->epoch == m->row.unseal_epoch && !strcmp(claim->pod, m->row.source);
    if (target || source)
        handoff_step(c, m, target ? MOVE_EVENT_TARGET_CLAIMED : MOVE_EVENT_SOURCE_CLAIMED, &fact);
    return target || source;
}

/* A claim above the assignment: good when some move, closed meanwhile, gave this epoch to this pod.
 */
static enum status settle_late(struct coordinator *c, const struct mirror_guild *g,
                               const struct mirror_pod *pod, struct claim *claim, struct err *err)
{
    struct move_row move;
    enum status status =
        store_move_of_epoch(c->store, claim->guild_id, claim->epoch, claim->pod, &move, err);

    if (status == STATUS_NOT_FOUND)
        return refuse(claim, STATUS_CONFLICT, "nobody gave this epoch to this pod");
    if (status != STATUS_OK)
        return status;
    claim->move_id = move.id;
    own(c, g, pod, claim, "late claim");
    return STATUS_OK;
}

static enum status settle(struct coordinator *c, struct claim *claim, struct err *err)
{
    /* Two claims of one guild are judged one after the other. */
    if (c->plan.guild_count >= PLAN_GUILDS || plan_has_guild(&c->plan, claim->guild_id))
        TRY(commit(c, err));
    const struct mirror_guild *g = mirror_guild(c->mirror, claim->guild_id);
    const struct mirror_pod *pod = mirror_pod(c->mirror, claim->pod);
    if (!g)
        return refuse(claim, STATUS_NOT_FOUND, "unknown guild");
    if (!pod || pod->row.incarnation != claim->incarnation)
        return refuse(claim, STATUS_CONFLICT, "this process is not a registered pod");
    if (settles_move(c, g, claim))
        return STATUS_OK;
    if (claim->epoch < g->row.epoch)
        return refuse(claim, STATUS_CONFLICT, "the guild has a newer owner");
    if (claim->epoch > g->row.epoch)
        return settle_late(c, g, pod, claim, err);
    if (g->pod != pod)
        return refuse(claim, STATUS_CONFLICT, "this epoch was given to another pod");
    if (g->row.state == GUILD_CLAIMING)
        own(c, g, pod, claim, "owned");
    else if (g->row.state == GUILD_MOVING)
        return refuse(claim, STATUS_CONFLICT, "the log decides between this pod and the target");
    else if (g->row.incarnation != claim->incarnation)
        return refuse(claim, STATUS_CONFLICT, "its lease had ended: a later epoch will be given");
    return STATUS_OK;
}

enum status guilds_settle(struct coordinator *c, struct err *err)
{
    for (size_t i = 0; i < c->claim_count; i++)
        TRY(settle(c, &c->claims[i], err));
    TRY(commit(c, err));
    if (c->claim_count) /* an OK lets a pod answer reads: never by a memory that is out of date */
        TRY(store_still_leads(c->store, err));
    for (size_t i = 0; i < c->claim_count; i++) {
        struct claim *claim = &c->claims[i];
        if (claim->refused.code == STATUS_OK)
            answer_ok(c, &claim->caller);
        else
            answer_err(c, &claim->caller, &claim->refused);
    }
    c->claim_count = 0;
    return STATUS_OK;
}
