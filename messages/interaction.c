#include "messages/interaction.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/scan.h"

enum { EPHEMERAL = 64 }; /* Discord: message flag, only the sender sees it */

/* What read_head needs of an interaction's members. */
struct members {
    uint64_t type;
    struct span id, guild, token; /* size 0: absent */
};

static enum status read_head(const struct members *m, struct interaction_head *ret, struct err *err)
{
    if (m->type < INTERACTION_PING || m->type > INTERACTION_MODAL)
        return err_set(err, STATUS_INVALID, "not an interaction of a known type");
    *ret = (struct interaction_head){ .type = (enum interaction_type)m->type };
    if (m->type == INTERACTION_PING)
        return STATUS_OK;
    ret->id = scan_id(m->id);
    ret->guild_id = scan_id(m->guild);
    if (!ret->id || m->token.size <= strlen("\"\"") || *m->token.at != '"')
        return err_set(err, STATUS_INVALID, "an interaction has an id and a token");
    if (m->guild.size && !scan_is(m->guild, "null") && !ret->guild_id)
        return err_set(err, STATUS_INVALID, "guild_id is not a snowflake");
    return STATUS_OK;
}

static void take_member(struct members *m, struct span key, struct span value)
{
    if (scan_is(key, "type") && !scan_uint(value, &m->type))
        m->type = 0;
    else if (scan_is(key, "id"))
        m->id = value;
    else if (scan_is(key, "guild_id"))
        m->guild = value;
    else if (scan_is(key, "token"))
        m->token = value;
}

static struct span without_blanks(const char *text, size_t size)
{
    struct scan s = { text, text + size };

    scan_blanks(&s);
    while (s.end > s.at && strchr(" \t\r\n", s.end[-1]) && s.end[-1])
        s.end--;
    return (struct span){ s.at, (size_t)(s.end - s.at) };
}

enum status interaction_parse(const char *body, size_t size, struct interaction_head *ret,
                              struct err *err)
{
    struct members m = { 0 };
    struct scan_walk walk;
    struct span key, value;

    if (!scan_walk_start(without_blanks(body, size), &walk) || !walk.object)
        return err_set(err, STATUS_INVALID, "an interaction is a JSON object");
    while (scan_walk_next(&walk, &key, &value))
        take_member(&m, key, value);
    if (!scan_walk_is_over(&walk))
        return err_set(err, STATUS_INVALID, "not JSON behind byte %zu of %zu",
                       (size_t)(walk.at - body), size);
    return read_head(&m, ret, err);
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
