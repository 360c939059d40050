#include "coordinator/coordinator.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "coordinator/state.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum {
    MAILBOX_CAPACITY = 16384,
    RETRY_MS = 1000,
    GUILDS_PAGE = 20000,
    REPUBLISH_MS = 60000, /* a younger owner may not have been published by the leader before */
};

static struct metric leads_gauge =
    METRIC_GAUGE("guildbus_coordinator_leads", "1 while this process decides");
/* ---- leading ---- */

static void drop_waiting(struct coordinator *c, const struct err *err)
{
    for (size_t i = 0; i < c->beat_count; i++)
        answer_err(c, &c->beats[i].caller, err);
    for (size_t i = 0; i < c->claim_count; i++)
        answer_err(c, &c->claims[i].caller, err);
    for (size_t i = 0; i < c->report_count; i++)
        answer_err(c, &c->reports[i].caller, err);
    c->beat_count = c->claim_count = c->report_count = 0;
}

static void stop_leading(struct coordinator *c)
{
    const struct err away = { STATUS_UNAVAILABLE, "this coordinator does not lead any more" };

    requests_unsubscribe(c);
    commands_rest(c);
    c->leads = false;
    drop_waiting(c, &away);
    mirror_free(TAKE(c->mirror));
    plan_clear(&c->plan);
    c->held = c->unfrozen = c->evening = c->move_ended = false;
    c->starting = 0;
    c->watch = (struct balance_watch){ 0 };
    c->mixed_since_ms = 0;
    c->rebalance_frozen[0] = '\0';
    metric_set(&leads_gauge, 0);
}

void step_down(struct coordinator *c, const struct err *err)
{
    if (!c->leads)
        return;
    log_warn("leadership_lost", "text=%s retry_in_ms=%d", LOG_QUOTE(err->text), RETRY_MS);
    stop_leading(c);
    store_resign(c->store);
    atomic_store(&c->store_ok, false);
    c->next_lead_ms = clock_now_ms() + RETRY_MS;
}

struct guild_page {
    struct coordinator *c;
    uint64_t last;
    size_t count;
    int64_t published_before_ms;
};

static void on_guild(void *ctx, const struct guild_row *row)
{
    struct guild_page *page = ctx;

    page->last = row->guild_id;
    page->count++;
    mirror_put_guild(page->c->mirror, row);
    if (row->state == GUILD_OWNED && row->assigned_ms > page->published_before_ms)
        list_append(&page->c->mirror->publish,
                    &mirror_guild(page->c->mirror, row->guild_id)->publish);
}

static void on_pod(void *ctx, const struct pod_row *row)
{
    mirror_put_pod(((struct coordinator *)ctx)->mirror, row);
}

static void on_move(void *ctx, const struct move_row *row)
{
    mirror_put_move(((struct coordinator *)ctx)->mirror, row, clock_now_ms());
}

static enum status load_guilds(struct coordinator *c, int64_t now_ms, struct err *err)
{
    struct guild_page page = { .c = c, .published_before_ms = now_ms - REPUBLISH_MS };
    struct guild_query query = { .from_start = true, .pod = "", .limit = GUILDS_PAGE };

    do {
        page.count = 0;
        TRY(store_guilds(c->store, &query, on_guild, &page, err));
        query.from_start = false;
        query.after = page.last;
    } while (page.count == GUILDS_PAGE);
    return STATUS_OK;
}

struct standby_page {
    struct coordinator *c;
    struct standby_row last;
    size_t count;
};

static void on_standby(void *ctx, const struct standby_row *row)
{
    struct standby_page *page = ctx;

    page->last = *row;
    page->count++;
    mirror_put_standby(page->c->mirror, row);
}

static enum status load_standbys(struct coordinator *c, struct err *err)
{
    struct standby_page page = { .c = c };
    struct standby_query query = { .from_start = true, .limit = GUILDS_PAGE };

    do {
        page.count = 0;
        TRY(store_standbys(c->store, &query, on_standby, &page, err));
        query.from_start = false;
        query.after = page.last.guild_id;
        query.after_pod = page.last.pod;
    } while (page.count == GUILDS_PAGE);
    return STATUS_OK;
}

