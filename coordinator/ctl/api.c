#include "coordinator/ctl/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/xmem.h"
#include "coordinator/ctl/api_print.h"

enum { CALL_TIMEOUT_MS = 10 * 1000 };

/* Its strings live as long as the process does. */
static struct settings {
    const char *url, *token;
} settings;

struct api {
    struct http_client *http;
};

static const struct config_row rows[] = {
    { "CONFIG_SERVICE_URL", CONFIG_URL, offsetof(struct settings, url),
      .fallback = "http://127.0.0.1:7080", .help = "where the coordinator is" },
    { "COORDINATOR_TOKEN", CONFIG_STRING, offsetof(struct settings, token), .secret = true,
      .help = "allows reassign" },
};

enum ctl_exit complain(enum ctl_exit code, const char *what)
{
    (void)fputs("guildbusctl: ", stderr);
    print_safely(what, stderr);
    (void)fputc('\n', stderr);
    return code;
}

/* A header must stay one line. */
static bool is_header_text(const char *text)
{
    for (; *text; text++) {
        if (*text < 0x21 || *text > 0x7e)
            return false;
    }
    return true;
}

enum ctl_exit api_open(struct api **ret_api)
{
    struct api *api = xcalloc(1, sizeof(*api));
    struct err err = { 0 };
    enum ctl_exit code = CTL_DONE;

    if (config_load(rows, ARRAY_LEN(rows), &settings, stderr) != STATUS_OK)
        code = CTL_USAGE;
    else if (settings.token && !is_header_text(settings.token))
        code =
            complain(CTL_USAGE, "COORDINATOR_TOKEN: must be printable characters without blanks");
    else if (http_client_new("guildbusctl/" GUILDBUS_VERSION, &api->http, &err) != STATUS_OK)
        code = complain(CTL_FAILED, err.text);
    if (code != CTL_DONE) {
        free(api);
        return code;
    }
    *ret_api = api;
    return CTL_DONE;
}

void api_close(struct api *api)
{
    if (!api)
        return;
    http_client_free(api->http);
    free(api);
}

static enum ctl_exit exit_for(int http_code)
{
    switch (http_code) {
    case 401:
    case 403:
        return CTL_DENIED;
    case 404:
        return CTL_NOT_FOUND;
    case 429:
    case 502:
    case 503:
    case 504:
        return CTL_UNAVAILABLE;
    default:
        return CTL_FAILED;
    }
}

static enum ctl_exit on_refused(int http_code, const json_t *answer)
{
    char text[400];
    const json_t *error = json_object_get(answer, "error");
    const char *why = json_str(error, "text");

    (void)snprintf(text, sizeof(text), "the coordinator answered %d%s%.20s%s%.300s", http_code,
                   error ? " " : "", json_str(error, "status"), *why ? ": " : "", why);
    return complain(exit_for(http_code), text);
}

static enum ctl_exit call(struct api *api, struct http_call *c, const char *path,
                          json_t **ret_answer)
{
    char url[1024], *body = NULL;
    struct err err = { 0 };
    json_t *answer = NULL;
    int http_code = 0;

    size_t base = strlen(settings.url);
    while (base > 0 && settings.url[base - 1] == '/')
        base--;
    if ((size_t)snprintf(url, sizeof(url), "%.*s%s", (int)base, settings.url, path) >= sizeof(url))
        return complain(CTL_USAGE, "CONFIG_SERVICE_URL is too long");
    c->url = url;
    c->timeout_ms = CALL_TIMEOUT_MS;
    if (http_client_wait(api->http, c, &http_code, &body, &err) != STATUS_OK) {
        char text[1400];
        (void)snprintf(text, sizeof(text), "no answer from the coordinator at %s: %s", url,
                       err.text);
        return complain(CTL_UNAVAILABLE, text);
    }
    bool parsed = body && json_parse(body, strlen(body), &answer, &err) == STATUS_OK;
    free(body);
    if (http_code >= 200 && http_code < 300 && parsed && json_is_object(answer)) {
        *ret_answer = answer;
        return CTL_DONE;
    }
    enum ctl_exit code = http_code >= 200 && http_code < 300
                             ? complain(CTL_FAILED, "the coordinator's answer is not JSON")
                             : on_refused(http_code, answer);
    json_decref(answer);
    return code;
}

enum ctl_exit api_get(struct api *api, const char *path, json_t **ret_answer)
{
    struct http_call c = { .method = "GET" };

    return call(api, &c, path, ret_answer);
}

enum ctl_exit api_post(struct api *api, const char *path, const json_t *body, json_t **ret_answer)
{
    char allowed[1024] = "";
    const char *headers[] = { "Content-Type: application/json", NULL, NULL };
    char *text = json_text(body);

    if (settings.token) {
        if (snprintf(allowed, sizeof(allowed), "Authorization: Bearer %s", settings.token) >=
            (int)sizeof(allowed)) {
            free(text);
            return complain(CTL_USAGE, "COORDINATOR_TOKEN is too long");
        }
        headers[1] = allowed;
    }
    struct http_call c = {
        .method = "POST", .headers = headers, .body = text, .size = strlen(text)
    };
    enum ctl_exit code = call(api, &c, path, ret_answer);
    free(text);
    return code;
}
