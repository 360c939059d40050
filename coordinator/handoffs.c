#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "coordinator/state.h"

enum {
    MOST_REPORTS = 65536,
    COOL_DOWN_MS = 5000, /* before a guild that could not be drained is tried again */
};

static struct metric done_total =
    METRIC_COUNTER_L("guildbus_coordinator_moves_total", "planned moves ended", "result=\"done\"");
static struct metric aborted_total = METRIC_COUNTER_L("guildbus_coordinator_moves_total",
                                                      "planned moves ended", "result=\"aborted\"");
static struct metric failed_total = METRIC_COUNTER_L("guildbus_coordinator_moves_total",
                                                     "planned moves ended", "result=\"failed\"");
static struct metric pause =
    METRIC_HISTOGRAM("guildbus_handoff_pause_seconds",
                     "from the Seal seen to the Claim confirmed, as the target says");

static struct move_facts facts_of(const struct coordinator *c, const struct mirror_move *m,
                                  const struct mirror_guild *g)
{
    const struct mirror_pod *source = mirror_pod(c->mirror, m->row.source);
    const struct mirror_pod *target = mirror_pod(c->mirror, m->row.target);
    bool owns = g && source && g->pod == source;

    return (struct move_facts){
        .state = m->row.state,
        .age_ms = clock_now_ms() - m->entered_ms,
        .slot_free = c->mirror->running + c->starting < (size_t)c->config->max_moves,
        .source_owns = owns,
        .source_alive = owns && source->row.status != POD_OFFLINE &&
                        source->row.incarnation == g->row.incarnation,
        .target_alive = target && target->row.status != POD_OFFLINE,
        /* A pod that is only silent is waited for: a new leader has not heard anybody yet. */
        .target_takes = target && target->row.status == POD_ACTIVE,
        .target_gave_up = m->target_gave_up,
    };
}

/* ---- what a step does to the rows ---- */

/* The history keeps the pointer: static texts. */
static const char *reason_of(const struct move_row *move)
{
    static const char *const reasons[] = { "operator", "drain", "rebalance" };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (!strcmp(move->reason, reasons[i]))
            return reasons[i];
    }
    return "";
}

static void begin_cutover(struct move_row *move, struct guild_row *guild)
{
    move->epoch = guild->next_epoch++;
    move->unseal_epoch = guild->next_epoch++;
    guild->state = GUILD_MOVING;
    guild_row_note(guild, "cutover", reason_of(move), move->id);
}

static void end_cutover(const struct coordinator *c, const struct move_row *move,
                        struct guild_row *guild, const struct claim_fact *fact)
{
    bool moved = move->state == MOVE_STATE_DONE;
    const struct mirror_pod *owner = mirror_pod(c->mirror, moved ? move->target : move->source);

    guild->state = GUILD_OWNED;
    guild->unowned_ms = 0;
    guild_row_note(guild,
                   !fact   ? "both pods gone"
                   : moved ? "moved"
                           : "un-sealed",
                   reason_of(move), move->id);
    if (!fact) { /* the guild fails over: its owner as it was is not confirmed again */
        guild->incarnation = 0;
        return;
    }
    text_copy(guild->pod, sizeof(guild->pod), moved ? move->target : move->source);
    guild->epoch = moved ? move->epoch : move->unseal_epoch;
    guild->incarnation = fact->incarnation;
    if (owner && owner->row.schema > guild->schema)
        guild->schema = owner->row.schema;
}

static void report_end(const struct move_row *row)
{
    struct metric *counter = row->state == MOVE_STATE_DONE      ? &done_total
                             : row->state == MOVE_STATE_ABORTED ? &aborted_total
                                                                : &failed_total;

    metric_add(counter, 1);
    if (row->state == MOVE_STATE_DONE && row->pause_us)
        metric_observe_us(&pause, (int64_t)row->pause_us);
    if (row->state == MOVE_STATE_DONE)
        log_info("move_done", "move=%" PRIu64 " guild=%" PRIu64 " from=%s to=%s pause_us=%" PRIu64,
                 row->id, row->guild_id, row->source, row->target, row->pause_us);
    else
        log_warn("move_ended_early",
                 "move=%" PRIu64 " guild=%" PRIu64 " from=%s to=%s state=%s why=\"%s\"", row->id,
                 row->guild_id, row->source, row->target, move_state_text(row->state), row->error);
}

