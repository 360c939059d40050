/* commands.h - the application commands of commands.def: what is registered with Discord, and how that differs from
 * what Discord has. Pure; coordinator/deploy.h asks and sends.
 *
 *     commands_payload ─┬▶ commands_differences ─▶ nothing: Discord has them
 *     GET …/commands ───┘                       └▶ PUT …/commands with commands_overwrite
 *
 * THREAD: any. */
#ifndef MESSAGES_COMMANDS_H
#define MESSAGES_COMMANDS_H

#include <jansson.h>
#include <stdbool.h>

/* All rows as Discord takes them, an array, the caller's. A guild's own commands (for_guild) have neither contexts nor
 * integration types: Discord knows those of global commands only. */
json_t *commands_payload(bool for_guild);

/* What an overwrite would change, the caller's; empty when nothing:
 *     [{"change":"new"|"gone"|"changed","name":"setup","type":1,
 *       "fields":[{"field":"options.modlog.required","from":null,"to":true}]}]
 * present is what Discord answers. What it adds by itself (ids, a version), the order of keys, and the difference
 * between a default value and none do not count, nor do commands that are neither slash, user nor message commands.
 * NULL: present is no list of commands. */
json_t *commands_differences(const json_t *wanted, const json_t *present);

/* What to send instead of what is present, the caller's: wanted, and the commands of other types as they are (Discord
 * refuses to remove the entry point of an activity by an overwrite). */
json_t *commands_overwrite(json_t *wanted, const json_t *present);

#endif
