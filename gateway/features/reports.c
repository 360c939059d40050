/* reports.c - the message menus Report and Track, and the button below Track's answer.
 *
 *     Report, Track ─▶ row of reported_messages ─▶ report_post.h        answered at once, before
 * anything is posted delete-tracked|<report> ─▶ DELETE the message ─▶ deleted_at, a line below the
 * report, the button's message anew
 *
 * The same message with the same reason is one row: again means a line below what is posted
 * already. Who reported anonymously is written nowhere. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/json.h"
#include "base/log.h"
#include "base/macros.h"
#include "gateway/features/answer.h"
#include "gateway/features/handlers.h"
#include "gateway/features/report_post.h"

enum { BUTTON_DANGER = 4, COMPONENT_ROW = 1, COMPONENT_BUTTON = 2, UNKNOWN_MESSAGE = 404 };

/* A random (version 4) UUID. */
static const char *uuid_new(struct unit *u)
{
    unsigned char b[16];
    char text[40];
    size_t n = 0;

    must(getrandom(b, sizeof(b), 0) == sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof(b); i++) {
        bool dash = i == 4 || i == 6 || i == 8 || i == 10;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%02x", dash ? "-" : "", b[i]);
    }
    return arena_printf(u->arena, "%s", text);
}

/* ---- filing ---- */

struct filed {
    const char *id;
    uint64_t log_message_id, log_channel_id;
    bool being_posted;
};

static enum status find_filed(struct unit *u, const struct report *r, struct filed *ret,
                              struct err *err)
{
    sqlite3_stmt *q = unit_sql(
        u, "SELECT id, log_message_id, log_channel_id, EXISTS (SELECT 1 FROM report_drafts AS d"
           " WHERE d.guild_id = ?1 AND d.id = r.id) FROM reported_messages AS r"
           " WHERE guild_id = ?1 AND reported_message_id = ?2 AND reason = ?3");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, r->message_id);
    unit_bind_text(q, 3, r->reason);
    TRY(unit_step(u, q, err));
    *ret = (struct filed){ .id = unit_column_text(u, q, 0),
                           .log_message_id = unit_column_id(q, 1),
                           .log_channel_id = unit_column_id(q, 2),
                           .being_posted = sqlite3_column_int(q, 3) };
    sqlite3_reset(q);
    return STATUS_OK;
}

static enum status insert_row(struct unit *u, const struct report *r, struct err *err)
{
    sqlite3_stmt *q = unit_sql(
        u, "INSERT INTO reported_messages(guild_id, id, reported_message_id, reported_channel_id,"
           " reported_user_id, log_message_id, log_channel_id, reason, staff_id, staff_username,"
           " extra, created_at) VALUES(?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7, ?8, ?9, ?10)");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, r->id);
    unit_bind_id(q, 3, r->message_id);
    unit_bind_id(q, 4, r->channel_id);
    unit_bind_id(q, 5, r->author_id);
    unit_bind_text(q, 6, r->reason);
    unit_bind_id_or_null(q, 7, r->staff_id);
    unit_bind_text(q, 8, r->staff_name);
    unit_bind_text(q, 9, r->extra);
    unit_bind_text(q, 10, unit_iso_time(u, u->now_ms));
    return unit_run(u, q, err);
}

/* A reply to the posted report; a plain message when that is gone. */
static enum status add_note(struct unit *u, const struct filed *filed, const char *text,
                            struct err *err)
{
    struct action action = { .method = "POST",
                             .path = arena_printf(u->arena, "/channels/%" PRIu64 "/messages",
                                                  filed->log_channel_id),
                             .continuation = "report_note",
                             .state = filed->id };
    json_t *message = message_new(text), *reference = json_object();

    json_object_set_new(reference, "message_id", json_from_id(filed->log_message_id));
    json_object_set_new(reference, "fail_if_not_exists", json_false());
    json_object_set_new(message, "message_reference", reference);
    return act_with(u, &action, &message, err);
}

/* Sets r->id, to that of the row that was there before if there was one. */
static enum status file_report(struct unit *u, const struct guild_settings *settings,
                               struct report *r, struct err *err)
{
    struct filed filed;
    enum status status = find_filed(u, r, &filed, err);

