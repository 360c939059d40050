/* leave.c - a guild that is not ours any more: forwards what it still gets, then forgets its rows or
 * goes on as a standby. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "gateway/guild.h"

enum {
    FORWARD_MS = 500, /* route interest is asynchronous: placement facts, e.5 step 8 */
    FORGET_MS = 1500, /* after the drain what was under way has arrived */
};

void guild_leave(struct guild *g, const char *peer)
{
    struct err err = { 0 };

    if (g->first && g->pos.idx)
        g->pos.dirty = true; /* rows beyond the log are here: not to be used again */
    if (g->first && store_position_put(g->owner->store, g->id, &g->pos, &err) != STATUS_OK)
        log_warn("position_not_saved", "guild=%" PRIu64 " text=%s", g->id, LOG_QUOTE(err.text));
    guild_drop_batches(g);
    guild_snapshot_drop(g);
    guild_restore_drop(g);
    g->wiping = false;
    guild_withdraw_actions(g);
    bytes_clear(&g->actions_left);
    guild_feed_stop(g);
    bus_unsubscribe(&g->tail);
    if (peer && strcmp(peer, g->owner->config.pod) != 0)
        (void)snprintf(g->move.peer, sizeof(g->move.peer), "%s", peer);
    else
        g->move.peer[0] = '\0';
    g->claim_epoch = 0;
    g->report_claim = g->move.wanted = false;
    g->left_at_ms = clock_now_ms();
    g->drained = false;
    owner_set_state(g, GUILD_GONE);
    guild_release_held(g);
    owner_wake_in(g, *g->move.peer ? FORWARD_MS : 0);
}

void guild_start_following(struct guild *g)
{
    g->claim_epoch = 0;
    g->move.peer[0] = '\0';
    g->tail_head = 0;
    g->pos = (struct guild_position){ 0 }; /* what the disk says */
    guild_requests_stop(g);
    guild_tail_start(g);
    guild_load(g);
}

/* Rows go in small steps; the position says so, also to the next process. */
static void forget(struct guild *g)
{
    struct owner *o = g->owner;
    struct guild_position p = g->pos;
    uint64_t id = g->id;
    struct err err = { 0 };

    FAILPOINT("source_8_rows_left");
    owner_guild_free(g);
    p.deleting = true;
    if ((p.idx || p.dirty) && store_position_put(o->store, id, &p, &err) != STATUS_OK)
        log_warn("position_not_saved", "guild=%" PRIu64 " text=%s", id, LOG_QUOTE(err.text));
}

void guild_on_gone_time(struct guild *g, int64_t now_ms)
{
    int64_t gone_ms = now_ms - g->left_at_ms;

    if (!*g->move.peer || gone_ms >= FORGET_MS) {
        if (g->standby)
            guild_start_following(g);
        else
            forget(g);
        return;
    }
    if (gone_ms >= FORWARD_MS && !g->drained) {
        g->drained = true;
        guild_requests_stop(g);
        FAILPOINT("source_8_drained");
        owner_wake_in(g, FORGET_MS - gone_ms);
    }
}
