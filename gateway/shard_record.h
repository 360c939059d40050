/* shard_record.h - what the KV bucket SHARDS says about a shard: its session, and who holds it.
 *
 * One JSON object a shard, readable with `nats kv get SHARDS shard-0`.
 *
 * THREAD: any; a value. */
#ifndef GATEWAY_SHARD_RECORD_H
#define GATEWAY_SHARD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gateway/shard.h"

struct shard_record {
    struct shard_session session; /* seq: last one durably published */
    char pod[65];
    uint64_t incarnation;
    bool released; /* its holder has closed the connection and published all it received */
    uint32_t shard_count;
    int64_t at_ms; /* wall clock, when it was written */
};

/* INVALID: not such an object. */
enum status shard_record_parse(const char *text, size_t size, struct shard_record *ret_record,
                               struct err *err) MUST_CHECK;
/* malloc'd. */
char *shard_record_text(const struct shard_record *record);

#endif
