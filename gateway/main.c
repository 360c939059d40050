/* main.c - guildbus-gateway: a pod that holds Discord sessions and owns guilds.
 *
 *     Discord ══ws══▶ shards ─▶ EVENTS ─▶ feed ─▶ owner ─▶ SQLite, log ─▶ replies, REST calls
 */
#include <stdlib.h>

#include "base/service.h"
#include "gateway/pod.h"
#include "gateway/pod_settings.h"

struct program {
    struct gateway_settings settings;
    struct pod *pod;
};

static void on_stop(void *ctx)
{
    struct program *p = ctx;

    pod_drain(p->pod);
}

static bool is_ready(void *ctx, const char **ret_why)
{
    const struct program *p = ctx;

    *ret_why = "starting";
    return p->pod && pod_is_ready(p->pod, ret_why);
}

int main(int argc, char **argv)
{
    static struct program program;
    static struct service service = {
        .program = "guildbus-gateway",
        .purpose = "Holds Discord gateway sessions, owns guilds and runs their moderation.",
        .config = &program.settings,
        .common = &program.settings.service,
        .check = gateway_settings_check,
        .on_stop = on_stop,
        .is_ready = is_ready,
        .ctx = &program,
    };

    service.rows = gateway_settings_rows;
    service.row_count = gateway_settings_count;
    service_start(&service, argc, argv);
    program.pod = pod_start(&service, &program.settings);
    int code = 0;
    if (program.pod) {
        loop_run(service.loop);
        code = pod_exit_code(program.pod);
        pod_free(program.pod);
    }
    service_stop(&service);
    return code;
}
