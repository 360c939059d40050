/* streams.h - the JetStream streams that must exist, and making them.
 *
 *   EVENTS       event.>       republished to feed.>, max age, dedupe window 2 min, direct get
 *   LOG_<part>   log.<part>.>  republished to tail.<part>.>, rollup, dedupe 2 min, direct get
 *   SNAPSHOTS    snapshot.>    chunks of snapshots too large for one record, purged by the next one, direct get
 *   ASSIGNMENTS  assignment.*  last value per subject
 *   KV_SHARDS    $KV.SHARDS.>  the KV bucket of shard sessions, one revision kept
 *
 * Any number of programs may do this at once: the server settles who makes a stream.
 *
 * THREAD: any; blocks, for start-up. */
#ifndef MESSAGES_STREAMS_H
#define MESSAGES_STREAMS_H

#include "base/bus.h"
#include "base/status.h"

#define STREAM_EVENTS      "EVENTS"
#define STREAM_SNAPSHOTS   "SNAPSHOTS"
#define STREAM_ASSIGNMENTS "ASSIGNMENTS"
#define STREAM_SHARDS      "KV_SHARDS"
#define BUCKET_SHARDS      "SHARDS"

struct streams_config {
    int replicas;         /* 1 or 3; >1, wanted or found, needs nats-server 2.10.23, else INVALID */
    int64_t events_hours; /* how long events are kept, at least 1 */
};
/* Creates what is missing and adds replicas to what exists with fewer; leaves the rest of what
 * exists. CONFLICT: a stream exists with other subjects, or the server cannot have the replicas.
 * UNAVAILABLE: JetStream, or a server of the cluster, is off or away. */
enum status streams_ensure(struct bus *bus, const struct streams_config *config, struct err *err)
    MUST_CHECK;

#endif