static enum status load(struct coordinator *c, struct err *err)
{
    int64_t now_ms = 0;

    TRY(store_now(c->store, &now_ms, err));
    c->db_ahead_ms = now_ms - clock_now_ms();
    TRY(store_pods(c->store, on_pod, c, err));
    TRY(load_guilds(c, now_ms, err));
    TRY(load_standbys(c, err));
    TRY(store_open_moves(c->store, on_move, c, err));
    TRY(store_last_move_id(c->store, &c->last_move_id, err));
    return shards_load(c, err);
}

static enum status lead(struct coordinator *c, bool *ret_leads, struct err *err)
{
    TRY(store_lead(c->store, ret_leads, err));
    if (!*ret_leads)
        return STATUS_OK;
    TRY(requests_nobody_answers(c, err));
    c->mirror = mirror_new();
    TRY(load(c, err));
    c->listening_since_ms = c->leads_since_ms = clock_now_ms();
    c->standbys_changed = true; /* GUILDBUS_STANDBYS may have */
    c->leads = true;
    return requests_subscribe(c, err);
}

static void try_to_lead(struct coordinator *c)
{
    struct err err = { 0 };
    bool leads = false;
    enum status status = lead(c, &leads, &err);

    c->next_lead_ms = clock_now_ms() + RETRY_MS;
    atomic_store(&c->store_ok, status == STATUS_OK);
    if (status != STATUS_OK) {
        log_warn("cannot_lead", "text=%s retry_in_ms=%d", LOG_QUOTE(err.text), RETRY_MS);
        stop_leading(c);
        store_resign(c->store);
        return;
    }
    if (!leads)
        return;
    metric_set(&leads_gauge, 1);
    log_info("leading", "store=%s guilds=%zu pods=%zu shard_count=%u", store_kind(c->store),
             idmap_count(c->mirror->guilds), c->mirror->pod_count, c->mirror->shard_count);
}

/* ---- turns ---- */

static void turn(struct coordinator *c, bool whole)
{
    struct err err = { 0 };

    if (!c->leads)
        return;
    if (turn_take(c, whole, &err) != STATUS_OK) {
        step_down(c, &err);
        return;
    }
    if (whole)
        commands_turn(c);
}

static void watch_bus(struct coordinator *c)
{
    bool ok = bus_is_connected(c->bus);

    atomic_store(&c->bus_ok, ok);
    if (!ok)
        c->listening_since_ms = clock_now_ms();
}

static void work(struct coordinator *c)
{
    struct pollfd box = { .fd = mailbox_fd(c->box), .events = POLLIN };

    while (!atomic_load(&c->stopping)) {
        int64_t wait_ms = c->next_turn_ms - clock_now_ms();
        if (poll(&box, 1, wait_ms < 0 ? 0 : (int)wait_ms) > 0)
            mailbox_drain(c->box, c);
        bool whole = clock_now_ms() >= c->next_turn_ms;
        if (whole) {
            c->next_turn_ms = clock_now_ms() + TURN_MS;
            watch_bus(c);
        }
        if (!c->leads && clock_now_ms() >= c->next_lead_ms)
            try_to_lead(c);
        turn(c, whole);
    }
}

/* ---- the thread ---- */

static bool is_stopping(void *ctx)
{
    struct coordinator *c = ctx;

    return atomic_load(&c->stopping);
}

/* What waiting cannot heal. */
static void fail(struct coordinator *c, const char *doing, const struct err *err)
{
    log_error("cannot_start", "doing=\"%s\" text=%s", doing, LOG_QUOTE(err->text));
    atomic_store(&c->failed, true);
    loop_stop(c->loop);
}

/* false: do not go on. */
static bool try_again(struct coordinator *c, const char *doing, enum status status,
                      const struct err *err)
{
    if (status != STATUS_UNAVAILABLE && status != STATUS_TIMEOUT && status != STATUS_BUSY) {
        fail(c, doing, err);
        return false;
    }
    log_warn("waiting", "for=\"%s\" text=%s retry_in_ms=%d", doing, LOG_QUOTE(err->text), RETRY_MS);
    for (int waited = 0; waited < RETRY_MS && !is_stopping(c); waited += 50)
        usleep(50 * 1000);
    return !is_stopping(c);
}

