#include "gateway/commands.h"

#include <string.h>

#include "base/json.h"
#include "base/macros.h"

enum { COMMAND_SLASH = 1, CONTEXT_GUILD = 0, INSTALL_GUILD = 0 };

struct command {
    const char *name;
    int type;
    const char *permissions, *description, *options;
};
static const struct command commands[] = {
#define COMMAND(name, type, permissions, description, options, handler)                            \
    { name, type, permissions, description, options },
#include "gateway/commands.def"
#undef COMMAND
};

/* In servers only: guild 0 has no settings and no log to report to. */
static json_t *command_json(const struct command *c)
{
    json_t *one = json_pack("{s:s, s:i, s:s, s:[i], s:[i]}", "name", c->name, "type", c->type,
                            "default_member_permissions", c->permissions, "contexts", CONTEXT_GUILD,
                            "integration_types", INSTALL_GUILD);

    if (c->type == COMMAND_SLASH) {
        json_t *options = NULL;
        must(json_parse(c->options, strlen(c->options), &options, NULL) == STATUS_OK);
        json_object_set_new(one, "description", json_string(c->description));
        json_object_set_new(one, "options", options);
    }
    return one;
}

char *commands_payload(void)
{
    CLEANUP(json_decref) json_t *all = json_array();

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        json_array_append_new(all, command_json(&commands[i]));
    return json_text(all);
}
