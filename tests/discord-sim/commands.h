/* commands.h - the application commands that the bot registered.
 *
 * THREAD: confined. */
#ifndef SIM_COMMANDS_H
#define SIM_COMMANDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "tests/discord-sim/world.h"

struct commands;
struct commands *commands_new(struct world *w);
void commands_free(struct commands *c);
DEFINE_CLEANUP(struct commands *, commands_free)

/* Replaces all of a guild's (0: the global ones). NULL: accepted; else why Discord refuses. A
 * command whose name and type were there keeps its id. */
const char *commands_overwrite(struct commands *c, uint64_t guild_id, const json_t *list);
/* Adds one or replaces the one of its name and type. As above; *ret_command is borrowed. */
const char *commands_put(struct commands *c, uint64_t guild_id, const json_t *command,
                         json_t **ret_command);
/* An array; borrowed. */
json_t *commands_list(struct commands *c, uint64_t guild_id);
bool commands_remove(struct commands *c, uint64_t guild_id, uint64_t id);
/* Of a global command by its name, else of any guild's; a made-up id when nobody registered it. */
uint64_t commands_id(const struct commands *c, const char *name);
bool commands_is_of_guild(const struct commands *c, const char *name);

#endif
