/* pods.c - what the simulated pods do with orders, and what they say by themselves. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/xmem.h"
#include "bench/placement/clock.h"
#include "bench/placement/meter.h"
#include "bench/placement/sim.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum { BEAT_MS = 1000, SCHEMA = 1 };

static uint64_t incarnation_of(const struct sim *s, int pod)
{
    return (uint64_t)s->world.pods[pod].life << 32 | (uint32_t)(pod + 1);
}

/* When the pod has done this, after all that it was told before. */
static int64_t done_us(struct sim *s, int number, int64_t cost_us)
{
    struct world_pod *pod = &s->world.pods[number];
    int64_t from_us = sim_now_us() + sim_costs.net / 2;

    if (pod->busy_until_us > from_us)
        from_us = pod->busy_until_us;
    pod->busy_until_us = from_us + cost_us;
    return pod->busy_until_us + sim_costs.net / 2;
}

/* ---- orders ---- */

struct told {
    struct sim *s;
    const struct bus_waiter *waiter;
    int pod;
};

static struct event reply_at(const struct told *t, int64_t at_us)
{
    return (struct event){ .at_us = at_us,
                           .kind = EVENT_REPLY,
                           .on_reply = t->waiter->on_reply,
                           .ctx = t->waiter->ctx,
                           .pod = t->pod,
                           .life = t->s->world.pods[t->pod].life };
}

static void claim_at(const struct told *t, int64_t at_us, uint64_t guild_id, uint64_t epoch)
{
    const struct event claim = { .at_us = at_us,
                                 .kind = EVENT_CLAIM,
                                 .guild_id = guild_id,
                                 .epoch = epoch,
                                 .pod = t->pod,
                                 .life = t->s->world.pods[t->pod].life };

    events_add(&t->s->events, &claim);
}

static void on_own(const struct told *t, const Guildbus__V1__Own *own)
{
    struct sim *s = t->s;
    size_t guild = world_guild_of(&s->world, own->guild_id);
    struct world_guild *g = &s->world.guilds[guild];
    const struct event reply = reply_at(t, sim_now_us() + sim_costs.net);

    events_add(&s->events, &reply);
    if (g->ordered_epoch == own->epoch && g->pod != t->pod)
        return; /* it is at it */
    bool has_rows = g->pod == t->pod || world_has_rows(&s->world, guild, t->pod);
    g->ordered_epoch = own->epoch;
    claim_at(t, done_us(s, t->pod, sim_costs.own + (has_rows ? 0 : sim_costs.load)), own->guild_id,
             own->epoch);
}

static void on_warm(const struct told *t, const Guildbus__V1__Warm *warm)
{
    struct sim *s = t->s;
    size_t guild = world_guild_of(&s->world, warm->guild_id);
    struct world_guild *g = &s->world.guilds[guild];
    int64_t load_us = world_has_rows(&s->world, guild, t->pod) ? 0 : sim_costs.load;

    if (warm->standby) {
        struct event reply = reply_at(t, done_us(s, t->pod, load_us));
        reply.guild_id = warm->guild_id;
        reply.follows = true;
        events_add(&s->events, &reply);
        return;
    }
    const struct event reply = reply_at(t, sim_now_us() + sim_costs.net);
    events_add(&s->events, &reply);
    if (g->warm_move == warm->move_id)
        return;
    g->warm_move = warm->move_id;
    const struct event report = { .at_us = done_us(s, t->pod, load_us),
                                  .kind = EVENT_WARM,
                                  .guild_id = warm->guild_id,
                                  .move_id = warm->move_id,
                                  .pod = t->pod,
                                  .life = s->world.pods[t->pod].life };
    events_add(&s->events, &report);
}

static void on_take(const struct told *t, const Guildbus__V1__Take *take)
{
    struct sim *s = t->s;
    struct world_guild *g = &s->world.guilds[world_guild_of(&s->world, take->guild_id)];
    const struct event reply = reply_at(t, sim_now_us() + sim_costs.net);
    int source = world_pod_of(&s->world, take->source);

    events_add(&s->events, &reply);
    if (g->ordered_epoch == take->epoch || source == NOBODY || !s->world.pods[source].is_up)
        return;
    g->ordered_epoch = take->epoch;
    claim_at(t, done_us(s, t->pod, sim_costs.take), take->guild_id, take->epoch);
}

static void on_drop(const struct told *t, const Guildbus__V1__Drop *drop)
{
    struct event reply = reply_at(t, sim_now_us() + sim_costs.net);

    reply.guild_id = drop->guild_id;
    reply.forgets = !drop->move_id;
    events_add(&t->s->events, &reply);
}

