/* rest_guilds.c - guilds, their channels, roles, members and bans. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/xmem.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/publish.h"
#include "tests/discord-sim/rest.h"

enum { UNKNOWN_ROLE = 10011, UNKNOWN_USER = 10013, UNKNOWN_BAN = 10026, INVALID_FORM = 50035 };
/* Discord: audit log actions */
enum { AUDIT_KICK = 20, AUDIT_BAN = 22, AUDIT_UNBAN = 23, AUDIT_MEMBER = 24, AUDIT_ROLES = 25 };
enum { MAX_NAME_BYTES = 4 * 100, MAX_ROLES = 250, MAX_MEMBERS_PAGE = 1000 };

void on_get_guild(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = rest_guild(c, 0);

    if (!g)
        return;
    object_guild(&o, g);
    rest_answer(c, 200, &o);
}

static bool is_thread(const struct channel *c)
{
    return c->type == CHANNEL_PUBLIC_THREAD || c->type == CHANNEL_PRIVATE_THREAD;
}

static void list_channels(struct out *o, const struct guild *g, bool threads)
{
    out_text(o, "[");
    for (size_t i = 0; i < g->channel_count; i++) {
        if (is_thread(g->channels[i]) != threads || (threads && g->channels[i]->archived))
            continue;
        object_channel(o, g->channels[i]);
        out_text(o, ",");
    }
    out_drop(o, ',');
    out_text(o, "]");
}

void on_get_channels(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = rest_guild(c, 0);

    if (!g)
        return;
    list_channels(&o, g, false);
    rest_answer(c, 200, &o);
}

void on_get_active_threads(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = rest_guild(c, 0);

    if (!g)
        return;
    out_text(&o, "{\"threads\":");
    list_channels(&o, g, true);
    out_text(&o, ",\"members\":[]}");
    rest_answer(c, 200, &o);
}

void on_create_channel(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct guild *g = rest_guild(c, 0);
    const char *name = json_str(c->body, "name");
    const json_t *overwrites = json_object_get(c->body, "permission_overwrites");

    if (!g)
        return;
    if (!*name || strlen(name) > MAX_NAME_BYTES) {
        rest_error(c, 400, INVALID_FORM, "Invalid Form Body");
        return;
    }
    struct channel *made =
        world_channel_add(c->s->world, g, (int)json_int(c->body, "type", 0), name);
    if (!made) {
        rest_error(c, 400, 30013, "Maximum number of guild channels reached (500)");
        return;
    }
    made->parent_id = json_id(c->body, "parent_id");
    if (json_is_array(overwrites)) {
        free(made->overwrites);
        made->overwrites = json_text(overwrites);
    }
    (void)publish_channel(c->s, made, EVENT_CHANNEL_CREATE);
    object_channel(&o, made);
    rest_answer(c, 201, &o);
}

void on_get_roles(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = rest_guild(c, 0);

    if (!g)
        return;
    out_text(&o, "[");
    for (size_t i = 0; i < g->role_count; i++) {
        object_role(&o, &g->roles[i]);
        out_text(&o, ",");
    }
    out_drop(&o, ',');
    out_text(&o, "]");
    rest_answer(c, 200, &o);
}

void on_create_role(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct guild *g = rest_guild(c, 0);
    const char *name = json_str(c->body, "name");

    if (!g)
        return;
    if (g->role_count >= MAX_ROLES || strlen(name) > MAX_NAME_BYTES) {
        rest_error(c, 400, 30005, "Maximum number of guild roles reached (250)");
        return;
    }
    struct role *made =
        guild_role_add(g, *name ? name : "new role", json_id(c->body, "permissions"));
    (void)publish_role(c->s, g, made, EVENT_GUILD_ROLE_CREATE);
    object_role(&o, made);
    rest_answer(c, 200, &o);
}

void on_get_members(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = rest_guild(c, 0);
    size_t listed = 0;

    if (!g)
        return;
    out_text(&o, "[");
    for (size_t i = 0; i < g->member_count && listed < MAX_MEMBERS_PAGE; i++) {
        if (!member_is_here(&g->members[i]))
            continue;
        object_member(&o, g, &g->members[i], true, false);
        out_text(&o, ",");
        listed++;
    }
    out_drop(&o, ',');
    out_text(&o, "]");
    rest_answer(c, 200, &o);
}

static void answer_member(struct rest_call *c, const struct guild *g, const struct member *m)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    object_member(&o, g, m, true, false);
    rest_answer(c, 200, &o);
}

void on_get_member(struct rest_call *c)
{
    struct guild *g = rest_guild(c, 0);
    const struct member *m = g ? rest_member(c, g, 1) : NULL;

    if (m)
        answer_member(c, g, m);
}

/* "2026-01-31T12:30:00…" in ms since 1970; 0: not a time. */
static int64_t parse_time(const char *text)
{
    struct tm tm = { 0 };

    return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) * 1000 : 0;
}

