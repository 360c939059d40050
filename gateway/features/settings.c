#include "gateway/features/settings.h"

#include <string.h>

#include "base/json.h"

enum setting_type { CHANNEL_OR_ROLE_ID, ON_OFF };
static const struct setting {
    const char *key;
    enum setting_type type;
} known_settings[] = {
    { "modLog", CHANNEL_OR_ROLE_ID },     { "moderator", CHANNEL_OR_ROLE_ID },
    { "restricted", CHANNEL_OR_ROLE_ID }, { "deletionLog", CHANNEL_OR_ROLE_ID },
    { "activityTracking", ON_OFF },
};

/* What is stored but not an object counts as no settings, so that it can be written anew. */
static enum status load(struct unit *u, json_t **ret, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "SELECT settings FROM guilds WHERE guild_id = ?1");
    const char *text = "";

    unit_bind_id(q, 1, u->guild_id);
    enum status status = unit_step(u, q, err);
    if (status == STATUS_OK)
        text = unit_column_text(u, q, 0);
    else if (status != STATUS_NOT_FOUND)
        return status;
    sqlite3_reset(q);
    if (json_parse(text, strlen(text), ret, NULL) != STATUS_OK)
        *ret = json_object();
    if (json_is_object(*ret))
        return STATUS_OK;
    json_decref(*ret);
    *ret = json_object();
    return STATUS_OK;
}

enum status settings_load(struct unit *u, struct guild_settings *ret, struct err *err)
{
    CLEANUP(json_decref) json_t *all = NULL;

    TRY(load(u, &all, err));
    *ret = (struct guild_settings){
        .mod_log = json_id(all, "modLog"),
        .moderator = json_id(all, "moderator"),
        .restricted = json_id(all, "restricted"),
        .deletion_log = json_id(all, "deletionLog"),
        .activity_tracking = !json_is_false(json_object_get(all, "activityTracking")),
    };
    return STATUS_OK;
}

static enum status text_of(struct unit *u, const json_t *all, const char **ret_json,
                           struct err *err)
{
    char *text = json_text(all);
    const char *copy = arena_printf(u->arena, "%s", text);

    free(text);
    if (!copy)
        return err_set(err, STATUS_BUSY, "settings: the unit is too large");
    *ret_json = copy;
    return STATUS_OK;
}

enum status settings_text(struct unit *u, const char **ret_json, struct err *err)
{
    CLEANUP(json_decref) json_t *all = NULL;

    TRY(load(u, &all, err));
    return text_of(u, all, ret_json, err);
}

static enum status check(const char *key, const json_t *value, struct err *err)
{
    uint64_t id;

    for (size_t i = 0; i < ARRAY_LEN(known_settings); i++) {
        if (strcmp(known_settings[i].key, key) != 0)
            continue;
        if (json_is_null(value))
            return STATUS_OK;
        if (known_settings[i].type == ON_OFF)
            return json_is_boolean(value)
                       ? STATUS_OK
                       : err_set(err, STATUS_INVALID, "%s must be true or false", key);
        if (json_is_string(value) && id_parse(json_string_value(value), &id))
            return STATUS_OK;
        return err_set(err, STATUS_INVALID, "%s must be an id in decimal digits, as text", key);
    }
    return err_set(err, STATUS_INVALID, "unknown setting %.60s", key);
}

static enum status merge(json_t *all, const char *patch_json, struct err *err)
{
    CLEANUP(json_decref) json_t *patch = NULL;
    size_t size = strnlen(patch_json, SETTINGS_MAX_BYTES + 1);
    const char *key;
    json_t *value;

    if (size > SETTINGS_MAX_BYTES)
        return err_set(err, STATUS_INVALID, "settings: more than %d bytes", SETTINGS_MAX_BYTES);
    TRY(json_parse(patch_json, size, &patch, err));
    if (!json_is_object(patch))
        return err_set(err, STATUS_INVALID, "settings: a merge patch is a JSON object");
    json_object_foreach(patch, key, value)
    {
        TRY(check(key, value, err));
        if (json_is_null(value))
            json_object_del(all, key);
        else
            json_object_set(all, key, value);
    }
    return STATUS_OK;
}

enum status settings_patch(struct unit *u, const char *patch_json, const char **ret_json,
                           struct err *err)
{
    CLEANUP(json_decref) json_t *all = NULL;
    const char *text = "";

    TRY(load(u, &all, err));
    TRY(merge(all, patch_json, err));
    TRY(text_of(u, all, &text, err));
    if (strlen(text) > SETTINGS_MAX_BYTES)
        return err_set(err, STATUS_INVALID, "settings: more than %d bytes", SETTINGS_MAX_BYTES);

    sqlite3_stmt *q =
        unit_sql(u, "INSERT INTO guilds(guild_id, settings) VALUES(?1, ?2)"
                    " ON CONFLICT(guild_id) DO UPDATE SET settings = excluded.settings"
                    " WHERE guilds.settings IS NOT excluded.settings");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, text);
    TRY(unit_run(u, q, err));
    *ret_json = text;
    return STATUS_OK;
}
