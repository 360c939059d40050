/* objects.h - users, members, channels, guilds and messages as the JSON that Discord sends.
 *
 * THREAD: any; reads what it is given. */
#ifndef SIM_OBJECTS_H
#define SIM_OBJECTS_H

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/store.h"
#include "tests/discord-sim/world.h"

void object_user(struct out *o, const struct user *u);
/* with_user: the member's user too (not in messages). with_permissions: as in interactions. */
void object_member(struct out *o, const struct guild *g, const struct member *m, bool with_user,
                   bool with_permissions);
void object_role(struct out *o, const struct role *r);
void object_channel(struct out *o, const struct channel *c);
/* What GET /guilds/{g} answers. */
void object_guild(struct out *o, const struct guild *g);
/* The d of GUILD_CREATE; at most so many members beside the bot. */
void object_guild_create(struct out *o, const struct guild *g, size_t members);
enum message_shape {
    MESSAGE_REST,          /* as a REST answer */
    MESSAGE_EVENT,         /* with guild_id and member */
    MESSAGE_EVENT_BLANKED, /* the same for a session without the MESSAGE_CONTENT intent */
};
void object_message(struct out *o, const struct world *w, const struct message *m,
                    enum message_shape shape);
/* {"id":…,"name":…} of "😀" or "name:id". */
void object_emoji(struct out *o, const char *emoji);

#endif
