#include "tests/discord-sim/objects.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xmem.h"

void object_user(struct out *o, const struct user *u)
{
    out_json(o,
             "{'id':%I,'username':%S,'discriminator':%S,'global_name':%S,'avatar':null,"
             "'public_flags':0,'flags':0,'primary_guild':null,'bot':%b}",
             u->id, u->username, u->bot ? "0001" : "0", u->global_name, u->bot);
}

static void add_ids(struct out *o, const uint64_t *ids, size_t count)
{
    out_text(o, "[");
    for (size_t i = 0; i < count; i++)
        out_json(o, i ? ",%I" : "%I", ids[i]);
    out_text(o, "]");
}

void object_member(struct out *o, const struct guild *g, const struct member *m, bool with_user,
                   bool with_permissions)
{
    out_text(o, "{");
    if (with_user) {
        out_text(o, "\"user\":");
        object_user(o, m->user);
        out_text(o, ",");
    }
    if (with_permissions)
        out_json(o, "'permissions':'%u',", member_permissions(g, m));
    out_text(o, "\"roles\":");
    add_ids(o, m->roles, m->role_count);
    out_json(
        o,
        ",'nick':null,'avatar':null,'banner':null,'joined_at':%T,'premium_since':null,'deaf':false,"
        "'mute':false,'flags':0,'pending':false,'communication_disabled_until':%T}",
        m->joined_ms, m->timeout_until_ms);
}

void object_role(struct out *o, const struct role *r)
{
    out_json(o,
             "{'id':%I,'name':%S,'permissions':'%u','position':%d,'color':0,'colors':{"
             "'primary_color':0,'secondary_color':null,'tertiary_color':null},'hoist':false,"
             "'managed':%b,'mentionable':false,'icon':null,'unicode_emoji':null,'flags':0}",
             r->id, r->name, r->permissions, r->position, r->managed);
}

static bool is_thread(const struct channel *c)
{
    return c->type == CHANNEL_PUBLIC_THREAD || c->type == CHANNEL_PRIVATE_THREAD;
}

static void add_thread_fields(struct out *o, const struct channel *c)
{
    int64_t created = (int64_t)(c->id >> 22) + SNOWFLAKE_EPOCH_MS;

    out_json(o,
             ",'owner_id':%I,'message_count':%d,'member_count':2,'total_message_sent':%d,"
             "'rate_limit_per_user':0,'thread_metadata':{'archived':%b,'locked':%b,"
             "'auto_archive_duration':4320,'archive_timestamp':%T,'create_timestamp':%T}",
             c->owner_id, (int)c->message_count, (int)c->message_count, c->archived, c->locked,
             created, created);
}

void object_channel(struct out *o, const struct channel *c)
{
    uint64_t last = c->message_count ? c->messages[c->message_count - 1] : 0;

    out_json(o, "{'id':%I,'type':%d,'last_message_id':%N,'flags':0", c->id, c->type, last);
    if (c->guild)
        out_json(o, ",'guild_id':%I,'name':%S,'parent_id':%N", c->guild->id, c->name, c->parent_id);
    if (c->recipient) {
        out_text(o, ",\"recipients\":[");
        object_user(o, c->recipient);
        out_text(o, "]");
    }
    if (is_thread(c))
        add_thread_fields(o, c);
    else if (c->guild)
        out_json(o,
                 ",'position':%d,'topic':%S,'nsfw':false,'rate_limit_per_user':0,"
                 "'permission_overwrites':%r",
                 (int)(c->id & 15), c->topic, c->overwrites);
    out_text(o, "}");
}

static uint64_t first_text_channel(const struct guild *g)
{
    for (size_t i = 0; i < g->channel_count; i++)
        if (g->channels[i]->type == CHANNEL_TEXT)
            return g->channels[i]->id;
    return 0;
}

static void add_guild_fields(struct out *o, const struct guild *g)
{
    out_json(o,
             "'id':%I,'name':%S,'icon':null,'owner_id':%I,'description':null,'features':[],"
             "'stickers':[],'afk_channel_id':null,'afk_timeout':300,"
             "'system_channel_id':%N,'system_channel_flags':0,'rules_channel_id':null,"
             "'public_updates_channel_id':null,'verification_level':1,"
             "'default_message_notifications':0,'explicit_content_filter':0,'mfa_level':0,"
             "'premium_tier':0,'preferred_locale':'en-US','nsfw_level':0,'vanity_url_code':null,"
             "'roles':[",
             g->id, g->name, g->owner_id, first_text_channel(g));
    for (size_t i = 0; i < g->role_count; i++) {
        object_role(o, &g->roles[i]);
        out_text(o, ",");
    }
    out_drop(o, ',');
    out_text(o, "],\"emojis\":[");
    for (size_t i = 0; i < g->emojis; i++)
        out_json(o,
                 "{'id':%I,'name':'otter_%d','roles':[],'require_colons':true,'managed':false,"
                 "'animated':false,'available':true,'user':{'id':%I,'username':'otter'}},",
                 g->id + i + 1, (int)i, g->owner_id);
    out_drop(o, ',');
    out_text(o, "]");
}

void object_guild(struct out *o, const struct guild *g)
{
    out_text(o, "{");
    add_guild_fields(o, g);
    out_text(o, "}");
}

