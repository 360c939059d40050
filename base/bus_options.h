/* bus_options.h - how libnats is to treat a connection; for bus_link.c only.
 *
 * THREAD: any. */
#ifndef BASE_BUS_OPTIONS_H
#define BASE_BUS_OPTIONS_H

#include <nats/nats.h>

#include "base/bus.h"

enum { BUS_RECONNECT_WAIT_MS = 100 }; /* and as much again by chance */

/* All but the servers and the callbacks. */
natsStatus bus_options_set(natsOptions *options, const struct bus_config *config);
/* The servers of a list in random order, so that clients spread; the one that was lost (NULL, "" or
 * scheme://host:port) comes last. */
natsStatus bus_options_set_servers(natsOptions *options, const char *urls, const char *lost);

#endif
