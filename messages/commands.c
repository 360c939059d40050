#include "messages/commands.h"

#include <string.h>

#include "base/json.h"
#include "base/macros.h"
#include "base/xmem.h"

enum { COMMAND_SLASH = 1, COMMAND_MESSAGE = 3, CONTEXT_GUILD = 0, INSTALL_GUILD = 0 };

/* ---- what is wanted ---- */

struct command {
    const char *name;
    int type;
    const char *permissions, *description, *options;
};
static const struct command commands[] = {
#define COMMAND(name, type, permissions, description, options, handler)                            \
    { name, type, permissions, description, options },
#include "messages/commands.def"
#undef COMMAND
};

static json_t *command_json(const struct command *c, bool for_guild)
{
    json_t *one = json_pack("{s:s, s:i, s:s}", "name", c->name, "type", c->type,
                            "default_member_permissions", c->permissions);

    if (c->type == COMMAND_SLASH) {
        json_t *options = NULL;
        must(json_parse(c->options, strlen(c->options), &options, NULL) == STATUS_OK);
        (void)json_object_set_new(one, "description", json_string(c->description));
        (void)json_object_set_new(one, "options", options);
    }
    if (!for_guild) { /* In servers only: guild 0 has no settings and no log to report to. */
        (void)json_object_set_new(one, "contexts", json_pack("[i]", CONTEXT_GUILD));
        (void)json_object_set_new(one, "integration_types", json_pack("[i]", INSTALL_GUILD));
    }
    return one;
}

json_t *commands_payload(bool for_guild)
{
    json_t *all = json_array();

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        (void)json_array_append_new(all, command_json(&commands[i], for_guild));
    return all;
}

/* ---- one value beside the other ---- */

static bool is_one_of(const char *key, const char *const *names)
{
    for (; *names; names++) {
        if (!strcmp(key, *names))
            return true;
    }
    return false;
}

/* Discord's own, and two that contexts and permissions have replaced. */
static bool is_discords(const char *key)
{
    static const char *const names[] = { "id",
                                         "application_id",
                                         "guild_id",
                                         "version",
                                         "name_localized",
                                         "description_localized",
                                         "dm_permission",
                                         "default_permission",
                                         NULL };

    return is_one_of(key, names);
}

static bool is_set(const char *key)
{
    static const char *const names[] = { "contexts", "integration_types", "channel_types", NULL };

    return is_one_of(key, names);
}

/* Discord leaves out what was false or empty, or says null, as it likes. Zero is not among them: a min_value of 0 is a
 * bound. */
static bool is_nothing(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_string(v) && !json_string_length(v)) ||
           (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

static bool holds(const json_t *list, const json_t *wanted)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), wanted))
            return true;
    }
    return false;
}

static bool is_same_set(const json_t *a, const json_t *b)
{
    bool same = json_array_size(a) == json_array_size(b);

    for (size_t i = 0; same && i < json_array_size(a); i++)
        same = holds(b, json_array_get(a, i)) && holds(a, json_array_get(b, i));
    return same;
}

/* Options and choices have names; order and number must agree for a comparison one by one. */
static bool has_same_names(const json_t *a, const json_t *b)
{
    bool same = json_array_size(a) > 0 && json_array_size(a) == json_array_size(b);

    for (size_t i = 0; same && i < json_array_size(a); i++) {
        const char *name = json_str(json_array_get(a, i), "name");
        same = *name && !strcmp(name, json_str(json_array_get(b, i), "name"));
    }
    return same;
}

static void add_field(json_t *fields, const char *path, json_t *from, json_t *to)
{
    (void)json_array_append_new(
        fields, json_pack("{s:s, s:O?, s:O?}", "field", path, "from", from, "to", to));
}

static void compare_members(json_t *fields, const char *path, json_t *from, json_t *to);

static bool is_same(const char *key, const json_t *from, const json_t *to)
{
    if ((is_nothing(from) && is_nothing(to)) || json_equal(from, to))
        return true;
    if (json_is_number(from) && json_is_number(to) && json_is_real(from) != json_is_real(to))
        return json_number_value(from) == json_number_value(to);
    return is_set(key) && json_is_array(from) && json_is_array(to) && is_same_set(from, to);
}

