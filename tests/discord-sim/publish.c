#include "tests/discord-sim/publish.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/xmem.h"
#include "tests/discord-sim/mischief.h"
#include "tests/discord-sim/objects.h"

enum { MAX_OTHER_NAMES = 64 };

/* body and blanked are borrowed; blanked NULL: as body. */
static bool send_event(struct sim *s, struct record_event what, const char *body,
                       const char *blanked, const struct message *about)
{
    if (about)
        record_event_about(&what, about);
    mischief_run(s->mischief, s, what.message_id);
    if (mischief_omits(s->mischief))
        return false;
    struct event *e = event_new(what.type, what.name, body, blanked);
    if (!gateway_dispatch(s->gateway, what.guild_id, &e))
        return false;
    record_add(s->record, what, about);
    mischief_sent(s->mischief, &what, body, blanked);
    return true;
}

static bool send_message_event(struct sim *s, const struct message *m, enum event_type type)
{
    CLEANUP(out_release) struct out body = OUT_EMPTY;
    CLEANUP(out_release) struct out blanked = OUT_EMPTY;
    struct record_event what = { .type = type, .guild_id = m->guild_id };

    if (m->hidden || !gateway_would_take(s->gateway, m->guild_id, type))
        return false;
    object_message(&body, s->world, m, MESSAGE_EVENT);
    if (gateway_needs_blanked(s->gateway))
        object_message(&blanked, s->world, m, MESSAGE_EVENT_BLANKED);
    return send_event(s, what, body.text, blanked.text, m);
}

/* Discord: a reference of type 1 is a forward, and carries a copy of the message. */
static void add_snapshot(struct sim *s, json_t *extra)
{
    json_t *ref = json_object_get(extra, "message_reference");
    const struct message *from = store_get(s->store, json_id(ref, "message_id"));

    if (json_int(ref, "type", 0) != 1 || !from)
        return;
    json_t *snapshot = json_pack("[{s:{s:s,s:i,s:[],s:[],s:[]}}]", "message", "content",
                                 from->content, "type", 0, "embeds", "attachments", "mentions");
    (void)json_object_set_new(extra, "message_snapshots", snapshot);
}

bool publish_message(struct sim *s, struct channel *c, struct user *author, const char *content,
                     json_t *extra, struct message **ret_message)
{
    struct message *m = message_new(world_new_id(s->world), c, author, content);

    m->extra = extra;
    if (extra)
        add_snapshot(s, extra);
    struct message *added = store_add(s->store, c, &m);
    if (c->guild && !author->bot)
        c->guild->recent[c->guild->recent_next++ % GUILD_RECENT] = added->id;
    if (ret_message)
        *ret_message = added;
    return send_message_event(s, added, EVENT_MESSAGE_CREATE);
}

struct message *publish_hidden(struct sim *s, const struct channel *c, const char *content,
                               json_t *extra)
{
    struct message *m = message_new(world_new_id(s->world), c, &s->world->bot, content);

    m->extra = extra;
    m->hidden = true;
    return store_add(s->store, NULL, &m);
}

bool publish_edit(struct sim *s, struct message *m, const char *content, json_t *patch)
{
    if (content) {
        free(m->content);
        m->content = xstrdup(content);
    }
    if (patch) {
        if (!m->extra)
            m->extra = json_object();
        (void)json_object_update(m->extra, patch);
    }
    m->edited_ms = clock_wall_ms();
    return send_message_event(s, m, EVENT_MESSAGE_UPDATE);
}

static void add_place(struct out *o, const struct message *m)
{
    out_json(o, "'channel_id':%I", m->channel_id);
    if (m->guild_id)
        out_json(o, ",'guild_id':%I", m->guild_id);
}

bool publish_delete(struct sim *s, struct message *m)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct record_event what = { .type = EVENT_MESSAGE_DELETE, .guild_id = m->guild_id };

    out_json(&o, "{'id':%I,", m->id);
    add_place(&o, m);
    out_text(&o, "}");
    bool sent = !m->hidden && send_event(s, what, o.text, NULL, m);
    store_remove(s->store, m->id);
    return sent;
}

