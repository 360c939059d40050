#include "bench/placement/sim.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench/placement/clock.h"
#include "bench/placement/meter.h"

static const int64_t sec_us = 1000000;

enum {
    GUILDS_A_SHARD = 1000, /* Discord recommends about so many */
    GRAIN_US = 500,        /* what arrives within it is read at once */
    QUIET_MS = 660000,     /* longer than a cool-down, and twice a load's half-life */
};

/* What pods cost is of docs/architecture.md: 1,000 guilds drained, 4,970 failed over, on two cores
 * that all processes shared. Discord: 16 shards each 5 s, for a large bot. */
const struct sim_costs sim_costs = {
    .net = 500,
    .own = 650,
    .load = 1700,
    .take = 1000,
    .commit = 2000,
    .row = 25,
    .identify = INT64_C(5000000) / 16,
    .restart = 5000000,
};

enum status sim_open(struct sim *s, const struct world_options *o, struct err *err)
{
    *s = (struct sim){ 0 };
    sim_set_current(s);
    log_set_level(LOG_LEVEL_ERROR);
    if (config_load(coordinator_settings_rows, coordinator_settings_count, &s->config, stderr) !=
        STATUS_OK)
        return err_set(err, STATUS_INVALID, "the coordinator's settings are wrong");
    world_init(&s->world, o);
    struct coordinator *c = &s->leader;
    c->config = &s->config;
    c->mirror = mirror_new();
    c->leads = c->standbys_changed = true;
    c->db_ahead_ms = CLOCK_EPOCH_MS;
    c->listening_since_ms = c->leads_since_ms = clock_now_ms();
    c->next_forget_ms = clock_now_ms() + FORGET_EACH_MS;
    return STATUS_OK;
}

void sim_close(struct sim *s)
{
    mirror_free(s->leader.mirror);
    plan_release(&s->leader.plan);
    free(s->leader.beats);
    free(s->leader.claims);
    free(s->leader.reports);
    events_release(&s->events);
    world_release(&s->world);
}

static void start_pod(struct sim *s, int pod, int64_t after_us)
{
    const struct event start = { .at_us = sim_now_us() + after_us,
                                 .kind = EVENT_START,
                                 .pod = pod,
                                 .life = s->world.pods[pod].life };

    events_add(&s->events, &start);
}

void sim_start(struct sim *s)
{
    size_t pods = s->world.pod_count;
    const struct event seen = { .at_us = sim_now_us() + 2 * sec_us, .kind = EVENT_SEEN };

    mirror_set_shard_count(s->leader.mirror, (uint32_t)(s->world.guild_count / GUILDS_A_SHARD + 1));
    for (size_t i = 0; i < pods; i++)
        start_pod(s, (int)i, (int64_t)i * sec_us / (int64_t)pods);
    events_add(&s->events, &seen);
}

/* ---- what happens to pods ---- */

void sim_kill(struct sim *s, int pod)
{
    world_end_process(&s->world, pod);
}

int sim_add_pod(struct sim *s)
{
    int pod = world_add_pod(&s->world);

    start_pod(s, pod, (int64_t)(world_random(&s->world) % (uint64_t)sec_us));
    return pod;
}

void sim_restart(struct sim *s, int pod)
{
    s->world.pods[pod].is_draining = true;
}

bool sim_is_restarting(const struct sim *s, int pod)
{
    return s->world.pods[pod].is_draining || !s->world.pods[pod].is_up;
}

/* Its process ends; its rows stay, but what it was told to follow is forgotten. */
static void leave(struct sim *s, int number)
{
    struct world_pod *pod = &s->world.pods[number];
    struct caller nobody = { 0 };
    struct err err = { 0 };
    Guildbus__V1__Leave l;

    guildbus__v1__leave__init(&l);
    l.pod = pod->id;
    l.incarnation = (uint64_t)pod->life << 32 | (uint32_t)(number + 1);
    enum part before = meter_enter(PART_BEATS);
    s->has_failed |= pods_leave(&s->leader, &l, &nobody, &err) != STATUS_OK;
    meter_leave(before);
    world_end_process(&s->world, number);
    start_pod(s, number, sim_costs.restart);
}

static void leave_all(struct sim *s)
{
    for (size_t i = 0; i < s->world.pod_count; i++) {
        if (s->world.pods[i].may_leave)
            leave(s, (int)i);
    }
}

/* ---- time ---- */

/* As the coordinator's thread does: reads what has arrived, then takes a turn. */
static bool turn(struct sim *s)
{
    struct coordinator *c = &s->leader;
    int64_t next_us = events_next_us(&s->events) + GRAIN_US, turn_us = c->next_turn_ms * 1000;
    int64_t leader_ns = meter_leader_ns();
    struct err err = { 0 };
    struct event e;

    sim_clock_reach(next_us < turn_us ? next_us : turn_us);
    while (events_pop(&s->events, sim_now_us(), &e))
        sim_deliver(s, &e);
    bool whole = clock_now_ms() >= c->next_turn_ms;
    if (whole)
        c->next_turn_ms = clock_now_ms() + TURN_MS;
    if (turn_take(c, whole, &err) != STATUS_OK)
        step_down(c, &err);
    if (whole)
        leave_all(s);
    meter_note_turn(meter_leader_ns() - leader_ns);
    return whole;
}

bool sim_run(struct sim *s, bool (*done)(const struct sim *s), int64_t most_s)
{
    int64_t until_us = sim_now_us() + most_s * sec_us;

    bool is_done = done(s);

    while (!is_done && sim_now_us() < until_us && !s->has_failed)
        is_done = turn(s) && done(s);
    return is_done;
}

/* ---- how far it is ---- */

static bool has_dead_owners(const struct mirror *m)
{
    for (size_t i = 0; i < m->pod_count; i++) {
        if (m->pods[i]->row.status == POD_OFFLINE && m->pods[i]->assigned)
            return true;
    }
    return false;
}

bool sim_is_served(const struct sim *s)
{
    const struct mirror *m = s->leader.mirror;

    return s->seen == m->shard_count && list_is_empty(&m->unassigned) && list_is_empty(&m->fresh) &&
           list_is_empty(&m->claiming) && !s->leader.claim_count && !has_dead_owners(m);
}

bool sim_has_standbys(const struct sim *s)
{
    const struct coordinator *c = &s->leader;
    const struct mirror *m = c->mirror;

    for (size_t i = 0; i < m->pod_count; i++) {
        if (m->pods[i]->row.status == POD_OFFLINE && m->pods[i]->standing)
            return false; /* it is not missed yet */
    }
    return sim_is_served(s) && list_is_empty(&m->review) && list_is_empty(&m->review_later) &&
           list_is_empty(&m->tell) && !c->standbys_changed && !c->evening;
}

static bool is_at_rest(const struct sim *s)
{
    const struct coordinator *c = &s->leader;

    return list_is_empty(&c->mirror->open_moves) && !*c->rebalance_frozen;
}

bool sim_is_settled(const struct sim *s)
{
    int64_t since_us = s->rebalanced_us > s->quiet_from_us ? s->rebalanced_us : s->quiet_from_us;

    return sim_has_standbys(s) && is_at_rest(s) &&
           sim_now_us() - since_us > QUIET_MS * INT64_C(1000);
}
