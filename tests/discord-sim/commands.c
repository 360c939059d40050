#include "tests/discord-sim/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xmem.h"

/* Discord: so many CHAT_INPUT, USER and MESSAGE commands. */
enum { MAX_SLASH = 100, MAX_USER = 15, MAX_MESSAGE = 15, MAX_NAME = 32, MAX_DESCRIPTION = 100 };
/* for commands that were never registered */
#define UNREGISTERED_ID UINT64_C(1000000000000000999)

struct commands {
    struct world *world;
    json_t *by_guild; /* decimal guild id → array */
};

struct commands *commands_new(struct world *w)
{
    struct commands *c = xcalloc(1, sizeof(*c));

    c->world = w;
    c->by_guild = json_object();
    return c;
}

void commands_free(struct commands *c)
{
    if (!c)
        return;
    json_decref(c->by_guild);
    free(c);
}

json_t *commands_list(struct commands *c, uint64_t guild_id)
{
    char key[24];

    (void)snprintf(key, sizeof(key), "%" PRIu64, guild_id);
    json_t *list = json_object_get(c->by_guild, key);
    if (!list) {
        list = json_array();
        (void)json_object_set_new(c->by_guild, key, list);
    }
    return list;
}

static json_t *find(const json_t *list, const char *name, int64_t type, size_t *ret_at)
{
    size_t i;
    json_t *command;

    json_array_foreach(list, i, command)
    {
        if (!strcmp(json_str(command, "name"), name) && json_int(command, "type", 1) == type) {
            *ret_at = i;
            return command;
        }
    }
    return NULL;
}

static bool is_slash_name(const char *name)
{
    for (; *name; name++)
        if ((*name >= 'A' && *name <= 'Z') || *name == ' ')
            return false;
    return true;
}

static const char *judge(const json_t *command)
{
    const char *name = json_str(command, "name"), *text = json_str(command, "description");
    int64_t type = json_int(command, "type", 1);

    if (!*name || strlen(name) > 4 * MAX_NAME || type < 1 || type > 4)
        return "name or type";
    if (type == 1 && !is_slash_name(name))
        return "the name of a CHAT_INPUT command is lower case";
    if (type == 1 && (!*text || strlen(text) > 4 * MAX_DESCRIPTION))
        return "description: 1 to 100 characters";
    if ((type == 2 || type == 3) && *text)
        return "USER and MESSAGE commands have no description";
    return NULL;
}

/* What Discord says of a command although nobody told it. */
static json_t *defaults(uint64_t guild_id)
{
    json_t *all =
        json_pack("{s:s, s:n, s:n, s:n, s:b}", "description", "", "default_member_permissions",
                  "name_localizations", "description_localizations", "nsfw", 0);

    if (!guild_id) {
        (void)json_object_set_new(all, "integration_types", json_pack("[i]", 0));
        (void)json_object_set_new(all, "contexts", json_null());
    }
    return all;
}

const char *commands_put(struct commands *c, uint64_t guild_id, const json_t *command,
                         json_t **ret_command)
{
    const char *why = judge(command);
    json_t *list = commands_list(c, guild_id);
    size_t at = 0;

    if (why)
        return why;
    json_t *known = find(list, json_str(command, "name"), json_int(command, "type", 1), &at);
    uint64_t id = known ? json_id(known, "id") : world_new_id(c->world);
    json_t *kept = json_deep_copy(command);
    (void)json_object_update_missing_new(kept, defaults(guild_id));
    (void)json_object_set_new(kept, "id", json_from_id(id));
    (void)json_object_set_new(kept, "application_id", json_from_id(c->world->bot.id));
    (void)json_object_set_new(kept, "version", json_from_id(world_new_id(c->world)));
    (void)json_object_set_new(kept, "type", json_integer(json_int(command, "type", 1)));
    if (guild_id)
        (void)json_object_set_new(kept, "guild_id", json_from_id(guild_id));
    if (known)
        (void)json_array_set_new(list, at, kept);
    else
        (void)json_array_append_new(list, kept);
    *ret_command = kept;
    return NULL;
}

static const char *judge_list(const json_t *list)
{
    size_t i, counts[5] = { 0 };
    const json_t *command;

    if (!json_is_array(list))
        return "an array of commands is wanted";
    json_array_foreach(list, i, command)
    {
        const char *why = judge(command);
        if (why)
            return why;
        counts[json_int(command, "type", 1)]++;
    }
    if (counts[1] > MAX_SLASH || counts[2] > MAX_USER || counts[3] > MAX_MESSAGE)
        return "too many commands";
    return NULL;
}

const char *commands_overwrite(struct commands *c, uint64_t guild_id, const json_t *list)
{
    const char *why = judge_list(list);
    json_t *mine = commands_list(c, guild_id), *command, *kept = NULL;
    size_t i, at = 0;

    if (why)
        return why;
    json_array_foreach(list, i, command)(void) commands_put(c, guild_id, command, &kept);
    for (i = json_array_size(mine); i-- > 0;) {
        command = json_array_get(mine, i);
        if (!find(list, json_str(command, "name"), json_int(command, "type", 1), &at))
            (void)json_array_remove(mine, i);
    }
    return NULL;
}

bool commands_remove(struct commands *c, uint64_t guild_id, uint64_t id)
{
    json_t *list = commands_list(c, guild_id), *command;
    size_t i;

    json_array_foreach(list, i, command) if (json_id(command, "id") ==
                                             id) return !json_array_remove(list, i);
    return false;
}

static const json_t *find_any(const struct commands *c, const char *name)
{
    const char *guild;
    json_t *list;
    size_t at = 0;

    json_object_foreach(
        c->by_guild, guild,
        list) for (int type = 1; type <= 3;
                   type++) if (find(list, name, type, &at)) return json_array_get(list, at);
    return NULL;
}

uint64_t commands_id(const struct commands *c, const char *name)
{
    const json_t *command = find_any(c, name);

    return command ? json_id(command, "id") : UNREGISTERED_ID;
}

bool commands_is_of_guild(const struct commands *c, const char *name)
{
    const json_t *command = find_any(c, name);

    return command && json_id(command, "guild_id");
}
