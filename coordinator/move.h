/* move.h - the steps of a planned move, as a pure function of what is known.
 *
 *   wished ─▶ warming ─▶ ready ─▶ cutover ─▶ done      the target's Claim(epoch) is in the log
 *      └────────┴──────────┴▶ aborted └──────▶ failed   the source's Claim(unseal_epoch) is
 *
 * Until the cut-over nothing has happened that needs undoing. From it on the guild's log decides:
 * both epochs are given out, each to one pod, and they compete for the same record. So a cut-over
 * is never called off; it is repeated, and when one side is dead or silent the other is told to
 * claim its own epoch.
 *
 * THREAD: any. */
#ifndef COORDINATOR_MOVE_H
#define COORDINATOR_MOVE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/rows.h"

enum {
    MOVE_WARMING_MS = 30000, /* then it is called off */
    MOVE_SILENCE_MS = 3000,  /* in cut-over; then the log is read */
    MOVE_PATIENCE_MS = 5000, /* in cut-over; then the source is told to go on */
    MOVE_REPEAT_MS = 1000,   /* each order, until it had its effect */
};

struct move_facts {
    enum move_state state;
    int64_t age_ms;    /* since it entered the state */
    bool slot_free;    /* one more move may begin */
    bool source_alive; /* the process that owns the guild still has its lease */
    bool source_owns;  /* the assignment still names the source */
    bool target_alive; /* it has its lease */
    bool target_takes; /* and is not draining */
    bool target_gave_up;
};

enum move_event {
    MOVE_EVENT_TICK,
    MOVE_EVENT_WARM,           /* the target follows the log */
    MOVE_EVENT_GAVE_UP,        /* the target says that it failed */
    MOVE_EVENT_TARGET_CLAIMED, /* by Claimed, or read from the log */
    MOVE_EVENT_SOURCE_CLAIMED,
};

/* What to send or do, until the next step. */
enum move_order {
    MOVE_ORDER_WARM = 1,
    MOVE_ORDER_TAKE = 2,
    MOVE_ORDER_DROP = 4,        /* once */
    MOVE_ORDER_OWN_TARGET = 8,  /* Own{epoch}: the source is dead */
    MOVE_ORDER_OWN_SOURCE = 16, /* Own{unseal_epoch}: the target is dead or silent */
    MOVE_ORDER_READ_LOG = 32,
};

struct move_step {
    enum move_state next;
    unsigned orders;   /* of enum move_order */
    const char *error; /* static text when it ends badly, else NULL */
};

struct move_step move_step(const struct move_facts *facts, enum move_event event);

#endif
