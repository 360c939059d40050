/* publish_window.h - dispatches on their way to the bus: in order per guild, many guilds at once.
 *
 *     add ─▶ [ring, in the order received] ─▶ at most one of each guild is out ─▶ acked / failed
 *                └── watermark: all before it are acked, so a RESUME may start there
 *
 * A guild's next message leaves when its previous one is stored. So its order in the stream is
 * Discord's order whatever fails, and nothing has to be taken back; other guilds are not held up. A
 * failed one goes out again under its old id.
 *
 * Bounded: window_is_full asks the caller to stop reading; window_add refuses beyond the ring.
 *
 * THREAD: confined; does no I/O. */
#ifndef GATEWAY_PUBLISH_WINDOW_H
#define GATEWAY_PUBLISH_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WINDOW_RING = 8192, /* hard bound */
    WINDOW_FULL = 4096, /* soft: what one read may still bring must fit on top */
    WINDOW_FULL_BYTES = 32 << 20,
};

struct window;
struct lane;
struct window_entry {
    uint64_t number; /* 1, 2, 3 … in the order added: names the entry */
    uint64_t guild_id, seq;
    uint32_t session; /* which of the shard's sessions, counted here */
    bool out, held, acked;
    unsigned tries;
    char *data; /* owned; NULL: nothing to send */
    size_t size;
    struct window_entry *next_of_guild;
    struct lane *lane; /* while it is not acked */
};

struct window *window_new(void) __attribute__((warn_unused_result));
void window_free(struct window *window);

/* A new session begins: its watermark starts at 0. */
void window_begin_session(struct window *window, uint64_t seq);
/* Takes *data (malloc'd; NULL: counts as acked at once). False, nothing taken: the ring is full. */
bool window_add(struct window *window, uint64_t guild_id, uint64_t seq, char **data, size_t size);
/* As window_add, but the entry keeps its place and does not go out until it is decided about.
 * Returns its number; 0: the ring is full. */
uint64_t window_hold(struct window *window, uint64_t guild_id, uint64_t seq, char **data,
                     size_t size);
/* It need not go out: counts as acked. */
void window_release(struct window *window, uint64_t number);
/* It goes out, behind what its guild has waiting. */
void window_send(struct window *window, uint64_t number);
/* The next entry that may go out now, marked as out; NULL: none. */
struct window_entry *window_next(struct window *window);
/* What became of an entry that was out. NULL number: unknown ones are ignored. */
struct window_entry *window_find(struct window *window, uint64_t number);
void window_acked(struct window *window, struct window_entry *entry);
/* It waits for window_retry. */
void window_failed(struct window *window, struct window_entry *entry);
/* All failed ones may go out again. */
void window_retry(struct window *window);

/* Above the number of every entry that was added until now. */
uint64_t window_end(const struct window *window);

bool window_is_full(const struct window *window);
/* Room enough that reading may go on. */
bool window_is_half_empty(const struct window *window);
size_t window_waiting(const struct window *window);
/* Last seq of the current session with nothing unacked before it. */
uint64_t window_watermark(const struct window *window);

#endif
