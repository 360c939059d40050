/* stall.h - says when an event loop stood still, and in what.
 *
 *     stall_begin ─▶ callback ─▶ stall_look ─▶ callback ─▶ stall_look …        one clock read each
 *
 * Half a second or more is a warning "loop_stalled" and is seen in guildbus_loop_stall_seconds. fn is
 * the callback as program+offset, for `addr2line -fe program offset`.
 *
 * THREAD: confined to the loop's. */
#ifndef BASE_STALL_H
#define BASE_STALL_H

#include <stdint.h>

struct stall {
    int64_t from_us; /* when the last callback ended, or the first began */
};

/* Nothing of ours has run since the last look: what was due at due_us and is not done by now waited for
 * something else, a callback of lws or the machine. due_us may be INT64_MAX. */
void stall_begin(struct stall *s, int64_t due_us);
/* What ran since the last look, or since stall_begin, was fn, a callback of this kind. */
void stall_look(struct stall *s, const char *kind, void (*fn)(void));
/* Forgets the time until now: the loop did not run. */
void stall_forget(struct stall *s);

#endif
