/* setup.c - /setup: where reports go and who moderates. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "gateway/features/answer.h"
#include "gateway/features/handlers.h"
#include "gateway/features/settings.h"

static const struct setup_option {
    const char *option, *key, *label;
    bool channel; /* else a role */
} options[] = {
    { "modlog", "modLog", "Mod log", true },
    { "moderator", "moderator", "Moderators", false },
    { "restricted", "restricted", "Restricted", false },
    { "deletion-log", "deletionLog", "Deletion log", true },
};

/* What was not given keeps its value. */
static json_t *patch_new(const struct interaction *in)
{
    json_t *patch = json_object();

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const json_t *option = command_option(in, options[i].option);
        if (option)
            json_object_set_new(patch, options[i].key, json_from_id(json_id(option, "value")));
    }
    return patch;
}

static enum status answer_summary(struct unit *u, const json_t *settings, const char **ret_callback,
                                  struct err *err)
{
    const char *text = "Set up.";

    for (size_t i = 0; text && i < ARRAY_LEN(options); i++) {
        uint64_t id = json_id(settings, options[i].key);
        if (id)
            text = arena_printf(u->arena, "%s\n- %s: <%s%" PRIu64 ">", text, options[i].label,
                                options[i].channel ? "#" : "@&", id);
    }
    if (text && *u->portal_url)
        text = arena_printf(u->arena, "%s\nMore: %s/guilds/%" PRIu64, text, u->portal_url,
                            u->guild_id);
    return answer_private(u, text ? text : "Set up.", ret_callback, err);
}

enum status command_setup(struct unit *u, const struct interaction *in, const char **ret_callback,
                          struct err *err)
{
    CLEANUP(json_decref) json_t *settings = NULL;
    json_t *patch;
    const char *text;

    if (!u->guild_id)
        return answer_private(u, "This works in servers only.", ret_callback, err);
    if (!(in->permissions & (PERMISSION_ADMINISTRATOR | PERMISSION_MANAGE_GUILD)))
        return answer_private(u, "Only administrators can do this.", ret_callback, err);
    patch = patch_new(in);
    if (!json_id(patch, "modLog") || !json_id(patch, "moderator")) {
        json_decref(patch);
        return err_set(err, STATUS_INVALID, "setup: modlog and moderator are needed");
    }
    TRY(unit_json_text(u, &patch, &text, err));
    TRY(settings_patch(u, text, &text, err));
    TRY(json_parse(text, strlen(text), &settings, err));
    return answer_summary(u, settings, ret_callback, err);
}