static bool open_streams(struct coordinator *c)
{
    const struct streams_config config = { .replicas = (int)c->config->nats_replicas,
                                           .events_hours = c->config->events_hours };
    struct err err = { 0 };
    enum status status;

    while ((status = streams_ensure(c->bus, &config, &err)) != STATUS_OK) {
        if (!try_again(c, "JetStream streams", status, &err))
            return false;
    }
    return true;
}

static bool open_store(struct coordinator *c)
{
    struct err err = { 0 };
    enum status status;

    while ((status = store_open(c->config->database_url, c->config->data_dir, &c->store, &err)) !=
           STATUS_OK) {
        if (!try_again(c, "database", status, &err))
            return false;
    }
    return true;
}

static bool open_commands(struct coordinator *c)
{
    struct err err = { 0 };

    if (commands_open(c, &err) == STATUS_OK)
        return true;
    fail(c, "DEPLOY_COMMANDS", &err);
    return false;
}

static bool open_bus(struct coordinator *c)
{
    const struct bus_config config = {
        .url = c->config->nats_url,
        .name = "guildbus-coordinator",
        .inbox_prefix = SUBJECT_INBOX_COORDINATOR,
        .auth = &c->config->nats_auth,
        .give_up = is_stopping,
        .ctx = c,
    };
    struct err err = { 0 };

    if (bus_open(&config, &c->bus, &err) == STATUS_OK)
        return true;
    if (!is_stopping(c))
        fail(c, "NATS", &err);
    return false;
}

static void close_all(struct coordinator *c)
{
    if (c->store) {
        stop_leading(c);
        store_resign(c->store);
    }
    if (c->bus)
        bus_close(c->bus);
    mailbox_drain(c->box, c); /* what the closing bus still answers */
    commands_close(c);
    store_free(c->store);
}

static void *run(void *arg)
{
    struct coordinator *c = arg;

    pthread_setname_np(pthread_self(), "coordinator");
    if (open_commands(c) && open_bus(c) && open_streams(c) && open_store(c)) {
        atomic_store(&c->up, true);
        work(c);
        atomic_store(&c->up, false);
    }
    close_all(c);
    return NULL;
}

enum status coordinator_start(const struct coordinator_config *config, struct loop *loop,
                              struct coordinator **ret_coordinator, struct err *err)
{
    struct coordinator *c = xcalloc(1, sizeof(*c));

    c->config = config;
    c->loop = loop;
    c->next_forget_ms = clock_now_ms() + FORGET_EACH_MS;
    enum status status = mailbox_new(MAILBOX_CAPACITY, &c->box, err);
    if (status == STATUS_OK && pthread_create(&c->thread, NULL, run, c))
        status = err_set(err, STATUS_UNAVAILABLE, "no thread for the coordinator");
    if (status != STATUS_OK) {
        mailbox_free(c->box);
        free(c);
        return status;
    }
    *ret_coordinator = c;
    return STATUS_OK;
}

void coordinator_leave(struct coordinator *c)
{
    if (c->has_left)
        return;
    c->has_left = true;
    atomic_store(&c->stopping, true);
    pthread_join(c->thread, NULL);
}

void coordinator_stop(struct coordinator *c)
{
    if (!c)
        return;
    coordinator_leave(c);
    mailbox_free(c->box);
    plan_release(&c->plan);
    free(c->beats);
    free(c->claims);
    free(c->reports);
    free(c);
}

bool coordinator_is_ready(struct coordinator *c, const char **ret_why)
{
    const char *why = !atomic_load(&c->up)         ? "starting: waits for NATS and the database"
                      : !atomic_load(&c->bus_ok)   ? bus_why_away()
                      : !atomic_load(&c->store_ok) ? "the database does not answer"
                                                   : NULL;
    *ret_why = why;
    return !why;
}

bool coordinator_is_up(const struct coordinator *c)
{
    return atomic_load(&c->up);
}

bool coordinator_failed(const struct coordinator *c)
{
    return atomic_load(&c->failed);
}

enum status coordinator_post(struct coordinator *c, struct letter **letter)
{
    return mailbox_post(c->box, letter);
}
