/* late.h - events that the stream did not take within Discord's three seconds, stored as soon as it
 * does.
 *
 *     webhook ──not stored by the last moment──▶ lates_add ─▶ publish … publish ─▶ stored, forgotten
 *
 * When the server that leads EVENTS dies, the stream takes nothing until another one leads, some
 * seconds later; with the deferral already answered the interaction is finished then. They are in
 * memory only, so both the stream and this process have to fail for one to be lost. Bounded by
 * number and bytes; what is still here after LATE_KEEP_MS is given up, with a line in the log: its
 * token is about to end.
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_LATE_H
#define EDGE_LATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"

enum {
    LATE_LIMIT = 2000,
    LATE_BYTES_LIMIT = 16 * 1024 * 1024,
    LATE_KEEP_MS = 10 * 60 * 1000, /* Discord: an interaction's token lasts 15 minutes */
};

struct lates;

struct lates *lates_new(struct loop *loop, struct bus *bus) MUST_CHECK;
/* What is still here is given up. Before loop_free, after bus_close or with nothing under way. */
void lates_free(struct lates *lates);
DEFINE_CLEANUP(struct lates *, lates_free)

/* Copies what is to be stored; its Nats-Msg-Id is message_id, id and guild_id are for the log.
 * False: there is no room. */
bool lates_add(struct lates *lates, const struct bus_out *out, uint64_t id, uint64_t guild_id)
    MUST_CHECK;
size_t lates_count(const struct lates *lates);

#endif
