/* store.c - what the leader's code calls and what is not there: the store, the bus, the answers. Each
 * of these comes before the coordinator's own when this program is linked. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "bench/placement/clock.h"
#include "bench/placement/meter.h"
#include "bench/placement/sim.h"
#include "messages/codec.h"

static struct sim *current;

void sim_set_current(struct sim *s)
{
    current = s;
}

struct sim *sim_current(void)
{
    return current;
}

/* ---- the store ---- */

static void count_guild(const struct guild_row *row)
{
    struct sim_counts *n = &current->counts;

    n->guild_rows++;
    if (!row->what)
        return;
    n->history_rows++;
    n->placed += !strcmp(row->what, "new");
    n->reauthorised += !strcmp(row->what, "restart");
    if (!strcmp(row->what, "failover"))
        *(!strcmp(row->why, "to a standby") ? &n->to_standby : &n->to_least) += 1;
}

static void count_move(const struct move_row *row)
{
    struct sim_counts *n = &current->counts;
    bool is_rebalance = !strcmp(row->reason, "rebalance");

    n->move_rows++;
    if (!mirror_move(current->leader.mirror, row->id))
        *(is_rebalance ? &n->rebalance_moves : &n->drain_moves) += 1;
    if (is_rebalance)
        current->rebalanced_us = sim_now_us();
    n->done += row->state == MOVE_STATE_DONE;
    n->ended_early += row->state == MOVE_STATE_ABORTED || row->state == MOVE_STATE_FAILED;
}

enum status store_commit(struct store *store UNUSED, const struct plan *plan,
                         struct err *err UNUSED)
{
    enum part before = meter_enter(PART_MODEL);
    struct sim_counts *n = &current->counts;
    uint64_t rows = n->guild_rows + n->history_rows + n->move_rows + n->standby_rows;

    for (size_t i = 0; i < plan->guild_count; i++)
        count_guild(&plan->guilds[i]);
    for (size_t i = 0; i < plan->move_count; i++)
        count_move(&plan->moves[i]);
    for (size_t i = 0; i < plan->standby_count; i++)
        n->standbys += plan->standbys[i].rank > STANDBY_DROP;
    n->standby_rows += plan->standby_count;
    n->commits++;
    rows = n->guild_rows + n->history_rows + n->move_rows + n->standby_rows - rows;
    sim_clock_pass(sim_costs.commit + (int64_t)rows * sim_costs.row);
    meter_leave(before);
    return STATUS_OK;
}

static int64_t now_ms(void)
{
    return sim_now_us() / 1000 + CLOCK_EPOCH_MS;
}

enum status store_register(struct store *store UNUSED, struct pod_row *row, int64_t lease_ms,
                           int64_t *ret_left_ms UNUSED, struct err *err UNUSED)
{
    const struct mirror_pod *before = mirror_pod(current->leader.mirror, row->pod);

    row->heard_ms = now_ms();
    row->lease_before_ms = before ? before->row.lease_until_ms : 0;
    row->lease_until_ms = row->heard_ms + lease_ms;
    sim_clock_pass(sim_costs.commit);
    return STATUS_OK;
}

enum status store_heartbeats(struct store *store UNUSED, const struct store_beats *beats,
                             store_on_pod on_renewed, void *ctx, struct err *err UNUSED)
{
    for (size_t i = 0; i < beats->count; i++) {
        struct pod_row row = beats->rows[i];
        const struct mirror_pod *pod = mirror_pod(current->leader.mirror, row.pod);
        if (!pod || pod->row.status == POD_OFFLINE || pod->row.incarnation != row.incarnation)
            continue;
        row.heard_ms = now_ms();
        row.lease_until_ms = row.heard_ms + beats->lease_ms;
        on_renewed(ctx, &row);
    }
    current->counts.beat_rows += beats->count;
    sim_clock_pass(sim_costs.commit + (int64_t)beats->count * sim_costs.row);
    return STATUS_OK;
}

enum status store_expire(struct store *store UNUSED, int64_t grace_ms, store_on_pod on_pod,
                         void *ctx, struct err *err UNUSED)
{
    const struct mirror *m = current->leader.mirror;

    for (size_t i = 0; i < m->pod_count; i++) {
        const struct pod_row row = m->pods[i]->row;
        if (row.status != POD_OFFLINE && row.lease_until_ms + grace_ms < now_ms())
            on_pod(ctx, &row);
    }
    sim_clock_pass(sim_costs.commit);
    return STATUS_OK;
}