static void plan_step(struct coordinator *c, struct mirror_move *m, const struct move_step *step,
                      const struct claim_fact *fact)
{
    struct mirror_guild *g = mirror_guild(c->mirror, m->row.guild_id);
    struct move_row move = m->row;
    enum move_state before = m->row.state;

    move.state = step->next;
    if (step->error)
        text_copy(move.error, sizeof(move.error), step->error);
    if (g && step->next == MOVE_STATE_CUTOVER) {
        struct guild_row guild = g->row;
        begin_cutover(&move, &guild);
        plan_guild(&c->plan, &guild);
    } else if (g && before == MOVE_STATE_CUTOVER) {
        struct guild_row guild = g->row;
        move.pause_us = fact ? fact->pause_us : 0;
        end_cutover(c, &move, &guild, fact);
        plan_guild(&c->plan, &guild);
    }
    if (g && step->next == MOVE_STATE_ABORTED) {
        text_copy(g->prefer, sizeof(g->prefer), before == MOVE_STATE_WISHED ? "" : move.target);
        g->no_move_before_ms = clock_now_ms() + COOL_DOWN_MS;
        g->no_balance_before_ms = clock_now_ms() + c->config->rebalance_cooldown_ms;
    }
    plan_move(&c->plan, &move);
    c->starting += before == MOVE_STATE_WISHED && step->next == MOVE_STATE_WARMING;
    if (move_state_is_open(move.state))
        return;
    c->move_ended = true;
    report_end(&move);
}

void handoff_step(struct coordinator *c, struct mirror_move *m, enum move_event event,
                  const struct claim_fact *fact)
{
    const struct mirror_guild *g = mirror_guild(c->mirror, m->row.guild_id);
    struct move_facts facts = facts_of(c, m, g);
    struct move_step step = move_step(&facts, event);

    if (step.next == MOVE_STATE_READY) {
        facts.state = MOVE_STATE_READY;
        step = move_step(&facts, MOVE_EVENT_TICK);
    }
    if (step.orders != m->orders)
        m->next_order_ms = 0;
    m->orders = step.orders;
    if (step.next != m->row.state)
        plan_step(c, m, &step, fact);
}

/* ---- reports ---- */

void handoffs_reported(struct coordinator *c, const Guildbus__V1__MoveReport *report,
                       struct caller *caller)
{
    struct err refused = { 0 };

    if (!pod_id_is_valid(report->pod) || !report->move_id)
        refused.code = err_set(&refused, STATUS_INVALID, "pod and move_id must be set");
    else if (c->report_count >= MOST_REPORTS)
        refused.code = err_set(&refused, STATUS_BUSY, "too many reports at once");
    if (refused.code != STATUS_OK) {
        answer_err(c, caller, &refused);
        return;
    }
    if (report->step == GUILDBUS__V1__MOVE_STEP__MOVE_FAILED)
        log_info("move_report", "move=%" PRIu64 " guild=%" PRIu64 " pod=%s step=failed text=%s",
                 report->move_id, report->guild_id, report->pod, LOG_QUOTE(report->text));
    if (c->report_count == c->report_room) {
        c->report_room = c->report_room ? c->report_room * 2 : 64;
        c->reports = xrealloc(c->reports, c->report_room * sizeof(c->reports[0]));
    }
    struct report *r = &c->reports[c->report_count++];
    *r = (struct report){ .caller = *caller, .move_id = report->move_id, .step = report->step };
    text_copy(r->pod, sizeof(r->pod), report->pod);
    caller->reply = NULL;
}

