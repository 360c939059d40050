/* shards.h - the Discord sessions this pod holds.
 *
 *     Discord ══ws══▶ shard session ──▶ event.<part>.<guild> ──▶ EVENTS
 *                           │ Nats-Msg-Id: <session>:<seq>
 *                           └─ contiguously acked seq ──▶ KV SHARDS (compare-and-set)
 *
 * shards_want says which shards should be held: new ones are taken over from the SHARDS bucket
 * (RESUME) or identified, surplus ones are closed with a code that keeps the session and marked
 * released in the bucket.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_SHARDS_H
#define GATEWAY_SHARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "base/status.h"
#include "gateway/discord_rest.h"

struct shards;

struct shards_config {
    struct loop *loop;
    struct bus *bus;
    struct discord_rest *rest; /* for GET /gateway/bot and answers to interactions */
    const char *token, *pod;
    uint64_t incarnation;
    bool compress;        /* ask Discord for zlib-stream */
    bool ask_coordinator; /* identify grants and guilds-seen; false with a fixed list of guilds */
};
enum status shards_new(const struct shards_config *config, struct shards **ret_shards,
                       struct err *err) MUST_CHECK;
/* When the loop has stopped for good (calls under way name it), and before bus, rest and loop are
 * freed. */
void shards_free(struct shards *shards);
DEFINE_CLEANUP(struct shards *, shards_free)

/* count is the cluster's shard count; ids those of this pod. Idempotent. count 0: not known yet,
 * hold nothing. */
void shards_want(struct shards *shards, uint32_t count, const uint32_t *ids, size_t id_count);
/* What GET /gateway/bot recommended; 0 while not known. */
uint32_t shards_recommended(const struct shards *shards);
size_t shards_held(const struct shards *shards, uint32_t *ret_ids, size_t max);
/* Closes all with a code that keeps the sessions, saves them, calls done(ctx) when the last ack and
 * save came. */
void shards_stop(struct shards *shards, void (*done)(void *ctx), void *ctx);

#endif
