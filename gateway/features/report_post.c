#include "gateway/features/report_post.h"

#include <inttypes.h>

#include "base/json.h"
#include "base/log.h"
#include "gateway/features/answer.h"
#include "gateway/features/handlers.h"
#include "gateway/features/message_text.h"

enum { THREAD_PUBLIC = 11, THREAD_ARCHIVE_MINUTES = 10080, REFERENCE_FORWARD = 1 }; /* Discord */
/* of those that waited for a thread; each that is done posts one more. What a unit writes must fit
 * a log record. */
enum { POSTS_AT_ONCE = 8 };

struct draft {
    const char *id, *username;
    uint64_t user_id, thread_id; /* thread_id: where it is being posted; 0: it waits */
    bool retried;
    const char *body, *quote, *summary;
};

/* ---- rows ---- */

static enum status draft_load(struct unit *u, const char *id, struct draft *ret, struct err *err)
{
    sqlite3_stmt *q =
        unit_sql(u, "SELECT id, username, user_id, thread_id, retried, body, quote, summary"
                    " FROM report_drafts WHERE guild_id = ?1 AND id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, id);
    TRY(unit_step(u, q, err));
    *ret = (struct draft){
        .id = unit_column_text(u, q, 0),
        .username = unit_column_text(u, q, 1),
        .user_id = unit_column_id(q, 2),
        .thread_id = unit_column_id(q, 3),
        .retried = sqlite3_column_int(q, 4),
        .body = unit_column_text(u, q, 5),
        .quote = unit_column_text(u, q, 6),
        .summary = unit_column_text(u, q, 7),
    };
    sqlite3_reset(q);
    return STATUS_OK;
}

static enum status draft_insert(struct unit *u, const struct draft *d, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "INSERT INTO report_drafts(guild_id, id, user_id, username,"
                                  " thread_id, retried, body, quote, summary)"
                                  " VALUES(?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7)");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, d->id);
    unit_bind_id(q, 3, d->user_id);
    unit_bind_text(q, 4, d->username);
    unit_bind_text(q, 5, d->body);
    unit_bind_text(q, 6, d->quote);
    unit_bind_text(q, 7, d->summary);
    return unit_run(u, q, err);
}

static enum status draft_place(struct unit *u, const struct draft *d, uint64_t thread_id,
                               bool retried, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "UPDATE report_drafts SET thread_id = ?3, retried = ?4"
                                  " WHERE guild_id = ?1 AND id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, d->id);
    unit_bind_id(q, 3, thread_id);
    unit_bind_int(q, 4, retried);
    return unit_run(u, q, err);
}

static enum status draft_delete(struct unit *u, const char *id, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "DELETE FROM report_drafts WHERE guild_id = ?1 AND id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, id);
    return unit_run(u, q, err);
}

/* NOT_FOUND: the user has no thread, and none is being made. */
static enum status thread_load(struct unit *u, uint64_t user_id, uint64_t *ret, struct err *err)
{
    sqlite3_stmt *q =
        unit_sql(u, "SELECT thread_id FROM user_threads WHERE guild_id = ?1 AND user_id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    TRY(unit_step(u, q, err));
    *ret = unit_column_id(q, 0);
    sqlite3_reset(q);
    return STATUS_OK;
}

static enum status thread_save(struct unit *u, uint64_t user_id, uint64_t thread_id,
                               struct err *err)
{
    sqlite3_stmt *q =
        unit_sql(u, "INSERT INTO user_threads(guild_id, user_id, thread_id, created_at)"
                    " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(guild_id, user_id) DO UPDATE SET"
                    " thread_id = excluded.thread_id, created_at = excluded.created_at");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    unit_bind_id(q, 3, thread_id);
    unit_bind_text(q, 4, unit_iso_time(u, u->now_ms));
    return unit_run(u, q, err);
}

static enum status thread_forget(struct unit *u, uint64_t user_id, uint64_t thread_id,
                                 struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "DELETE FROM user_threads WHERE guild_id = ?1 AND user_id = ?2"
                                  " AND thread_id = ?3");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    unit_bind_id(q, 3, thread_id);
    return unit_run(u, q, err);
}

enum status report_thread_of(struct unit *u, uint64_t user_id, uint64_t *ret_thread_id,
                             struct err *err)
{
    enum status status = thread_load(u, user_id, ret_thread_id, err);

