#include "base/bus_options.h"

#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"

enum {
    MAX_SERVERS = 64, /* of a list; a cluster tells its others by itself */
    PATIENCE_MS = 15000,
};

/* libnats takes a list only as an array; it tries them in random order, so clients spread. */
static natsStatus set_servers(natsOptions *o, const char *urls)
{
    const char *list[MAX_SERVERS];
    char *copy = xstrdup(urls), *rest = copy;
    int count = 0;

    for (char *one; count < MAX_SERVERS && (one = strtok_r(rest, ",", &rest));)
        list[count++] = one;
    natsStatus s = count ? natsOptions_SetServers(o, list, count) : NATS_INVALID_ARG;
    free(copy);
    return s;
}

natsStatus bus_options_set(natsOptions *o, const struct bus_config *config)
{
    natsStatus s = set_servers(o, config->url);
    int patience_ms = config->patience_ms ? config->patience_ms : PATIENCE_MS;

#define SET(call)                                                                                  \
    if (s == NATS_OK)                                                                              \
    s = (call)
    SET(natsOptions_SetName(o, config->name));
    SET(natsOptions_SetMaxReconnect(o, -1));
    SET(natsOptions_SetReconnectWait(o, BUS_RECONNECT_WAIT_MS));
    SET(natsOptions_SetReconnectJitter(o, BUS_RECONNECT_WAIT_MS, BUS_RECONNECT_WAIT_MS));
    SET(natsOptions_SetPingInterval(o, patience_ms / 3)); /* two may be unanswered */
    SET(natsOptions_SetWriteDeadline(o, patience_ms / 3));
    /* Nothing is kept for a later connection: who asked is told at once and asks again, and the
     * server does not get both. (0 would mean 8 MB.) */
    SET(natsOptions_SetReconnectBufSize(o, 1));
    SET(natsOptions_UseGlobalMessageDelivery(o, true));
    SET(natsOptions_SetSendAsap(o, true));
    if (config->inbox_prefix)
        SET(natsOptions_SetCustomInboxPrefix(o, config->inbox_prefix));
    if (config->creds_file)
        SET(natsOptions_SetUserCredentialsFromFiles(o, config->creds_file, NULL));
#undef SET
    return s;
}
