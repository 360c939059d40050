/* owner.h - what goes to a guild's owner and comes back, as bytes.
 *
 * THREAD: any. */
#ifndef EDGE_OWNER_H
#define EDGE_OWNER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/bus.h"
#include "base/status.h"
#include "messages/guildbus.pb-c.h"

/* The status that an owner's Error stands for, never OK; what base/status.def does not know is
 * INTERNAL. */
enum status owner_error(const Guildbus__V1__Error *e);
/* Sets out's data and size, from the arena. False: the arena is full. */
bool owner_encode(struct bus_out *out, const Guildbus__V1__Envelope *e, struct arena *a) MUST_CHECK;

#endif