static void on_control(const struct told *t, const struct bus_out *out)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *e = NULL;

    must(codec_decode(out->data, out->size, arena, &e, NULL) == STATUS_OK);
    must(e->body_case == GUILDBUS__V1__ENVELOPE__BODY_CONTROL);
    switch (e->control->order_case) {
    case GUILDBUS__V1__CONTROL__ORDER_OWN:
        on_own(t, e->control->own);
        break;
    case GUILDBUS__V1__CONTROL__ORDER_WARM:
        on_warm(t, e->control->warm);
        break;
    case GUILDBUS__V1__CONTROL__ORDER_TAKE:
        on_take(t, e->control->take);
        break;
    case GUILDBUS__V1__CONTROL__ORDER_DROP:
        on_drop(t, e->control->drop);
        break;
    case GUILDBUS__V1__CONTROL__ORDER__NOT_SET:
    case GUILDBUS__V1__CONTROL__ORDER_YIELD:
    case GUILDBUS__V1__CONTROL__ORDER_RELEASED:
    case _GUILDBUS__V1__CONTROL__ORDER__CASE_IS_INT_SIZE:
    default:
        must(false); /* no order of the coordinator's */
    }
}

void sim_order(struct sim *s, const struct bus_out *out, const struct bus_waiter *waiter)
{
    struct told t = { s, waiter, NOBODY };
    char pod[SUBJECT_TOKEN_SIZE];
    struct event answer = { .kind = EVENT_STORED,
                            .at_us = sim_now_us() + sim_costs.net,
                            .on_reply = waiter->on_reply,
                            .ctx = waiter->ctx };

    if (subject_pod(out->subject, pod)) {
        t.pod = world_pod_of(&s->world, pod);
        must(t.pod != NOBODY);
        if (s->world.pods[t.pod].is_up) {
            on_control(&t, out);
            return;
        }
    }
    if (t.pod != NOBODY || *out->subject == '$') { /* nobody, or a log that is not simulated */
        answer.kind = EVENT_REPLY;
        answer.status = STATUS_TIMEOUT;
        answer.pod = NOBODY;
        answer.at_us = sim_now_us() + waiter->timeout_ms * INT64_C(1000);
    }
    events_add(&s->events, &answer);
}

/* ---- what arrives ---- */

/* Envelope{control_reply{}}, as a pod says OK; made once. */
static struct bus_in ok_reply(void)
{
    static unsigned char bytes[64];
    static size_t size;
    CLEANUP(arena_free) struct arena *arena = size ? NULL : arena_new(0);
    Guildbus__V1__ControlReply body;
    Guildbus__V1__Envelope envelope;
    void *data = NULL;

    if (!size) {
        guildbus__v1__control_reply__init(&body);
        guildbus__v1__envelope__init(&envelope);
        envelope.body_case = GUILDBUS__V1__ENVELOPE__BODY_CONTROL_REPLY;
        envelope.control_reply = &body;
        must(codec_encode(&envelope, arena, &data, &size, NULL) == STATUS_OK);
        must(size <= sizeof(bytes));
        memcpy(bytes, data, size);
    }
    return (struct bus_in){ .subject = "", .data = bytes, .size = size };
}

static struct bus_in stored_reply(void)
{
    static const char stored[] = "{\"stream\":\"ASSIGNMENTS\",\"seq\":1}";

    return (struct bus_in){ .subject = "", .data = stored, .size = sizeof(stored) - 1 };
}

static void deliver_reply(struct sim *s, const struct event *e)
{
    const struct bus_in in = e->kind == EVENT_STORED ? stored_reply() : ok_reply();
    bool is_there =
        e->kind == EVENT_STORED || (e->pod != NOBODY && s->world.pods[e->pod].life == e->life);
    enum status status = is_there ? e->status : STATUS_TIMEOUT;

    if (is_there && (e->follows || e->forgets))
        world_follow(&s->world, world_guild_of(&s->world, e->guild_id), e->pod, e->follows);
    enum part before = meter_enter(PART_ORDERS);
    e->on_reply(e->ctx, 0, status, status == STATUS_OK ? &in : NULL);
    meter_leave(before);
}

static void deliver_claim(struct sim *s, const struct event *e)
{
    struct caller nobody = { 0 };
    Guildbus__V1__Claimed claimed;

    guildbus__v1__claimed__init(&claimed);
    claimed.guild_id = e->guild_id;
    claimed.epoch = e->epoch;
    claimed.pod = s->world.pods[e->pod].id;
    claimed.incarnation = incarnation_of(s, e->pod);
    world_give(&s->world, world_guild_of(&s->world, e->guild_id), e->pod);
    enum part before = meter_enter(PART_CLAIMS);
    guilds_claimed(&s->leader, &claimed, &nobody);
    meter_leave(before);
}

static void deliver_warm(struct sim *s, const struct event *e)
{
    struct caller nobody = { 0 };
    Guildbus__V1__MoveReport report;

    guildbus__v1__move_report__init(&report);
    report.guild_id = e->guild_id;
    report.move_id = e->move_id;
    report.pod = s->world.pods[e->pod].id;
    report.step = GUILDBUS__V1__MOVE_STEP__MOVE_WARM;
    enum part before = meter_enter(PART_MOVES);
    handoffs_reported(&s->leader, &report, &nobody);
    meter_leave(before);
}

