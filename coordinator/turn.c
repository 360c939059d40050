#include "base/clock.h"
#include "base/failpoint.h"
#include "base/metrics.h"
#include "coordinator/rebalance.h"
#include "coordinator/state.h"

enum {
    SIGN_EACH_MS = 1000, /* a sign of life for the store */
    PRUNE_EACH_MS = 60 * 1000,
    PRUNE_MORE_MS = 1000,
    PRUNE_ROWS = 1000,
};

static struct metric guilds_gauge = METRIC_GAUGE("guildbus_coordinator_guilds", "guilds known");
static struct metric pods_gauge =
    METRIC_GAUGE("guildbus_coordinator_pods_alive", "pods with a lease");
static struct metric moves_gauge =
    METRIC_GAUGE("guildbus_coordinator_moves_open", "planned moves under way");
static struct metric held_gauge =
    METRIC_GAUGE("guildbus_coordinator_placement_held", "1 while most pods are silent");

int64_t db_now_ms(const struct coordinator *c)
{
    return clock_now_ms() + c->db_ahead_ms;
}

/* ---- the store ---- */

/* What the plan does to moves, for tests that end or stop the process around its commit. */
struct steps {
    bool wished, cutover, ended;
};

static struct steps steps_of(const struct coordinator *c)
{
    struct steps s = { 0 };

    for (size_t i = 0; i < c->plan.move_count; i++) {
        const struct move_row *row = &c->plan.moves[i];
        const struct mirror_move *before = mirror_move(c->mirror, row->id);
        s.wished |= !before;
        s.cutover |= row->state == MOVE_STATE_CUTOVER;
        s.ended |=
            before && before->row.state == MOVE_STATE_CUTOVER && row->state != MOVE_STATE_CUTOVER;
    }
    return s;
}

enum status commit(struct coordinator *c, struct err *err)
{
    if (plan_is_empty(&c->plan))
        return STATUS_OK;
    const struct steps steps = steps_of(c);
    if (steps.wished)
        FAILPOINT("coordinator_0_plan");
    if (steps.cutover)
        FAILPOINT("coordinator_3_authorise");
    if (steps.ended)
        FAILPOINT("coordinator_7_claimed");
    TRY(store_commit(c->store, &c->plan, err));
    mirror_apply(c->mirror, &c->plan, (struct moment){ clock_now_ms(), db_now_ms(c) });
    plan_clear(&c->plan);
    c->starting = 0;
    if (steps.wished)
        FAILPOINT("coordinator_0_planned");
    if (steps.cutover)
        FAILPOINT("coordinator_3_authorised");
    if (steps.ended)
        FAILPOINT("coordinator_7_committed");
    return STATUS_OK;
}

/* ---- one turn ---- */

static void measure(const struct coordinator *c)
{
    int64_t alive = 0;

    for (size_t i = 0; i < c->mirror->pod_count; i++)
        alive += pod_is_alive(c, c->mirror->pods[i]);
    metric_set(&pods_gauge, alive);
    metric_set(&guilds_gauge, (int64_t)idmap_count(c->mirror->guilds));
    metric_set(&moves_gauge, (int64_t)c->mirror->running);
    metric_set(&held_gauge, c->held);
    standbys_measure(c);
}

static enum status prune(struct coordinator *c, int64_t now_ms, struct err *err)
{
    bool more = false;

    TRY(store_prune(c->store, (uint32_t)c->config->history_days, PRUNE_ROWS, &more, err));
    c->next_prune_ms = now_ms + (more ? PRUNE_MORE_MS : PRUNE_EACH_MS);
    return STATUS_OK;
}

static enum status tidy(struct coordinator *c, struct err *err)
{
    int64_t now_ms = clock_now_ms();

    if (now_ms >= c->next_sign_ms) {
        c->next_sign_ms = now_ms + SIGN_EACH_MS;
        TRY(store_still_leads(c->store, err));
    }
    if (c->config->history_days && now_ms >= c->next_prune_ms)
        TRY(prune(c, now_ms, err));
    if (now_ms < c->next_forget_ms)
        return STATUS_OK;
    c->next_forget_ms = now_ms + FORGET_EACH_MS;
    return pods_forget(c, err);
}

/* A move that ended makes room for the next at once: a drain is as fast as the pods are. */
static enum status decide(struct coordinator *c, bool whole, struct err *err)
{
    TRY(guilds_settle(c, err));
    TRY(handoffs_settle(c, err));
    if (!whole)
        return c->move_ended ? handoffs_turn(c, err) : STATUS_OK;
    TRY(reshards_turn(c, err)); /* before the answers, which tell of it */
    TRY(pods_renew(c, err));
    TRY(pods_expire(c, err));
    TRY(handoffs_turn(c, err));
    TRY(guilds_place(c, err));
    TRY(shards_place(c, err));
    TRY(standbys_turn(c, err));
    TRY(rebalance_turn(c, err));
    return tidy(c, err);
}

enum status turn_take(struct coordinator *c, bool whole, struct err *err)
{
    TRY(decide(c, whole, err));
    handoffs_send(c);
    orders_send(c, whole);
    if (whole)
        measure(c);
    return STATUS_OK;
}