static void set_roles(struct member *m, const json_t *roles)
{
    const json_t *role;
    size_t i;

    m->role_count = 0;
    json_array_foreach(roles, i, role)
    {
        uint64_t id = 0;
        if (json_is_string(role) && id_parse(json_string_value(role), &id))
            (void)member_role_add(m, id);
    }
}

void on_patch_member(struct rest_call *c)
{
    struct guild *g = rest_guild(c, 0);
    struct member *m = g ? rest_member(c, g, 1) : NULL;
    const json_t *until = json_object_get(c->body, "communication_disabled_until");
    const json_t *roles = json_object_get(c->body, "roles");

    if (!m)
        return;
    if (until)
        m->timeout_until_ms = json_is_string(until) ? parse_time(json_string_value(until)) : 0;
    if (json_is_array(roles))
        set_roles(m, roles);
    (void)publish_member(c->s, g, m, EVENT_GUILD_MEMBER_UPDATE);
    rest_audit(c, g, AUDIT_MEMBER, m->user->id);
    answer_member(c, g, m);
}

void on_kick_member(struct rest_call *c)
{
    struct guild *g = rest_guild(c, 0);
    struct member *m = g ? rest_member(c, g, 1) : NULL;

    if (!m)
        return;
    m->gone = true;
    (void)publish_member(c->s, g, m, EVENT_GUILD_MEMBER_REMOVE);
    rest_audit(c, g, AUDIT_KICK, m->user->id);
    rest_done(c);
}

static void change_role(struct rest_call *c, bool add)
{
    struct guild *g = rest_guild(c, 0);
    struct member *m = g ? rest_member(c, g, 1) : NULL;

    if (!m)
        return;
    if (!guild_role(g, c->id[2])) {
        rest_error(c, 404, UNKNOWN_ROLE, "Unknown Role");
        return;
    }
    if (add)
        (void)member_role_add(m, c->id[2]);
    else
        member_role_remove(m, c->id[2]);
    (void)publish_member(c->s, g, m, EVENT_GUILD_MEMBER_UPDATE);
    rest_audit(c, g, AUDIT_ROLES, m->user->id);
    rest_done(c);
}

void on_add_member_role(struct rest_call *c)
{
    change_role(c, true);
}

void on_remove_member_role(struct rest_call *c)
{
    change_role(c, false);
}

void on_get_ban(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = rest_guild(c, 0);
    const struct member *m = g ? guild_member(g, c->id[1]) : NULL;

    if (!g)
        return;
    if (!m || !m->banned) {
        rest_error(c, 404, UNKNOWN_BAN, "Unknown Ban");
        return;
    }
    out_text(&o, "{\"reason\":null,\"user\":");
    object_user(&o, m->user);
    out_text(&o, "}");
    rest_answer(c, 200, &o);
}

void on_ban(struct rest_call *c)
{
    struct guild *g = rest_guild(c, 0);
    struct user *u = world_user(c->s->world, c->id[1]);

    if (!g)
        return;
    if (!u) {
        rest_error(c, 404, UNKNOWN_USER, "Unknown User");
        return;
    }
    struct member *m = guild_member(g, u->id);
    bool was_here = member_is_here(m);
    if (!m) { /* strangers can be banned too */
        m = guild_member_add(g, u, 0);
        m->gone = true;
    }
    bool was_banned = m->banned;
    m->banned = true;
    if (!was_banned)
        (void)publish_member(c->s, g, m, EVENT_GUILD_BAN_ADD);
    if (was_here)
        (void)publish_member(c->s, g, m, EVENT_GUILD_MEMBER_REMOVE);
    if (!was_banned)
        rest_audit(c, g, AUDIT_BAN, u->id);
    rest_done(c);
}

void on_unban(struct rest_call *c)
{
    struct guild *g = rest_guild(c, 0);
    struct member *m = g ? guild_member(g, c->id[1]) : NULL;

    if (!g)
        return;
    if (!m || !m->banned) {
        rest_error(c, 404, UNKNOWN_BAN, "Unknown Ban");
        return;
    }
    m->banned = false;
    m->gone = true;
    (void)publish_member(c->s, g, m, EVENT_GUILD_BAN_REMOVE);
    rest_audit(c, g, AUDIT_UNBAN, m->user->id);
    rest_done(c);
}

void on_get_audit_log(struct rest_call *c)
{
    const struct guild *g = rest_guild(c, 0);
    json_t *entry;
    size_t i;

    if (!g)
        return;
    CLEANUP(json_decref) json_t *list = json_array();
    json_array_foreach(c->s->audit, i, entry) if (json_id(entry, "guild_id") == g->id)(void)
        json_array_append(list, entry);
    CLEANUP(json_decref)
    json_t *log = json_pack("{s:O,s:[],s:[],s:[],s:[],s:[],s:[],s:[]}", "audit_log_entries", list,
                            "users", "webhooks", "threads", "application_commands",
                            "auto_moderation_rules", "guild_scheduled_events", "integrations");
    rest_answer_json(c, 200, log);
}
