/* bus_refused.h - what NATS refuses this program: counted and told. For base/bus*.c only.
 *
 * THREAD: any. */
#ifndef BASE_BUS_REFUSED_H
#define BASE_BUS_REFUSED_H

#include <stdbool.h>

#include <nats/nats.h>

/* The counter is there, at 0, from now on. */
void bus_refused_init(void);
/* In libnats' error callback. False: it was something else. */
bool bus_refused_note(natsStatus s);
/* How an attempt to connect ended. */
void bus_refused_connect(natsStatus s);

#endif
