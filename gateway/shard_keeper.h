/* shard_keeper.h - takes a shard over and keeps its record in KV SHARDS, by compare-and-set.
 *
 *     new ─▶ read ─▶ (another pod's: wait for released, 2 s at most) ─▶ claim ─▶ on_taken(session)
 *     save, save … ─▶ a write each 500 ms ─▶ refused: read; not ours any more ─▶ on_lost
 *     release ─▶ a last write with released=true ─▶ on_released
 *
 * The record's revision is the fence: each write names the one before it, so of two pods that
 * believe they hold the shard one is refused and stops.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_SHARD_KEEPER_H
#define GATEWAY_SHARD_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "gateway/shard.h"

struct shard_keeper;

struct shard_keeper_config {
    struct loop *loop;
    struct bus *bus;
    const char *pod; /* outlives the keeper */
    uint64_t incarnation;
    uint32_t shard, shard_count;
    /* The set of shards came by resharding, or is about to: the record's key names the count. Else
     * that key is used where there is one, or else the plain one, as the first set ever has it. */
    bool is_next;
    /* session NULL: none to resume. */
    void (*on_taken)(void *ctx, const struct shard_session *session);
    void (*on_lost)(void *ctx, const char *to_pod);
    void (*on_released)(void *ctx);
    void *ctx;
};
/* Starts to take the shard at once. */
struct shard_keeper *shard_keeper_new(const struct shard_keeper_config *config) MUST_CHECK;
/* A request of it may be under way: the memory goes with its answer. */
void shard_keeper_free(struct shard_keeper *keeper);

/* What should be in the record; session->seq: last one durably published. Written soon, when it
 * differs. */
void shard_keeper_save(struct shard_keeper *keeper, const struct shard_session *session);
/* Calls on_released when it is written; when nothing was taken yet, at once. */
void shard_keeper_release(struct shard_keeper *keeper);
/* The same, but the record goes: nobody shall take the shard over. What stays below the mark of its
 * deletion names the pod, without the session. */
void shard_keeper_discard(struct shard_keeper *keeper);

#endif
