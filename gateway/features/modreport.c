/* modreport.c - /modreport: what has been reported about a member, as one embed. Reads only.
 *
 * Reports of messages that have been deleted since count like the others. Times are UTC. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "gateway/features/answer.h"
#include "gateway/features/handlers.h"
#include "gateway/features/message_text.h"
#include "gateway/features/report_post.h"

enum { MONTHS = 6, DAY_MS = 86400000 };

struct totals {
    int64_t reports, recent, messages, channels, busiest_day;
    const char *first, *last; /* "" when there are none */
};

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* Seconds since 1970 of "YYYY-MM-DDTHH:MM:SS…" (an imported row may have a blank for the T); -1:
 * neither. */
static int64_t parse_time(const char *text)
{
    struct tm utc = { 0 };

    if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) && !strptime(text, "%Y-%m-%d %H:%M:%S", &utc))
        return -1;
    return timegm(&utc);
}

/* ---- queries: a row each, or a line each ---- */

static enum status load_totals(struct unit *u, uint64_t user_id, struct totals *ret,
                               struct err *err)
{
    sqlite3_stmt *q = unit_sql(
        u, "SELECT count(*), coalesce(sum(created_at >= ?3), 0),"
           " count(DISTINCT reported_message_id), count(DISTINCT reported_channel_id),"
           " min(created_at), max(created_at),"
           " (SELECT max(n) FROM (SELECT count(*) AS n FROM reported_messages WHERE guild_id = ?1"
           " AND reported_user_id = ?2 GROUP BY substr(created_at, 1, 10)))"
           " FROM reported_messages WHERE guild_id = ?1 AND reported_user_id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    unit_bind_text(q, 3, unit_iso_time(u, u->now_ms - 30 * (int64_t)DAY_MS));
    TRY(unit_step(u, q, err));
    *ret = (struct totals){
        .reports = sqlite3_column_int64(q, 0),
        .recent = sqlite3_column_int64(q, 1),
        .messages = sqlite3_column_int64(q, 2),
        .channels = sqlite3_column_int64(q, 3),
        .first = unit_column_text(u, q, 4),
        .last = unit_column_text(u, q, 5),
        .busiest_day = sqlite3_column_int64(q, 6),
    };
    sqlite3_reset(q);
    return STATUS_OK;
}

/* The last calendar months with this one, oldest first, as YYYY-MM. */
static void month_names(int64_t now_ms, char names[MONTHS][8])
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm utc;

    gmtime_r(&now, &utc);
    int month = utc.tm_year * 12 + utc.tm_mon - MONTHS + 1;
    for (int i = 0; i < MONTHS; i++, month++) {
        struct tm first = { .tm_year = month / 12, .tm_mon = month % 12, .tm_mday = 1 };
        strftime(names[i], sizeof(names[i]), "%Y-%m", &first);
    }
}

static enum status load_months(struct unit *u, uint64_t user_id, int64_t counts[MONTHS],
                               struct err *err)
{
    char names[MONTHS][8];
    enum status status;
    sqlite3_stmt *q = unit_sql(
        u, "SELECT substr(created_at, 1, 7), count(*) FROM reported_messages"
           " WHERE guild_id = ?1 AND reported_user_id = ?2 AND created_at >= ?3 GROUP BY 1");

