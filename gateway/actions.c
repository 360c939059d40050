/* actions.c - REST calls of the outbox: made when their cause is in the log, forgotten when their
 * result is.
 *
 * The row stays until the result's unit removes it, so a new owner makes the calls that the old one
 * did not finish. When too many calls wait already, only its id is kept in memory. */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "gateway/guild.h"

enum { LEFT_MS = 1000 }; /* until those that found no room try again */

static struct metric actions_started =
    METRIC_COUNTER("guildbus_actions_total", "REST calls made for guilds");

static void on_done(void *ctx, uint64_t serial, const struct discord_answer *answer)
{
    struct ask_about about;
    struct guild *g = owner_ask_take_about(ctx, serial, &about);

    if (!g)
        return;
    g->actions_in_flight--;
    if (g->state != GUILD_SERVING)
        return; /* whoever owns the guild now makes the call again */
    if (answer->code != DISCORD_WITHDRAWN)
        guild_run_result(g, about.detail, answer->code, answer->body, answer->size);
    else
        guild_start_action(g, about.detail); /* not before it is clear that the guild stays */
    guild_try_seal(g);
}

static const char *column(sqlite3_stmt *q, int at)
{
    return (const char *)sqlite3_column_text(q, at);
}

static void start(struct guild *g, int64_t action_id)
{
    struct owner *o = g->owner;
    sqlite3_stmt *q = store_sql(
        o->store,
        "SELECT method, path, body, reason FROM outbox WHERE guild_id=?1 AND action_id=?2");

    sqlite3_bind_int64(q, 1, (sqlite3_int64)g->id);
    sqlite3_bind_int64(q, 2, action_id);
    if (sqlite3_step(q) == SQLITE_ROW) {
        const struct discord_call call = { .method = column(q, 0),
                                           .path = column(q, 1),
                                           .body_json = column(q, 2),
                                           .reason = column(q, 3),
                                           .box = o->box,
                                           .on_done = on_done,
                                           .ctx = o,
                                           .tag = owner_ask_about(g, action_id),
                                           .group = g->generation };
        g->actions_in_flight++;
        metric_add(&actions_started, 1);
        discord_rest_send(o->config.rest, &call);
    }
    sqlite3_reset(q);
}

void guild_start_action(struct guild *g, int64_t action_id)
{
    if (!g->owner->config.rest || g->state != GUILD_SERVING)
        return;
    if (!g->hold_actions && !g->actions_left.size && discord_rest_has_room(g->owner->config.rest)) {
        start(g, action_id);
        return;
    }
    if (!g->actions_left.size)
        owner_wake_in(g, LEFT_MS);
    bytes_append(&g->actions_left, &action_id, sizeof(action_id));
}

void guild_start_left_actions(struct guild *g)
{
    struct bytes *left = &g->actions_left;
    size_t at = 0;

    if (!left->size || g->hold_actions || g->state != GUILD_SERVING)
        return;
    for (; at < left->size && discord_rest_has_room(g->owner->config.rest); at += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, left->data + at, sizeof(id));
        start(g, id);
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
        guild_start_action(g, id);
    }
}
