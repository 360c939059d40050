/* bus_options.h - how libnats is to treat a connection; for bus.c only.
 *
 * THREAD: any. */
#ifndef BASE_BUS_OPTIONS_H
#define BASE_BUS_OPTIONS_H

#include <nats/nats.h>

#include "base/bus.h"

enum { BUS_RECONNECT_WAIT_MS = 100 }; /* and as much again by chance */

/* All but the callbacks. */
natsStatus bus_options_set(natsOptions *options, const struct bus_config *config);

#endif
