/* interaction_payload.c - interactions as the JSON that Discord posts, and what it accepts as an
 * answer. */
#include <string.h>

#include "base/json.h"
#include "tests/discord-sim/commands.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/objects.h"

enum { COMMAND_SLASH = 1, COMMAND_USER = 2, COMMAND_MESSAGE = 3, OPTION_USER = 6 };
enum { MAX_CONTENT = 2000, MAX_CHOICES = 25 };

static void add_resolved_user(struct out *o, const struct guild *g, const struct user *u)
{
    const struct member *m = g ? guild_member(g, u->id) : NULL;

    out_json(o, "'resolved':{'users':{%I:", u->id);
    object_user(o, u);
    out_text(o, "}");
    if (member_is_here(m)) {
        out_json(o, ",'members':{%I:", u->id);
        object_member(o, g, m, false, true);
        out_text(o, "}");
    }
    out_text(o, "}");
}

static void add_command_data(const struct sim *s, const struct interaction_ask *ask, struct out *o)
{
    uint64_t id = commands_id(s->commands, ask->kind);
    uint64_t guild = ask->guild ? ask->guild->id : 0;

    out_json(o, "{'id':%I,'name':%S,", id, ask->kind);
    if (guild && commands_is_of_guild(s->commands, ask->kind))
        out_json(o, "'guild_id':%I,", guild);
    if (ask->target) {
        out_json(o, "'type':%d,'target_id':%I,'resolved':{'messages':{%I:", COMMAND_MESSAGE,
                 ask->target->id, ask->target->id);
        object_message(o, s->world, ask->target, MESSAGE_REST);
        out_text(o, "}}}");
    } else if (ask->target_user) {
        out_json(o, "'type':%d,'options':[{'name':'user','type':%d,'value':%I}],", COMMAND_SLASH,
                 OPTION_USER, ask->target_user->id);
        add_resolved_user(o, ask->guild, ask->target_user);
        out_text(o, "}");
    } else {
        out_json(o, "'type':%d}", COMMAND_SLASH);
    }
}

static void add_place(const struct interaction_ask *ask, const struct member *m, struct out *o)
{
    const struct guild *g = ask->guild;

    out_json(o,
             ",'guild_id':%I,'guild':{'id':%I,'locale':'en-US','features':[]},"
             "'guild_locale':'en-US','app_permissions':'%u',"
             "'authorizing_integration_owners':{'0':%I}",
             g->id, g->id, guild_role(g, g->bot_role_id)->permissions, g->id);
    if (m) {
        out_text(o, ",\"member\":");
        object_member(o, g, m, true, true);
    }
}

static void add_channel(const struct interaction_ask *ask, const struct member *m, struct out *o)
{
    out_json(o, ",'channel_id':%I,'channel':", ask->channel->id);
    object_channel(o, ask->channel);
    out_drop(o, '}');
    if (m)
        out_json(o, ",'permissions':'%u'", member_permissions(ask->guild, m));
    out_text(o, "}");
}

static void add_data(const struct sim *s, const struct interaction_ask *ask, struct out *o)
{
    if (ask->type == INTERACTION_PING)
        return;
    out_text(o, ",\"data\":");
    if (ask->data)
        out_text(o, ask->data);
    else
        add_command_data(s, ask, o);
    if (ask->message) {
        out_text(o, ",\"message\":");
        object_message(o, s->world, ask->message, MESSAGE_REST);
    }
}

void interaction_payload(const struct sim *s, const struct interaction *i,
                         const struct interaction_ask *ask, struct out *o)
{
    const struct member *m = ask->guild ? guild_member(ask->guild, ask->by->id) : NULL;

    out_json(o,
             "{'id':%I,'application_id':%I,'type':%d,'token':%S,'version':1,'entitlements':[],"
             "'attachment_size_limit':10485760",
             i->id, s->application_id, (int)ask->type, i->token);
    if (ask->type != INTERACTION_PING)
        out_json(o, ",'locale':'en-US','context':%d,'entitlement_sku_ids':[]", ask->guild ? 0 : 1);
    if (ask->guild)
        add_place(ask, m, o);
    else if (ask->by)
        out_json(o, ",'app_permissions':'0','authorizing_integration_owners':{'1':%I}",
                 ask->by->id);
    if (!m && ask->by) {
        out_text(o, ",\"user\":");
        object_user(o, ask->by);
    }
    if (ask->channel)
        add_channel(ask, m, o);
    add_data(s, ask, o);
    out_text(o, "}");
}

/* ---- what Discord accepts ---- */

static bool is_allowed(enum interaction_type type, int callback)
{
    switch (type) {
    case INTERACTION_PING:
        return callback == CALLBACK_PONG;
    case INTERACTION_COMMAND:
        return callback == CALLBACK_MESSAGE || callback == CALLBACK_DEFERRED_MESSAGE ||
               callback == CALLBACK_MODAL || callback == CALLBACK_ACTIVITY;
    case INTERACTION_COMPONENT:
        return (callback >= CALLBACK_MESSAGE && callback <= CALLBACK_UPDATE) ||
               callback == CALLBACK_MODAL || callback == CALLBACK_ACTIVITY;
    case INTERACTION_AUTOCOMPLETE:
        return callback == CALLBACK_AUTOCOMPLETE;
    case INTERACTION_MODAL:
        return (callback >= CALLBACK_MESSAGE && callback <= CALLBACK_UPDATE) ||
               callback == CALLBACK_ACTIVITY;
    }
    return false;
}

static size_t count_characters(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static bool has_something(const json_t *data)
{
    return *json_str(data, "content") || json_array_size(json_object_get(data, "embeds")) ||
           json_array_size(json_object_get(data, "components")) ||
           json_array_size(json_object_get(data, "attachments")) || json_object_get(data, "poll");
}

/* NULL: the data fits the callback. */
static const char *judge_data(int callback, const json_t *data)
{
    if (callback == CALLBACK_MESSAGE && !has_something(data))
        return "empty_message";
    if ((callback == CALLBACK_MESSAGE || callback == CALLBACK_UPDATE) &&
        count_characters(json_str(data, "content")) > MAX_CONTENT)
        return "content_too_long";
    if (callback == CALLBACK_AUTOCOMPLETE &&
        (!json_is_array(json_object_get(data, "choices")) ||
         json_array_size(json_object_get(data, "choices")) > MAX_CHOICES))
        return "bad_choices";
    if (callback == CALLBACK_MODAL && (!*json_str(data, "custom_id") || !*json_str(data, "title") ||
                                       !json_array_size(json_object_get(data, "components"))))
        return "bad_modal";
    return NULL;
}

struct judgement judge_callback(enum interaction_type type, const json_t *callback)
{
    struct judgement j = { .fate = FATE_FAILED };
    const json_t *data = json_object_get(callback, "data");

    if (!json_is_object(callback) || !json_is_integer(json_object_get(callback, "type"))) {
        j.reason = "not_a_callback";
        return j;
    }
    j.callback = (int)json_int(callback, "type", 0);
    if (!is_allowed(type, j.callback)) {
        j.reason = "wrong_callback_type";
        return j;
    }
    j.reason = judge_data(j.callback, data);
    if (j.reason)
        return j;
    bool deferred =
        j.callback == CALLBACK_DEFERRED_MESSAGE || j.callback == CALLBACK_DEFERRED_UPDATE;
    j.fate = deferred ? FATE_DEFERRED : FATE_ANSWERED;
    return j;
}
