/* activity.c - who writes how much, where: one row of message_stats a message.
 *
 *     MESSAGE_CREATE ─▶ one INSERT      MESSAGE_UPDATE ─▶ counts anew      MESSAGE_REACTION_* ─▶ ±,
 *                                                   unless reactions_seen says that it is so already
 * 1 GUILD_CREATE, CHANNEL_*, THREAD_* ─▶ channel_info ─▶ channel_category of later messages
 *
 * Messages of people only, and only those with text. No REST: what channel_info does not know is
 * NULL. */
#include "base/json.h"
#include "gateway/features/answer.h"
#include "gateway/features/handlers.h"
#include "gateway/features/message_text.h"
#include "messages/snowflake.h"

enum { MESSAGE_DEFAULT = 0, MESSAGE_REPLY = 19, CHANNEL_CATEGORY = 4 };

static bool is_tracked(const json_t *d)
{
    int64_t type = json_int(d, "type", MESSAGE_DEFAULT);

    return (type == MESSAGE_DEFAULT || type == MESSAGE_REPLY) && !json_id(d, "webhook_id") &&
           !json_bool(json_object_get(d, "author"), "bot") && *json_str(d, "content");
}

enum status on_message_create(struct unit *u, const json_t *d, struct err *err)
{
    uint64_t message_id = json_id(d, "id"), channel_id = json_id(d, "channel_id");
    uint64_t author_id = json_id(json_object_get(d, "author"), "id");
    const json_t *answered = json_object_get(json_object_get(d, "referenced_message"), "author");
    struct message_measure m;

    if (!message_id || !channel_id || !author_id)
        return err_set(err, STATUS_INVALID, "MESSAGE_CREATE without its ids");
    if (!is_tracked(d))
        return STATUS_OK;
    message_text_measure(u->arena, json_str(d, "content"), &m);

    sqlite3_stmt *q = unit_sql(
        u,
        "INSERT INTO message_stats(guild_id, message_id, author_id, channel_id,"
        " channel_category, recipient_id, char_count, word_count, react_count, sent_at,"
        " code_stats, link_stats)"
        " SELECT ?1, ?2, ?3, ?4,"
        " (SELECT category FROM channel_info WHERE guild_id = ?1 AND id = ?4),"
        " ?5, ?6, ?7, ?8, ?9, ?10, ?11"
        " WHERE NOT EXISTS (SELECT 1 FROM guilds WHERE guild_id = ?1 AND CASE WHEN"
        " instr(settings, 'activityTracking') AND json_valid(settings) THEN json_extract(settings, '$.activityTracking') = 0 END)"
        " ON CONFLICT(guild_id, message_id) DO NOTHING");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, message_id);
    unit_bind_id(q, 3, author_id);
    unit_bind_id(q, 4, channel_id);
    unit_bind_id_or_null(q, 5, json_id(answered, "id"));
    unit_bind_int(q, 6, m.chars);
    unit_bind_int(q, 7, m.words);
    unit_bind_int(q, 8, (int64_t)json_array_size(json_object_get(d, "reactions")));
    unit_bind_int(q, 9, snowflake_ms(message_id));
    unit_bind_text(q, 10, m.code_stats);
    unit_bind_text(q, 11, m.link_stats);
    return unit_run(u, q, err);
}

/* Discord also sends this when it adds a preview to a link: a row that stays as it is must not be
 * written. react_count is left alone, the reaction events keep it. */
enum status on_message_update(struct unit *u, const json_t *d, struct err *err)
{
    uint64_t message_id = json_id(d, "id");
    struct message_measure m;

    if (!message_id)
        return err_set(err, STATUS_INVALID, "MESSAGE_UPDATE without its id");
    if (!json_is_string(json_object_get(d, "content")))
        return STATUS_OK;
    message_text_measure(u->arena, json_str(d, "content"), &m);

