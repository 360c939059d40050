/* bus_options.h - how libnats is to treat a connection; for bus_link.c only.
 *
 * THREAD: any. */
#ifndef BASE_BUS_OPTIONS_H
#define BASE_BUS_OPTIONS_H

#include <stdbool.h>

#include <nats/nats.h>

#include "base/bus.h"
#include "base/bus_auth.h"

enum { BUS_RECONNECT_WAIT_MS = 100 }; /* and as much again by chance */

/* All but the servers and the callbacks. */
natsStatus bus_options_set(natsOptions *options, const struct bus_config *config);
/* The program's key and TLS. What is wrong with a file, nats_GetLastError says. */
natsStatus bus_options_set_auth(natsOptions *options, const struct bus_auth *auth);
/* natsConnection_Connect, for options with a key, too. */
natsStatus bus_options_connect(natsOptions *options, natsConnection **ret_nc);
/* Those of the list that are not the server "last" (scheme://host:port, or ""), or that one alone.
 * libnats tries them in random order, so clients spread. NATS_NO_SERVER: there are none. */
natsStatus bus_options_set_servers(natsOptions *options, const char *urls, const char *last,
                                   bool is_last);

#endif