    if (status == STATUS_NOT_FOUND) {
        r->id = uuid_new(u);
        if (!r->id)
            return err_set(err, STATUS_BUSY, "the unit is too large");
        TRY(insert_row(u, r, err));
        return report_post(u, settings, r, err);
    }
    TRY(status);
    r->id = filed.id;
    if (filed.log_message_id)
        return add_note(u, &filed, report_headline(u, r), err);
    if (filed.being_posted)
        return STATUS_OK;
    return report_post(u, settings, r, err); /* it could not be posted last time */
}

/* ---- the menus ---- */

static enum status read_target(const struct interaction *in, struct report *r, struct err *err)
{
    const json_t *message = resolved(in, "messages", in->target_id);
    const json_t *author = json_object_get(message, "author");
    const char *name = json_str(author, "username");

    r->message = message;
    r->message_id = in->target_id;
    r->channel_id = json_id(message, "channel_id");
    if (!r->channel_id)
        r->channel_id = in->channel_id;
    r->author_id = json_id(author, "id");
    r->author_name = *name ? name : "unknown";
    if (!r->message_id || !r->channel_id || !r->author_id)
        return err_set(err, STATUS_INVALID, "%s: the message is not with it", r->reason);
    return STATUS_OK;
}

/* NULL: nothing speaks against it. */
static const char *refusal(const struct unit *u, const struct interaction *in, bool staff,
                           const struct guild_settings *settings)
{
    if (!u->guild_id)
        return "This works in servers only.";
    if (staff && !may_moderate(in, settings))
        return "Only moderators can do this.";
    if (!settings->mod_log || !settings->moderator)
        return "There is no place for reports yet. An administrator has to run /setup first.";
    return NULL;
}

static json_t *delete_button(struct unit *u, const char *report_id)
{
    const char *custom_id = arena_printf(u->arena, "delete-tracked|%s", report_id);

    return json_pack("[{s:i, s:[{s:i, s:i, s:s, s:s}]}]", "type", COMPONENT_ROW, "components",
                     "type", COMPONENT_BUTTON, "style", BUTTON_DANGER, "label", "Delete message",
                     "custom_id", custom_id ? custom_id : "");
}

static enum status answer_track(struct unit *u, const struct report *r, const char **ret_callback,
                                struct err *err)
{
    uint64_t thread_id;
    const char *text = "Tracked.";

    TRY(report_thread_of(u, r->author_id, &thread_id, err));
    if (thread_id)
        text = arena_printf(u->arena, "Tracked in <#%" PRIu64 ">.", thread_id);
    json_t *data = message_new(text ? text : "");
    json_object_set_new(data, "flags", json_integer(FLAG_EPHEMERAL));
    json_object_set_new(data, "components", delete_button(u, r->id));
    return answer_with(u, CALLBACK_MESSAGE, &data, ret_callback, err);
}

static enum status take_report(struct unit *u, const struct interaction *in, struct report *r,
                               const char **ret_callback, struct err *err)
{
    struct guild_settings settings;
    bool staff = r->staff_id;

    TRY(settings_load(u, &settings, err));
    const char *no = refusal(u, in, staff, &settings);
    if (no)
        return answer_private(u, no, ret_callback, err);
    TRY(read_target(in, r, err));
    TRY(file_report(u, &settings, r, err));
    if (staff)
        return answer_track(u, r, ret_callback, err);
    return answer_private(u, "Reported anonymously to the moderators. Thank you.", ret_callback,
                          err);
}

enum status command_report(struct unit *u, const struct interaction *in, const char **ret_callback,
                           struct err *err)
{
    struct report r = { .reason = "anonReport" };

    return take_report(u, in, &r, ret_callback, err);
}

enum status command_track(struct unit *u, const struct interaction *in, const char **ret_callback,
                          struct err *err)
{
    struct report r = { .reason = "track", .staff_id = in->user_id, .staff_name = in->username };

    if (!r.staff_id)
        return err_set(err, STATUS_INVALID, "track: who asks is not with it");
    return take_report(u, in, &r, ret_callback, err);
}

/* ---- the button ---- */

static enum status load_reported(struct unit *u, const char *id, struct report *r,
                                 struct filed *filed, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "SELECT id, reported_message_id, reported_channel_id,"
                                  " log_message_id, log_channel_id FROM reported_messages"
                                  " WHERE guild_id = ?1 AND id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, id);
    TRY(unit_step(u, q, err));
    *r = (struct report){ .id = unit_column_text(u, q, 0),
                          .message_id = unit_column_id(q, 1),
                          .channel_id = unit_column_id(q, 2) };
    *filed = (struct filed){ .id = r->id,
                             .log_message_id = unit_column_id(q, 3),
                             .log_channel_id = unit_column_id(q, 4) };
    sqlite3_reset(q);
    return STATUS_OK;
}

