/* deploy-commands: Discord's list of the bot's commands beside commands.def, and how they were made the same. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/config.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/mailbox.h"
#include "base/xmem.h"
#include "coordinator/ctl/request.h"
#include "coordinator/deploy.h"

enum { VALUE_SHOWN = 100, BOX = 4 };

static struct settings {
    const char *token, *application_id, *api_url;
} settings;

static const struct config_row rows[] = {
    { "DISCORD_TOKEN", CONFIG_STRING, offsetof(struct settings, token), .required = true,
      .secret = true, .help = "the bot's token" },
    { "DISCORD_APPLICATION_ID", CONFIG_SNOWFLAKE, offsetof(struct settings, application_id),
      .required = true, .help = "the application's id" },
    { "DISCORD_API_URL", CONFIG_URL, offsetof(struct settings, api_url),
      .fallback = "https://discord.com/api/v10", .help = "Discord's REST API" },
};

/* ---- what differs ---- */

static const char *kind_of(int64_t type)
{
    static const char *const kinds[] = { "?", "slash command", "user menu", "message menu" };

    return type > 0 && type < (int64_t)ARRAY_LEN(kinds) ? kinds[type] : kinds[0];
}

static void print_value(const json_t *value)
{
    CLEANUP(xfree) char *text = json_is_null(value) ? xstrdup("nothing") : json_text(value);

    if (strlen(text) > VALUE_SHOWN)
        memcpy(text + VALUE_SHOWN - 3, "...", sizeof("..."));
    print_safely(text, stdout);
}

static void print_field(const json_t *field)
{
    (void)fputs("    ", stdout);
    print_safely(json_str(field, "field"), stdout);
    (void)fputs(": ", stdout);
    print_value(json_object_get(field, "from"));
    (void)fputs(" -> ", stdout);
    print_value(json_object_get(field, "to"));
    (void)fputc('\n', stdout);
}

static void print_change(const json_t *change)
{
    const char *what = json_str(change, "change");
    const json_t *fields = json_object_get(change, "fields");

    (void)printf("%c ", !strcmp(what, "new") ? '+' : !strcmp(what, "gone") ? '-' : '~');
    print_safely(json_str(change, "name"), stdout);
    (void)printf("  %s, %s\n", kind_of(json_int(change, "type", 0)), what);
    for (size_t i = 0; i < json_array_size(fields); i++)
        print_field(json_array_get(fields, i));
}

static void print_changes(const struct request *r, const struct deploy_result *result)
{
    size_t count = json_array_size(result->differences);

    for (size_t i = 0; i < count; i++)
        print_change(json_array_get(result->differences, i));
    if (!count)
        (void)printf("Discord has the %zu commands already, nothing to write\n", result->wanted);
    else if (result->written)
        (void)printf("%zu differed, the %zu commands are written\n", count, result->wanted);
    else
        (void)printf("%zu differ%s, nothing was written%s\n", count, count == 1 ? "s" : "",
                     r->dry_run ? " (--dry-run)" : "");
}

static enum ctl_exit print_changes_json(const struct request *r, const struct deploy_result *result)
{
    CLEANUP(json_decref)
    json_t *all = json_pack("{s:O, s:I, s:b, s:b, s:I}", "differences", result->differences,
                            "commands", (json_int_t)result->wanted, "dry_run", r->dry_run,
                            "written", result->written, "left", (json_int_t)result->left);

    return all ? print_json(all) : CTL_FAILED;
}

/* ---- the deployment ---- */

struct deployment {
    const struct request *request;
    struct mailbox *box;
    struct deploy *deploy;
    bool ended;
    enum ctl_exit code;
    int64_t again_ms; /* 0: not again */
    bool waited;
};

static enum ctl_exit exit_for(enum status status)
{
    if (status == STATUS_DENIED)
        return CTL_DENIED;
    if (status == STATUS_NOT_FOUND)
        return CTL_NOT_FOUND;
    return status == STATUS_BUSY || status == STATUS_TIMEOUT || status == STATUS_UNAVAILABLE
               ? CTL_UNAVAILABLE
               : CTL_FAILED;
}

/* Once, when Discord says how long and that is within --timeout. */
static bool is_worth_waiting(const struct deployment *d, const struct deploy_result *result)
{
    return result->err.code == STATUS_BUSY && !d->waited && result->retry_after_ms > 0 &&
           result->retry_after_ms <= d->request->timeout_s * 1000;
}

static void on_failed(struct deployment *d, const struct deploy_result *result)
{
    char text[sizeof(result->err.text) + 80];

    if (is_worth_waiting(d, result)) {
        (void)fprintf(stderr, "guildbusctl: Discord wants fewer calls, trying again in %.1f s\n",
                      (double)result->retry_after_ms / 1000);
        d->again_ms = result->retry_after_ms;
        return;
    }
    (void)snprintf(text, sizeof(text), "%s", result->err.text);
    if (result->retry_after_ms)
        (void)snprintf(text, sizeof(text), "%s: try again in %" PRId64 " s", result->err.text,
                       (result->retry_after_ms + 999) / 1000);
    d->code = complain(exit_for(result->err.code), text);
}

static void on_done(void *ctx, const struct deploy_result *result)
{
    struct deployment *d = ctx;

    d->ended = true;
    if (result->err.code != STATUS_OK) {
        on_failed(d, result);
        return;
    }
    d->code = CTL_DONE;
    if (d->request->json)
        d->code = print_changes_json(d->request, result);
    else
        print_changes(d->request, result);
    if (result->left)
        d->code = complain(CTL_FAILED,
                           "Discord took the commands but lists them differently: see --dry-run");
}

static void run(struct deployment *d)
{
    struct pollfd box = { .fd = mailbox_fd(d->box), .events = POLLIN };

    d->ended = false;
    d->again_ms = 0;
    deploy_start(d->deploy);
    while (!d->ended) {
        (void)poll(&box, 1, -1); /* each call has its time limit */
        mailbox_drain(d->box, d);
    }
}

static void wait_ms(int64_t ms)
{
    const struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };

    (void)nanosleep(&pause, NULL);
}

enum ctl_exit on_deploy_commands(const struct request *r)
{
    struct deployment d = { .request = r };
    struct err err = { 0 };

    if (config_load(rows, ARRAY_LEN(rows), &settings, stderr) != STATUS_OK)
        return CTL_USAGE;
    if (!http_takes_token(settings.token))
        return complain(CTL_USAGE, "DISCORD_TOKEN: must be printable characters without blanks");
    if (mailbox_new(BOX, &d.box, &err) != STATUS_OK)
        return complain(CTL_FAILED, err.text);
    const struct deploy_config config = {
        .api_url = settings.api_url,
        .token = settings.token,
        .application_id = settings.application_id,
        .guild_id = r->guild,
        .dry_run = r->dry_run,
        .box = d.box,
        .on_done = on_done,
        .ctx = &d,
    };
    if (deploy_new(&config, &d.deploy, &err) == STATUS_OK) {
        run(&d);
        if (d.again_ms) {
            d.waited = true;
            wait_ms(d.again_ms);
            run(&d);
        }
    } else {
        d.code = complain(CTL_FAILED, err.text);
    }
    deploy_free(d.deploy);
    mailbox_free(d.box);
    return d.code;
}
