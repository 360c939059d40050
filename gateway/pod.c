#include "gateway/pod.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "gateway/assignments.h"
#include "gateway/data_dir.h"
#include "gateway/discord_rest.h"
#include "gateway/membership.h"
#include "gateway/owner.h"
#include "gateway/shards.h"
#include "messages/streams.h"
#include "messages/subjects.h"

enum {
    LOOK_MS = 200,
    SETTLE_MS = 300,
    MAX_FIXED_SHARDS = 1024,
};

struct pod {
    struct service *service;
    const struct gateway_settings *settings;
    uint64_t incarnation;
    char *database;
    struct bus *bus;
    struct discord_rest *rest;
    struct owner *owner;
    struct shards *shards;
    struct membership *membership;   /* NULL with a fixed list */
    struct assignments *assignments; /* NULL without CONFIG_SERVICE_URL */
    struct loop_timer *timer;
    uint32_t fixed_shards; /* of a fixed list, when Discord has been asked */
    bool stopping;
    int exit_code;
};

static bool give_up(void *ctx)
{
    return service_turn(ctx);
}

static void on_owner_failed(void *ctx UNUSED, const char *why UNUSED)
{
    /* The log has all that left this pod; another pod takes the guilds when the lease ends. */
    _exit(EXIT_FAILURE);
}

static void on_refused(void *ctx, const char *why)
{
    struct pod *pod = ctx;

    log_error("pod_refused", "pod=%s text=%s next=exit", pod->settings->pod, LOG_QUOTE(why));
    (void)fprintf(stderr, "guildbus-gateway: POD_ID %s is refused: %s\n", pod->settings->pod, why);
    pod->exit_code = EXIT_FAILURE;
    loop_stop(pod->service->loop);
}

static void hold_all_shards(struct pod *pod)
{
    uint32_t ids[MAX_FIXED_SHARDS] = { 0 };
    uint32_t count = at_most_u32(shards_recommended(pod->shards), MAX_FIXED_SHARDS);

    if (pod->fixed_shards) /* another count would be a gap: not before the next start */
        count = pod->fixed_shards;
    pod->fixed_shards = count;
    for (uint32_t i = 0; i < count; i++)
        ids[i] = i;
    shards_want(pod->shards,
                &(struct shards_wish){ .count = count, .ids = ids, .id_count = count });
}

static void on_look(void *ctx)
{
    struct pod *pod = ctx;

    if (!pod->membership && !pod->stopping)
        hold_all_shards(pod);
    loop_timer_start(pod->timer, LOOK_MS);
}

/* ---- start ---- */

static void claim_fixed_guilds(struct pod *pod)
{
    const struct streams_config streams = { .replicas = 1,
                                            .events_hours = pod->settings->events_hours };
    struct err err = { 0 };
    uint64_t id;

    if (streams_ensure(pod->bus, &streams, &err) != STATUS_OK)
        service_fail("streams", &err);
    char *list = xstrdup(pod->settings->guilds), *rest = list;
    for (const char *one; (one = strtok_r(rest, ", ", &rest));) {
        if (id_parse(one, &id))
            owner_claim_fixed(pod->owner, id);
    }
    free(list);
}

static void start_owner(struct pod *pod)
{
    const struct gateway_settings *s = pod->settings;
    const struct owner_config config = {
        .bus = pod->bus,
        .rest = pod->rest,
        .path = pod->database,
        .pod = s->pod,
        .incarnation = pod->incarnation,
        .application_id = s->application_id,
        .portal_url = s->portal_url ? s->portal_url : "",
        .has_coordinator = !s->guilds,
        .snapshot_records = s->snapshot_records,
        .unseal_ms = s->unseal_ms,
        .on_failed = on_owner_failed,
    };
    struct err err = { 0 };

    if (owner_new(&config, &pod->owner, &err) != STATUS_OK ||
        owner_start(pod->owner, &err) != STATUS_OK)
        service_fail("the guilds' database", &err);
}

static void start_shards(struct pod *pod)
{
    const struct gateway_settings *s = pod->settings;
    const struct shards_config config = { .loop = pod->service->loop,
                                          .bus = pod->bus,
                                          .rest = pod->rest,
                                          .token = s->token,
                                          .pod = s->pod,
                                          .incarnation = pod->incarnation,
                                          .compress = s->compress,
                                          .ask_coordinator = !s->guilds };
    struct err err = { 0 };

    if (shards_new(&config, &pod->shards, &err) != STATUS_OK)
        service_fail("shards", &err);
}

