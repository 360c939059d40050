#include "base/bus_options.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bus_url.h"
#include "base/xmem.h"

enum {
    MAX_SERVERS = 64, /* of a list; a cluster tells its others by itself */
    PATIENCE_MS = 15000,
    READ_AT_ONCE = 64 * 1024,
};

static bool is_host_of(const char *server, const char *url)
{
    return !strcmp(bus_url_host(server, strlen(server)), bus_url_host(url, strlen(url)));
}

natsStatus bus_options_set_servers(natsOptions *options, const char *urls, const char *last,
                                   bool is_last)
{
    const char *list[MAX_SERVERS];
    char *copy = xstrdup(urls), *rest = copy;
    int count = 0;

    for (char *one; count < MAX_SERVERS && (one = strtok_r(rest, ",", &rest));)
        if (is_host_of(last, one) == is_last)
            list[count++] = one;
    natsStatus s = count ? natsOptions_SetServers(options, list, count) : NATS_NO_SERVER;
    free(copy);
    return s;
}

natsStatus bus_options_set(natsOptions *o, const struct bus_config *config)
{
    natsStatus s = NATS_OK;
    int patience_ms = config->patience_ms ? config->patience_ms : PATIENCE_MS;

#define SET(call)                                                                                  \
    if (s == NATS_OK)                                                                              \
    s = (call)
    SET(natsOptions_SetName(o, config->name));
    SET(natsOptions_SetNoRandomize(o, true));             /* bus_options_set_servers did */
    SET(natsOptions_SetAllowReconnect(o, false));         /* bus_link.h says why */
    SET(natsOptions_SetPingInterval(o, patience_ms / 3)); /* two may be unanswered */
    SET(natsOptions_SetWriteDeadline(o, patience_ms / 3));
    SET(natsOptions_UseGlobalMessageDelivery(o, true));
    SET(natsOptions_SetSendAsap(o, true)); /* no thread that flushes: bus_io.h does */
    SET(natsOptions_SetIOBufSize(o, READ_AT_ONCE));
    if (config->inbox_prefix)
        SET(natsOptions_SetCustomInboxPrefix(o, config->inbox_prefix));
    if (config->auth)
        SET(bus_options_set_auth(o, config->auth));
#undef SET
    return s;
}
