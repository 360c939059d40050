/* frame.h - reads a gateway payload {"op","s","t","d"} without building a tree.
 *
 * The holder of a shard only routes: it needs op, s, t, the raw bytes of d, and d.guild_id / d.id.
 * A large payload is validated and cut in one pass; the owner of the guild parses it. What is not
 * JSON (bad UTF-8, control characters, trailing bytes, nesting over SCAN_DEPTH) is refused. Keys
 * are compared as their raw bytes; the last of two equal keys wins, as in jansson.
 *
 * Spans point into the text they were read from.
 *
 * THREAD: any. */
#ifndef GATEWAY_FRAME_H
#define GATEWAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scan.h"
#include "base/status.h"

enum { FRAME_TYPE_SIZE = 64 };

struct frame {
    int op;
    bool has_seq;
    uint64_t seq;
    char type[FRAME_TYPE_SIZE]; /* "" when t is null or absent */
    struct span d;              /* size 0: absent */
    uint64_t guild_id;          /* d.guild_id, 0: absent or null */
    uint64_t id;                /* d.id, 0: absent or no snowflake */
};

/* INVALID: malformed, or no op. */
enum status frame_parse(const char *text, size_t size, struct frame *ret_frame, struct err *err)
    MUST_CHECK;

/* The guild an event belongs to; 0: none (direct messages, the bot's own user). */
uint64_t frame_guild(const struct frame *frame);
/* GUILD_CREATE's d with members, presences and voice_states as empty arrays: what grows with a
 * guild's size and nobody here reads. into must have d.size bytes; returns how many were written.
 */
size_t frame_cut_guild(struct span d, char *into);

#endif
