/* meter.h - what the leader's parts and its decisions cost in CPU time.
 *
 *     meter_enter(PART) … meter_leave(before): what lies between counts for PART, but for what is
 *     entered in between, which counts for itself.
 *
 * THREAD: confined. */
#ifndef BENCH_PLACEMENT_METER_H
#define BENCH_PLACEMENT_METER_H

#include <stdint.h>

enum part {
#define PART(name, text) PART_##name,
#include "bench/placement/parts.def"
    PART_COUNT
};
enum decision {
#define DECISION(function, name) DECISION_##name,
#include "bench/placement/decisions.def"
    DECISION_COUNT
};

const char *part_text(enum part part);
const char *decision_text(enum decision decision);

/* Returns the part that was before. */
enum part meter_enter(enum part part);
void meter_leave(enum part before);

struct meter {
    int64_t cpu_ns[PART_COUNT];
    struct {
        uint64_t count, timed; /* some of them are timed */
        int64_t timed_ns;
    } decisions[DECISION_COUNT];
    int64_t longest_turn_ns; /* of the leader: messages read, and the turn that follows */
};
/* Since the last one. */
struct meter meter_read(void);
/* CPU time of the leader since the last reading. */
int64_t meter_leader_ns(void);
void meter_note_turn(int64_t ns);
/* Nanoseconds of one call; 0: none was timed. */
double decision_ns(const struct meter *m, enum decision decision);

#endif