    sqlite3_stmt *q =
        unit_sql(u, "UPDATE message_stats SET char_count = ?3, word_count = ?4, code_stats = ?5,"
                    " link_stats = ?6 WHERE guild_id = ?1 AND message_id = ?2 AND"
                    " (char_count, word_count, code_stats, link_stats) IS NOT (?3, ?4, ?5, ?6)");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, message_id);
    unit_bind_int(q, 3, m.chars);
    unit_bind_int(q, 4, m.words);
    unit_bind_text(q, 5, m.code_stats);
    unit_bind_text(q, 6, m.link_stats);
    return unit_run(u, q, err);
}

static enum status forget_message(struct unit *u, uint64_t message_id, struct err *err)
{
    sqlite3_stmt *q =
        unit_sql(u, "DELETE FROM message_stats WHERE guild_id = ?1 AND message_id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, message_id);
    TRY(unit_run(u, q, err));
    q = unit_sql(u, "DELETE FROM reactions_seen WHERE guild_id = ?1 AND message_id = ?2");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, message_id);
    return unit_run(u, q, err);
}

enum status on_message_delete(struct unit *u, const json_t *d, struct err *err)
{
    uint64_t message_id = json_id(d, "id");

    if (!message_id)
        return err_set(err, STATUS_INVALID, "MESSAGE_DELETE without its id");
    return forget_message(u, message_id, err);
}

enum status on_message_delete_bulk(struct unit *u, const json_t *d, struct err *err)
{
    const json_t *ids = json_object_get(d, "ids");

    if (!json_is_array(ids))
        return err_set(err, STATUS_INVALID, "MESSAGE_DELETE_BULK without its ids");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const char *text = json_string_value(json_array_get(ids, i));
        uint64_t message_id;
        if (!text || !id_parse(text, &message_id))
            return err_set(err, STATUS_INVALID, "MESSAGE_DELETE_BULK: not an id");
        TRY(forget_message(u, message_id, err));
    }
    return STATUS_OK;
}

/* One person may react with the same emoji plainly and with a burst. NULL: no room. */
static const char *emoji_key(struct unit *u, const json_t *d)
{
    const json_t *emoji = json_object_get(d, "emoji");
    const char *id = json_str(emoji, "id");

    return arena_printf(u->arena, "%s%.64s", json_bool(d, "burst") ? "!" : "",
                        *id ? id : json_str(emoji, "name"));
}

/* Discord, and two sessions that overlap, may say a thing twice, in order: what is so already is
 * not counted again. Only of messages that have a row. NOT_FOUND: nothing is to be counted. */
static enum status see_reaction(struct unit *u, const json_t *d, bool is_there, struct err *err)
{
    sqlite3_stmt *q = unit_sql(
        u, "INSERT INTO reactions_seen(guild_id, message_id, user_id, emoji, is_there, at_ms)"
           " SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS"
           " (SELECT 1 FROM message_stats WHERE guild_id = ?1 AND message_id = ?2)"
           " ON CONFLICT(guild_id, message_id, user_id, emoji) DO UPDATE SET"
           " is_there = excluded.is_there, at_ms = excluded.at_ms"
           " WHERE reactions_seen.is_there <> excluded.is_there RETURNING 1");
    const char *emoji = emoji_key(u, d);

    if (!emoji)
        return err_set(err, STATUS_BUSY, "the unit is too large");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, json_id(d, "message_id"));
    unit_bind_id(q, 3, json_id(d, "user_id"));
    unit_bind_text(q, 4, emoji);
    unit_bind_int(q, 5, is_there);
    unit_bind_int(q, 6, u->now_ms);
    enum status status = unit_step(u, q, err);
    if (status == STATUS_OK)
        sqlite3_reset(q);
    return status;
}

/* A removal can be seen without its addition (the message is older than its row): never below 0. */
static enum status count_reaction(struct unit *u, const json_t *d, int by, struct err *err)
{
    uint64_t message_id = json_id(d, "message_id");

    if (!message_id)
        return err_set(err, STATUS_INVALID, "a reaction without its message_id");
    enum status seen = see_reaction(u, d, by > 0, err);
    if (seen != STATUS_OK)
        return seen == STATUS_NOT_FOUND ? STATUS_OK : seen;
    sqlite3_stmt *q = unit_sql(u, "UPDATE message_stats SET react_count = react_count + ?3"
                                  " WHERE guild_id = ?1 AND message_id = ?2"
                                  " AND react_count + ?3 >= 0");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, message_id);
    unit_bind_int(q, 3, by);
    return unit_run(u, q, err);
}

