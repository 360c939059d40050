/* ask.h - asks over the bus until there is an answer: the driver of retry.h.
 *
 *     ask_start ─▶ bus_request ─▶ on_answer(in): DONE, or REFUSED and it is sent again
 *                    └ silence, no responders: sent again … until give_up_ms ─▶ on_end(why)
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_ASK_H
#define EDGE_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "base/retry.h"
#include "base/status.h"

struct asks;

enum ask_verdict { ASK_DONE, ASK_REFUSED };

/* What is sent is borrowed until the ask has ended or was cancelled. */
struct ask_call {
    struct bus_out out; /* reply is not used */
    struct retry retry; /* repeat_ms, repeat_until_ms and give_up_ms are set */
    /* DONE ends the ask. It may cancel its own ask. */
    enum ask_verdict (*on_answer)(void *ctx, const struct bus_in *in);
    /* There was no good answer in time. UNAVAILABLE: nobody listens, or all refused; TIMEOUT: no
     * word; INVALID: the message is too large for the bus. */
    void (*on_end)(void *ctx, enum status why);
    void *ctx;
};

struct asks *asks_new(struct loop *loop, struct bus *bus) MUST_CHECK;
/* Ends all that is under way without a callback. */
void asks_free(struct asks *asks);
DEFINE_CLEANUP(struct asks *, asks_free)

/* Callbacks come later, never from inside. Returns the key for ask_cancel, never 0. */
uint64_t ask_start(struct asks *asks, const struct ask_call *call);
/* No callback comes after it. Does nothing when that ask has ended. */
void ask_cancel(struct asks *asks, uint64_t key);

#endif
