#include "gateway/owner.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/epilogue.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/stage.h"
#include "base/timer_heap.h"
#include "base/xmem.h"
#include "gateway/guild.h"
#include "gateway/report.h"
#include "gateway/snapshotter.h"
#include "messages/subjects.h"

enum {
    MAILBOX_LETTERS =
        65536, /* beyond it feeds are dropped (and repaired), requests repeated by the edge */
    REMOVE_ROWS_AT_ONCE = 500, /* of a guild that left, between other work */
    REMOVE_PAUSE_MS = 5,
    PREFETCH_MS = 60000,
    STRANGERS_MS = 10 * 60 * 1000, /* by then the coordinator has ordered what belongs here */
    SETTLE_MS = 50,
    SWEEP_MS = 30000, /* each guild looks for a lost last event once in this */
};

static struct metric guilds_owned =
    METRIC_GAUGE("guildbus_guilds_owned", "guilds this pod owns now");
static struct metric commits =
    METRIC_COUNTER("guildbus_commits_total", "SQLite transactions committed");

/* ---- guilds ---- */

struct guild *owner_guild(struct owner *o, uint64_t guild_id)
{
    return idmap_get(o->guilds, guild_id);
}

struct guild *owner_guild_new(struct owner *o, uint64_t guild_id)
{
    struct guild *g = xcalloc(1, sizeof(*g));

    g->owner = o;
    g->id = guild_id;
    g->generation = ++o->last_generation;
    g->state = GUILD_LOADING;
    g->held_end = &g->held;
    idmap_put(o->guilds, guild_id, g);
    owner_wake_in(g, SWEEP_MS);
    return g;
}

static void forget_touch(struct guild *g)
{
    struct guild **at = &g->owner->touched;

    while (*at && *at != g)
        at = &(*at)->next_touched;
    if (*at)
        *at = g->next_touched;
}

static void forget_settling(struct guild *g)
{
    struct guild **at = &g->owner->settling;

    while (*at && *at != g)
        at = &(*at)->next_settling;
    if (*at)
        *at = g->next_settling;
}

void owner_guild_free(struct guild *g)
{
    owner_set_state(g, GUILD_GONE);
    if (g->touched)
        forget_touch(g);
    if (g->settling)
        forget_settling(g);
    guild_drop_batches(g);
    guild_drop_held(g);
    guild_snapshot_drop(g);
    guild_restore_drop(g);
    guild_reader_close(g);
    guild_feed_stop(g);
    guild_requests_stop(g);
    bus_unsubscribe(&g->tail);
    bytes_release(&g->actions_left);
    free(g->move.yield_reply_to);
    idmap_remove(g->owner->guilds, g->id);
    free(g);
}

const char *guild_state_name(enum guild_state state)
{
    static const char *const names[] = { "loading", "warm",    "taking", "claiming",
                                         "serving", "sealing", "sealed", "gone" };
    return names[state];
}

void owner_set_state(struct guild *g, enum guild_state state)
{
    if (state == g->state)
        return;
    log_debug("guild_state", "guild=%" PRIu64 " from=%s to=%s epoch=%" PRIu64 " idx=%" PRIu64,
              g->id, guild_state_name(g->state), guild_state_name(state), g->epoch, g->pos.idx);
    int change = (state == GUILD_SERVING) - (g->state == GUILD_SERVING);
    atomic_fetch_add(&g->owner->owned, (uint32_t)change);
    metric_add(&guilds_owned, change);
    g->state = state;
}

void owner_touch(struct guild *g)
{
    if (g->touched)
        return;
    g->touched = true;
    g->next_touched = g->owner->touched;
    g->owner->touched = g;
}

void owner_settle(struct guild *g)
{
    struct owner *o = g->owner;

    if (g->touched || g->settling)
        return;
    if (!o->settling)
        o->settle_at_ms = clock_now_ms() + SETTLE_MS;
    g->settling = true;
    g->next_settling = o->settling;
    o->settling = g;
}

/* All at once, so that they share one commit. */
static void touch_settling(struct owner *o)
{
    if (!o->stopping && o->settling && clock_now_ms() < o->settle_at_ms)
        return;
    for (struct guild *g; (g = o->settling);) {
        o->settling = g->next_settling;
        g->settling = false;
        owner_touch(g);
    }
}

