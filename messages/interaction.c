#include "messages/interaction.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { EPHEMERAL = 64 }; /* Discord: message flag, only the sender sees it */

static enum status read_head(const json_t *root, struct interaction_head *ret, struct err *err)
{
    int64_t type = json_int(root, "type", 0);
    const json_t *guild = json_object_get(root, "guild_id");

    if (type < INTERACTION_PING || type > INTERACTION_MODAL)
        return err_set(err, STATUS_INVALID, "not an interaction of a known type");
    *ret = (struct interaction_head){ .type = (enum interaction_type)type };
    if (type == INTERACTION_PING)
        return STATUS_OK;
    ret->id = json_id(root, "id");
    ret->guild_id = json_id(root, "guild_id");
    if (!ret->id || !*json_str(root, "token"))
        return err_set(err, STATUS_INVALID, "an interaction has an id and a token");
    if (guild && !json_is_null(guild) && !ret->guild_id)
        return err_set(err, STATUS_INVALID, "guild_id is not a snowflake");
    return STATUS_OK;
}

enum status interaction_parse(const char *body, size_t size, struct interaction_head *ret,
                              struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;

    /* jansson 2.14 drops a NUL behind a number; the body travels on as a C string. */
    if (memchr(body, '\0', size))
        return err_set(err, STATUS_INVALID, "a NUL is no JSON");
    TRY(json_parse(body, size, &root, err));
    if (!json_is_object(root))
        return err_set(err, STATUS_INVALID, "an interaction is a JSON object");
    return read_head(root, ret, err);
}

bool timestamp_is_current(const char *text, int64_t now_s, int64_t past_s, int64_t future_s)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 12 || text[digits])
        return false;
    int64_t at_s = strtoll(text, NULL, 10);
    return at_s >= now_s - past_s && at_s <= now_s + future_s;
}

const char *interaction_deferral(enum interaction_type type)
{
    switch (type) {
    case INTERACTION_COMPONENT:
        return "{\"type\":6}";
    case INTERACTION_AUTOCOMPLETE:
        return "{\"type\":8,\"data\":{\"choices\":[]}}";
    case INTERACTION_COMMAND:
    case INTERACTION_MODAL:
    case INTERACTION_PING:
        break;
    }
    return "{\"type\":5,\"data\":{\"flags\":64}}";
}

char *interaction_message(enum interaction_type type, const char *text, struct arena *a)
{
    if (type == INTERACTION_AUTOCOMPLETE)
        return arena_printf(a, "%s", interaction_deferral(type));

    CLEANUP(json_decref)
    json_t *callback = json_pack("{s:i, s:{s:s, s:i, s:{s:[]}}}", "type", 4, "data", "content",
                                 text, "flags", EPHEMERAL, "allowed_mentions", "parse");
    char *json = callback ? json_text(callback) : NULL;
    char *copy = json ? arena_printf(a, "%s", json) : NULL;
    free(json);
    return copy;
}

const char *interaction_error_text(enum status status)
{
    switch (status) {
    case STATUS_DENIED:
        return "You are not allowed to do that here.";
    case STATUS_NOT_FOUND:
        return "That is no longer there.";
    case STATUS_INVALID:
        return "The bot could not make sense of that.";
    case STATUS_CONFLICT:
        return "Somebody else was faster. Look again, please, and retry if it is still needed.";
    case STATUS_OK:
    case STATUS_NOT_OWNER:
    case STATUS_BUSY:
    case STATUS_TIMEOUT:
    case STATUS_UNAVAILABLE:
    case STATUS_CORRUPT:
    case STATUS_INTERNAL:
        break;
    }
    return "That did not work. Nothing needs to be undone; please try again in a moment.";
}
