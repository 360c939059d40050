/* subjects.h - makes and reads the subjects of subjects.def.
 *
 * A name that could not be one token of a subject (empty, too long, with a dot, a blank or a
 * wildcard in it) gives the empty subject, which the bus refuses: what a message says can choose a
 * pod, but never another kind of subject.
 *
 * THREAD: any. */
#ifndef MESSAGES_SUBJECTS_H
#define MESSAGES_SUBJECTS_H

#include <stdbool.h>
#include <stdint.h>

enum { SUBJECT_SIZE = 128, SUBJECT_PARTITIONS = 16, SUBJECT_TOKEN_SIZE = 65 };

/* Where each program listens for answers; nobody else may (deploy/nats/auth.conf). */
#define SUBJECT_INBOX_EDGE        "_INBOX.edge"
#define SUBJECT_INBOX_GATEWAY     "_INBOX.gateway"
#define SUBJECT_INBOX_COORDINATOR "_INBOX.coordinator"

struct subject {
    char text[SUBJECT_SIZE];
};

enum subject_kind {
#define SUBJECT(NAME, ...) SUBJECT_##NAME,
#include "messages/subjects.def"
#undef SUBJECT
    SUBJECT_KINDS
};

/* The guild's partition, 0 … SUBJECT_PARTITIONS - 1: the guild id's high-entropy bits mixed
 * (splitmix64's finaliser). */
uint32_t subject_part(uint64_t guild_id);

struct subject subject_event(uint64_t guild_id);
struct subject subject_feed(uint64_t guild_id);
struct subject subject_interaction(uint64_t guild_id);
struct subject subject_portal(uint64_t guild_id);
struct subject subject_log(uint64_t guild_id);
struct subject subject_tail(uint64_t guild_id);
/* All chunks of the guild's snapshots; a Snapshot record names its own by their sequences. */
struct subject subject_snapshot(uint64_t guild_id);
struct subject subject_heartbeat(const char *pod); /* "*" for the wildcard */
struct subject subject_control(const char *pod);
struct subject subject_forward(const char *pod);
struct subject subject_assignment(uint64_t guild_id);
struct subject subject_coordinator(const char *verb);
/* The shard's key in the KV bucket of sessions. */
struct subject subject_shard(uint32_t shard);
/* The same for a shard of a count that came by resharding. */
struct subject subject_shard_of(uint32_t count, uint32_t shard);
/* Stream that keeps the guild's log: "LOG_<part>". */
struct subject subject_log_stream(uint64_t guild_id);

/* All of a kind, e.g. "event.>" or "pod.*.heartbeat". Static text. */
const char *subject_wildcard(enum subject_kind kind);
/* Which bodies the kind carries, for people: "event". Static text. */
const char *subject_body(enum subject_kind kind);
/* All of a kind with a part, of one part: "log.3.>". */
struct subject subject_of_part(enum subject_kind kind, uint32_t part);

/* The guild id in an event, feed, interaction, portal, log, tail, snapshot or assignment subject; false:
 * another kind, not a guild id, or under a part that is not the guild's. */
bool subject_guild(const char *subject, uint64_t *ret_guild_id);
/* pod.<pod>.x → pod; false: another kind or too long. */
bool subject_pod(const char *subject, char ret_pod[SUBJECT_TOKEN_SIZE]);
/* The same for any kind: false when the subject is of none. Tools guess a body's kind by it. */
bool subject_kind(const char *subject, enum subject_kind *ret_kind);

#endif
