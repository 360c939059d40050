/* settings.h - a guild's settings: one JSON object in guilds.settings.
 *
 * Known keys: modLog, deletionLog (channel ids), moderator, restricted (role ids), activityTracking
 * (a boolean, on unless it says false). Ids are decimal strings. Keys that are not known here (of
 * an imported database) are kept.
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_FEATURES_SETTINGS_H
#define GATEWAY_FEATURES_SETTINGS_H

#include <stdbool.h>

#include "gateway/unit.h"

enum { SETTINGS_MAX_BYTES = 16384 };

struct guild_settings { /* ids are 0 where nothing is set */
    uint64_t mod_log, moderator, restricted, deletion_log;
    bool activity_tracking;
};
enum status settings_load(struct unit *u, struct guild_settings *ret, struct err *err) MUST_CHECK;
/* The JSON text, from the arena; "{}" when the guild has none. */
enum status settings_text(struct unit *u, const char **ret_json, struct err *err) MUST_CHECK;
/* RFC 7396 merge patch, null clears a key. INVALID: not an object, an unknown key (err names it), a
 * value that cannot be, or too large. ret_json as in settings_text. */
enum status settings_patch(struct unit *u, const char *patch_json, const char **ret_json,
                           struct err *err) MUST_CHECK;

#endif
