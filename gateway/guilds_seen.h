/* guilds_seen.h - tells the coordinator which guilds the shards have seen, until it says Ok.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_GUILDS_SEEN_H
#define GATEWAY_GUILDS_SEEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"

struct guilds_seen;

struct guilds_seen *guilds_seen_new(struct loop *loop, struct bus *bus, const char *pod) MUST_CHECK;
/* A request of it may be under way: the memory goes with its answer. */
void guilds_seen_free(struct guilds_seen *seen);
void guilds_seen_add(struct guilds_seen *seen, uint64_t guild_id);

#endif
