/* defer.h - how an interaction is answered within Discord's three seconds (pure).
 *
 *     ASKING ──reply / final error──▶ answered
 *       │ defer_at
 *       ▼
 *     STORING ──stored──▶ answered with the deferral; the guild's owner finishes it from the event
 *       │ not stored by last_ms
 *       └──▶ answered with the reply that came meanwhile, else with a message that says it did not
 * work
 *
 * An autocomplete has nothing to finish later: its deferral is an empty list, and nothing is
 * stored.
 *
 * THREAD: any. */
#ifndef EDGE_DEFER_H
#define EDGE_DEFER_H

#include <stdbool.h>
#include <stdint.h>

enum defer_phase { DEFER_ASKING, DEFER_STORING, DEFER_ANSWERED };
enum defer_input {
    DEFER_ON_REPLY,      /* the owner answered */
    DEFER_ON_ERROR,      /* the owner refused, for good */
    DEFER_ON_TIME,       /* the clock */
    DEFER_ON_STORED,     /* the event is in the stream */
    DEFER_ON_NOT_STORED, /* and it never will be */
};
enum defer_action {
    DEFER_WAIT,            /* until defer_wake_ms */
    DEFER_STORE,           /* store the event, then wait */
    DEFER_ANSWER_REPLY,    /* pass the owner's reply on */
    DEFER_ANSWER_ERROR,    /* say what the owner refused */
    DEFER_ANSWER_DEFERRAL, /* the owner will finish it (autocomplete: an empty list) */
    DEFER_ANSWER_FAILED,   /* say that it did not work */
};

struct defer {
    enum defer_phase phase;
    bool is_storable; /* false: autocomplete */
    bool has_reply;
    int64_t defer_at_ms, last_ms; /* monotonic */
};

enum defer_action defer_step(struct defer *d, enum defer_input input, int64_t now_ms);
/* When DEFER_ON_TIME matters next. */
int64_t defer_wake_ms(const struct defer *d);

#endif
