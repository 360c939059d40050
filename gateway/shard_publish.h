/* shard_publish.h - a shard's dispatches into the stream EVENTS.
 *
 *     dispatch ─▶ route by guild ─▶ window ─▶ event.<part>.<guild> ─▶ PubAck ─▶ watermark
 *                                              Nats-Msg-Id: <session>:<seq>
 *
 * What has no ack is repeated under its id until it has one; JetStream drops the copies (window of
 * 2 minutes). Only what can never be stored (over the bus's largest payload) is skipped: counted,
 * and logged with guild and type.
 *
 * Of two sets of shards that are held at once (resharding) one publishes: the other one's
 * dispatches are dropped at first, then kept until they may go out behind the first one's.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_SHARD_PUBLISH_H
#define GATEWAY_SHARD_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "gateway/frame.h"
#include "gateway/shard.h"

struct shard_publisher;

enum publish_mode {
    PUBLISH_SENDS,
    PUBLISH_KEEPS, /* sends nothing: the window fills, then Discord waits */
    PUBLISH_DROPS, /* other shards publish the same: counts as published, also what was kept */
};

struct shard_publisher_config {
    struct loop *loop;
    struct bus *bus;
    uint32_t shard;
    enum publish_mode mode;
    /* The watermark or the room in the window has changed. */
    void (*on_progress)(void *ctx);
    void *ctx;
};
struct shard_publisher *shard_publisher_new(const struct shard_publisher_config *config) MUST_CHECK;
/* What is not acked is given up; its answers free the memory. */
void shard_publisher_free(struct shard_publisher *publisher);

/* The dispatches from now on belong to session; session->seq: up to where they are known to be
 * published. */
void shard_publisher_begin(struct shard_publisher *publisher, const struct shard_session *session);
/* READY and RESUMED count as published. BUSY: no room (is_full was not minded). */
enum status shard_publisher_add(struct shard_publisher *publisher, const struct frame *frame,
                                struct err *err) MUST_CHECK;

/* An interaction that is being answered: its place is kept until it is released (done with) or sent
 * (as a deferred one, under its own id). BUSY: no room, or over the bus's largest payload. */
enum status shard_publisher_hold(struct shard_publisher *publisher, const struct frame *frame,
                                 uint64_t *ret_place, struct err *err) MUST_CHECK;
void shard_publisher_release(struct shard_publisher *publisher, uint64_t place);
void shard_publisher_send(struct shard_publisher *publisher, uint64_t place);

void shard_publisher_set_mode(struct shard_publisher *publisher, enum publish_mode mode);
enum publish_mode shard_publisher_mode(const struct shard_publisher *publisher);
/* It keeps, and nothing is on its way to the bus. */
bool shard_publisher_is_keeping(const struct shard_publisher *publisher);

/* Stop reading. */
bool shard_publisher_is_full(const struct shard_publisher *publisher);
/* Read on. */
bool shard_publisher_has_room(const struct shard_publisher *publisher);
bool shard_publisher_is_idle(const struct shard_publisher *publisher);
/* Last seq of the session with nothing unpublished before it. */
uint64_t shard_publisher_watermark(const struct shard_publisher *publisher);

#endif