enum status on_reaction_add(struct unit *u, const json_t *d, struct err *err)
{
    return count_reaction(u, d, 1, err);
}

enum status on_reaction_remove(struct unit *u, const json_t *d, struct err *err)
{
    return count_reaction(u, d, -1, err);
}

static enum status keep_channel(struct unit *u, const json_t *channel, struct err *err)
{
    uint64_t id = json_id(channel, "id"), parent_id = json_id(channel, "parent_id");

    if (!id)
        return err_set(err, STATUS_INVALID, "a channel without its id");
    sqlite3_stmt *q = unit_sql(
        u,
        "INSERT INTO channel_info(guild_id, id, name, category, category_id)"
        " VALUES(?1, ?2, ?3, (SELECT name FROM channel_info WHERE guild_id = ?1 AND id = ?4), ?4)"
        " ON CONFLICT(guild_id, id) DO UPDATE SET name = excluded.name,"
        " category = excluded.category, category_id = excluded.category_id"
        " WHERE (channel_info.name, channel_info.category, channel_info.category_id) IS NOT"
        " (excluded.name, excluded.category, excluded.category_id)");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, id);
    unit_bind_text(q, 3, json_str(channel, "name"));
    unit_bind_id_or_null(q, 4, parent_id);
    return unit_run(u, q, err);
}

/* Parents first, because a channel takes its category's name from the parent's row. */
static enum status keep_channels(struct unit *u, const json_t *list, bool categories,
                                 struct err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *channel = json_array_get(list, i);
        if ((json_int(channel, "type", 0) == CHANNEL_CATEGORY) == categories)
            TRY(keep_channel(u, channel, err));
    }
    return STATUS_OK;
}

enum status on_guild_update(struct unit *u, const json_t *d, struct err *err)
{
    if (!*json_str(d, "name"))
        return STATUS_OK;
    sqlite3_stmt *q = unit_sql(u, "INSERT INTO guilds(guild_id, name) VALUES(?1, ?2)"
                                  " ON CONFLICT(guild_id) DO UPDATE SET name = excluded.name"
                                  " WHERE guilds.name IS NOT excluded.name");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, json_str(d, "name"));
    return unit_run(u, q, err);
}

enum status on_guild_create(struct unit *u, const json_t *d, struct err *err)
{
    const json_t *channels = json_object_get(d, "channels");

    TRY(on_guild_update(u, d, err));
    TRY(keep_channels(u, channels, true, err));
    TRY(keep_channels(u, channels, false, err));
    return keep_channels(u, json_object_get(d, "threads"), false, err);
}

/* CHANNEL_CREATE, THREAD_CREATE, THREAD_UPDATE: nothing has them as its parent yet, or ever. */
enum status on_channel(struct unit *u, const json_t *d, struct err *err)
{
    return keep_channel(u, d, err);
}

/* Discord does not tell of the children when their parent is renamed. */
enum status on_channel_update(struct unit *u, const json_t *d, struct err *err)
{
    TRY(keep_channel(u, d, err));

    sqlite3_stmt *q = unit_sql(u, "UPDATE channel_info SET category = ?3 WHERE guild_id = ?1"
                                  " AND category_id = ?2 AND category IS NOT ?3");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, json_id(d, "id"));
    unit_bind_text(q, 3, json_str(d, "name"));
    return unit_run(u, q, err);
}

/* CHANNEL_DELETE, THREAD_DELETE. */
enum status on_channel_delete(struct unit *u, const json_t *d, struct err *err)
{
    uint64_t id = json_id(d, "id");

    if (!id)
        return err_set(err, STATUS_INVALID, "a deleted channel without its id");
    sqlite3_stmt *q = unit_sql(u, "DELETE FROM channel_info WHERE guild_id = ?1 AND id = ?2");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, id);
    return unit_run(u, q, err);
}
