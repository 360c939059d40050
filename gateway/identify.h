/* identify.h - who may IDENTIFY now: the coordinator's grants, or a local limit without one.
 *
 * Discord takes max_concurrency IDENTIFYs per 5 s, one for each shard_id % max_concurrency, and a
 * fixed number a day; over the daily limit it resets the bot's token. So nobody identifies without
 * a grant, and nobody with an empty budget.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_IDENTIFY_H
#define GATEWAY_IDENTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "gateway/gateway_info.h"

struct identify_gate;
struct identify_gate_config {
    struct loop *loop;
    struct bus *bus;
    struct gateway_info *info;
    const char *pod;
    bool ask_coordinator;
};
struct identify_gate *identify_gate_new(const struct identify_gate_config *config) MUST_CHECK;
void identify_gate_free(struct identify_gate *gate);

struct identify_wish;
/* on_granted is called once, never from within this call. */
struct identify_wish *identify_ask(struct identify_gate *gate, uint32_t shard, uint32_t count,
                                   void (*on_granted)(void *ctx), void *ctx) MUST_CHECK;
/* Clears *slot; no on_granted comes any more. Also after on_granted. */
void identify_cancel(struct identify_wish **slot);

/* One bucket per max_concurrency key: when it is free again. Pure. */
enum {
    IDENTIFY_BUCKETS = 256,
    IDENTIFY_EACH_MS = 5250
}; /* Discord: 5 s; the rest for the way there */
struct identify_buckets {
    int64_t free_ms[IDENTIFY_BUCKETS];
};
/* 0: granted, and counted; else how long to wait, in ms. */
int64_t identify_take(struct identify_buckets *buckets, uint32_t shard, uint32_t max_concurrency,
                      int64_t now_ms);

#endif