static void take_report(struct coordinator *c, const struct report *r)
{
    struct mirror_move *m = mirror_move(c->mirror, r->move_id);

    if (!m || !move_state_is_open(m->row.state) || strcmp(r->pod, m->row.target) != 0)
        return;
    if (r->step == GUILDBUS__V1__MOVE_STEP__MOVE_WARM && m->row.state == MOVE_STATE_WARMING) {
        FAILPOINT("coordinator_2_ready");
        handoff_step(c, m, MOVE_EVENT_WARM, NULL);
    }
    if (r->step != GUILDBUS__V1__MOVE_STEP__MOVE_FAILED)
        return;
    m->target_gave_up = m->row.state == MOVE_STATE_CUTOVER;
    handoff_step(c, m, MOVE_EVENT_GAVE_UP, NULL);
    m->next_order_ms = 0;
}

enum status handoffs_settle(struct coordinator *c, struct err *err)
{
    for (size_t i = 0; i < c->report_count; i++) {
        /* Two reports of one move are judged one after the other. */
        if (c->plan.move_count >= PLAN_GUILDS || plan_has_move(&c->plan, c->reports[i].move_id))
            TRY(commit(c, err));
        take_report(c, &c->reports[i]);
    }
    TRY(commit(c, err));
    for (size_t i = 0; i < c->report_count; i++)
        answer_ok(c, &c->reports[i].caller);
    c->report_count = 0;
    return STATUS_OK;
}

/* ---- wishes ---- */

uint64_t handoff_plan(struct coordinator *c, const struct mirror_guild *g, const char *target,
                      const char *reason)
{
    struct move_row row = { .id = ++c->last_move_id,
                            .guild_id = g->row.guild_id,
                            .state = MOVE_STATE_WISHED };

    text_copy(row.source, sizeof(row.source), g->row.pod);
    text_copy(row.target, sizeof(row.target), target);
    text_copy(row.reason, sizeof(row.reason), reason);
    plan_move(&c->plan, &row);
    return row.id;
}

static enum status check_target(const struct coordinator *c, const struct mirror_guild *g,
                                const char *pod, struct err *refused)
{
    const struct mirror_pod *target = mirror_pod(c->mirror, pod);

    if (!target)
        return err_set(refused, STATUS_NOT_FOUND, "there is no pod %s", pod);
    if (!pod_takes(c, target))
        return err_set(refused, STATUS_CONFLICT, "pod %s is %s", pod,
                       target->row.status == POD_ACTIVE ? "not heard of"
                                                        : pod_status_text(target->row.status));
    if (target == g->pod)
        return err_set(refused, STATUS_CONFLICT, "the guild is on %s already", pod);
    if (target->row.schema < g->row.schema)
        return err_set(refused, STATUS_CONFLICT,
                       "pod %s has schema %u, the guild's rows need %u: update the pod first", pod,
                       target->row.schema, g->row.schema);
    return STATUS_OK;
}

static enum status check_wish(const struct coordinator *c, uint64_t guild_id, const char *pod,
                              struct err *refused)
{
    const struct mirror_guild *g = mirror_guild(c->mirror, guild_id);

    if (!g)
        return err_set(refused, STATUS_NOT_FOUND, "guild %" PRIu64 " was never seen", guild_id);
    if (g->move)
        return err_set(refused, STATUS_CONFLICT, "move %" PRIu64 " of this guild is still open",
                       g->move->row.id);
    TRY(check_target(c, g, pod, refused));
    if (g->row.state != GUILD_OWNED)
        return err_set(refused, STATUS_CONFLICT, "the guild is %s: nobody owns it yet",
                       guild_state_text(g->row.state));
    return STATUS_OK;
}

enum status handoff_wish(struct coordinator *c, uint64_t guild_id, const char *pod,
                         uint64_t *ret_move_id, struct err *refused, struct err *err)
{
    if (check_wish(c, guild_id, pod, refused) != STATUS_OK)
        return STATUS_OK;
    *ret_move_id = handoff_plan(c, mirror_guild(c->mirror, guild_id), pod, "operator");
    return commit(c, err);
}