/* The state of a deletion is "<report>|<interaction token>|<who>". */
static enum status delete_message(struct unit *u, const struct interaction *in,
                                  const struct report *r, struct err *err)
{
    struct action action = {
        .method = "DELETE",
        .path = arena_printf(u->arena, "/channels/%" PRIu64 "/messages/%" PRIu64, r->channel_id,
                             r->message_id),
        .continuation = "report_deleted",
        .state = arena_printf(u->arena, "%s|%s|%s", r->id, in->token ? in->token : "",
                              in->username ? in->username : ""),
        .reason = "tracked message, deleted by a moderator",
    };

    if (!action.path || !action.state)
        return err_set(err, STATUS_BUSY, "the unit is too large");
    return unit_act(u, &action, err);
}

/* The message with the button, without it. */
static enum status answer_update(struct unit *u, const char *text, const char **ret_callback,
                                 struct err *err)
{
    json_t *data = message_new(text);

    json_object_set_new(data, "components", json_array());
    return answer_with(u, CALLBACK_UPDATE, &data, ret_callback, err);
}

enum status component_delete_tracked(struct unit *u, const struct interaction *in,
                                     const char **ret_callback, struct err *err)
{
    const char *id = strchr(in->name, '|');
    struct guild_settings settings;
    struct report r;
    struct filed filed;

    TRY(settings_load(u, &settings, err));
    if (!may_moderate(in, &settings))
        return answer_private(u, "Only moderators can do this.", ret_callback, err);
    enum status status = id ? load_reported(u, id + 1, &r, &filed, err) : STATUS_NOT_FOUND;
    if (status == STATUS_NOT_FOUND)
        return answer_update(u, "This report is not there any more.", ret_callback, err);
    TRY(status);
    TRY(delete_message(u, in, &r, err));
    return answer_update(u, "Deleting the message …", ret_callback, err);
}

/* All reports of the message, whatever their reason. */
static enum status mark_deleted(struct unit *u, uint64_t message_id, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "UPDATE reported_messages SET deleted_at = ?3 WHERE guild_id = ?1"
                                  " AND reported_message_id = ?2 AND deleted_at IS NULL");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, message_id);
    unit_bind_text(q, 3, unit_iso_time(u, u->now_ms));
    return unit_run(u, q, err);
}

/* Tells the one who pressed the button; Discord accepts that for 15 minutes, and later nobody waits
 * for it. */
static enum status tell_outcome(struct unit *u, const char *token, const char *text,
                                struct err *err)
{
    struct action action = { .method = "PATCH",
                             .path = arena_printf(u->arena, "/webhooks/%s/%s/messages/@original",
                                                  u->application_id, token) };
    json_t *message = message_new(text);

    if (!*token) {
        json_decref(message);
        return STATUS_OK;
    }
    return act_with(u, &action, &message, err);
}

enum status on_report_deleted(struct unit *u, const struct action_result *result, struct err *err)
{
    char *id = arena_printf(u->arena, "%s", result->state);
    char *token = id ? strchr(id, '|') : NULL, *who = token ? strchr(token + 1, '|') : NULL;
    struct report r;
    struct filed filed;

    if (!who)
        return err_set(err, STATUS_CORRUPT, "report_deleted: its state is not whole");
    *token++ = 0;
    *who++ = 0;
    if (!is_success(result) && result->code != UNKNOWN_MESSAGE) {
        log_warn("report_delete_failed", "guild=%" PRIu64 " report=%s code=%d", u->guild_id, id,
                 result->code);
        return tell_outcome(u, token, "The message could not be deleted.", err);
    }
    TRY(tell_outcome(u, token, "The message is deleted.", err));
    enum status status = load_reported(u, id, &r, &filed, err);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    TRY(mark_deleted(u, r.message_id, err));
    if (!filed.log_message_id)
        return STATUS_OK;
    const char *note = arena_printf(u->arena, "-# deleted by %s", who);
    return add_note(u, &filed, note ? note : "-# deleted", err);
}
