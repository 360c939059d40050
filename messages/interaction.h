/* interaction.h - Discord's interactions as whoever asks the owner sees them (the edge, or the holder of
 * a shard): what is routed by, and the answers that need no owner (pure).
 *
 * THREAD: any. */
#ifndef MESSAGES_INTERACTION_H
#define MESSAGES_INTERACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

/* discord-api-docs interactions/receiving-and-responding */
enum interaction_type {
    INTERACTION_PING = 1,
    INTERACTION_COMMAND = 2,
    INTERACTION_COMPONENT = 3,
    INTERACTION_AUTOCOMPLETE = 4,
    INTERACTION_MODAL = 5,
};

struct interaction_head {
    uint64_t id;       /* 0 for a PING */
    uint64_t guild_id; /* 0: direct message or user install */
    enum interaction_type type;
};

/* INVALID: not JSON, or not an interaction of a known type. */
enum status interaction_parse(const char *body, size_t size, struct interaction_head *ret,
                              struct err *err) MUST_CHECK;

/* Discord's clock, from the signed header: plain decimal seconds within [now - past_s, now +
 * future_s]. */
bool timestamp_is_current(const char *text, int64_t now_s, int64_t past_s, int64_t future_s);

/* Literal JSON. Modal submits and commands are deferred so that only their sender sees the answer.
 */
const char *interaction_deferral(enum interaction_type type);
/* A message that only the sender sees, or no choices for an autocomplete. NULL when the arena is
 * full. */
char *interaction_message(enum interaction_type type, const char *text, struct arena *a) MUST_CHECK;
/* What a sender is told of the owner's refusal. */
const char *interaction_error_text(enum status status);

#endif
