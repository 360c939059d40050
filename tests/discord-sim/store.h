/* store.h - the messages that exist, newest N of them.
 *
 * Beyond its capacity the oldest message is forgotten, as if it had never been: GET answers 404
 * then.
 *
 * THREAD: confined. */
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "tests/discord-sim/world.h"

enum { MESSAGE_MAX_REACTIONS = 12, CHANNEL_MAX_LISTED = 65536 };
enum { MESSAGE_FLAG_EPHEMERAL = 64, MESSAGE_FLAG_HAS_THREAD = 32 };

struct reaction {
    uint64_t user_id;
    char emoji[32]; /* "😀" or "name:id" */
};
struct message {
    uint64_t id, channel_id, guild_id, thread_id;
    struct user *author;
    char *content;
    json_t *extra; /* embeds, components, flags, message_reference …; NULL: none */
    int64_t edited_ms;
    struct reaction *reactions; /* MESSAGE_MAX_REACTIONS of them; NULL: none yet */
    uint8_t reaction_count;
    bool had_content; /* when it was created */
    bool hidden;      /* ephemeral: in no channel, no session hears of it */
};
/* The fields of a message body that are kept beside its content; NULL: there are none. */
json_t *message_extra_of(const json_t *body);
struct message *message_new(uint64_t id, const struct channel *c, struct user *author,
                            const char *content);
void message_free(struct message *m);
DEFINE_CLEANUP(struct message *, message_free)
/* False: nobody may react again, or this one did with this emoji. */
bool message_react(struct message *m, uint64_t user_id, const char *emoji);
/* False: it was not there. */
bool message_unreact(struct message *m, uint64_t user_id, const char *emoji);

struct store;
struct store *store_new(size_t capacity);
void store_free(struct store *s);
DEFINE_CLEANUP(struct store *, store_free)
/* Takes *m. Lists it in c; NULL: nowhere. */
struct message *store_add(struct store *s, struct channel *c, struct message **m);
struct message *store_get(const struct store *s, uint64_t id);
void store_remove(struct store *s, uint64_t id);
size_t store_count(const struct store *s);

#endif