void owner_wake_in(struct guild *g, int64_t delay_ms)
{
    timer_heap_add(g->owner->timers, clock_now_ms() + delay_ms, g->id);
}

bool owner_has_lease(const struct owner *o)
{
    return !o->config.has_coordinator ||
           (!atomic_load(&o->rechecking) && clock_now_ms() < atomic_load(&o->lease_until_ms));
}

bool guild_is_sure(const struct guild *g)
{
    return !g->owner->config.has_coordinator ||
           (owner_has_lease(g->owner) && g->sure_recheck == g->owner->rechecks);
}

/* ---- requests whose answer must find its guild again ---- */

struct ask {
    uint64_t guild_id, generation;
    struct ask_about about;
};

uint64_t owner_ask_about(struct guild *g, int64_t detail)
{
    struct ask *ask = xcalloc(1, sizeof(*ask));
    uint64_t serial = ++g->owner->last_serial;

    *ask = (struct ask){ g->id, g->generation, { detail, g->epoch } };
    idmap_put(g->owner->asks, serial, ask);
    return serial;
}

uint64_t owner_ask_new(struct guild *g)
{
    return owner_ask_about(g, 0);
}

struct guild *owner_ask_take(struct owner *o, uint64_t serial)
{
    struct ask_about about;

    return owner_ask_take_about(o, serial, &about);
}

struct guild *owner_ask_take_about(struct owner *o, uint64_t serial, struct ask_about *ret)
{
    struct ask *ask = idmap_remove(o->asks, serial);

    if (!ask)
        return NULL;
    struct guild *g = owner_guild(o, ask->guild_id);
    bool same = g && g->generation == ask->generation;
    *ret = ask->about;
    free(ask);
    return same ? g : NULL;
}

/* ---- the end of a turn: one commit for all units, then their records go out ---- */

static void give_up(struct owner *o, const struct err *err)
{
    log_error("owner_failed", "text=\"%s\" next=exit", err->text);
    if (!atomic_exchange(&o->failed, true))
        o->config.on_failed(o->config.ctx, err->text);
    o->stopping = true;
}

static enum status save_position(struct guild *g, struct err *err)
{
    struct guild_position p = g->pos;

    p.dirty = g->pos.dirty || g->first;
    return store_position_put(g->owner->store, g->id, &p, err);
}

void owner_flush(struct owner *o)
{
    struct err err = { 0 };
    struct guild *all = o->touched;

    for (struct guild *g = all; g; g = g->next_touched) {
        if (!g->pos.deleting && save_position(g, &err) != STATUS_OK) {
            give_up(o, &err);
            return;
        }
    }
    int64_t began_us = clock_now_us();
    if (store_commit(o->store, &err) != STATUS_OK) {
        give_up(o, &err);
        return;
    }
    metric_add(&commits, 1);
    if (o->units_in_transaction)
        stage_ends(STAGE_COMMIT, began_us);
    o->units_in_transaction = 0;
    while ((all = o->touched)) {
        o->touched = all->next_touched;
        all->touched = false;
        guild_snapshot_consider(all);
        guild_pump(all);
    }
}

static void run_timers(struct owner *o)
{
    int64_t now_ms = clock_now_ms();
    uint64_t id;

    while (timer_heap_pop(o->timers, now_ms, &id)) {
        struct guild *g = owner_guild(o, id);
        if (g)
            guild_on_time(g, now_ms);
    }
}

/* Rows of guilds that left go in small steps between other work. Returns whether there is more. */
static bool remove_rows(struct owner *o)
{
    struct err err = { 0 };
    uint64_t guild_id;
    bool left = false;

    enum status status = store_next_removal(o->store, &guild_id, &err);
    if (status == STATUS_NOT_FOUND)
        return false;
    if (status == STATUS_OK)
        status = store_remove_some(o->store, guild_id, REMOVE_ROWS_AT_ONCE, &left, &err);
    if (status != STATUS_OK)
        give_up(o, &err);
    return status == STATUS_OK;
}

static bool is_known(void *ctx, uint64_t guild_id)
{
    return owner_guild(ctx, guild_id);
}

