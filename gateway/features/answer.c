#include "gateway/features/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"

json_t *message_new(const char *content)
{
    json_t *message = json_object(), *mentions = json_object();

    json_object_set_new(message, "content", json_string(content));
    json_object_set_new(mentions, "parse", json_array());
    json_object_set_new(message, "allowed_mentions", mentions);
    return message;
}

enum status unit_json_text(struct unit *u, json_t **value, const char **ret_text, struct err *err)
{
    CLEANUP(json_decref) json_t *taken = TAKE(*value);
    char *text = json_text(taken);
    const char *copy = arena_printf(u->arena, "%s", text);

    free(text);
    if (!copy)
        return err_set(err, STATUS_BUSY, "the unit is too large");
    *ret_text = copy;
    return STATUS_OK;
}

enum status answer_with(struct unit *u, enum callback_type type, json_t **data,
                        const char **ret_callback, struct err *err)
{
    json_t *callback = json_object();

    json_object_set_new(callback, "type", json_integer(type));
    json_object_set_new(callback, "data", TAKE(*data));
    return unit_json_text(u, &callback, ret_callback, err);
}

enum status answer_private(struct unit *u, const char *text, const char **ret_callback,
                           struct err *err)
{
    json_t *data = message_new(text);

    json_object_set_new(data, "flags", json_integer(FLAG_EPHEMERAL));
    return answer_with(u, CALLBACK_MESSAGE, &data, ret_callback, err);
}

enum status act_with(struct unit *u, const struct action *action, json_t **body, struct err *err)
{
    struct action complete = *action;

    TRY(unit_json_text(u, body, &complete.body_json, err));
    if (!complete.path)
        return err_set(err, STATUS_BUSY, "the unit is too large");
    return unit_act(u, &complete, err);
}

bool is_success(const struct action_result *result)
{
    return result->code >= 200 && result->code < 300;
}

const char *unit_iso_time(struct unit *u, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char text[32];

    if (!gmtime_r(&seconds, &utc) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc))
        return "";
    const char *copy = arena_printf(u->arena, "%s.%03dZ", text, (int)(ms % 1000));
    return copy ? copy : "";
}

void unit_bind_id_or_null(sqlite3_stmt *q, int at, uint64_t id)
{
    if (id)
        unit_bind_id(q, at, id);
    else
        sqlite3_bind_null(q, at);
}

static bool has_role(const struct interaction *in, uint64_t role)
{
    const json_t *roles = json_object_get(json_object_get(in->root, "member"), "roles");

    for (size_t i = 0; role && i < json_array_size(roles); i++) {
        const char *text = json_string_value(json_array_get(roles, i));
        uint64_t id;
        if (text && id_parse(text, &id) && id == role)
            return true;
    }
    return false;
}

bool may_moderate(const struct interaction *in, const struct guild_settings *settings)
{
    return in->permissions & (PERMISSION_ADMINISTRATOR | PERMISSION_MANAGE_MESSAGES) ||
           has_role(in, settings->moderator);
}

const json_t *command_option(const struct interaction *in, const char *name)
{
    const json_t *options = json_object_get(in->data, "options");

    for (size_t i = 0; i < json_array_size(options); i++) {
        const json_t *option = json_array_get(options, i);
        if (!strcmp(json_str(option, "name"), name))
            return option;
    }
    return NULL;
}

const json_t *resolved(const struct interaction *in, const char *kind, uint64_t id)
{
    char key[24];

    snprintf(key, sizeof(key), "%" PRIu64, id);
    return json_object_get(json_object_get(json_object_get(in->data, "resolved"), kind), key);
}
