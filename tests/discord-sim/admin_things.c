/* admin_things.c - one message, event or interaction now, and what is in a channel. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/xmem.h"
#include "tests/discord-sim/admin.h"
#include "tests/discord-sim/commands.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/publish.h"

enum { MAX_LISTED = 1000 };

/* ---- messages and events ---- */

static void answer_message(struct admin_call *c, const struct message *m, bool sent)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    object_message(&o, c->s->world, m, MESSAGE_EVENT);
    out_drop(&o, '}');
    out_json(&o, ",'sent':%b}", sent);
    admin_answer(c, 200, &o);
}

static struct message *read_message(struct admin_call *c)
{
    struct message *m = store_get(c->s->store, json_id(c->body, "message_id"));

    if (!m)
        admin_refuse(c, 404, "no such message");
    return m;
}

static struct guild *read_guild(struct admin_call *c)
{
    struct guild *g = world_guild(c->s->world, json_id(c->body, "guild_id"));

    if (!g)
        admin_refuse(c, 404, "no such guild");
    return g;
}

/* channel_id; else the guild's first text channel, else the author's direct messages. */
static struct channel *read_channel(struct admin_call *c, struct user *author)
{
    const struct guild *g = world_guild(c->s->world, json_id(c->body, "guild_id"));
    uint64_t id = json_id(c->body, "channel_id");

    if (id)
        return world_channel(c->s->world, id);
    for (size_t i = 0; g && i < g->channel_count; i++)
        if (g->channels[i]->type == CHANNEL_TEXT)
            return g->channels[i];
    return g || !author || author->bot ? NULL : world_dm(c->s->world, author);
}

void on_admin_message(struct admin_call *c)
{
    const struct guild *g = world_guild(c->s->world, json_id(c->body, "guild_id"));
    const struct member *plain = g ? guild_first_plain(g) : NULL;
    uint64_t author_id = json_id(c->body, "author_id");
    struct user *author = author_id ? world_user(c->s->world, author_id)
                          : plain   ? plain->user
                                    : NULL;
    struct channel *channel = read_channel(c, author);
    struct message *m = NULL;

    if (!author || !channel) {
        admin_refuse(c, 404, "guild_id, channel_id or author_id: no such thing");
        return;
    }
    bool sent = publish_message(c->s, channel, author, json_str(c->body, "content"),
                                message_extra_of(c->body), &m);
    answer_message(c, m, sent);
}

void on_admin_edit(struct admin_call *c)
{
    struct message *m = read_message(c);

    if (!m)
        return;
    CLEANUP(json_decref) json_t *patch = message_extra_of(c->body);
    bool sent =
        publish_edit(c->s, m, json_string_value(json_object_get(c->body, "content")), patch);
    answer_message(c, m, sent);
}

static void answer_sent(struct admin_call *c, bool sent)
{
    http_respond_json(c->x, 200, sent ? "{\"sent\":true}" : "{\"sent\":false}");
}

void on_admin_delete(struct admin_call *c)
{
    struct message *m = read_message(c);

    if (m)
        answer_sent(c, publish_delete(c->s, m));
}

void on_admin_reaction(struct admin_call *c)
{
    struct message *m = read_message(c);
    struct user *u = world_user(c->s->world, json_id(c->body, "user_id"));
    const char *emoji = json_str(c->body, "emoji");

    if (!m)
        return;
    if (!u) {
        admin_refuse(c, 404, "no such user");
        return;
    }
    answer_sent(c, publish_reaction(c->s, m, u, *emoji ? emoji : "\xf0\x9f\x91\x8d",
                                    !json_bool(c->body, "remove")));
}

void on_admin_member(struct admin_call *c)
{
    struct guild *g = read_guild(c);
    struct user *u = world_user(c->s->world, json_id(c->body, "user_id"));
    const char *what = json_str(c->body, "what");

    if (!g)
        return;
    if (!u || (strcmp(what, "join") != 0 && strcmp(what, "leave") != 0)) {
        admin_refuse(c, 400, "user_id, and what: join or leave");
        return;
    }
    if (!strcmp(what, "join")) {
        const struct member *m = guild_member_add(g, u, clock_wall_ms());
        answer_sent(c, publish_member(c->s, g, m, EVENT_GUILD_MEMBER_ADD));
        return;
    }
    struct member *m = guild_member(g, u->id);
    if (!member_is_here(m)) {
        admin_refuse(c, 404, "is no member");
        return;
    }
    m->gone = true;
    answer_sent(c, publish_member(c->s, g, m, EVENT_GUILD_MEMBER_REMOVE));
}