/* False: it was told to stop before NATS was there. */
static bool open_bus(struct pod *pod)
{
    char *name = xasprintf("guildbus-gateway/%s %s", pod->settings->pod, GUILDBUS_VERSION);
    const struct bus_config config = {
        .url = pod->settings->nats_url,
        .name = name,
        .inbox_prefix = SUBJECT_INBOX_GATEWAY,
        .auth = &pod->settings->nats_auth,
        .give_up = give_up,
        .ctx = pod->service,
    };
    struct err err = { 0 };

    if (bus_open(&config, &pod->bus, &err) != STATUS_OK && !pod->service->stopping)
        service_fail("NATS", &err);
    free(name);
    return pod->bus;
}

static void read_assignments(struct pod *pod)
{
    const struct gateway_settings *s = pod->settings;
    const struct assignments_config config = {
        .loop = pod->service->loop, .owner = pod->owner, .url = s->config_service_url, .pod = s->pod
    };
    struct err err = { 0 };

    if (!s->config_service_url || s->guilds)
        return;
    if (assignments_new(&config, &pod->assignments, &err) != STATUS_OK)
        service_fail("CONFIG_SERVICE_URL", &err);
}

struct pod *pod_start(struct service *service, const struct gateway_settings *s)
{
    struct pod *pod = xcalloc(1, sizeof(*pod));
    const struct discord_rest_config rest = { .api_url = s->api_url,
                                              .token = s->token,
                                              .has_budget = !s->guilds };
    struct err err = { 0 };

    pod->service = service;
    pod->settings = s;
    pod->incarnation = sign_random_u64();
    if (data_dir_open(s->data_dir, &pod->database, &err) != STATUS_OK)
        service_fail("data", &err);
    if (!open_bus(pod)) {
        free(pod->database);
        free(pod);
        return NULL;
    }
    if (discord_rest_new(&rest, &pod->rest, &err) != STATUS_OK)
        service_fail("REST", &err);
    start_owner(pod);
    start_shards(pod);
    if (s->guilds) {
        claim_fixed_guilds(pod);
    } else {
        pod->membership =
            membership_new(&(struct membership_config){ .loop = service->loop,
                                                        .bus = pod->bus,
                                                        .owner = pod->owner,
                                                        .shards = pod->shards,
                                                        .rest = pod->rest,
                                                        .pod = s->pod,
                                                        .incarnation = pod->incarnation,
                                                        .capacity = (uint32_t)s->capacity,
                                                        .on_refused = on_refused,
                                                        .ctx = pod });
    }
    read_assignments(pod);
    pod->timer = loop_timer_new(service->loop, on_look, pod);
    loop_timer_start(pod->timer, LOOK_MS);
    return pod;
}

/* ---- end ---- */

static void on_sessions_saved(void *ctx)
{
    struct pod *pod = ctx;

    loop_stop(pod->service->loop);
}

static void on_guilds_gone(void *ctx)
{
    struct pod *pod = ctx;

    shards_stop(pod->shards, on_sessions_saved, pod);
}

void pod_drain(struct pod *pod)
{
    if (pod->stopping)
        return;
    pod->stopping = true;
    log_info("draining", "guilds=%u deadline_ms=%" PRId64, owner_guild_count(pod->owner),
             pod->settings->drain_ms);
    if (pod->membership)
        membership_drain(pod->membership, pod->settings->drain_ms, on_guilds_gone, pod);
    else
        on_guilds_gone(pod);
}

void pod_free(struct pod *pod)
{
    owner_stop(pod->owner, SETTLE_MS);
    loop_timer_free(pod->timer);
    membership_free(pod->membership);
    assignments_free(pod->assignments);
    shards_free(pod->shards);
    discord_rest_free(pod->rest);
    bus_close(pod->bus); /* answers what was asked, into mailboxes that must still be there */
    owner_free(pod->owner);
    free(pod->database);
    free(pod);
}

bool pod_is_ready(const struct pod *pod, const char **ret_why)
{
    if (!bus_is_connected(pod->bus)) {
        *ret_why = bus_why_away();
        return false;
    }
    return !pod->membership || membership_is_ready(pod->membership, ret_why);
}

int pod_exit_code(const struct pod *pod)
{
    return pod->exit_code;
}