static void compare_value(json_t *fields, const char *path, const char *key, json_t *from,
                          json_t *to)
{
    if (is_same(key, from, to))
        return;
    CLEANUP(xfree) char *here = xasprintf("%s%s%s", path, *path ? "." : "", key);
    if (!has_same_names(from, to)) {
        add_field(fields, here, from, to);
        return;
    }
    for (size_t i = 0; i < json_array_size(to); i++) {
        json_t *member = json_array_get(to, i);
        CLEANUP(xfree) char *name = xasprintf("%s.%s", here, json_str(member, "name"));
        compare_members(fields, name, json_array_get(from, i), member);
    }
}

/* path is empty for a command: its type was compared when it was found, and may be left out. */
static bool is_compared(const char *path, const char *key)
{
    return !is_discords(key) && (*path || strcmp(key, "type") != 0);
}

static void compare_members(json_t *fields, const char *path, json_t *from, json_t *to)
{
    const char *key;
    json_t *value;

    json_object_foreach(to, key, value)
    {
        if (is_compared(path, key))
            compare_value(fields, path, key, json_object_get(from, key), value);
    }
    json_object_foreach(from, key, value)
    {
        if (is_compared(path, key) && !json_object_get(to, key))
            compare_value(fields, path, key, value, NULL);
    }
}

/* ---- one list beside the other ---- */

static int64_t type_of(const json_t *command)
{
    return json_int(command, "type", COMMAND_SLASH);
}

static bool is_ours(const json_t *command)
{
    return type_of(command) >= COMMAND_SLASH && type_of(command) <= COMMAND_MESSAGE;
}

static json_t *find_same(const json_t *list, const json_t *command)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *one = json_array_get(list, i);
        if (type_of(one) == type_of(command) &&
            !strcmp(json_str(one, "name"), json_str(command, "name")))
            return one;
    }
    return NULL;
}

static void add_change(json_t *changes, const char *change, const json_t *command, json_t *fields)
{
    (void)json_array_append_new(changes, json_pack("{s:s, s:s, s:I, s:o}", "change", change, "name",
                                                   json_str(command, "name"), "type",
                                                   (json_int_t)type_of(command), "fields", fields));
}

static bool is_list(const json_t *present)
{
    bool good = json_is_array(present);

    for (size_t i = 0; good && i < json_array_size(present); i++)
        good = *json_str(json_array_get(present, i), "name") != '\0';
    return good;
}

static void compare_wanted(json_t *changes, json_t *command, const json_t *present)
{
    json_t *before = find_same(present, command);
    json_t *fields = json_array();

    if (before)
        compare_members(fields, "", before, command);
    if (!before || json_array_size(fields))
        add_change(changes, before ? "changed" : "new", command, json_incref(fields));
    json_decref(fields);
}

json_t *commands_differences(const json_t *wanted, const json_t *present)
{
    if (!is_list(present))
        return NULL;
    json_t *changes = json_array();

    for (size_t i = 0; i < json_array_size(wanted); i++)
        compare_wanted(changes, json_array_get(wanted, i), present);
    for (size_t i = 0; i < json_array_size(present); i++) {
        const json_t *command = json_array_get(present, i);
        if (is_ours(command) && !find_same(wanted, command))
            add_change(changes, "gone", command, json_array());
    }
    return changes;
}

json_t *commands_overwrite(json_t *wanted, const json_t *present)
{
    static const char *const discords[] = { "application_id", "guild_id", "version" };
    json_t *all = json_copy(wanted);

    for (size_t i = 0; i < json_array_size(present); i++) {
        if (is_ours(json_array_get(present, i)))
            continue;
        json_t *kept = json_copy(json_array_get(present, i));
        for (size_t k = 0; k < ARRAY_LEN(discords); k++)
            (void)json_object_del(kept, discords[k]);
        (void)json_array_append_new(all, kept);
    }
    return all;
}
