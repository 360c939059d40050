/* guildbus-coordinator: decides which pod should own which guild and hold which shard. */
#include "base/http_server.h"
#include "base/service.h"
#include "coordinator/api.h"
#include "coordinator/coordinator.h"

struct program {
    struct coordinator_config config;
    struct service service;
    struct coordinator *coordinator;
    struct http_server *api;
    struct loop_timer *last_answers;
};

enum { LAST_ANSWERS_MS = 100 }; /* for what was answered while the thread stopped */

static bool is_ready(void *ctx, const char **ret_why)
{
    struct program *p = ctx;

    if (p->coordinator)
        return coordinator_is_ready(p->coordinator, ret_why);
    *ret_why = "starting";
    return false;
}

static void on_last_answers(void *ctx)
{
    struct program *p = ctx;

    loop_stop(p->service.loop);
}

static void on_stop(void *ctx)
{
    struct program *p = ctx;

    http_server_close(p->api);
    coordinator_leave(p->coordinator);
    loop_timer_start(p->last_answers, LAST_ANSWERS_MS);
}

int main(int argc, char **argv)
{
    static struct program p;
    struct err err = { 0 };

    p.service = (struct service){
        .program = "guildbus-coordinator",
        .purpose = "decides which pod owns which guild and holds which shard",
        .rows = coordinator_settings_rows,
        .row_count = coordinator_settings_count,
        .config = &p.config,
        .common = &p.config.service,
        .check = coordinator_config_check,
        .on_stop = on_stop,
        .is_ready = is_ready,
        .ctx = &p,
    };
    service_start(&p.service, argc, argv);
    p.last_answers = loop_timer_new(p.service.loop, on_last_answers, &p);
    if (coordinator_start(&p.config, p.service.loop, &p.coordinator, &err) != STATUS_OK)
        service_fail("starting the coordinator", &err);
    if (api_start(&p.config, p.coordinator, p.service.loop, &p.api, &err) != STATUS_OK) {
        coordinator_stop(p.coordinator);
        service_fail("starting the API", &err);
    }
    loop_run(p.service.loop);

    bool failed = coordinator_failed(p.coordinator);
    coordinator_stop(p.coordinator);
    loop_timer_free(p.last_answers);
    service_stop(&p.service);
    return failed;
}