/* A standby if that does not unbalance, else the least loaded. NULL: nobody can take it. */
static const struct place_pod *drain_target(struct place *place, const struct mirror_guild *g)
{
    bool full;

    for (int rank = 1; rank <= MOST_STANDBYS; rank++) {
        for (unsigned i = 0; i < g->follower_count; i++) {
            const struct follower *f = &g->followers[i];
            struct place_pod *pod = &place->pods[f->pod->index];
            if (f->rank == rank && f->pod != g->pod && place_prefer(place, pod, g->row.schema))
                return pod;
        }
    }
    return place_guild(place, g->row.schema, g->row.pod, &full);
}

bool handoff_can_begin(const struct mirror_guild *g, int64_t now_ms)
{
    return !g->move && g->row.state == GUILD_OWNED && g->no_move_before_ms <= now_ms &&
           g->row.incarnation == g->pod->row.incarnation;
}

/* A draining pod's guilds go to the others; as many as there are slots wait besides, so that each
 * slot that comes free is used at once. */
static void drain(struct coordinator *c, struct mirror_pod *pod, struct place *place)
{
    int64_t now_ms = clock_now_ms();
    size_t open = idmap_count(c->mirror->moves);

    for (struct link *l = pod->guilds.next; l != &pod->guilds; l = l->next) {
        const struct mirror_guild *g = CONTAINER_OF(l, struct mirror_guild, of_pod);
        if (open + c->plan.move_count >= 2 * (size_t)c->config->max_moves)
            return;
        if (!handoff_can_begin(g, now_ms))
            continue;
        const struct place_pod *target = drain_target(place, g);
        if (target)
            (void)handoff_plan(c, g, target->id, "drain");
    }
}

static bool is_to_drain(const struct coordinator *c, const struct mirror_pod *pod)
{
    return pod->row.status == POD_DRAINING && pod->assigned && pod_is_alive(c, pod);
}

static enum status drain_all(struct coordinator *c, struct err *err)
{
    struct mirror *m = c->mirror;
    size_t draining = 0;

    for (size_t i = 0; i < m->pod_count; i++)
        draining += is_to_drain(c, m->pods[i]);
    if (!draining)
        return STATUS_OK;
    CLEANUP(place_release) struct place place = place_of(c);
    for (size_t i = 0; i < m->pod_count; i++) {
        if (is_to_drain(c, m->pods[i]))
            drain(c, m->pods[i], &place);
    }
    return commit(c, err);
}

/* ---- time ---- */

enum status handoffs_turn(struct coordinator *c, struct err *err)
{
    c->move_ended = false;
    TRY(drain_all(c, err));
    for (struct link *l = c->mirror->open_moves.next; l != &c->mirror->open_moves; l = l->next) {
        struct mirror_move *m = CONTAINER_OF(l, struct mirror_move, all);
        if (move_state_is_open(m->row.state))
            handoff_step(c, m, MOVE_EVENT_TICK, NULL);
        if (c->plan.move_count >= PLAN_GUILDS)
            break;
    }
    return commit(c, err);
}

void handoffs_send(struct coordinator *c)
{
    int64_t now_ms = clock_now_ms();

    for (struct link *l = c->mirror->open_moves.next, *next; l != &c->mirror->open_moves;
         l = next) {
        struct mirror_move *m = CONTAINER_OF(l, struct mirror_move, all);
        next = l->next;
        if (m->orders && now_ms >= m->next_order_ms) {
            for (unsigned order = MOVE_ORDER_WARM; order <= MOVE_ORDER_READ_LOG; order <<= 1) {
                if (m->orders & order)
                    order_move(c, m, (enum move_order)order);
            }
            m->next_order_ms = now_ms + MOVE_REPEAT_MS;
        }
        if (!move_state_is_open(m->row.state))
            mirror_close_move(c->mirror, m);
    }
}
