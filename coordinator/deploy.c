#include "coordinator/deploy.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/http_client.h"
#include "base/json.h"
#include "base/xmem.h"
#include "messages/commands.h"

enum {
    RETRY_AFTER_MAX_S = 3600, /* longer is not believed */
    DETAIL_MAX = 120,         /* bytes of what Discord says about a 400 */
};
/* Discord insists on this form. */
#define USER_AGENT "DiscordBot (https://github.com/guildbus/guildbus, " GUILDBUS_VERSION ")"

struct deploy {
    struct deploy_config config;
    struct http_client *http;
    char *authorization;
    uint64_t run; /* answers to an earlier one are not ours any more */
    json_t *wanted, *differences;
};

enum status deploy_new(const struct deploy_config *config, struct deploy **ret_deploy,
                       struct err *err)
{
    struct http_client *http;

    if (!http_takes_token(config->token))
        return err_set(err, STATUS_INVALID,
                       "the token must be printable characters without blanks");
    TRY(http_client_new(USER_AGENT, &http, err));
    struct deploy *d = xcalloc(1, sizeof(*d));
    d->config = *config;
    d->http = http;
    d->authorization = xasprintf("Authorization: Bot %s", config->token);
    d->wanted = commands_payload(config->guild_id != 0);
    *ret_deploy = d;
    return STATUS_OK;
}

void deploy_cancel(struct deploy *d)
{
    d->run++;
    json_decref(TAKE(d->differences));
}

void deploy_free(struct deploy *d)
{
    if (!d)
        return;
    http_client_free(d->http);
    deploy_cancel(d);
    json_decref(d->wanted);
    free(d->authorization);
    free(d);
}

/* ---- calls ---- */

/* Without their localizations a stray one would not be seen. */
static char *url_of(const struct deploy *d, const char *query)
{
    const struct deploy_config *c = &d->config;
    size_t base = strlen(c->api_url);
    char guild[40] = "";

    while (base > 0 && c->api_url[base - 1] == '/')
        base--;
    if (c->guild_id)
        (void)snprintf(guild, sizeof(guild), "/guilds/%" PRIu64, c->guild_id);
    return xasprintf("%.*s/applications/%s%s/commands%s", (int)base, c->api_url, c->application_id,
                     guild, query);
}

static void call(struct deploy *d, const char *method, const char *body,
                 void (*on_done)(void *ctx, uint64_t tag, const struct http_result *result))
{
    const char *headers[] = { d->authorization, "Content-Type: application/json", NULL };
    CLEANUP(xfree) char *url = url_of(d, body ? "" : "?with_localizations=true");
    const struct http_call c = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = body,
        .size = body ? strlen(body) : 0,
        .box = d->config.box,
        .on_done = on_done,
        .ctx = d,
        .tag = d->run,
    };

    http_client_send(d->http, &c);
}

/* ---- what came back ---- */

/* The end: of the run, too, so that a caller may start the next one. */
static void end(struct deploy *d, struct deploy_result *result)
{
    json_t *differences = TAKE(d->differences);

    d->run++;
    result->wanted = json_array_size(d->wanted);
    result->differences = differences;
    d->config.on_done(d->config.ctx, result);
    json_decref(differences);
}

