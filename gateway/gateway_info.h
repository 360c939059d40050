/* gateway_info.h - GET /gateway/bot: the main URL, the recommended shard count, the IDENTIFY
 * budget.
 *
 * Asked at start, until it is known, and again when somebody needs it fresh.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_GATEWAY_INFO_H
#define GATEWAY_GATEWAY_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "gateway/discord_rest.h"
#include "gateway/shard.h"

struct gateway_facts {
    char url[SHARD_URL_SIZE];
    uint32_t shards;          /* recommended */
    uint32_t max_concurrency; /* IDENTIFYs per 5 s, at least 1 */
    int64_t total, remaining; /* of the day's IDENTIFYs */
    int64_t reset_after_ms;
};
/* INVALID: not such an answer. */
enum status gateway_facts_parse(const char *body, size_t size, struct gateway_facts *ret_facts,
                                struct err *err) MUST_CHECK;

struct gateway_info;
struct gateway_info *gateway_info_new(struct loop *loop, struct discord_rest *rest) MUST_CHECK;
/* A call of it may be under way: only when the loop does not run any more. */
void gateway_info_free(struct gateway_info *info);

/* NULL: not known yet. */
const struct gateway_facts *gateway_info_facts(const struct gateway_info *info);
int64_t gateway_info_age_ms(const struct gateway_info *info);
/* Asks again, at most once in 5 s. */
void gateway_info_refresh(struct gateway_info *info);
/* One IDENTIFY was sent: until the next answer we count ourselves. */
void gateway_info_spend(struct gateway_info *info);

#endif
