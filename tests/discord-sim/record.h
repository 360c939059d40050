/* record.h - what was sent: each event, and per guild what must come of it.
 *
 * An event counts when at least one live or resumable session took it. Interactions have a record
 * of their own (interactions.h).
 *
 * THREAD: confined. */
#ifndef SIM_RECORD_H
#define SIM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/discord-sim/gateway.h"
#include "tests/discord-sim/store.h"
#include "tests/discord-sim/world.h"

struct record_event {
    uint64_t number; /* 1, 2, … over all guilds; filled in */
    uint64_t guild_id, message_id, channel_id, user_id;
    int64_t at_ms; /* wall clock; filled in */
    enum event_type type;
    const char *name; /* of EVENT_OTHER; static */
    int8_t delta;     /* reactions: +1, -1 */
    bool has_content, by_bot;
    bool repeated; /* Discord sent it before: it changes nothing that must come of it */
};
/* What a guild must show in the end. */
struct record_guild {
    uint64_t guild_id;
    uint64_t events;
    /* by people: created and not deleted; those of them that had content when they were created */
    int64_t messages, messages_with_content;
    /* on those messages: added and not removed */
    int64_t reactions, reactions_with_content;
    int64_t bot_messages, members_added;
};

struct record;
struct record *record_new(const struct world *w, size_t max_events);
void record_free(struct record *r);
DEFINE_CLEANUP(struct record *, record_free)

/* Fills in what the message says. */
void record_event_about(struct record_event *e, const struct message *about);
/* about: the message it is about, as it is before a deletion or after a reaction; NULL: none. */
void record_add(struct record *r, struct record_event e, const struct message *about);
uint64_t record_count(const struct record *r);
/* True when events beyond max_events were counted but not kept. */
bool record_is_truncated(const struct record *r);
/* NULL: past the end. number counts from 1. */
const struct record_event *record_get(const struct record *r, uint64_t number);
const struct record_guild *record_of(const struct record *r, const struct guild *g);
void record_line(const struct record_event *e, struct out *o);

#endif
