/* publish.h - things that happen in the world: they change it, the sessions hear of it, the record
 * has it.
 *
 * Each returns whether a session took the event; what nobody took happened all the same, as at
 * Discord.
 *
 * THREAD: confined. */
#ifndef SIM_PUBLISH_H
#define SIM_PUBLISH_H

#include <jansson.h>
#include <stdbool.h>

#include "tests/discord-sim/sim.h"

/* extra: fields beside the content, taken; NULL: none. ret_message may be NULL. */
bool publish_message(struct sim *s, struct channel *c, struct user *author, const char *content,
                     json_t *extra, struct message **ret_message);
/* An ephemeral message: it exists, but in no channel. extra as above. */
struct message *publish_hidden(struct sim *s, const struct channel *c, const char *content,
                               json_t *extra);
/* content NULL: unchanged. patch: fields to replace, borrowed; NULL: none. */
bool publish_edit(struct sim *s, struct message *m, const char *content, json_t *patch);
/* Frees m. */
bool publish_delete(struct sim *s, struct message *m);
/* False also when it is there already, is not there, or does not fit. */
bool publish_reaction(struct sim *s, struct message *m, struct user *u, const char *emoji,
                      bool add);
bool publish_typing(struct sim *s, struct channel *c, const struct user *u);
/* type: GUILD_MEMBER_ADD, _UPDATE, _REMOVE, GUILD_BAN_ADD, _REMOVE */
bool publish_member(struct sim *s, struct guild *g, const struct member *m, enum event_type type);
/* type: CHANNEL_* or THREAD_* */
bool publish_channel(struct sim *s, const struct channel *c, enum event_type type);
bool publish_role(struct sim *s, struct guild *g, const struct role *r, enum event_type type);
/* Any dispatch, its d as it is. */
bool publish_raw(struct sim *s, uint64_t guild_id, const char *name, json_t *d);

#endif
