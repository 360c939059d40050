/* interactions.h - interactions that came over the gateway: asked of the guild's owner as the edge
 * asks, answered through …/callback.
 *
 *     INTERACTION_CREATE ─▶ guild.<id>.interaction ─▶ owner ─▶ POST /interactions/<id>/<token>/callback
 *                        └─ nobody answers for two seconds ─▶ on_end(store) and a deferral
 *
 * For a bot without a public endpoint; Discord sends each interaction one way or the other. Should
 * one come both ways, the owner executes it once (its id is remembered) and Discord takes one
 * answer. The shard's seq does not pass an interaction before on_end, so that a RESUME brings those
 * back that a dead holder had in hand.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_INTERACTIONS_H
#define GATEWAY_INTERACTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "gateway/discord_rest.h"
#include "gateway/frame.h"

struct interactions;
struct interactions_config {
    struct loop *loop;
    struct bus *bus;
    struct discord_rest *rest;
};
struct interactions *interactions_new(const struct interactions_config *config) MUST_CHECK;
/* Calls may be under way: only when the loop does not run any more. */
void interactions_free(struct interactions *all);

struct interaction_place {
    /* Called once. store: it is to be put into EVENTS as a deferred one; else it is done with. */
    void (*on_end)(void *ctx, uint64_t place, bool store);
    void *ctx;
    uint64_t place;
};
/* False: it is no interaction that could be answered, or too many are under way. */
bool interactions_would_take(const struct interactions *all, const struct frame *frame);
/* One that would be taken. Copies d. */
void interactions_take(struct interactions *all, const struct frame *frame,
                       const struct interaction_place *place);
/* Those of ctx are somebody else's now: nothing more is said about them, to ctx or to Discord. */
void interactions_forget(struct interactions *all, const void *ctx);
size_t interactions_count(const struct interactions *all);

#endif