/* What an earlier process left here and nobody has asked for since: another pod has it. */
static void remove_strangers(struct owner *o)
{
    if (!o->strangers_at_ms || clock_now_ms() < o->strangers_at_ms)
        return;
    o->strangers_at_ms = 0;
    size_t count = store_remove_strangers(o->store, is_known, o);
    if (count)
        log_info("old_rows_removed", "guilds=%zu", count);
}

static int wait_ms(const struct owner *o, bool removing)
{
    int64_t now_ms = clock_now_ms(), left = timer_heap_next(o->timers) - now_ms;

    if (o->settling && o->settle_at_ms - now_ms < left)
        left = o->settle_at_ms - now_ms;
    if (left < 0)
        left = 0;
    if (left > 1000)
        left = 1000;
    return removing && left > REMOVE_PAUSE_MS ? REMOVE_PAUSE_MS : (int)left;
}

/* Returns whether there are more rows to remove. */
static bool turn(struct owner *o, int ready)
{
    bool removing = true;

    epilogue_begin();
    if (ready > 0)
        mailbox_drain(o->box, o);
    run_timers(o);
    owner_count(o);
    remove_strangers(o);
    if (ready == 0)
        removing = remove_rows(o);
    touch_settling(o);
    owner_flush(o);
    epilogue_end();
    return removing;
}

static void *run(void *arg)
{
    struct owner *o = arg;
    bool removing = true;

    pthread_setname_np(pthread_self(), "owner");
    while (!o->stopping) {
        struct pollfd p = { .fd = mailbox_fd(o->box), .events = POLLIN };
        int ready = poll(&p, 1, wait_ms(o, removing));
        removing = turn(o, ready);
    }
    return NULL;
}

/* ---- letters from the process's other threads ---- */

enum order_kind { ORDER_STOP, ORDER_RECHECK, ORDER_CLAIM_FIXED, ORDER_PREFETCH };
struct order {
    struct letter letter;
    enum order_kind kind;
    uint64_t guild_id;
};

static void begin_unasked(struct owner *o, uint64_t guild_id, bool claim)
{
    struct guild *g = owner_guild_new(o, guild_id);

    if (claim) {
        g->claim_epoch = UINT64_MAX; /* the epoch after the log's last */
        g->claim_reason = CLAIM_FIXED;
        g->unowned_since_ms = o->alive_before_ms;
    } else {
        g->forget_at_ms = clock_now_ms() + PREFETCH_MS;
        owner_wake_in(g, PREFETCH_MS);
        guild_tail_start(g);
    }
    guild_load(g);
}

/* An empty record: its ack says that we still are the owner, and reads wait for it like for any
 * other. They go on waiting for one each until the coordinator confirms that the guild is ours. */
static void recheck(void *ctx UNUSED, uint64_t id UNUSED, void *value)
{
    struct guild *g = value;

    if (g->state != GUILD_SERVING)
        return;
    (void)guild_batch(g, BATCH_CHANGE);
    g->report_claim = g->owner->config.has_coordinator;
    report_claimed(g);
}

static void order_read(struct letter *l, void *ctx)
{
    struct order *order = CONTAINER_OF(l, struct order, letter);
    struct owner *o = ctx;

    if (order->kind == ORDER_STOP) {
        o->stopping = true;
    } else if (order->kind == ORDER_RECHECK) {
        o->rechecks++;
        idmap_each(o->guilds, recheck, NULL);
        atomic_store(&o->rechecking, false);
    } else if (!owner_guild(o, order->guild_id)) {
        begin_unasked(o, order->guild_id, order->kind == ORDER_CLAIM_FIXED);
    }
    free(order);
}

static void order_discard(struct letter *l)
{
    free(CONTAINER_OF(l, struct order, letter));
}

static void post(struct owner *o, enum order_kind kind, uint64_t guild_id)
{
    struct order *order = xcalloc(1, sizeof(*order));

    order->letter = (struct letter){ .read = order_read, .discard = order_discard };
    order->kind = kind;
    order->guild_id = guild_id;
    struct letter *l = &order->letter;
    mailbox_post_always(o->box, &l);
}

void owner_claim_fixed(struct owner *o, uint64_t guild_id)
{
    post(o, ORDER_CLAIM_FIXED, guild_id);
}