    if (status == STATUS_NOT_FOUND)
        *ret_thread_id = 0;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status posted_load(struct unit *u, const char *id, uint64_t *ret_message_id,
                               uint64_t *ret_channel_id, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "SELECT log_message_id, log_channel_id FROM reported_messages"
                                  " WHERE guild_id = ?1 AND id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, id);
    TRY(unit_step(u, q, err));
    *ret_message_id = unit_column_id(q, 0);
    *ret_channel_id = unit_column_id(q, 1);
    sqlite3_reset(q);
    return STATUS_OK;
}

static enum status posted_save(struct unit *u, const struct draft *d, uint64_t message_id,
                               struct err *err)
{
    sqlite3_stmt *q =
        unit_sql(u, "UPDATE reported_messages SET log_message_id = ?3, log_channel_id = ?4"
                    " WHERE guild_id = ?1 AND id = ?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, d->id);
    unit_bind_id(q, 3, message_id);
    unit_bind_id(q, 4, d->thread_id);
    return unit_run(u, q, err);
}

/* ---- steps ---- */

static void warn(const struct unit *u, const char *id, const char *step, int code)
{
    log_warn("report_step_failed", "guild=%" PRIu64 " report=%s step=%s code=%d", u->guild_id, id,
             step, code);
}

/* The report's row stays, so that the next report of the message can try again. */
static enum status give_up(struct unit *u, const char *id, const char *step, int code,
                           struct err *err)
{
    warn(u, id, step, code);
    return draft_delete(u, id, err);
}

static enum status post(struct unit *u, uint64_t channel_id, const char *body_json,
                        const char *continuation, const char *report_id, struct err *err)
{
    struct action action = { .method = "POST",
                             .path = arena_printf(u->arena, "/channels/%" PRIu64 "/messages",
                                                  channel_id),
                             .body_json = body_json,
                             .continuation = continuation,
                             .state = report_id };

    if (!action.path)
        return err_set(err, STATUS_BUSY, "the unit is too large");
    return unit_act(u, &action, err);
}

static enum status post_body(struct unit *u, const struct draft *d, uint64_t thread_id,
                             bool retried, struct err *err)
{
    TRY(draft_place(u, d, thread_id, retried, err));
    return post(u, thread_id, d->body, "report_body", d->id, err);
}

static enum status make_thread(struct unit *u, const struct draft *d, uint64_t mod_log,
                               struct err *err)
{
    const char *name = arena_printf(u->arena, "%s logs", d->username);
    struct action action = { .method = "POST",
                             .path =
                                 arena_printf(u->arena, "/channels/%" PRIu64 "/threads", mod_log),
                             .continuation = "report_thread",
                             .state = arena_printf(u->arena, "%" PRIu64, d->user_id) };
    json_t *body = json_object();

    name = name ? text_truncate(u->arena, name, LIMIT_THREAD_NAME) : NULL;
    json_object_set_new(body, "name", json_string(name ? name : "logs"));
    json_object_set_new(body, "type", json_integer(THREAD_PUBLIC));
    json_object_set_new(body, "auto_archive_duration", json_integer(THREAD_ARCHIVE_MINUTES));
    TRY(act_with(u, &action, &body, err));
    return thread_save(u, d->user_id, 0, err);
}

/* Posts a draft that waits, or makes the thread that it waits for. */
static enum status send_draft(struct unit *u, const struct draft *d, uint64_t mod_log,
                              struct err *err)
{
    uint64_t thread_id;
    enum status status = thread_load(u, d->user_id, &thread_id, err);

    if (status == STATUS_NOT_FOUND)
        return make_thread(u, d, mod_log, err);
    if (status != STATUS_OK || !thread_id)
        return status;
    return post_body(u, d, thread_id, d->retried, err);
}

enum status report_post(struct unit *u, const struct guild_settings *settings,
                        const struct report *r, struct err *err)
{
    struct draft d = { .id = r->id, .username = r->author_name, .user_id = r->author_id };

    TRY(report_body(u, r, settings->moderator, &d.body, err));
    TRY(report_quote(u, r, &d.quote, err));
    d.summary = report_summary(u, r);
    TRY(draft_insert(u, &d, err));
    return send_draft(u, &d, settings->mod_log, err);
}

static enum status next_waiting(struct unit *u, uint64_t user_id, const char **ret_id,
                                struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "SELECT id FROM report_drafts AS d WHERE guild_id = ?1"
                                  " AND user_id = ?2 AND thread_id = 0 ORDER BY (SELECT created_at"
                                  " FROM reported_messages WHERE guild_id = ?1 AND id = d.id), id"
                                  " LIMIT 1");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    TRY(unit_step(u, q, err));
    *ret_id = unit_column_text(u, q, 0);
    sqlite3_reset(q);
    return STATUS_OK;
}

static enum status post_waiting(struct unit *u, uint64_t user_id, uint64_t thread_id, int most,
                                struct err *err)
{
    for (int i = 0; i < most; i++) {
        struct draft d;
        const char *id;
        enum status status = next_waiting(u, user_id, &id, err);
        if (status != STATUS_OK)
            return status == STATUS_NOT_FOUND ? STATUS_OK : status;
        TRY(draft_load(u, id, &d, err));
        TRY(post_body(u, &d, thread_id, d.retried, err));
    }
    return STATUS_OK;
}

static enum status give_up_waiting(struct unit *u, uint64_t user_id, int code, struct err *err)
{
    sqlite3_stmt *q = unit_sql(u, "DELETE FROM report_drafts WHERE guild_id = ?1 AND user_id = ?2"
                                  " AND thread_id = 0");

