/* actions.c - REST calls of the outbox: made when their cause is in the log, forgotten when their
 * result is.
 *
 * The row stays until the result's unit removes it, so a new owner makes the calls that the old one
 * did not finish. One that Discord would do twice, it looks for first (thread_search.h). When too
 * many calls wait already, only its id is kept in memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/guild.h"
#include "gateway/thread_search.h"

enum { LEFT_MS = 1000 }; /* until those that found no room try again */

static struct metric actions_started =
    METRIC_COUNTER("guildbus_actions_total", "REST calls made for guilds");
static struct metric actions_found =
    METRIC_COUNTER("guildbus_actions_found_total",
                   "REST calls not made again: Discord has done what a former owner asked for");

/* A call that may be made. */
struct due {
    int64_t action_id;
    bool look; /* a former owner may have made it */
};
static void start_due(struct guild *g, struct due due);

/* NULL: this answer is of no use any more. */
static struct guild *take(struct owner *o, uint64_t serial, struct ask_about *ret_about)
{
    struct guild *g = owner_ask_take_about(o, serial, ret_about);

    if (!g)
        return NULL;
    g->actions_in_flight--;
    return g->state == GUILD_SERVING ? g : NULL; /* else its next owner makes the call again */
}

static void on_done(void *ctx, uint64_t serial, const struct discord_answer *answer)
{
    struct ask_about about;
    struct guild *g = take(ctx, serial, &about);

    if (!g)
        return;
    if (answer->code == DISCORD_WITHDRAWN) /* not before it is clear that the guild stays */
        start_due(g, (struct due){ .action_id = about.detail });
    else if (answer->code != DISCORD_TOKEN_REFUSED) /* then a process with the right one does it */
        guild_run_result(g, about.detail, answer->code, answer->body, answer->size);
    guild_try_seal(g);
}

/* ---- one call ---- */

struct outbox_row {
    const char *method, *path, *body, *reason;
    int64_t created_ms;
};

static const char *column(sqlite3_stmt *q, int at)
{
    return (const char *)sqlite3_column_text(q, at);
}

/* NULL: it is there no more. Else reset it: the row's texts are its. */
static sqlite3_stmt *read_row(struct guild *g, int64_t action_id, struct outbox_row *ret)
{
    sqlite3_stmt *q =
        store_sql(g->owner->store, "SELECT method, path, body, reason, created_ms FROM outbox"
                                   " WHERE guild_id=?1 AND action_id=?2");

    sqlite3_bind_int64(q, 1, (sqlite3_int64)g->id);
    sqlite3_bind_int64(q, 2, action_id);
    if (sqlite3_step(q) != SQLITE_ROW) {
        sqlite3_reset(q);
        return NULL;
    }
    *ret = (struct outbox_row){ column(q, 0), column(q, 1), column(q, 2), column(q, 3),
                                sqlite3_column_int64(q, 4) };
    return q;
}

static void send(struct guild *g, int64_t action_id, const struct outbox_row *row,
                 void (*done)(void *ctx, uint64_t tag, const struct discord_answer *answer))
{
    struct owner *o = g->owner;
    const struct discord_call call = { .method = row->method,
                                       .path = row->path,
                                       .body_json = row->body,
                                       .reason = row->reason,
                                       .box = o->box,
                                       .on_done = done,
                                       .ctx = o,
                                       .tag = owner_ask_about(g, action_id),
                                       .group = g->generation };

    g->actions_in_flight++;
    discord_rest_send(o->config.rest, &call);
}

static void make(struct guild *g, int64_t action_id)
{
    struct outbox_row row;
    sqlite3_stmt *q = read_row(g, action_id, &row);

    if (!q)
        return;
    metric_add(&actions_started, 1);
    send(g, action_id, &row, on_done);
    sqlite3_reset(q);
}

/* ---- one that a former owner may have made ---- */

