/* subjects.h - makes and reads the subjects of subjects.def.
 *
 * THREAD: any. */
#ifndef MESSAGES_SUBJECTS_H
#define MESSAGES_SUBJECTS_H

#include <stdbool.h>
#include <stdint.h>

enum { SUBJECT_SIZE = 128, SUBJECT_PARTITIONS = 16 };

struct subject {
    char text[SUBJECT_SIZE];
};

/* The guild's partition, 0 … SUBJECT_PARTITIONS - 1: the guild id's high-entropy bits mixed (splitmix64's finaliser). */
uint32_t subject_part(uint64_t guild_id);

struct subject subject_event(uint64_t guild_id);
struct subject subject_feed(uint64_t guild_id);
struct subject subject_interaction(uint64_t guild_id);
struct subject subject_portal(uint64_t guild_id);
struct subject subject_log(uint64_t guild_id);
struct subject subject_tail(uint64_t guild_id);
struct subject subject_heartbeat(const char *pod); /* "*" for the wildcard */
struct subject subject_control(const char *pod);
struct subject subject_forward(const char *pod);
struct subject subject_assignment(uint64_t guild_id);
struct subject subject_coordinator(const char *verb);
/* Stream that keeps the guild's log: "LOG_<part>". */
struct subject subject_log_stream(uint64_t guild_id);

/* The guild id in an event, feed, interaction, portal, log, tail or assignment subject; false: another kind. */
bool subject_guild(const char *subject, uint64_t *ret_guild_id);
/* pod.<pod>.x → pod; false: another kind or too long. */
bool subject_pod(const char *subject, char ret_pod[65]);

#endif