static int64_t retry_after_ms(const struct http_result *r, const json_t *answer)
{
    const char *header = http_result_header(r, "retry-after");
    double s = json_number_value(json_object_get(answer, "retry_after"));

    if (!(s > 0) && header)
        s = strtod(header, NULL);
    if (!(s > 0)) /* neither told, or not a number */
        return 0;
    return (int64_t)ceil((s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * 1000);
}

/* Discord names the wrong field in errors: {"0":{"name":{"_errors":[…]}}}. */
static enum status not_taken(struct err *err, const json_t *answer)
{
    const json_t *errors = json_object_get(answer, "errors");
    CLEANUP(xfree) char *detail = errors ? json_text(errors) : xstrdup("");

    return err_set(err, STATUS_INVALID,
                   "Discord does not take the commands (400, %" PRId64 "): %.60s %.*s",
                   json_int(answer, "code", 0), json_str(answer, "message"), DETAIL_MAX, detail);
}

static enum status refusal(struct err *err, int code, const json_t *answer)
{
    const char *why = json_str(answer, "message");

    switch (code) {
    case 400:
        return not_taken(err, answer);
    case 401:
        return err_set(err, STATUS_DENIED,
                       "Discord refuses the token (401): set DISCORD_TOKEN to the bot's");
    case 403:
        return err_set(
            err, STATUS_DENIED,
            "Discord forbids it (403, %.100s): is DISCORD_APPLICATION_ID the token's, is the guild's "
            "scope applications.commands?",
            why);
    case 404:
        return err_set(err, STATUS_NOT_FOUND,
                       "Discord knows no such application or guild (404, %.100s)", why);
    case 429:
        return err_set(err, STATUS_BUSY, "Discord wants fewer calls (429)");
    default:
        return err_set(err, code >= 500 ? STATUS_UNAVAILABLE : STATUS_CORRUPT,
                       "Discord answered %d %.100s", code, why);
    }
}

/* The list in the answer, the caller's; NULL: it has ended. */
static json_t *read_list(struct deploy *d, const struct http_result *r)
{
    struct deploy_result result = { 0 };
    json_t *answer = NULL;

    if (r->status != STATUS_OK) {
        (void)err_set(&result.err, r->status, "no answer from Discord: %s", r->error);
        end(d, &result);
        return NULL;
    }
    enum status parsed = json_parse(r->body, r->size, &answer, NULL);
    if (r->code >= 200 && r->code < 300 && parsed == STATUS_OK && json_is_array(answer))
        return answer;
    if (r->code >= 200 && r->code < 300)
        (void)err_set(&result.err, STATUS_CORRUPT,
                      "Discord's answer is no list of commands: is DISCORD_API_URL right?");
    else
        (void)refusal(&result.err, r->code, answer);
    if (r->code == 429)
        result.retry_after_ms = retry_after_ms(r, answer);
    end(d, &result);
    json_decref(answer);
    return NULL;
}

/* What differs in the list, the caller's; NULL: it has ended. */
static json_t *compare(struct deploy *d, const json_t *list)
{
    struct deploy_result result = { 0 };
    json_t *differences = commands_differences(d->wanted, list);

    if (differences)
        return differences;
    (void)err_set(&result.err, STATUS_CORRUPT,
                  "Discord's answer is no list of commands: is DISCORD_API_URL right?");
    end(d, &result);
    return NULL;
}

static void on_put(void *ctx, uint64_t tag, const struct http_result *r)
{
    struct deploy *d = ctx;

    if (tag != d->run)
        return;
    CLEANUP(json_decref) json_t *list = read_list(d, r);
    CLEANUP(json_decref) json_t *left = list ? compare(d, list) : NULL;
    if (!left)
        return;
    struct deploy_result result = { .written = true, .left = json_array_size(left) };
    end(d, &result);
}

static void on_get(void *ctx, uint64_t tag, const struct http_result *r)
{
    struct deploy *d = ctx;

    if (tag != d->run)
        return;
    CLEANUP(json_decref) json_t *list = read_list(d, r);
    d->differences = list ? compare(d, list) : NULL;
    if (!d->differences)
        return;
    if (d->config.dry_run || !json_array_size(d->differences)) {
        struct deploy_result result = { 0 };
        end(d, &result);
        return;
    }
    CLEANUP(json_decref) json_t *all = commands_overwrite(d->wanted, list);
    CLEANUP(xfree) char *body = json_text(all);
    call(d, "PUT", body, on_put);
}

void deploy_start(struct deploy *d)
{
    deploy_cancel(d);
    call(d, "GET", NULL, on_get);
}
