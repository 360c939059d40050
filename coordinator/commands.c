/* The application commands, once per leadership, when DEPLOY_COMMANDS asks for it. Discord's answers are letters to the
 * coordinator's box; a process that leads no more sends nothing further. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/http_client.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "coordinator/deploy.h"
#include "coordinator/state.h"

enum { FIRST_RETRY_MS = 5000, LAST_RETRY_MS = 10 * 60 * 1000 };

static struct metric deployed_gauge =
    METRIC_GAUGE("guildbus_coordinator_commands_deployed",
                 "1: this leader has seen that Discord has the application commands");
static struct metric writes_total = METRIC_COUNTER("guildbus_coordinator_commands_written_total",
                                                   "overwrites of Discord's application commands");

struct command_deployment {
    struct deploy *deploy;
    bool asked, done;
    int64_t next_ms, retry_ms;
};

static void rest(struct command_deployment *d)
{
    d->asked = d->done = false;
    d->next_ms = 0;
    d->retry_ms = FIRST_RETRY_MS;
    metric_set(&deployed_gauge, 0);
}

static void on_failed(struct command_deployment *d, const struct deploy_result *result)
{
    int64_t wait_ms = d->retry_ms > result->retry_after_ms ? d->retry_ms : result->retry_after_ms;

    log_warn("commands_not_deployed", "text=%s retry_in_ms=%" PRId64, LOG_QUOTE(result->err.text),
             wait_ms);
    d->next_ms = clock_now_ms() + wait_ms;
    d->retry_ms = d->retry_ms * 2 < LAST_RETRY_MS ? d->retry_ms * 2 : LAST_RETRY_MS;
}

static void on_deployed(void *ctx, const struct deploy_result *result)
{
    struct command_deployment *d = ctx;

    d->asked = false;
    if (result->err.code != STATUS_OK) {
        on_failed(d, result);
        return;
    }
    d->done = true;
    metric_set(&deployed_gauge, 1);
    metric_add(&writes_total, result->written);
    log_info("commands_deployed", "commands=%zu differed=%zu written=%d", result->wanted,
             json_array_size(result->differences), result->written);
    if (result->left) /* each start will write them again */
        log_warn("commands_kept_otherwise",
                 "commands=%zu text=\"Discord took them and lists them differently: see "
                 "guildbusctl deploy-commands --dry-run\"",
                 result->left);
}

static bool complain(FILE *errors, const char *line)
{
    (void)fprintf(errors, "%s\n", line);
    return false;
}

bool coordinator_config_check(const void *config, FILE *errors)
{
    const struct coordinator_config *c = config;
    bool good = bus_auth_check(c->nats_url, &c->nats_auth, errors);

    if (!c->deploy_commands)
        return good;
    if (!c->discord_token)
        good = complain(errors, "DISCORD_TOKEN: is not set: DEPLOY_COMMANDS needs the bot's token");
    else if (!http_takes_token(c->discord_token))
        good = complain(errors,
                        "DISCORD_TOKEN: is no token: give printable characters without blanks");
    if (!c->application_id)
        good = complain(
            errors,
            "DISCORD_APPLICATION_ID: is not set: DEPLOY_COMMANDS needs the application's id");
    return good;
}

enum status commands_open(struct coordinator *c, struct err *err)
{
    const struct coordinator_config *s = c->config;

    if (!s->deploy_commands)
        return STATUS_OK;
    struct command_deployment *d = xcalloc(1, sizeof(*d));
    const struct deploy_config config = {
        .api_url = s->discord_api_url,
        .token = s->discord_token,
        .application_id = s->application_id,
        .box = c->box,
        .on_done = on_deployed,
        .ctx = d,
    };
    enum status status = deploy_new(&config, &d->deploy, err);
    if (status != STATUS_OK) {
        free(d);
        return status;
    }
    rest(d);
    c->commands = d;
    return STATUS_OK;
}

void commands_turn(struct coordinator *c)
{
    struct command_deployment *d = c->commands;

    if (!d || d->asked || d->done || clock_now_ms() < d->next_ms)
        return;
    d->asked = true;
    deploy_start(d->deploy);
}

void commands_rest(struct coordinator *c)
{
    if (!c->commands)
        return;
    deploy_cancel(c->commands->deploy);
    rest(c->commands);
}

void commands_close(struct coordinator *c)
{
    if (!c->commands)
        return;
    deploy_free(c->commands->deploy);
    free(TAKE(c->commands));
}