static void add_channels(struct out *o, const struct guild *g, bool threads)
{
    out_text(o, threads ? ",\"threads\":[" : ",\"channels\":[");
    for (size_t i = 0; i < g->channel_count; i++) {
        if (is_thread(g->channels[i]) != threads)
            continue;
        object_channel(o, g->channels[i]);
        out_text(o, ",");
    }
    out_drop(o, ',');
    out_text(o, "]");
}

static void add_members(struct out *o, const struct guild *g, size_t most)
{
    size_t people = 0;

    out_text(o, ",\"members\":[");
    for (size_t i = 0; i < g->member_count; i++) {
        const struct member *m = &g->members[i];
        if (!member_is_here(m) || (!m->user->bot && people++ >= most))
            continue;
        object_member(o, g, m, true, false);
        out_text(o, ",");
    }
    out_drop(o, ',');
    out_text(o, "]");
}

void object_guild_create(struct out *o, const struct guild *g, size_t members)
{
    const struct member *first = &g->members[0];
    size_t here = 0;

    for (size_t i = 0; i < g->member_count; i++)
        here += member_is_here(&g->members[i]);
    out_text(o, "{");
    add_guild_fields(o, g);
    add_channels(o, g, false);
    add_channels(o, g, true);
    add_members(o, g, members);
    out_json(o,
             ",'member_count':%d,'joined_at':%T,'large':%b,'unavailable':false,'voice_states':[],"
             "'presences':[],'stage_instances':[],'guild_scheduled_events':[],"
             "'soundboard_sounds':[]}",
             (int)here, first->joined_ms, here > 50);
}

void object_emoji(struct out *o, const char *emoji)
{
    const char *colon = strrchr(emoji, ':');
    uint64_t id = 0;

    if (!colon || !id_parse(colon + 1, &id)) {
        out_json(o, "{'id':null,'name':%S}", emoji);
        return;
    }
    CLEANUP(xfree) char *name = xmemdup(emoji, (size_t)(colon - emoji));
    out_json(o, "{'id':%I,'name':%S}", id, name);
}

static size_t count_emoji(const struct message *m, const char *emoji)
{
    size_t n = 0;

    for (size_t i = 0; i < m->reaction_count; i++)
        n += !strcmp(m->reactions[i].emoji, emoji);
    return n;
}

static void add_reactions(struct out *o, const struct message *m)
{
    out_text(o, ",\"reactions\":[");
    for (size_t i = 0; i < m->reaction_count; i++) {
        const char *emoji = m->reactions[i].emoji;
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen = seen || !strcmp(m->reactions[j].emoji, emoji);
        if (seen)
            continue;
        out_json(o, "{'count':%d,'me':false,'emoji':", (int)count_emoji(m, emoji));
        object_emoji(o, emoji);
        out_text(o, "},");
    }
    out_drop(o, ',');
    out_text(o, "]");
}

/* What the sender gave along, or what Discord says when it gave nothing. */
static void add_extra(struct out *o, const struct message *m, bool blanked)
{
    static const struct {
        const char *key, *otherwise;
        bool is_content;
    } fields[] = {
        { "embeds", "[]", true },
        { "components", "[]", true },
        { "attachments", "[]", true },
        { "flags", "0", false },
        { "message_reference", NULL, false },
        { "message_snapshots", NULL, false },
        { "nonce", NULL, false },
        { "webhook_id", NULL, false },
        { "application_id", NULL, false },
        { "interaction_metadata", NULL, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const json_t *value = m->extra ? json_object_get(m->extra, fields[i].key) : NULL;
        if (value && !(blanked && fields[i].is_content)) {
            CLEANUP(xfree) char *text = json_text(value);
            out_json(o, ",'%r':%r", fields[i].key, text);
        } else if (fields[i].otherwise) {
            out_json(o, ",'%r':%r", fields[i].key, fields[i].otherwise);
        }
    }
}

static int message_type(const struct message *m)
{
    const json_t *ref = m->extra ? json_object_get(m->extra, "message_reference") : NULL;

    if (m->extra && json_object_get(m->extra, "interaction_metadata"))
        return 20;
    return ref && !json_int(ref, "type", 0) ? 19 : 0; /* 19: a reply */
}

static void add_event_fields(struct out *o, const struct world *w, const struct message *m)
{
    const struct guild *g = world_guild(w, m->guild_id);
    const struct member *member = g ? guild_member(g, m->author->id) : NULL;

    if (!g)
        return;
    out_json(o, ",'guild_id':%I", g->id);
    if (member) {
        out_text(o, ",\"member\":");
        object_member(o, g, member, false, false);
    }
}

void object_message(struct out *o, const struct world *w, const struct message *m,
                    enum message_shape shape)
{
    /* What the bot wrote itself, it may always read. */
    bool blanked = shape == MESSAGE_EVENT_BLANKED && !m->author->bot && m->guild_id;

    out_json(o, "{'id':%I,'type':%d,'channel_id':%I,'author':", m->id, message_type(m),
             m->channel_id);
    object_user(o, m->author);
    out_json(o,
             ",'content':%S,'timestamp':%T,'edited_timestamp':%T,'tts':false,"
             "'mention_everyone':false,'mentions':[],'mention_roles':[],'pinned':false",
             blanked ? "" : m->content, (int64_t)(m->id >> 22) + SNOWFLAKE_EPOCH_MS, m->edited_ms);
    add_extra(o, m, blanked);
    if (m->reaction_count)
        add_reactions(o, m);
    if (shape != MESSAGE_REST)
        add_event_fields(o, w, m);
    out_text(o, "}");
}
