#include "gateway/features/report_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "gateway/features/answer.h"
#include "gateway/features/message_text.h"
#include "messages/snowflake.h"

enum { PREVIEW_LENGTH = 80, FORWARD = 1, MAX_ATTACHMENTS = 10, MAX_FIELDS = 25, MAX_ANSWERS = 10 };

/* What a full arena could not hold reads as nothing. */
static const char *or_empty(const char *text)
{
    return text ? text : "";
}

const char *report_label(const char *reason)
{
    static const char *const labels[][2] = {
        { "anonReport", "reported anonymously" }, { "track", "tracked" },
        { "modResolution", "mod vote resolved" }, { "spam", "detected as spam" },
        { "automod", "detected by automod" },
    };

    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        if (!strcmp(labels[i][0], reason))
            return labels[i][1];
    return reason;
}

const char *report_headline(struct unit *u, const struct report *r)
{
    return or_empty(arena_printf(u->arena, "-# %s%s%s", r->staff_name ? r->staff_name : "",
                                 r->staff_name ? " " : "", report_label(r->reason)));
}

/* "3 minutes", "1 day" */
static const char *age_text(struct unit *u, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *name;
    } steps[] = {
        { 86400000, "day" }, { 3600000, "hour" }, { 60000, "minute" }, { 1000, "second" }
    };
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(steps) && ms < steps[i].ms)
        i++;
    int64_t n = ms > 0 ? ms / steps[i].ms : 0;
    return or_empty(
        arena_printf(u->arena, "%" PRId64 " %s%s", n, steps[i].name, n == 1 ? "" : "s"));
}

static bool is_forward(const json_t *message)
{
    return json_int(json_object_get(message, "message_reference"), "type", 0) == FORWARD;
}

/* A forwarded message has its text and attachments in a snapshot. */
static const json_t *content_of(const json_t *message)
{
    const json_t *snapshots = json_object_get(message, "message_snapshots");
    const json_t *first = json_object_get(json_array_get(snapshots, 0), "message");

    return is_forward(message) && first ? first : message;
}

enum status report_body(struct unit *u, const struct report *r, uint64_t moderator_role,
                        const char **ret_json, struct err *err)
{
    int64_t sent = snowflake_ms(r->message_id);
    const char *text = or_empty(arena_printf(
        u->arena,
        "%s\nhttps://discord.com/channels/%" PRIu64 "/%" PRIu64 "/%" PRIu64 " by <@%" PRIu64
        "> (%s)%s\n-# %s%s%s ago · <t:%" PRId64 ":R>",
        report_headline(u, r), u->guild_id, r->channel_id, r->message_id, r->author_id,
        r->author_name, is_forward(r->message) ? " (forwarded)" : "", r->extra ? r->extra : "",
        r->extra ? "\n-# " : "", age_text(u, u->now_ms - sent), sent / 1000));
    json_t *message = message_new(or_empty(text_truncate(u->arena, text, LIMIT_MESSAGE)));
    json_t *roles = json_array();

    json_array_append_new(roles, json_from_id(moderator_role));
    json_object_set_new(json_object_get(message, "allowed_mentions"), "roles", roles);
    return unit_json_text(u, &message, ret_json, err);
}

static const char *poll_text(struct unit *u, const json_t *poll)
{
    const json_t *answers = json_object_get(poll, "answers");
    const char *text = json_str(json_object_get(poll, "question"), "text");

    for (size_t i = 0; i < json_array_size(answers) && i < MAX_ANSWERS; i++) {
        const json_t *media = json_object_get(json_array_get(answers, i), "poll_media");
        text = or_empty(arena_printf(u->arena, "%s\n- %s", text, json_str(media, "text")));
    }
    return text;
}

static const char *quoted_text(struct unit *u, const json_t *message)
{
    const json_t *poll = json_object_get(message, "poll");
    const char *text = json_str(content_of(message), "content");

    if (json_is_object(poll))
        text = poll_text(u, poll);
    if (!*text)
        return "-# no text";
    text = or_empty(text_quote(u->arena, or_empty(text_truncate(u->arena, text, LIMIT_MESSAGE))));
    return or_empty(text_truncate(u->arena, text, LIMIT_MESSAGE));
}