/* Any dispatch with its d as it is: {"guild_id":…,"type":"MESSAGE_CREATE","d":{…}}. The world does
 * not change. */
void on_admin_event(struct admin_call *c)
{
    json_t *d = json_object_get(c->body, "d");
    const char *type = json_str(c->body, "type");

    if (!json_is_object(d) || !*type || strlen(type) > 64) {
        admin_refuse(c, 400, "type, and d: an object");
        return;
    }
    bool sent = publish_raw(c->s, json_id(c->body, "guild_id"), type, d);
    CLEANUP(xfree) char *text = json_text(d);
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    out_json(&o, "{'sent':%b,'type':%S,'d':%r}", sent, type, text);
    admin_answer(c, 200, &o);
}

void on_admin_messages(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct channel *channel = world_channel(c->s->world, admin_query(c, "channel", 0));
    size_t from;

    if (!channel) {
        admin_refuse(c, 404, "no such channel");
        return;
    }
    from = channel->message_count > MAX_LISTED ? channel->message_count - MAX_LISTED : 0;
    out_text(&o, "[");
    for (size_t i = from; i < channel->message_count; i++) {
        const struct message *m = store_get(c->s->store, channel->messages[i]);
        if (!m)
            continue;
        object_message(&o, c->s->world, m, MESSAGE_REST);
        out_text(&o, ",");
    }
    out_drop(&o, ',');
    out_text(&o, "]");
    admin_answer(c, 200, &o);
}

void on_admin_channels(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = world_guild(c->s->world, admin_query(c, "guild", 0));

    if (!g) {
        admin_refuse(c, 404, "no such guild");
        return;
    }
    out_text(&o, "[");
    for (size_t i = 0; i < g->channel_count; i++) {
        object_channel(&o, g->channels[i]);
        out_text(&o, ",");
    }
    out_drop(&o, ',');
    out_text(&o, "]");
    admin_answer(c, 200, &o);
}

void on_admin_commands(struct admin_call *c)
{
    CLEANUP(xfree)
    char *text = json_text(commands_list(c->s->commands, admin_query(c, "guild", 0)));

    http_respond_json(c->x, 200, text);
}

/* ---- interactions ---- */

static void answer_interaction(struct admin_call *c, const struct interaction *i, const char *body)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    CLEANUP(json_decref) json_t *callback = NULL;
    const struct message *original = store_get(c->s->store, i->original_id);

    interaction_line(i, &o);
    out_drop(&o, '\n');
    out_drop(&o, '}');
    out_json(&o, ",'token':%S", i->token);
    if (original) {
        out_text(&o, ",\"original\":");
        object_message(&o, c->s->world, original, MESSAGE_REST);
    }
    if (body) {
        bool is_json = json_parse(body, strlen(body), &callback, NULL) == STATUS_OK;
        out_text(&o, is_json ? ",\"body\":" : ",\"body_text\":");
        if (is_json)
            out_text(&o, body);
        else
            out_string(&o, body);
    }
    out_text(&o, "}");
    admin_answer(c, 200, &o);
}

/* What waits for its answer: the exchange, and the simulator to answer with. */
struct waiting {
    struct admin_call call;
};

static void on_done(void *ctx, const struct interaction *i, const char *body)
{
    CLEANUP(xfree) struct waiting *w = ctx;

    answer_interaction(&w->call, i, body);
}

static struct waiting *wait_for(struct admin_call *c)
{
    struct waiting *w = xcalloc(1, sizeof(*w));

    w->call = (struct admin_call){ .s = c->s, .x = c->x };
    return w;
}

void on_admin_interactions_url(struct admin_call *c)
{
    const char *url = json_str(c->body, "url");

    if (json_is_null(json_object_get(c->body, "url"))) {
        interactions_set_url(c->s->interactions, NULL, NULL, NULL);
        http_respond_json(c->x, 200, "{\"url\":null}");
        return;
    }
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        admin_refuse(c, 400, "url: http:// or https://, or null for the gateway");
        return;
    }
    interactions_set_url(c->s->interactions, url, on_done, wait_for(c));
}

