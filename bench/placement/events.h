/* events.h - what will arrive when: a heap by time, and first come, first served.
 *
 * THREAD: confined. */
#ifndef BENCH_PLACEMENT_EVENTS_H
#define BENCH_PLACEMENT_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"

enum event_kind {
    EVENT_REPLY,  /* to an order: status, and OK from the pod */
    EVENT_STORED, /* the stream has it */
    EVENT_CLAIM,  /* the pod's Claim is in the log */
    EVENT_WARM,   /* the pod follows the guild of a move */
    EVENT_BEAT,
    EVENT_START, /* a pod registers */
    EVENT_SEEN,  /* a shard is ready: its guilds are seen */
};

struct event {
    int64_t at_us;
    uint64_t serial; /* set by events_add */
    enum event_kind kind;
    enum status status;
    bus_on_reply on_reply; /* EVENT_REPLY, EVENT_STORED */
    void *ctx;
    uint64_t guild_id, epoch, move_id;
    int pod;
    uint32_t life;
    bool follows; /* EVENT_REPLY with a guild: from now on the pod follows it, */
    bool forgets; /* or does not */
};

struct events {
    struct event *heap;
    size_t count, room;
    uint64_t serial;
};

void events_release(struct events *e);
void events_add(struct events *e, const struct event *event);
/* INT64_MAX: there is none. */
int64_t events_next_us(const struct events *e);
/* Takes the earliest if it is due. */
bool events_pop(struct events *e, int64_t now_us, struct event *ret_event);

#endif