static char *find(struct guild *g, int64_t action_id, const struct discord_answer *answer)
{
    struct outbox_row row;
    sqlite3_stmt *q = read_row(g, action_id, &row);
    char *found = NULL;

    if (q && answer->code == 200)
        found = thread_search(&(struct thread_wish){ row.path, row.body, row.created_ms },
                              answer->body, answer->size);
    sqlite3_reset(q);
    return found;
}

static void on_searched(void *ctx, uint64_t serial, const struct discord_answer *answer)
{
    struct ask_about about;
    struct guild *g = take(ctx, serial, &about);

    if (!g)
        return;
    int64_t id = about.detail;
    CLEANUP(xfree) char *found = find(g, id, answer);
    if (answer->code == DISCORD_WITHDRAWN) {
        start_due(g, (struct due){ id, .look = true });
    } else if (found) {
        metric_add(&actions_found, 1);
        log_info("action_found", "guild=%" PRIu64 " next=not_made_again", g->id);
        guild_run_result(g, id, 201, found, strlen(found));
    } else if (answer->code != DISCORD_TOKEN_REFUSED) {
        start_due(g, (struct due){ .action_id = id });
    }
    guild_try_seal(g);
}

static void search(struct guild *g, int64_t action_id)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/guilds/%" PRIu64 "/threads/active", g->id);
    send(g, action_id, &(struct outbox_row){ .method = "GET", .path = path }, on_searched);
}

static bool is_to_be_searched(struct guild *g, int64_t action_id)
{
    struct outbox_row row;
    sqlite3_stmt *q = read_row(g, action_id, &row);
    bool fits = q && thread_search_fits(row.method, row.path);

    sqlite3_reset(q);
    return fits;
}

/* ---- all of them ---- */

static void start(struct guild *g, struct due due)
{
    if (due.look && is_to_be_searched(g, due.action_id))
        search(g, due.action_id);
    else
        make(g, due.action_id);
}

static void start_due(struct guild *g, struct due due)
{
    if (!g->owner->config.rest || g->state != GUILD_SERVING)
        return;
    if (!g->hold_actions && !g->actions_left.size && discord_rest_has_room(g->owner->config.rest)) {
        start(g, due);
        return;
    }
    if (!g->actions_left.size)
        owner_wake_in(g, LEFT_MS);
    bytes_append(&g->actions_left, &due, sizeof(due));
}

void guild_start_action(struct guild *g, int64_t action_id)
{
    start_due(g, (struct due){ .action_id = action_id });
}

void guild_start_left_actions(struct guild *g)
{
    struct bytes *left = &g->actions_left;
    size_t at = 0;

    if (!left->size || g->hold_actions || g->state != GUILD_SERVING)
        return;
    for (; at < left->size && discord_rest_has_room(g->owner->config.rest);
         at += sizeof(struct due)) {
        struct due due;
        memcpy(&due, left->data + at, sizeof(due));
        start(g, due);
    }
    left->size -= at;
    memmove(left->data, left->data + at, left->size);
    if (left->size)
        owner_wake_in(g, LEFT_MS);
}

void guild_withdraw_actions(struct guild *g)
{
    if (g->actions_in_flight)
        discord_rest_withdraw(g->owner->config.rest, g->generation);
}

void guild_start_all_actions(struct guild *g)
{
    CLEANUP(bytes_release) struct bytes ids = { 0 };
    sqlite3_stmt *q = store_sql(
        g->owner->store, "SELECT action_id FROM outbox WHERE guild_id=?1 ORDER BY created_ms");

    bytes_clear(&g->actions_left);
    sqlite3_bind_int64(q, 1, (sqlite3_int64)g->id);
    while (sqlite3_step(q) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(q, 0);
        bytes_append(&ids, &id, sizeof(id));
    }
    sqlite3_reset(q);
    for (size_t at = 0; at < ids.size; at += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, ids.data + at, sizeof(id));
        start_due(g, (struct due){ id, .look = true });
    }
}