enum status store_leave(struct store *store UNUSED, const char *pod UNUSED,
                        uint64_t incarnation UNUSED, struct err *err UNUSED)
{
    sim_clock_pass(sim_costs.commit);
    return STATUS_OK;
}

enum status store_forget(struct store *store UNUSED, store_on_pod on_pod UNUSED, void *ctx UNUSED,
                         struct err *err UNUSED)
{
    return STATUS_OK; /* nobody is gone for a day */
}

enum status store_prune(struct store *store UNUSED, uint32_t days UNUSED, uint32_t limit UNUSED,
                        bool *ret_more, struct err *err UNUSED)
{
    *ret_more = false;
    return STATUS_OK;
}

enum status store_still_leads(struct store *store UNUSED, struct err *err UNUSED)
{
    return STATUS_OK;
}

enum status store_move_of_epoch(struct store *store UNUSED, uint64_t guild_id UNUSED,
                                uint64_t epoch UNUSED, const char *pod UNUSED,
                                struct move_row *ret_row UNUSED, struct err *err UNUSED)
{
    return STATUS_NOT_FOUND;
}

enum status store_wish_drain(struct store *store UNUSED, const char *pod UNUSED, bool drain UNUSED,
                             enum pod_status status UNUSED, struct err *err UNUSED)
{
    return STATUS_OK;
}

enum status store_set_meta(struct store *store UNUSED, const char *key UNUSED,
                           uint64_t value UNUSED, struct err *err UNUSED)
{
    return STATUS_OK;
}

enum status store_meta(struct store *store UNUSED, const char *key UNUSED, uint64_t *ret_value,
                       struct err *err UNUSED)
{
    *ret_value = 0;
    return STATUS_OK;
}

enum status store_cut_shards(struct store *store UNUSED, uint32_t count UNUSED,
                             struct err *err UNUSED)
{
    return STATUS_OK;
}

enum status store_shards(struct store *store UNUSED, store_on_shard on_shard UNUSED,
                         void *ctx UNUSED, struct err *err UNUSED)
{
    return STATUS_OK;
}

enum status store_identify(struct store *store UNUSED, uint32_t bucket UNUSED,
                           int64_t interval_ms UNUSED, int64_t *ret_wait_ms, struct err *err UNUSED)
{
    *ret_wait_ms = 0;
    return STATUS_OK;
}

/* ---- answers, and what is not simulated ---- */

void answer(struct coordinator *c UNUSED, struct caller *caller,
            const Guildbus__V1__Envelope *envelope)
{
    CLEANUP(arena_free) struct arena *arena = caller->reply ? arena_new(0) : NULL;
    struct err err = { 0 };
    void *data = NULL;
    size_t size = 0;

    if (!arena)
        return;
    must(codec_encode(envelope, arena, &data, &size, &err) == STATUS_OK);
    if (envelope->body_case == GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT_REPLY)
        sim_hear(current, (int)strtol(caller->reply, NULL, 10), envelope->heartbeat_reply);
    free(TAKE(caller->reply));
}

void answer_ok(struct coordinator *c UNUSED, struct caller *caller)
{
    free(TAKE(caller->reply));
}

void answer_err(struct coordinator *c UNUSED, struct caller *caller, const struct err *err UNUSED)
{
    current->counts.refused++;
    free(TAKE(caller->reply));
}

void step_down(struct coordinator *c UNUSED, const struct err *err)
{
    (void)fprintf(stderr, "the leader steps down: %s\n", err->text);
    current->has_failed = true;
}

enum status reshards_load(struct coordinator *c UNUSED, struct err *err UNUSED)
{
    return STATUS_OK;
}

enum status reshards_turn(struct coordinator *c UNUSED, struct err *err UNUSED)
{
    return STATUS_OK;
}

void reshards_heard(struct coordinator *c UNUSED, struct mirror_pod *pod UNUSED,
                    const Guildbus__V1__Heartbeat *h UNUSED)
{
}

/* ---- the bus ---- */

void bus_request(struct bus *bus UNUSED, const struct bus_out *out, const struct bus_waiter *waiter)
{
    enum part before = meter_enter(PART_MODEL);

    sim_order(current, out, waiter);
    meter_leave(before);
}
