/* answer.h - answers to interactions, messages and REST calls, from parts.
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_FEATURES_ANSWER_H
#define GATEWAY_FEATURES_ANSWER_H

#include <stdbool.h>

#include "gateway/features/settings.h"
#include "gateway/unit.h"

enum callback_type { CALLBACK_MESSAGE = 4, CALLBACK_UPDATE = 7 };
enum { FLAG_EPHEMERAL = 64 };
enum discord_limit { /* Discord, in UTF-16 units at most */
                     LIMIT_MESSAGE = 2000,
                     LIMIT_EMBED_DESCRIPTION = 4096,
                     LIMIT_EMBED_FIELD = 1024,
                     LIMIT_THREAD_NAME = 100,
};
enum discord_permission { /* bits */
                          PERMISSION_ADMINISTRATOR = 0x8,
                          PERMISSION_MANAGE_GUILD = 0x20,
                          PERMISSION_MANAGE_MESSAGES = 0x2000,
};

/* {"content": …} that mentions nobody. */
json_t *message_new(const char *content);
/* The callback object around data, which is taken. */
enum status answer_with(struct unit *u, enum callback_type type, json_t **data,
                        const char **ret_callback, struct err *err) MUST_CHECK;
/* Only the one who asked sees it. */
enum status answer_private(struct unit *u, const char *text, const char **ret_callback,
                           struct err *err) MUST_CHECK;
/* JSON text in the unit's arena; value is taken. BUSY: the unit is too large. */
enum status unit_json_text(struct unit *u, json_t **value, const char **ret_text, struct err *err)
    MUST_CHECK;
/* unit_act with body, which is taken, as its body_json. A path of NULL is an arena that was full:
 * BUSY. */
enum status act_with(struct unit *u, const struct action *action, json_t **body, struct err *err)
    MUST_CHECK;

bool is_success(const struct action_result *result);
/* ISO 8601, UTC, ms; in the unit's arena, "" when that is full. */
const char *unit_iso_time(struct unit *u, int64_t ms);
void unit_bind_id_or_null(sqlite3_stmt *q, int at, uint64_t id); /* 0 is NULL */

/* Administrator, Manage Messages, or the moderator role. */
bool may_moderate(const struct interaction *in, const struct guild_settings *settings);
/* An option of a slash command; NULL: not given. */
const json_t *command_option(const struct interaction *in, const char *name);
/* resolved.<kind>.<id> of the interaction; NULL: not there. */
const json_t *resolved(const struct interaction *in, const char *kind, uint64_t id);

#endif
