/* shard_holder.h - holds one shard: carries out what the session's state machine (shard.h) decides.
 *
 *     keeper ─▶ taken ─▶ machine ◀─▶ socket                 dispatch ─▶ publisher ─▶ EVENTS
 *       ▲                                                                  │ watermark
 *       └──────────────────────────── save ◀───────────────────────────────┘
 *
 * Stopping: close with a code that keeps the session, wait until all that was received is
 * published, save, release.
 *
 * Retiring, when another set of shards takes its place: take the shard over and resume it if need
 * be (also when the heartbeat stays unanswered), wait until a heartbeat shows that nothing is on its
 * way from Discord, close, wait until all that was received is published, delete the record.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_SHARD_HOLDER_H
#define GATEWAY_SHARD_HOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "gateway/gateway_info.h"
#include "gateway/guilds_seen.h"
#include "gateway/identify.h"
#include "gateway/interactions.h"
#include "gateway/shard_publish.h"
#include "gateway/shard_socket.h"

/* What all holders of a pod share. */
struct shard_pod {
    struct loop *loop;
    struct bus *bus;
    const char *token, *pod;
    uint64_t incarnation;
    struct shard_net *net;
    struct gateway_info *info;
    struct identify_gate *gate;
    struct guilds_seen *seen; /* NULL: nobody to tell */
    struct interactions *interactions;
};

struct shard_holder;
/* Starts to take the shard over. on_end is called once, from the loop, when it holds the shard no
 * more: released as asked, or lost to another pod. Then free it. */
struct shard_post {
    uint32_t shard, count;
    bool is_next; /* as shard_keeper.h says */
    enum publish_mode mode;
};
struct shard_holder *shard_holder_new(const struct shard_pod *pod, const struct shard_post *post,
                                      void (*on_end)(void *ctx, struct shard_holder *holder),
                                      void *ctx) MUST_CHECK;
void shard_holder_free(struct shard_holder *holder);
void shard_holder_set_mode(struct shard_holder *holder, enum publish_mode mode);
void shard_holder_stop(struct shard_holder *holder);
void shard_holder_retire(struct shard_holder *holder);
/* Its set of shards is over: as stop, but nothing is waited for, and the record goes. */
void shard_holder_discard(struct shard_holder *holder);

uint32_t shard_holder_id(const struct shard_holder *holder);
uint32_t shard_holder_count(const struct shard_holder *holder);
/* Its record names this pod, and Discord has not refused it. */
bool shard_holder_holds(const struct shard_holder *holder);
/* It is live, and Discord has sent its guilds. */
bool shard_holder_is_settled(const struct shard_holder *holder);
/* It is live and read, or refused for good. */
bool shard_holder_is_at_rest(const struct shard_holder *holder);
/* Settled, and what it receives is kept. */
bool shard_holder_is_keeping(const struct shard_holder *holder);
/* It ended as shard_holder_retire asks. */
bool shard_holder_was_retired(const struct shard_holder *holder);
/* It ended because another pod took over. */
bool shard_holder_was_lost(const struct shard_holder *holder);

#endif