/* The kinds by name, as the record has them: commands are named as the bot registers them. */
static const struct {
    const char *name;
    enum interaction_type type;
} kinds[] = {
    { "Report", INTERACTION_COMMAND },
    { "Track", INTERACTION_COMMAND },
    { "modreport", INTERACTION_COMMAND },
    { "setup", INTERACTION_COMMAND },
    { "ping", INTERACTION_PING },
    { "probe", INTERACTION_PING },
    { "component", INTERACTION_COMPONENT },
    { "modal", INTERACTION_MODAL },
    { "autocomplete", INTERACTION_AUTOCOMPLETE },
    { "raw", INTERACTION_COMMAND },
};

static bool read_kind(struct admin_call *c, struct interaction_ask *ask)
{
    const char *name = json_str(c->body, "kind");

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) != 0)
            continue;
        ask->kind = kinds[i].name;
        ask->type = kinds[i].type;
        return true;
    }
    return false;
}

static const char *probe_name(const char *name)
{
    static const char *const names[] = { "timestamp", "body", "missing", "other_key" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(names[i], name))
            return names[i];
    return "signature";
}

/* NULL: *ask is complete as far as target goes; else what is missing. */
static const char *read_target(struct admin_call *c, struct interaction_ask *ask)
{
    uint64_t target = json_id(c->body, "target");

    if (!strcmp(ask->kind, "Report") || !strcmp(ask->kind, "Track")) {
        ask->target = store_get(c->s->store, target);
        return ask->target ? NULL : "target: the id of a message that is there";
    }
    if (!strcmp(ask->kind, "modreport")) {
        ask->target_user = world_user(c->s->world, target);
        return ask->target_user ? NULL : "target: the id of a user";
    }
    return NULL;
}

static const char *read_place(struct admin_call *c, struct interaction_ask *ask)
{
    uint64_t user = json_id(c->body, "user_id"), message = json_id(c->body, "message_id");

    ask->guild = world_guild(c->s->world, json_id(c->body, "guild_id"));
    ask->by = world_user(c->s->world, user);
    if (json_id(c->body, "guild_id") && !ask->guild)
        return "guild_id: no such guild";
    if (!ask->by)
        return "user_id: no such user";
    if (ask->guild && !member_is_here(guild_member(ask->guild, user)))
        return "user_id: is no member of the guild";
    const char *why = read_target(c, ask);
    if (why)
        return why;
    ask->message = store_get(c->s->store, message);
    if (message && !ask->message)
        return "message_id: no such message";
    ask->channel = ask->target    ? world_channel(c->s->world, ask->target->channel_id)
                   : ask->message ? world_channel(c->s->world, ask->message->channel_id)
                                  : read_channel(c, ask->by);
    return ask->channel ? NULL : "channel_id: no such channel";
}

/* The data of a component, a modal, or of anything as the body's data says. malloc'd; NULL: made by
 * kind. */
static char *read_data(struct admin_call *c)
{
    const json_t *data = json_object_get(c->body, "data");
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    if (json_is_object(data))
        return json_text(data);
    if (strcmp(json_str(c->body, "kind"), "component") != 0)
        return NULL;
    out_json(&o, "{'id':1,'component_type':2,'custom_id':%S}", json_str(c->body, "custom_id"));
    return out_take(&o);
}

/* {"guild_id","user_id","kind","target","channel_id","message_id","custom_id","data","type","probe"}
 */
void on_admin_interaction(struct admin_call *c)
{
    struct interaction_ask ask = { .on_done = on_done };
    const char *why = NULL;

    if (!read_kind(c, &ask)) {
        admin_refuse(c, 400,
                     "kind: Report, Track, modreport, setup, ping, probe, component, modal, "
                     "autocomplete or raw");
        return;
    }
    if (ask.type != INTERACTION_PING)
        why = read_place(c, &ask);
    if (why) {
        admin_refuse(c, 400, why);
        return;
    }
    if (!strcmp(ask.kind, "raw"))
        ask.type = (enum interaction_type)json_int(c->body, "type", INTERACTION_COMMAND);
    if (!strcmp(ask.kind, "probe"))
        ask.probe = probe_name(json_str(c->body, "probe"));
    CLEANUP(xfree) char *data = read_data(c);
    ask.data = data;
    ask.ctx = wait_for(c);
    if (!interactions_send(c->s->interactions, &ask)) {
        free(ask.ctx);
        admin_refuse(c, 503, "too many interactions are kept");
    }
}

void on_admin_get_interaction(struct admin_call *c)
{
    const struct interaction *i = interactions_by_id(c->s->interactions, admin_query(c, "id", 0));

    if (i)
        answer_interaction(c, i, NULL);
    else
        admin_refuse(c, 404, "no such interaction");
}
