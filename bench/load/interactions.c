/* interactions.c - signed interactions, and pages of the portal, as load.
 *
 * Each interaction is /setup with another mod log: it changes one row and is answered. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "bench/load/http_load.h"
#include "messages/snowflake.h"

enum { GUILDS_MAX = 100000, COUNT = 10000 };

struct guilds {
    uint64_t *ids;
    size_t count;
};

static enum status read_guilds(struct guilds *g, const char *list, struct err *err)
{
    const char *at = list ? list : "1";

    g->ids = xcalloc(GUILDS_MAX, sizeof(*g->ids));
    while (g->count < GUILDS_MAX) {
        char *end;
        g->ids[g->count++] = strtoull(at, &end, 10);
        if (end == at || (*end && *end != ','))
            return err_set(err, STATUS_INVALID, "--guilds is to be ID,ID,…");
        if (!*end)
            return STATUS_OK;
        at = end + 1;
    }
    return err_set(err, STATUS_INVALID, "--guilds takes at most %d", GUILDS_MAX);
}

/* The key that the simulator makes of the same seed. */
static enum status make_key(int64_t seed, struct sign_key **ret_key, struct err *err)
{
    char text[64];
    uint8_t bytes[32];

    (void)snprintf(text, sizeof(text), "guildbus-discord-sim %" PRId64, seed);
    sign_sha256(text, strlen(text), bytes);
    return sign_private_key_new(bytes, ret_key, err);
}

static char *make_body(const struct guilds *g, size_t n, uint64_t id)
{
    uint64_t guild = g->ids[n % g->count];

    return xasprintf(
        "{\"id\":\"%" PRIu64 "\",\"application_id\":\"1000000000000000001\",\"type\":2,"
        "\"token\":\"token-%zu\",\"version\":1,\"locale\":\"en-US\",\"guild_id\":\"%" PRIu64 "\","
        "\"channel_id\":\"%" PRIu64 "\",\"member\":{\"user\":{\"id\":\"80351110224678912\","
        "\"username\":\"nelly\",\"discriminator\":\"0\",\"avatar\":null},\"roles\":[],"
        "\"permissions\":\"8\",\"joined_at\":\"2021-03-04T05:06:07.000000+00:00\"},\"data\":{"
        "\"id\":\"1000000000000000002\",\"name\":\"setup\",\"type\":1,\"options\":[{\"name\":"
        "\"modlog\",\"type\":7,\"value\":\"%" PRIu64 "\"},{\"name\":\"moderator\",\"type\":8,"
        "\"value\":\"41771983423143936\"}]}}",
        id, n, guild, guild, id);
}

static enum status make_request(const struct http_target *t, const struct sign_key *key,
                                const char *body, char **ret, struct err *err)
{
    char timestamp[24], signature[129];

    (void)snprintf(timestamp, sizeof(timestamp), "%" PRId64, clock_wall_ms() / 1000);
    TRY(sign_make(key, timestamp, body, strlen(body), signature, err));
    *ret = xasprintf(
        "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
        "X-Signature-Ed25519: %s\r\nX-Signature-Timestamp: %s\r\nContent-Length: %zu\r\n\r\n%s",
        t->path, t->host, signature, timestamp, strlen(body), body);
    return STATUS_OK;
}

static enum status sign_all(const struct http_load *load, const struct guilds *guilds, int64_t seed,
                            struct err *err)
{
    CLEANUP(sign_key_free) struct sign_key *key = NULL;
    uint64_t first = snowflake_from_ms(clock_wall_ms());

    TRY(make_key(seed, &key, err));
    for (size_t i = 0; i < load->count; i++) {
        CLEANUP(xfree) char *body = make_body(guilds, i, first + i);
        TRY(make_request(load->target, key, body, &load->requests[i], err));
    }
    return STATUS_OK;
}

static struct http_load load_of(const struct load_options *o, const struct http_target *target)
{
    size_t count = (size_t)(o->count ? o->count : COUNT);

    return (struct http_load){ .target = target,
                               .requests = xcalloc(count, sizeof(char *)),
                               .count = count,
                               .connections = (size_t)(o->connections ? o->connections : 1),
                               .rate = o->rate,
                               .forgive = o->forgive,
                               .trace = o->trace };
}

static void free_requests(const struct http_load *load)
{
    for (size_t i = 0; i < load->count; i++)
        free(load->requests[i]);
    free(load->requests);
}

enum status load_interactions(const struct load_options *o, struct err *err)
{
    struct guilds guilds = { 0 };
    struct http_target target;

    TRY(http_target_read(o->url, &target, err));
    struct http_load load = load_of(o, &target);
    load.expected = "\"type\":4";
    load.deferred = "\"type\":5";
    enum status status = read_guilds(&guilds, o->guilds, err);
    if (status == STATUS_OK)
        status = sign_all(&load, &guilds, o->seed, err);
    if (status == STATUS_OK)
        status = http_load_run(&load, err);
    free_requests(&load);
    free(guilds.ids);
    return status;
}

enum status load_pages(const struct load_options *o, struct err *err)
{
    struct http_target target;

    TRY(http_target_read(o->url, &target, err));
    struct http_load load = load_of(o, &target);
    load.expected = o->expect ? o->expect : "";
    for (size_t i = 0; i < load.count; i++)
        load.requests[i] = xasprintf("GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n",
                                     target.path, target.host, o->cookie ? o->cookie : "");
    enum status status = http_load_run(&load, err);
    free_requests(&load);
    return status;
}
