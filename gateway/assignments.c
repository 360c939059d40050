#include "gateway/assignments.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_client.h"
#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"

enum { PAGE = 1000, TIMEOUT_MS = 5000, MAX_PREFETCH = 20000 };

struct assignments {
    struct assignments_config config;
    struct http_client *client;
    size_t count;
};

static void ask(struct assignments *a, uint64_t after);

static uint64_t take_page(struct assignments *a, const json_t *list)
{
    const json_t *one;
    uint64_t last = 0;
    size_t i;

    json_array_foreach(list, i, one)
    {
        uint64_t id = json_id(one, "guild_id");
        if (!id || strcmp(json_str(one, "pod_id"), a->config.pod) != 0)
            continue;
        last = id;
        a->count++;
        owner_prefetch(a->config.owner, id);
    }
    return i >= PAGE ? last : 0;
}

static void on_done(void *ctx, uint64_t tag UNUSED, const struct http_result *r)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct assignments *a = ctx;
    struct err err = { 0 };

    enum status status = r->status;
    if (status == STATUS_OK && r->code == 200)
        status = json_parse(r->body, r->size, &root, &err);
    if (status != STATUS_OK || r->code != 200) {
        log_warn("assignments_unknown", "code=%d text=%s next=wait_for_orders", r->code,
                 LOG_QUOTE(r->error ? r->error : err.text));
        return;
    }
    uint64_t after = take_page(a, json_object_get(root, "assignments"));
    if (after && a->count < MAX_PREFETCH)
        ask(a, after);
    else
        log_info("assignments_read", "guilds=%zu next=read_logs", a->count);
}

static void ask(struct assignments *a, uint64_t after)
{
    char *url = xasprintf("%s/guild-assignments?pod=%s&limit=%d&after=%" PRIu64, a->config.url,
                          a->config.pod, PAGE, after);
    const struct http_call call = { .method = "GET",
                                    .url = url,
                                    .timeout_ms = TIMEOUT_MS,
                                    .box = loop_mailbox(a->config.loop),
                                    .on_done = on_done,
                                    .ctx = a };

    http_client_send(a->client, &call);
    free(url);
}

enum status assignments_new(const struct assignments_config *config,
                            struct assignments **ret_assignments, struct err *err)
{
    struct assignments *a = xcalloc(1, sizeof(*a));

    a->config = *config;
    enum status status = http_client_new("guildbus-gateway/" GUILDBUS_VERSION, &a->client, err);
    if (status != STATUS_OK) {
        free(a);
        return status;
    }
    ask(a, 0);
    *ret_assignments = a;
    return STATUS_OK;
}

void assignments_free(struct assignments *a)
{
    if (!a)
        return;
    http_client_free(a->client);
    free(a);
}
