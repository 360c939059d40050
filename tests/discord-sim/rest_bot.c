/* rest_bot.c - the bot about itself: users, application, gateway, commands. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "tests/discord-sim/commands.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/rest.h"

enum { UNKNOWN_USER = 10013, UNKNOWN_COMMAND = 10063, INVALID_FORM = 50035 };

static const char *host_of(struct rest_call *c)
{
    const char *host = http_header(c->x, "host");

    return host ? host : "127.0.0.1";
}

void on_get_gateway(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_json(&o, "{'url':'ws://%r'}", host_of(c));
    rest_answer(c, 200, &o);
}

void on_get_gateway_bot(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct gateway_counts counts;

    gateway_count(c->s->gateway, &counts, clock_now_ms());
    out_json(&o,
             "{'url':'ws://%r','shards':%l,'session_start_limit':{'total':%l,'remaining':%l,"
             "'reset_after':%l,'max_concurrency':%l}}",
             host_of(c), c->s->config.shards, c->s->config.identify_total,
             counts.identify_remaining, counts.identify_reset_ms, c->s->config.max_concurrency);
    rest_answer(c, 200, &o);
}

void on_get_me(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    object_user(&o, c->as);
    out_drop(&o, '}');
    out_text(&o, ",\"locale\":\"en-US\",\"mfa_enabled\":false,\"premium_type\":0,\"flags\":0}");
    rest_answer(c, 200, &o);
}

void on_get_user(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct user *u = world_user(c->s->world, c->id[0]);

    if (!u) {
        rest_error(c, 404, UNKNOWN_USER, "Unknown User");
        return;
    }
    object_user(&o, u);
    rest_answer(c, 200, &o);
}

static void add_my_guild(struct out *o, const struct guild *g, const struct member *m)
{
    out_json(o,
             "{'id':%I,'name':%S,'icon':null,'banner':null,'owner':%b,'permissions':'%u',"
             "'features':[]},",
             g->id, g->name, m->user->id == g->owner_id, member_permissions(g, m));
}

/* Discord: at most 200 a page, by id, the next page after=<last id>. */
void on_get_my_guilds(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const char *after_text = http_query(c->x, "after");
    uint64_t after = 0;
    size_t listed = 0;

    if (after_text)
        (void)id_parse(after_text, &after);
    out_text(&o, "[");
    for (size_t i = 0; i < c->s->world->guild_count && listed < 200; i++) {
        const struct guild *g = c->s->world->guilds[i];
        const struct member *m = g->id > after ? guild_member(g, c->as->id) : NULL;
        if (!m || !member_is_here(m))
            continue;
        add_my_guild(&o, g, m);
        listed++;
    }
    out_drop(&o, ',');
    out_text(&o, "]");
    rest_answer(c, 200, &o);
}

void on_get_my_member(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct guild *g = rest_guild(c, 0);

    if (!g)
        return;
    c->id[1] = c->as->id;
    const struct member *m = rest_member(c, g, 1);
    if (!m)
        return;
    object_member(&o, g, m, true, false);
    rest_answer(c, 200, &o);
}

void on_create_dm(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct user *u = world_user(c->s->world, json_id(c->body, "recipient_id"));

    if (!u || u->bot) {
        rest_error(c, 400, INVALID_FORM, "Invalid Recipient(s)");
        return;
    }
    object_channel(&o, world_dm(c->s->world, u));
    rest_answer(c, 200, &o);
}

void on_get_application(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    char key[65];

    sign_public_hex(c->s->key, key);
    out_json(&o,
             "{'id':%I,'name':'Guildbus','icon':null,'description':'','summary':'',"
             "'bot_public':true,'bot_require_code_grant':false,'verify_key':%S,'flags':565248,"
             "'approximate_guild_count':%d,'bot':",
             c->s->application_id, key, (int)c->s->world->guild_count);
    object_user(&o, &c->s->world->bot);
    out_text(&o, "}");
    rest_answer(c, 200, &o);
}

/* ---- commands: the part before the last {} is the guild, when there is one ---- */

static bool is_guild_route(const struct rest_call *c)
{
    return strstr(http_path(c->x), "/guilds/") != NULL;
}

/* False: answered. */
static bool read_scope(struct rest_call *c, uint64_t *ret_guild)
{
    *ret_guild = is_guild_route(c) ? c->id[1] : 0;
    if (c->id[0] != c->s->application_id) {
        rest_error(c, 403, 20012,
                   "You are not authorized to perform this action on this application");
        return false;
    }
    return !is_guild_route(c) || rest_guild(c, 1);
}

void on_list_commands(struct rest_call *c)
{
    uint64_t guild;

    if (read_scope(c, &guild))
        rest_answer_json(c, 200, commands_list(c->s->commands, guild));
}

void on_overwrite_commands(struct rest_call *c)
{
    uint64_t guild;

    if (!read_scope(c, &guild))
        return;
    const char *why = commands_overwrite(c->s->commands, guild, c->body);
    if (why)
        rest_error(c, 400, INVALID_FORM, why);
    else
        rest_answer_json(c, 200, commands_list(c->s->commands, guild));
}

void on_create_command(struct rest_call *c)
{
    json_t *command = NULL;
    uint64_t guild;

    if (!read_scope(c, &guild))
        return;
    const char *why = commands_put(c->s->commands, guild, c->body, &command);
    if (why)
        rest_error(c, 400, INVALID_FORM, why);
    else
        rest_answer_json(c, 201, command);
}

static void delete_command(struct rest_call *c, uint64_t command)
{
    uint64_t guild;

    if (!read_scope(c, &guild))
        return;
    if (commands_remove(c->s->commands, guild, command))
        rest_done(c);
    else
        rest_error(c, 404, UNKNOWN_COMMAND, "Unknown application command");
}

void on_delete_command(struct rest_call *c)
{
    delete_command(c, c->id[1]);
}

void on_delete_guild_command(struct rest_call *c)
{
    delete_command(c, c->id[2]);
}