static void deliver_start(struct sim *s, const struct event *e)
{
    struct world_pod *pod = &s->world.pods[e->pod];
    struct caller nobody = { 0 };
    struct err err = { 0 };
    struct event beat = *e;
    Guildbus__V1__Register r;
    char version[] = "sim";

    guildbus__v1__register__init(&r);
    r.pod = pod->id;
    r.incarnation = incarnation_of(s, e->pod);
    r.schema = SCHEMA;
    r.capacity = s->world.capacity;
    r.version = version;
    enum part before = meter_enter(PART_BEATS);
    s->has_failed |= pods_register(&s->leader, &r, &nobody, &err) != STATUS_OK;
    meter_leave(before);
    if (pod->is_up)
        return;
    pod->is_up = pod->is_changed = true;
    beat.kind = EVENT_BEAT;
    beat.at_us += BEAT_MS * INT64_C(1000);
    events_add(&s->events, &beat);
}

static void fill_beat(struct sim *s, int number, Guildbus__V1__Heartbeat *h,
                      Guildbus__V1__GuildLoad *loads, Guildbus__V1__GuildLoad **list)
{
    struct world_pod *pod = &s->world.pods[number];

    world_count_busiest(&s->world, number, sim_now_us() / 1000);
    guildbus__v1__heartbeat__init(h);
    h->pod = pod->id;
    h->incarnation = incarnation_of(s, number);
    h->schema = SCHEMA;
    h->capacity = s->world.capacity;
    h->guild_count = pod->count;
    h->units_per_s = pod->load > 0 ? (uint32_t)(pod->load + 0.5) : 0;
    h->draining = pod->is_draining;
    h->standby_count = pod->followed;
    h->can_reshard = true;
    h->n_busiest = pod->busiest_count;
    h->busiest = list;
    for (size_t i = 0; i < pod->busiest_count; i++) {
        guildbus__v1__guild_load__init(&loads[i]);
        loads[i].guild_id = world_id(pod->busiest[i]);
        loads[i].units_per_min = (uint32_t)((double)s->world.guilds[pod->busiest[i]].load * 60);
        list[i] = &loads[i];
    }
}

static void deliver_beat(struct sim *s, const struct event *e)
{
    Guildbus__V1__GuildLoad loads[WORLD_BUSIEST], *list[WORLD_BUSIEST];
    struct caller caller = { .reply = xasprintf("%d", e->pod) };
    Guildbus__V1__Heartbeat h;
    struct event next = *e;
    char version[] = "sim";

    fill_beat(s, e->pod, &h, loads, list);
    h.version = version;
    enum part before = meter_enter(PART_BEATS);
    pods_heard(&s->leader, &h, &caller);
    meter_leave(before);
    next.at_us += BEAT_MS * INT64_C(1000);
    events_add(&s->events, &next);
}

void sim_hear(struct sim *s, int number, const Guildbus__V1__HeartbeatReply *reply)
{
    struct world_pod *pod = &s->world.pods[number];

    pod->may_leave = pod->is_draining && reply->may_leave;
    if (reply->status == STATUS_OK)
        return;
    const struct event start = {
        .at_us = sim_now_us() + sim_costs.net, .kind = EVENT_START, .pod = number, .life = pod->life
    };
    events_add(&s->events, &start);
}

/* The guilds whose number, as a snowflake's shard, is this one. */
static void deliver_seen(struct sim *s, const struct event *e)
{
    enum { BATCH = 1000 }; /* gateway/guilds_seen.c */
    uint64_t ids[BATCH];
    size_t shards = s->leader.mirror->shard_count, count = 0;
    struct caller nobody = { 0 };
    struct err err = { 0 };
    Guildbus__V1__GuildsSeen seen;

    guildbus__v1__guilds_seen__init(&seen);
    seen.pod = s->world.pods[0].id;
    seen.guild_ids = ids;
    for (size_t g = s->seen; g < s->world.guild_count || count; g += shards) {
        if (g < s->world.guild_count)
            ids[count++] = world_id(g);
        if (count < BATCH && g < s->world.guild_count)
            continue;
        seen.n_guild_ids = count;
        count = 0;
        enum part before = meter_enter(PART_PLACE);
        s->has_failed |= guilds_seen(&s->leader, &seen, &nobody, &err) != STATUS_OK;
        meter_leave(before);
    }
    if (++s->seen == shards)
        return;
    struct event next = *e;
    next.at_us += sim_costs.identify;
    events_add(&s->events, &next);
}

void sim_deliver(struct sim *s, const struct event *e)
{
    bool needs_process = e->kind == EVENT_CLAIM || e->kind == EVENT_WARM || e->kind == EVENT_BEAT ||
                         e->kind == EVENT_START;

    if (needs_process && s->world.pods[e->pod].life != e->life)
        return;
    switch (e->kind) {
    case EVENT_REPLY:
    case EVENT_STORED:
        deliver_reply(s, e);
        break;
    case EVENT_CLAIM:
        deliver_claim(s, e);
        break;
    case EVENT_WARM:
        deliver_warm(s, e);
        break;
    case EVENT_BEAT:
        deliver_beat(s, e);
        break;
    case EVENT_START:
        deliver_start(s, e);
        break;
    case EVENT_SEEN:
        deliver_seen(s, e);
        break;
    }
}
