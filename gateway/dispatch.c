#include "gateway/dispatch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/features/handlers.h"
#include "gateway/selection.h"

enum interaction_type {
    COMMAND_TYPE = 2,
    COMPONENT_TYPE = 3,
    AUTOCOMPLETE_TYPE = 4,
    MODAL_TYPE = 5
}; /* Discord */

struct event_row {
    const char *type;
    event_handler handler;
    const char *members;
};
struct command_row {
    const char *name;
    int type;
    interaction_handler handler;
};
struct continuation_row {
    const char *name;
    continuation_handler handler;
};
struct query_row {
    Guildbus__V1__PortalRequest__QueryCase which;
    query_handler handler;
    bool writes;
};

static const struct event_row events[] = {
#define EVENT(type, handler, members) { #type, handler, members },
#include "gateway/events.def"
#undef EVENT
};
/* By the first row of each type: what all its rows read. */
static struct selection *selections[ARRAY_LEN(events)];
static struct selection *of_interactions;
static pthread_once_t selections_once = PTHREAD_ONCE_INIT;
static const struct command_row commands[] = {
#define COMMAND(name, type, permissions, description, options, handler) { name, type, handler },
#include "messages/commands.def"
#undef COMMAND
    { NULL, 0, NULL },
};
static const struct command_row components[] = {
#define COMPONENT(custom_id, handler) { custom_id, 0, handler },
#include "gateway/components.def"
#undef COMPONENT
    { NULL, 0, NULL },
};
static const struct continuation_row continuations[] = {
#define CONTINUATION(name, handler) { #name, handler },
#include "gateway/continuations.def"
#undef CONTINUATION
    { NULL, NULL },
};
static const struct query_row queries[] = {
#define QUERY(which, handler, writes)                                                              \
    { GUILDBUS__V1__PORTAL_REQUEST__QUERY_##which, handler, writes },
#include "gateway/queries.def"
#undef QUERY
};

/* Its first row; ARRAY_LEN(events): it has none. */
static size_t first_row(const char *type)
{
    size_t i = 0;

    while (i < ARRAY_LEN(events) && strcmp(events[i].type, type) != 0)
        i++;
    return i;
}

static void make_selections(void)
{
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        size_t first = first_row(events[i].type);
        if (!selections[first])
            selections[first] = selection_new("");
        selection_add(selections[first], events[i].members);
    }
    of_interactions = selection_new("id type token channel_id data user{id username}"
                                    " member{permissions roles user{id username}}");
}

/* Only what is selected; the whole where it cannot be cut, which says what is wrong with it. */
static enum status parse_selected(const struct selection *selection, const char *text,
                                  struct arena *arena, json_t **ret, struct err *err)
{
    size_t size = strlen(text), selected;
    char *into = arena_alloc(arena, size);

    if (into && selection_cut(selection, (struct span){ text, size }, into, &selected))
        return json_parse(into, selected, ret, err);
    return json_parse(text, size, ret, err);
}

enum status dispatch_select(const char *type, const char *d, struct arena *arena, json_t **ret,
                            struct err *err)
{
    size_t row = first_row(type);

    pthread_once(&selections_once, make_selections);
    if (row == ARRAY_LEN(events))
        return json_parse(d, strlen(d), ret, err);
    return parse_selected(selections[row], d, arena, ret, err);
}

enum status dispatch_select_interaction(const char *text, struct arena *arena, json_t **ret,
                                        struct err *err)
{
    pthread_once(&selections_once, make_selections);
    return parse_selected(of_interactions, text, arena, ret, err);
}

enum status dispatch_event(struct unit *u, const char *type, const char *d, struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    size_t first = first_row(type);

    if (first == ARRAY_LEN(events))
        return STATUS_OK;
    TRY(dispatch_select(type, d, u->arena, &root, err));
    for (size_t i = first; i < ARRAY_LEN(events); i++) {
        if (!strcmp(events[i].type, type))
            TRY(events[i].handler(u, root, err));
    }
    return STATUS_OK;
}

static uint64_t parse_permissions(const json_t *member)
{
    const char *text = json_str(member, "permissions"); /* a decimal string of up to 53 bits */
    char *end;
    uint64_t bits = strtoull(text, &end, 10);

    return *text >= '0' && *text <= '9' && !*end ? bits : 0;
}

enum status dispatch_parse(const json_t *root, struct interaction *ret, struct err *err)
{
    const json_t *data = json_object_get(root, "data");
    const json_t *member = json_object_get(root, "member");
    const json_t *user = json_object_get(member, "user");

    if (!user)
        user = json_object_get(root, "user"); /* direct messages */
    *ret = (struct interaction){
        .id = json_id(root, "id"),
        .user_id = json_id(user, "id"),
        .channel_id = json_id(root, "channel_id"),
        .token = json_str(root, "token"),
        .username = json_str(user, "username"),
        .type = (int)json_int(root, "type", 0),
        .command_type = (int)json_int(data, "type", 1),
        .target_id = json_id(data, "target_id"),
        .permissions = parse_permissions(member),
        .root = root,
        .data = data,
    };
    bool by_name = ret->type == COMMAND_TYPE || ret->type == AUTOCOMPLETE_TYPE;
    ret->name = json_str(data, by_name ? "name" : "custom_id");
    if (!ret->id || !*ret->token || !ret->user_id || !*ret->name || ret->type < COMMAND_TYPE ||
        ret->type > MODAL_TYPE)
        return err_set(err, STATUS_INVALID,
                       "not an interaction: it needs id, token, type 2 to 5, a user and data");
    return STATUS_OK;
}

static bool matches(const struct command_row *row, const struct interaction *in)
{
    if (row->type)
        return row->type == in->command_type && !strcmp(row->name, in->name);
    size_t size = strlen(row->name);
    return !strncmp(row->name, in->name, size) && (!in->name[size] || in->name[size] == '|');
}

enum status dispatch_interaction(struct unit *u, const struct interaction *in,
                                 const char **ret_callback, struct err *err)
{
    const struct command_row *row = in->type == COMMAND_TYPE ? commands : components;

    if (in->type == AUTOCOMPLETE_TYPE) { /* no command has an autocompleted option */
        *ret_callback = "{\"type\":8,\"data\":{\"choices\":[]}}";
        return STATUS_OK;
    }
    for (; row->name; row++) {
        if (matches(row, in))
            return row->handler(u, in, ret_callback, err);
    }
    return err_set(err, STATUS_NOT_FOUND, "there is no handler for %.60s", in->name);
}

enum status dispatch_result(struct unit *u, const char *name, const struct action_result *result,
                            struct err *err)
{
    for (const struct continuation_row *row = continuations; row->name; row++) {
        if (!strcmp(row->name, name))
            return row->handler(u, result, err);
    }
    return err_set(err, STATUS_NOT_FOUND, "there is no continuation %.60s", name);
}

static const struct query_row *find_query(const Guildbus__V1__PortalRequest *request)
{
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        if (queries[i].which == request->query_case)
            return &queries[i];
    }
    return NULL;
}

enum status dispatch_query(struct unit *u, const Guildbus__V1__PortalRequest *request,
                           Guildbus__V1__PortalReply *ret, struct err *err)
{
    const struct query_row *row = find_query(request);

    return row ? row->handler(u, request, ret, err)
               : err_set(
                     err, STATUS_INVALID,
                     "portal: set one of overview, activity, reports, settings, changeSettings");
}

bool dispatch_query_writes(const Guildbus__V1__PortalRequest *request)
{
    const struct query_row *row = find_query(request);

    return row && row->writes;
}