    month_names(u->now_ms, names);
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    unit_bind_text(q, 3, names[0]);
    while ((status = unit_step(u, q, err)) == STATUS_OK) {
        const char *month = unit_column_text(u, q, 0);
        for (int i = 0; i < MONTHS; i++)
            if (!strcmp(month, names[i]))
                counts[i] = sqlite3_column_int64(q, 1);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Each makes one line of a row. */
static const char *reason_line(struct unit *u, sqlite3_stmt *q)
{
    return arena_printf(u->arena, "%s ×%" PRId64, report_label(unit_column_text(u, q, 0)),
                        (int64_t)sqlite3_column_int64(q, 1));
}

static const char *channel_line(struct unit *u, sqlite3_stmt *q)
{
    return arena_printf(u->arena, "<#%" PRIu64 "> ×%" PRId64, unit_column_id(q, 0),
                        (int64_t)sqlite3_column_int64(q, 1));
}

static const char *staff_line(struct unit *u, sqlite3_stmt *q)
{
    return arena_printf(u->arena, "<@%" PRIu64 "> (%s) ×%" PRId64, unit_column_id(q, 0),
                        unit_column_text(u, q, 1), (int64_t)sqlite3_column_int64(q, 2));
}

static const char *action_line(struct unit *u, sqlite3_stmt *q)
{
    static const char *const labels[][2] = {
        { "kick", "kicked" },
        { "ban", "banned" },
        { "unban", "unbanned" },
        { "timeout", "timed out" },
        { "timeout_removed", "timeout removed" },
    };
    const char *what = unit_column_text(u, q, 0), *by = "", *why = "";
    const char *reason = unit_column_text(u, q, 2);
    uint64_t executor_id = unit_column_id(q, 1);
    int64_t at = parse_time(unit_column_text(u, q, 3));

    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        if (!strcmp(labels[i][0], what))
            what = labels[i][1];
    if (executor_id)
        by = or_empty(arena_printf(u->arena, " by <@%" PRIu64 ">", executor_id));
    if (*reason)
        why = or_empty(arena_printf(u->arena, " — \"%s\"", reason));
    if (at < 0)
        return arena_printf(u->arena, "%s%s%s", what, by, why);
    return arena_printf(u->arena, "%s%s%s <t:%" PRId64 ":R>", what, by, why, at);
}

/* One line for each row of q, until a field of an embed is full. */
static enum status load_lines(struct unit *u, sqlite3_stmt *q,
                              const char *(*line)(struct unit *u, sqlite3_stmt *q),
                              const char **ret_text, struct err *err)
{
    enum status status;
    const char *text = "";

    while ((status = unit_step(u, q, err)) == STATUS_OK) {
        text = or_empty(
            arena_printf(u->arena, "%s%s%s", text, *text ? "\n" : "", or_empty(line(u, q))));
        if (strlen(text) > (size_t)4 * LIMIT_EMBED_FIELD)
            break;
    }
    sqlite3_reset(q);
    *ret_text = text;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static sqlite3_stmt *about(struct unit *u, const char *sql, uint64_t user_id)
{
    sqlite3_stmt *q = unit_sql(u, sql);

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    return q;
}

struct fields {
    const char *reasons, *channels, *staff, *actions;
};

static enum status load_fields(struct unit *u, uint64_t user_id, struct fields *ret,
                               struct err *err)
{
    TRY(load_lines(u,
                   about(u,
                         "SELECT reason, count(*) FROM reported_messages WHERE guild_id = ?1"
                         " AND reported_user_id = ?2 GROUP BY 1 ORDER BY 2 DESC, 1",
                         user_id),
                   reason_line, &ret->reasons, err));
    TRY(load_lines(u,
                   about(u,
                         "SELECT reported_channel_id, count(*) FROM reported_messages"
                         " WHERE guild_id = ?1 AND reported_user_id = ?2"
                         " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5",
                         user_id),
                   channel_line, &ret->channels, err));
    TRY(load_lines(u,
                   about(u,
                         "SELECT staff_id, staff_username, count(*) FROM reported_messages"
                         " WHERE guild_id = ?1 AND reported_user_id = ?2 AND staff_id IS NOT NULL"
                         " GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 5",
                         user_id),
                   staff_line, &ret->staff, err));
    return load_lines(u,
                      about(u,
                            "SELECT action_type, executor_id, reason, created_at FROM mod_actions"
                            " WHERE guild_id = ?1 AND user_id = ?2 ORDER BY created_at, id",
                            user_id),
                      action_line, &ret->actions, err);
}

/* "1 kick · 2 bans" */
static enum status load_action_counts(struct unit *u, uint64_t user_id, const char **ret_text,
                                      struct err *err)
{
    enum status status;
    const char *text = "";
    sqlite3_stmt *q = about(u,
                            "SELECT action_type, count(*) FROM mod_actions WHERE guild_id = ?1"
                            " AND user_id = ?2 AND action_type IN ('kick', 'ban', 'timeout')"
                            " GROUP BY 1 ORDER BY instr('kick ban timeout', action_type)",
                            user_id);

    while ((status = unit_step(u, q, err)) == STATUS_OK) {
        int64_t n = sqlite3_column_int64(q, 1);
        text = or_empty(arena_printf(u->arena, "%s%s%" PRId64 " %s%s", text, *text ? " · " : "", n,
                                     unit_column_text(u, q, 0), n == 1 ? "" : "s"));
    }
    *ret_text = text;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- the description's lines; "" is no line ---- */

static const char *count_line(struct unit *u, const struct totals *t)
{
    if (t->recent > 0 && t->recent < t->reports)
        return arena_printf(u->arena,
                            "%" PRId64 " report%s in the last 30 days (%" PRId64 " total)",
                            t->recent, t->recent == 1 ? "" : "s", t->reports);
    return arena_printf(
        u->arena, "%" PRId64 " message%s reported %" PRId64 " time%s across %" PRId64 " channel%s",
        t->messages, t->messages == 1 ? "" : "s", t->reports, t->reports == 1 ? "" : "s",
        t->channels, t->channels == 1 ? "" : "s");
}

static const char *time_line(struct unit *u, const struct totals *t)
{
    int64_t first = parse_time(t->first), last = parse_time(t->last);
    const char *peak = "";

    if (first < 0 || last < 0)
        return "";
    if (t->reports == 1)
        return arena_printf(u->arena, "Reported <t:%" PRId64 ":R>", last);
    if (t->busiest_day > 1)
        peak = arena_printf(u->arena, "; up to %" PRId64 " in one day", t->busiest_day);
    return arena_printf(u->arena,
                        "First reported <t:%" PRId64 ":D>; most recently <t:%" PRId64 ":R>%s",
                        first, last, or_empty(peak));
}

/* A block a month, the tallest for the month with the most reports. */
static const char *spark_line(struct unit *u, const int64_t counts[MONTHS])
{
    static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    int64_t most = 0;
    const char *text = "";

    for (int i = 0; i < MONTHS; i++)
        most = counts[i] > most ? counts[i] : most;
    for (int i = 0; most && i < MONTHS; i++)
        text = or_empty(
            arena_printf(u->arena, "%s%s", text, blocks[(counts[i] * 14 + most) / (2 * most)]));
    return *text ? arena_printf(u->arena, "%s last %d months", text, MONTHS) : "";
}

static enum status thread_line(struct unit *u, uint64_t user_id, const char **ret_text,
                               struct err *err)
{
    uint64_t thread_id;

    TRY(report_thread_of(u, user_id, &thread_id, err));
    *ret_text = "";
    if (thread_id)
        *ret_text =
            arena_printf(u->arena, "[Log](https://discord.com/channels/%" PRIu64 "/%" PRIu64 ")",
                         u->guild_id, thread_id);
    return STATUS_OK;
}

static enum status describe(struct unit *u, uint64_t user_id, const struct totals *totals,
                            const char **ret_text, struct err *err)
{
    int64_t months[MONTHS] = { 0 };
    const char *lines[5] = { 0 }, *text = "";

    if (totals->reports) {
        TRY(load_months(u, user_id, months, err));
        lines[0] = count_line(u, totals);
        lines[1] = time_line(u, totals);
        lines[2] = spark_line(u, months);
    }
    TRY(load_action_counts(u, user_id, &lines[3], err));
    TRY(thread_line(u, user_id, &lines[4], err));
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (lines[i] && *lines[i])
            text = or_empty(arena_printf(u->arena, "%s%s%s", text, *text ? "\n" : "", lines[i]));
    *ret_text = text;
    return STATUS_OK;
}

static void add_field(struct unit *u, json_t *fields, const char *name, const char *value,
                      bool side_by_side)
{
    if (*value)
        json_array_append_new(fields,
                              json_pack("{s:s, s:s, s:b}", "name", name, "value",
                                        or_empty(text_truncate(u->arena, value, LIMIT_EMBED_FIELD)),
                                        "inline", (int)side_by_side));
}

static json_t *embed_new(struct unit *u, const char *name, const char *description,
                         const struct fields *f)
{
    json_t *embed = json_object(), *fields = json_array();
    const char *title = arena_printf(u->arena, "Reports about %s", name);

    add_field(u, fields, "Reasons", f->reasons, true);
    add_field(u, fields, "Top channels", f->channels, true);
    add_field(u, fields, "Reported by", f->staff, true);
    add_field(u, fields, "Actions", f->actions, false);
    json_object_set_new(embed, "title", json_string(or_empty(title)));
    json_object_set_new(embed, "description", json_string(description));
    json_object_set_new(embed, "fields", fields);
    return embed;
}

static enum status answer_nothing(struct unit *u, uint64_t user_id, const char **ret_callback,
                                  struct err *err)
{
    const char *text =
        arena_printf(u->arena, "Nothing is on record about <@%" PRIu64 ">.", user_id);
    json_t *message = message_new(or_empty(text));

    return answer_with(u, CALLBACK_MESSAGE, &message, ret_callback, err);
}

enum status command_modreport(struct unit *u, const struct interaction *in,
                              const char **ret_callback, struct err *err)
{
    uint64_t user_id = json_id(command_option(in, "user"), "value");
    const char *name = json_str(resolved(in, "users", user_id), "username"), *description;
    struct guild_settings settings;
    struct totals totals;
    struct fields fields;

    if (!u->guild_id)
        return answer_private(u, "This works in servers only.", ret_callback, err);
    TRY(settings_load(u, &settings, err));
    if (!may_moderate(in, &settings))
        return answer_private(u, "Only moderators can do this.", ret_callback, err);
    if (!user_id)
        return err_set(err, STATUS_INVALID, "modreport: the user is not with it");
    TRY(load_totals(u, user_id, &totals, err));
    TRY(load_fields(u, user_id, &fields, err));
    TRY(describe(u, user_id, &totals, &description, err));
    if (!totals.reports && !*fields.actions)
        return answer_nothing(u, user_id, ret_callback, err);
    json_t *message = message_new("");
    json_object_set_new(
        message, "embeds",
        json_pack("[o]", embed_new(u, *name ? name : "a member", description, &fields)));
    return answer_with(u, CALLBACK_MESSAGE, &message, ret_callback, err);
}