void owner_prefetch(struct owner *o, uint64_t guild_id)
{
    post(o, ORDER_PREFETCH, guild_id);
}

void owner_recheck(struct owner *o)
{
    atomic_store(&o->rechecking, true);
    post(o, ORDER_RECHECK, 0);
}

void owner_set_lease(struct owner *o, int64_t until_ms)
{
    atomic_store(&o->lease_until_ms, until_ms);
}

uint32_t owner_guild_count(const struct owner *o)
{
    return atomic_load(&o->owned);
}

uint64_t owner_unit_count(const struct owner *o)
{
    return atomic_load(&o->units);
}

/* ---- life ---- */

static enum status subscribe(struct owner *o, struct err *err)
{
    const struct subject control = subject_control(o->config.pod),
                         forward = subject_forward(o->config.pod);
    const struct bus_subscription c = { control.text, NULL, o->box, owner_on_control, o, 0 };
    const struct bus_subscription f = { forward.text, NULL, o->box, owner_on_forward, o, 0 };

    TRY(bus_subscribe(o->bus, &c, &o->control, err));
    return bus_subscribe(o->bus, &f, &o->forward, err);
}

enum status owner_new(const struct owner_config *config, struct owner **ret_owner, struct err *err)
{
    struct owner *o = xcalloc(1, sizeof(*o));

    o->config = *config;
    o->rechecks = 1;
    o->counted_ms = clock_now_ms();
    if (config->has_coordinator)
        o->strangers_at_ms = clock_now_ms() + STRANGERS_MS;
    pthread_mutex_init(&o->busiest_mu, NULL);
    o->bus = config->bus;
    o->guilds = idmap_new();
    o->asks = idmap_new();
    o->timers = timer_heap_new();
    enum status status = mailbox_new(MAILBOX_LETTERS, &o->box, err);
    if (status == STATUS_OK)
        status = store_open(config->path, &o->store, err);
    if (status == STATUS_OK)
        o->alive_before_ms = store_alive_get(o->store);
    if (status == STATUS_OK && config->snapshot_records)
        status = snapshotter_new(o->bus, config->path, o->box, &o->snapshotter, err);
    if (status != STATUS_OK) {
        owner_free(o);
        return status;
    }
    *ret_owner = o;
    return STATUS_OK;
}

enum status owner_start(struct owner *o, struct err *err)
{
    TRY(subscribe(o, err));
    if (pthread_create(&o->thread, NULL, run, o))
        return err_set(err, STATUS_UNAVAILABLE, "no thread for the owner");
    o->started = true;
    return STATUS_OK;
}

/* The owner goes, too: nobody is left for what drains. */
static void free_guild(void *ctx UNUSED, uint64_t id UNUSED, void *guild)
{
    struct guild *g = guild;

    bus_unsubscribe(&g->interactions);
    bus_unsubscribe(&g->portal);
    owner_guild_free(g);
}

/* Everything that needs the bus. The mailbox stays: a bus that closes still answers what was asked. */
static void leave_bus(struct owner *o)
{
    bus_unsubscribe(&o->control);
    bus_unsubscribe(&o->forward);
    snapshotter_free(o->snapshotter);
    o->snapshotter = NULL;
    if (o->guilds)
        idmap_each(o->guilds, free_guild, NULL);
    idmap_free(o->guilds);
    o->guilds = NULL;
}

void owner_stop(struct owner *o, int settle_ms)
{
    if (o->started) {
        /* batches in flight are confirmed within a round trip; what is not is in the log or will be
         * dropped */
        usleep((useconds_t)settle_ms * 1000);
        post(o, ORDER_STOP, 0);
        pthread_join(o->thread, NULL);
        o->started = false;
    }
    leave_bus(o);
}

static void free_ask(void *ctx UNUSED, uint64_t serial UNUSED, void *ask)
{
    free(ask);
}

void owner_free(struct owner *o)
{
    if (!o)
        return;
    leave_bus(o);
    mailbox_free(o->box);
    idmap_each(o->asks, free_ask, NULL);
    idmap_free(o->asks);
    timer_heap_free(o->timers);
    store_close(o->store);
    bytes_release(&o->scratch);
    pthread_mutex_destroy(&o->busiest_mu);
    free(o);
}
