/* shards.h - the Discord sessions this pod holds.
 *
 *     Discord ══ws══▶ shard session ──▶ event.<part>.<guild> ──▶ EVENTS
 *                           │ Nats-Msg-Id: <session>:<seq>
 *                           └─ contiguously acked seq ──▶ KV SHARDS (compare-and-set)
 *
 * Resharding: the next set of shards is held beside the current one. What it receives is dropped,
 * then kept; the current one retires; then the next one is the current one, and what was kept goes
 * out. So each event of the last moments comes twice, none is lost, and all that the former set
 * said stands in EVENTS before what the next one says.
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
#include "gateway/gateway_info.h"

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

enum shards_stage { SHARDS_NONE, SHARDS_OPENING, SHARDS_KEEPING, SHARDS_RETIRING };
/* count is the cluster's shard count; ids those of this pod. count 0: not known yet, hold nothing.
 * next_count 0: there are no next ones. */
struct shards_wish {
    uint32_t count, next_count;
    const uint32_t *ids, *next_ids;
    size_t id_count, next_id_count;
    enum shards_stage stage;
};
/* Idempotent. While next shards keep what they receive, it must come again at least every 20 s:
 * with nobody to say that the others have retired, they publish; also when these take over 30 s. */
void shards_want(struct shards *shards, const struct shards_wish *wish);
/* What GET /gateway/bot recommended; 0 while not known. */
uint32_t shards_recommended(const struct shards *shards);
size_t shards_held(const struct shards *shards, uint32_t *ret_ids, size_t max);
/* Of the next ones: live with their guilds, and of these those that keep what they receive. */
size_t shards_next_ready(const struct shards *shards, uint32_t *ret_ids, size_t max);
size_t shards_next_keeping(const struct shards *shards, uint32_t *ret_ids, size_t max);
/* Wanted ones that are neither live and read (the bus is not slow) nor refused by Discord for good. */
uint32_t shards_unsettled(const struct shards *shards);
/* Of the current ones, while these retire. */
size_t shards_retired(const struct shards *shards, uint32_t *ret_ids, size_t max);
/* NULL: not known yet. What is older than ten minutes is asked for again. */
const struct gateway_facts *shards_facts(const struct shards *shards, int64_t *ret_age_ms);
/* Closes all with a code that keeps the sessions, saves them, calls done(ctx) when the last ack and
 * save came. */
void shards_stop(struct shards *shards, void (*done)(void *ctx), void *ctx);

#endif