static const char *size_text(struct unit *u, int64_t bytes)
{
    if (bytes < 1000)
        return or_empty(arena_printf(u->arena, "%" PRId64 " B", bytes < 0 ? 0 : bytes));
    if (bytes < 1000000)
        return or_empty(arena_printf(u->arena, "%.1f kB", (double)bytes / 1e3));
    return or_empty(arena_printf(u->arena, "%.1f MB", (double)bytes / 1e6));
}

static json_t *attachments_embed(struct unit *u, const json_t *attachments)
{
    const char *text = "";

    for (size_t i = 0; i < json_array_size(attachments) && i < MAX_ATTACHMENTS; i++) {
        const json_t *a = json_array_get(attachments, i);
        const char *url = json_str(a, "url"), *name = json_str(a, "filename");
        const char *what = name;
        if (*url)
            what = or_empty(arena_printf(u->arena, "[%s](%s)", name, url));
        text = or_empty(arena_printf(u->arena, "%s%s%s: %s", text, i ? "\n" : "",
                                     size_text(u, json_int(a, "size", 0)), what));
    }
    json_t *embed = json_object();
    text = or_empty(text_truncate(u->arena, text, LIMIT_EMBED_DESCRIPTION));
    json_object_set_new(embed, "description", json_string(text));
    return embed;
}

static json_t *reactions_embed(struct unit *u, const json_t *reactions)
{
    json_t *embed = json_object(), *fields = json_array();

    for (size_t i = 0; i < json_array_size(reactions) && i < MAX_FIELDS; i++) {
        const json_t *reaction = json_array_get(reactions, i);
        const char *emoji = json_str(json_object_get(reaction, "emoji"), "name");
        const char *count =
            or_empty(arena_printf(u->arena, "%" PRId64, json_int(reaction, "count", 0)));
        emoji = or_empty(text_truncate(u->arena, *emoji ? emoji : "?", 64));
        json_array_append_new(
            fields, json_pack("{s:s, s:s, s:b}", "name", emoji, "value", count, "inline", true));
    }
    json_object_set_new(embed, "fields", fields);
    return embed;
}

enum status report_quote(struct unit *u, const struct report *r, const char **ret_json,
                         struct err *err)
{
    const json_t *attachments = json_object_get(content_of(r->message), "attachments");
    const json_t *reactions = json_object_get(r->message, "reactions");
    json_t *message = message_new(quoted_text(u, r->message)), *embeds = json_array();

    if (json_array_size(attachments))
        json_array_append_new(embeds, attachments_embed(u, attachments));
    if (json_array_size(reactions))
        json_array_append_new(embeds, reactions_embed(u, reactions));
    json_object_set_new(message, "embeds", embeds);
    return unit_json_text(u, &message, ret_json, err);
}

static const char *preview(struct unit *u, const char *content)
{
    const char *cut = or_empty(text_truncate(u->arena, content, PREVIEW_LENGTH));
    cut = or_empty(text_quiet_links(u->arena, cut));
    char *line = arena_alloc(u->arena, 2 * strlen(cut) + 1), *to = line;

    if (!line)
        return "";
    for (; *cut; cut++) {
        if (*cut == '\n') {
            *to++ = '\\';
            *to++ = 'n';
        } else {
            *to++ = *cut;
        }
    }
    return line;
}

const char *report_summary(struct unit *u, const struct report *r)
{
    const json_t *source = content_of(r->message);
    const char *content = json_str(source, "content");
    struct message_measure m;

    message_text_measure(u->arena, content, &m);
    return or_empty(arena_printf(u->arena,
                                 "%s\n-# [%" PRId64 " chars in %" PRId64 " words. %" PRId64
                                 " links, %" PRId64
                                 " lines of code. %zu attachments, %zu reactions]",
                                 preview(u, content), m.chars, m.words, m.links, m.code_lines,
                                 json_array_size(json_object_get(source, "attachments")),
                                 json_array_size(json_object_get(r->message, "reactions"))));
}

const char *report_summary_linked(struct unit *u, const char *summary, uint64_t channel_id,
                                  uint64_t message_id)
{
    return arena_printf(u->arena,
                        "%s(<https://discord.com/channels/%" PRIu64 "/%" PRIu64 "/%" PRIu64 ">)",
                        summary, u->guild_id, channel_id, message_id);
}