bool publish_reaction(struct sim *s, struct message *m, struct user *u, const char *emoji, bool add)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct guild *g = world_guild(s->world, m->guild_id);
    const struct member *member = g ? guild_member(g, u->id) : NULL;
    struct record_event what = { .guild_id = m->guild_id, .user_id = u->id };

    if (add ? !message_react(m, u->id, emoji) : !message_unreact(m, u->id, emoji))
        return false;
    what.type = add ? EVENT_MESSAGE_REACTION_ADD : EVENT_MESSAGE_REACTION_REMOVE;
    what.delta = add ? 1 : -1;
    out_json(&o, "{'user_id':%I,'message_id':%I,'type':0,'burst':false,", u->id, m->id);
    add_place(&o, m);
    out_text(&o, ",\"emoji\":");
    object_emoji(&o, emoji);
    if (add && member) {
        out_json(&o, ",'message_author_id':%I,'member':", m->author->id);
        object_member(&o, g, member, true, false);
    }
    out_text(&o, "}");
    return send_event(s, what, o.text, NULL, m);
}

bool publish_typing(struct sim *s, struct channel *c, const struct user *u)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct record_event what = {
        .type = EVENT_TYPING_START, .guild_id = c->guild->id, .channel_id = c->id, .user_id = u->id
    };

    out_json(&o, "{'channel_id':%I,'guild_id':%I,'user_id':%I,'timestamp':%l}", c->id, c->guild->id,
             u->id, clock_wall_ms() / 1000);
    return send_event(s, what, o.text, NULL, NULL);
}

bool publish_member(struct sim *s, struct guild *g, const struct member *m, enum event_type type)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct record_event what = { .type = type, .guild_id = g->id, .user_id = m->user->id };

    if (type == EVENT_GUILD_MEMBER_ADD || type == EVENT_GUILD_MEMBER_UPDATE) {
        object_member(&o, g, m, true, false);
        out_drop(&o, '}');
        out_json(&o, ",'guild_id':%I}", g->id);
    } else {
        out_json(&o, "{'guild_id':%I,'user':", g->id);
        object_user(&o, m->user);
        out_text(&o, "}");
    }
    return send_event(s, what, o.text, NULL, NULL);
}

bool publish_channel(struct sim *s, const struct channel *c, enum event_type type)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct record_event what = { .type = type, .channel_id = c->id };

    if (!c->guild)
        return false;
    what.guild_id = c->guild->id;
    object_channel(&o, c);
    if (type == EVENT_THREAD_CREATE) {
        out_drop(&o, '}');
        out_text(&o, ",\"newly_created\":true}");
    }
    return send_event(s, what, o.text, NULL, NULL);
}

bool publish_role(struct sim *s, struct guild *g, const struct role *r, enum event_type type)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct record_event what = { .type = type, .guild_id = g->id };

    out_json(&o, "{'guild_id':%I,'role':", g->id);
    object_role(&o, r);
    out_text(&o, "}");
    return send_event(s, what, o.text, NULL, NULL);
}

/* The record points to names; the few that are not in the table live as long as the process. */
static const char *static_name(const char *name)
{
    static char *known[MAX_OTHER_NAMES];

    for (size_t i = 0; i < MAX_OTHER_NAMES; i++) {
        if (!known[i])
            return known[i] = xstrdup(name);
        if (!strcmp(known[i], name))
            return known[i];
    }
    return "OTHER";
}

bool publish_raw(struct sim *s, uint64_t guild_id, const char *name, json_t *d)
{
    struct record_event what = { .type = event_type_by_name(name), .guild_id = guild_id };

    if (what.type == EVENT_OTHER)
        what.name = static_name(name);
    if (guild_id && !json_object_get(d, "guild_id"))
        (void)json_object_set_new(d, "guild_id", json_from_id(guild_id));
    what.message_id = json_id(d, "message_id") ? json_id(d, "message_id") : json_id(d, "id");
    what.channel_id = json_id(d, "channel_id");
    what.user_id = json_id(d, "user_id");
    CLEANUP(xfree) char *body = json_text(d);
    return send_event(s, what, body, NULL, NULL);
}