    log_warn("report_thread_failed", "guild=%" PRIu64 " user=%" PRIu64 " code=%d", u->guild_id,
             user_id, code);
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_id(q, 2, user_id);
    TRY(unit_run(u, q, err));
    return thread_forget(u, user_id, 0, err);
}

enum status on_report_thread(struct unit *u, const struct action_result *result, struct err *err)
{
    uint64_t user_id, thread_id = is_success(result) ? json_id(result->body, "id") : 0;

    if (!id_parse(result->state, &user_id))
        return err_set(err, STATUS_CORRUPT, "report_thread: its state is no user");
    if (!thread_id)
        return give_up_waiting(u, user_id, result->code, err);
    TRY(thread_save(u, user_id, thread_id, err));
    return post_waiting(u, user_id, thread_id, POSTS_AT_ONCE, err);
}

/* Somebody deleted the thread. Other drafts that find out the same wait for the new one, or have it
 * already. */
static enum status leave_thread(struct unit *u, struct draft *d, struct err *err)
{
    struct guild_settings settings;

    TRY(settings_load(u, &settings, err));
    if (!settings.mod_log)
        return give_up(u, d->id, "body", 404, err);
    TRY(draft_place(u, d, 0, true, err));
    TRY(thread_forget(u, d->user_id, d->thread_id, err));
    d->retried = true;
    return send_draft(u, d, settings.mod_log, err);
}

static enum status body_done(struct unit *u, const struct draft *d,
                             const struct action_result *result, struct err *err)
{
    uint64_t message_id = is_success(result) ? json_id(result->body, "id") : 0;

    if (!message_id)
        return give_up(u, d->id, "body", result->code, err);
    TRY(posted_save(u, d, message_id, err));
    return post(u, d->thread_id, d->quote, "report_quote", d->id, err);
}

enum status on_report_body(struct unit *u, const struct action_result *result, struct err *err)
{
    uint64_t thread_id;
    struct draft d;
    enum status status = draft_load(u, result->state, &d, err);

    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    if (result->code == 404 && !d.retried)
        return leave_thread(u, &d, err);
    TRY(body_done(u, &d, result, err));
    TRY(report_thread_of(u, d.user_id, &thread_id, err));
    return thread_id ? post_waiting(u, d.user_id, thread_id, 1, err) : STATUS_OK;
}

static json_t *forward_new(uint64_t channel_id, uint64_t message_id)
{
    json_t *message = json_object(), *reference = json_object();

    json_object_set_new(reference, "type", json_integer(REFERENCE_FORWARD));
    json_object_set_new(reference, "channel_id", json_from_id(channel_id));
    json_object_set_new(reference, "message_id", json_from_id(message_id));
    json_object_set_new(message, "message_reference", reference);
    return message;
}

/* The log's part of a report; without a mod log it ends here. */
static enum status post_to_mod_log(struct unit *u, const char *id, json_t *message,
                                   const char *continuation, struct err *err)
{
    CLEANUP(json_decref) json_t *taken = message;
    struct guild_settings settings;
    const char *body;

    TRY(settings_load(u, &settings, err));
    if (!settings.mod_log)
        return draft_delete(u, id, err);
    TRY(unit_json_text(u, &taken, &body, err));
    return post(u, settings.mod_log, body, continuation, id, err);
}

enum status on_report_quote(struct unit *u, const struct action_result *result, struct err *err)
{
    uint64_t message_id, channel_id;
    struct draft d;
    enum status status = draft_load(u, result->state, &d, err);

    if (status == STATUS_OK)
        status = posted_load(u, d.id, &message_id, &channel_id, err);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    if (!is_success(result))
        warn(u, d.id, "quote", result->code);
    return post_to_mod_log(u, d.id, forward_new(channel_id, message_id), "report_forward", err);
}

/* Whether the forwarding worked does not matter: the summary has the link. */
enum status on_report_forward(struct unit *u, const struct action_result *result, struct err *err)
{
    uint64_t message_id, channel_id;
    struct draft d;
    enum status status = draft_load(u, result->state, &d, err);

    if (status == STATUS_OK)
        status = posted_load(u, d.id, &message_id, &channel_id, err);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    const char *text = report_summary_linked(u, d.summary, channel_id, message_id);
    if (!text)
        return err_set(err, STATUS_BUSY, "the unit is too large");
    return post_to_mod_log(u, d.id, message_new(text), "report_summary", err);
}

enum status on_report_summary(struct unit *u, const struct action_result *result, struct err *err)
{
    if (!is_success(result))
        warn(u, result->state, "summary", result->code);
    return draft_delete(u, result->state, err);
}

/* A line below a report that is already posted. */
enum status on_report_note(struct unit *u, const struct action_result *result, struct err *err)
{
    (void)err;
    if (!is_success(result))
        warn(u, result->state, "note", result->code);
    return STATUS_OK;
}
