/* portal.c - what the web portal asks a guild. Who may ask is the edge's to know. */
#include <string.h>
#include <time.h>

#include "base/idmap.h"
#include "base/json.h"
#include "gateway/features/handlers.h"
#include "gateway/features/settings.h"
#include "messages/snowflake.h"

enum {
    DAY_MS = 86400000,
    MAX_DAYS = 366,
    DEFAULT_DAYS = 30,
    MAX_REPORTS = 200,
    DEFAULT_REPORTS = 50
};

static enum status too_large(struct err *err)
{
    return err_set(err, STATUS_BUSY, "portal: the answer is too large");
}

/* Protobuf wants char *, but never writes through it. */
static char *text_at(struct unit *u, sqlite3_stmt *q, int at)
{
    const char *text = unit_column_text(u, q, at);

    return arena_printf(u->arena, "%s", text);
}

/* In one pass, for the reason given at fill_days. */
static enum status count_messages(struct unit *u, Guildbus__V1__OverviewReply *o, struct err *err)
{
    CLEANUP(idmap_free) struct idmap *seen = idmap_new();
    enum status status;
    sqlite3_stmt *q = unit_sql(u, "SELECT author_id FROM message_stats WHERE guild_id = ?1");

    unit_bind_id(q, 1, u->guild_id);
    while ((status = unit_step(u, q, err)) == STATUS_OK) {
        o->messages++;
        idmap_put(seen, unit_column_id(q, 0), o);
    }
    o->authors = idmap_count(seen);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status list_gaps(struct unit *u, Guildbus__V1__OverviewReply *o, struct err *err)
{
    enum { MOST = 10 };
    Guildbus__V1__EventGap *gaps = arena_alloc(u->arena, MOST * sizeof(*gaps));
    enum status status;
    sqlite3_stmt *q = unit_sql(u, "SELECT from_ms, to_ms FROM event_gaps WHERE guild_id = ?1"
                                  " ORDER BY from_ms DESC LIMIT 10");

    o->gaps = arena_alloc(u->arena, MOST * sizeof(struct Guildbus__V1__EventGap *));
    if (!gaps || !o->gaps)
        return too_large(err);
    unit_bind_id(q, 1, u->guild_id);
    while ((status = unit_step(u, q, err)) == STATUS_OK) {
        guildbus__v1__event_gap__init(&gaps[o->n_gaps]);
        gaps[o->n_gaps].from_ms = sqlite3_column_int64(q, 0);
        gaps[o->n_gaps].to_ms = sqlite3_column_int64(q, 1);
        o->gaps[o->n_gaps] = &gaps[o->n_gaps];
        o->n_gaps++;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status query_overview(struct unit *u, const Guildbus__V1__PortalRequest *request UNUSED,
                           Guildbus__V1__PortalReply *ret, struct err *err)
{
    Guildbus__V1__OverviewReply *o = arena_alloc(u->arena, sizeof(*o));
    sqlite3_stmt *q = unit_sql(u, "SELECT (SELECT name FROM guilds WHERE guild_id = ?1),"
                                  " (SELECT count(*) FROM reported_messages WHERE guild_id = ?1)");

    if (!o)
        return too_large(err);
    guildbus__v1__overview_reply__init(o);
    unit_bind_id(q, 1, u->guild_id);
    TRY(unit_step(u, q, err));
    o->name = text_at(u, q, 0);
    o->reports = (uint64_t)sqlite3_column_int64(q, 1);
    sqlite3_reset(q);
    if (!o->name)
        return too_large(err);
    ret->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_OVERVIEW;
    ret->overview = o;
    TRY(list_gaps(u, o, err));
    return count_messages(u, o, err);
}

static Guildbus__V1__ActivityReply *days_new(struct unit *u, size_t count, int64_t first_day)
{
    Guildbus__V1__ActivityReply *reply = arena_alloc(u->arena, sizeof(*reply));
    Guildbus__V1__ActivityDay *days = arena_alloc(u->arena, count * sizeof(*days));
    Guildbus__V1__ActivityDay **list =
        arena_alloc(u->arena, count * sizeof(Guildbus__V1__ActivityDay *));

    if (!reply || !days || !list)
        return NULL;
    guildbus__v1__activity_reply__init(reply);
    for (size_t i = 0; i < count; i++) {
        char text[16];
        time_t at = (time_t)((first_day + (int64_t)i) * (DAY_MS / 1000));
        struct tm utc;
        guildbus__v1__activity_day__init(&days[i]);
        strftime(text, sizeof(text), "%Y-%m-%d", gmtime_r(&at, &utc));
        days[i].day = arena_printf(u->arena, "%s", text);
        if (!days[i].day)
            return NULL;
        list[i] = &days[i];
    }
    reply->n_days = count;
    reply->days = list;
    return reply;
}

/* Message ids grow with sent_at, so the primary key finds the first day's first message. */
static uint64_t first_id_of(int64_t day)
{
    return snowflake_from_ms(day * DAY_MS);
}

/* In one pass: grouping in SQL sorts the rows first, which takes several times as long, and the
 * owner's thread waits. Rows come in the order of time, so that an author's latest day tells
 * whether this one has counted them. */
static enum status fill_days(struct unit *u, Guildbus__V1__ActivityReply *reply, int64_t first_day,
                             struct err *err)
{
    CLEANUP(idmap_free) struct idmap *latest = idmap_new();
    enum status status;
    sqlite3_stmt *q = unit_sql(u, "SELECT sent_at, author_id, word_count, char_count, react_count"
                                  " FROM message_stats WHERE guild_id = ?1 AND message_id >= ?2"
                                  " ORDER BY message_id");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, first_id_of(first_day));
    while ((status = unit_step(u, q, err)) == STATUS_OK) {
        int64_t at = sqlite3_column_int64(q, 0) / DAY_MS - first_day;
        if (at < 0 || at >= (int64_t)reply->n_days)
            continue;
        Guildbus__V1__ActivityDay *day = reply->days[at];
        day->messages++;
        day->authors += idmap_put(latest, unit_column_id(q, 1), day) != day;
        day->words += (uint64_t)sqlite3_column_int64(q, 2);
        day->chars += (uint64_t)sqlite3_column_int64(q, 3);
        day->reactions += (uint64_t)sqlite3_column_int64(q, 4);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status query_activity(struct unit *u, const Guildbus__V1__PortalRequest *request,
                           Guildbus__V1__PortalReply *ret, struct err *err)
{
    uint32_t count = request->activity->days ? request->activity->days : DEFAULT_DAYS;

    if (count > MAX_DAYS)
        return err_set(err, STATUS_INVALID, "activity: at most %d days", MAX_DAYS);
    int64_t first_day = u->now_ms / DAY_MS - count + 1;
    Guildbus__V1__ActivityReply *reply = days_new(u, count, first_day);
    if (!reply)
        return too_large(err);
    ret->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_ACTIVITY;
    ret->activity = reply;
    return fill_days(u, reply, first_day, err);
}

static Guildbus__V1__Report *report_of(struct unit *u, sqlite3_stmt *q)
{
    Guildbus__V1__Report *r = arena_alloc(u->arena, sizeof(*r));

    if (!r)
        return NULL;
    guildbus__v1__report__init(r);
    r->id = text_at(u, q, 0);
    r->message_id = unit_column_id(q, 1);
    r->channel_id = unit_column_id(q, 2);
    r->user_id = unit_column_id(q, 3);
    r->reason = text_at(u, q, 4);
    r->staff_id = unit_column_id(q, 5);
    r->staff_username = text_at(u, q, 6);
    r->log_message_id = unit_column_id(q, 7);
    r->log_channel_id = unit_column_id(q, 8);
    r->created_at = text_at(u, q, 9);
    r->deleted_at = text_at(u, q, 10);
    return r->id && r->reason && r->staff_username && r->created_at && r->deleted_at ? r : NULL;
}

static enum status count_reports(struct unit *u, uint64_t user_id, uint64_t *ret, struct err *err)
{
    sqlite3_stmt *q =
        user_id ? unit_sql(u, "SELECT count(*) FROM reported_messages WHERE guild_id = ?1"
                              " AND reported_user_id = ?2")
                : unit_sql(u, "SELECT count(*) FROM reported_messages WHERE guild_id = ?1");

    unit_bind_id(q, 1, u->guild_id);
    if (user_id)
        unit_bind_id(q, 2, user_id);
    TRY(unit_step(u, q, err));
    *ret = (uint64_t)sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return STATUS_OK;
}

#define REPORT_COLUMNS                                                                             \
    "SELECT id, reported_message_id, reported_channel_id, reported_user_id, reason, staff_id,"     \
    " staff_username, log_message_id, log_channel_id, created_at, deleted_at"                      \
    " FROM reported_messages WHERE guild_id = ?1"

static enum status list_reports(struct unit *u, uint64_t user_id, uint32_t limit,
                                Guildbus__V1__ReportsReply *reply, struct err *err)
{
    enum status status;
    sqlite3_stmt *q = user_id
                          ? unit_sql(u, REPORT_COLUMNS " AND reported_user_id = ?3"
                                                       " ORDER BY created_at DESC, id LIMIT ?2")
                          : unit_sql(u, REPORT_COLUMNS " ORDER BY created_at DESC, id LIMIT ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_int(q, 2, limit);
    if (user_id)
        unit_bind_id(q, 3, user_id);
    while ((status = unit_step(u, q, err)) == STATUS_OK) {
        Guildbus__V1__Report *report = report_of(u, q);
        if (!report) {
            sqlite3_reset(q);
            return too_large(err);
        }
        reply->reports[reply->n_reports++] = report;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status query_reports(struct unit *u, const Guildbus__V1__PortalRequest *request,
                          Guildbus__V1__PortalReply *ret, struct err *err)
{
    uint32_t limit = request->reports->limit ? request->reports->limit : DEFAULT_REPORTS;
    Guildbus__V1__ReportsReply *reply = arena_alloc(u->arena, sizeof(*reply));

    if (limit > MAX_REPORTS)
        return err_set(err, STATUS_INVALID, "reports: at most %d", MAX_REPORTS);
    if (!reply)
        return too_large(err);
    guildbus__v1__reports_reply__init(reply);
    reply->reports = arena_alloc(u->arena, limit * sizeof(Guildbus__V1__Report *));
    if (!reply->reports)
        return too_large(err);
    ret->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_REPORTS;
    ret->reports = reply;
    TRY(count_reports(u, request->reports->user_id, &reply->total, err));
    return list_reports(u, request->reports->user_id, limit, reply, err);
}

static enum status give_settings(struct unit *u, const char *json, Guildbus__V1__PortalReply *ret,
                                 struct err *err)
{
    Guildbus__V1__SettingsReply *reply = arena_alloc(u->arena, sizeof(*reply));

    if (!reply)
        return too_large(err);
    guildbus__v1__settings_reply__init(reply);
    reply->settings_json = arena_printf(u->arena, "%s", json);
    ret->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_SETTINGS;
    ret->settings = reply;
    return reply->settings_json ? STATUS_OK : too_large(err);
}

enum status query_settings(struct unit *u, const Guildbus__V1__PortalRequest *request UNUSED,
                           Guildbus__V1__PortalReply *ret, struct err *err)
{
    const char *json;

    TRY(settings_text(u, &json, err));
    return give_settings(u, json, ret, err);
}

enum status query_change_settings(struct unit *u, const Guildbus__V1__PortalRequest *request,
                                  Guildbus__V1__PortalReply *ret, struct err *err)
{
    const char *json;

    TRY(settings_patch(u, request->change_settings->patch_json, &json, err));
    return give_settings(u, json, ret, err);
}
