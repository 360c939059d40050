/* gap.c - events that nobody can apply any more, said aloud.
 *
 * A guild without an owner finds its events in the stream when somebody owns it again, unless that takes longer than
 * the stream keeps them. Then what was lost cannot be known, but when it was can: from the end of the last owner's
 * lease to the first event that the stream still has. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/guild.h"
#include "gateway/js.h"
#include "messages/streams.h"

enum { NO_STREAM_IS_SO_SHORT_MS = 10 * 60 * 1000 };

static struct metric gaps_total =
    METRIC_COUNTER("guildbus_event_gaps_total",
                   "times a guild was without an owner for longer than its events were kept");

/* What the stream still has. */
struct kept {
    uint64_t first_seq;
    int64_t first_ms; /* wall clock */
};

/* 2026-11-23T13:44:12.436813Z → ms since 1970; 0: it is none. */
static int64_t read_time(const char *text)
{
    struct tm tm = { 0 };
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    return rest ? (int64_t)timegm(&tm) * 1000 : 0;
}

static enum status read_kept(const struct bus_in *in, struct kept *ret, struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;

    TRY(json_parse(in->data, in->size, &root, err));
    const json_t *state = json_object_get(root, "state");
    if (!state)
        return err_set(err, STATUS_UNAVAILABLE, "JetStream: %.120s",
                       json_str(json_object_get(root, "error"), "description"));
    ret->first_seq = (uint64_t)json_int(state, "first_seq", 0);
    ret->first_ms =
        json_int(state, "messages", 0) ? read_time(json_str(state, "first_ts")) : clock_wall_ms();
    return STATUS_OK;
}

static void on_info(void *ctx, uint64_t serial, enum status status, const struct bus_in *in)
{
    struct guild *g = owner_ask_take(ctx, serial);
    struct kept kept = { 0 };
    struct err err = { 0 };

    if (!g || g->state != GUILD_SERVING || !g->unowned_since_ms)
        return;
    if (status == STATUS_OK)
        status = read_kept(in, &kept, &err);
    if (status != STATUS_OK) {
        log_info("gap_unknown", "guild=%" PRIu64 " text=%s next=ask_again", g->id,
                 LOG_QUOTE(err.text));
        return; /* the next sweep asks again */
    }
    int64_t from_ms = g->unowned_since_ms;
    g->unowned_since_ms = 0;
    if (kept.first_seq <= g->claimed_event_seq + 1 || kept.first_ms <= from_ms)
        return;
    metric_add(&gaps_total, 1);
    log_warn("event_gap",
             "guild=%" PRIu64 " from_ms=%" PRId64 " to_ms=%" PRId64 " next=noted_in_the_guild",
             g->id, from_ms, kept.first_ms);
    guild_run_gap(g, from_ms, kept.first_ms);
}

void guild_look_for_gap(struct guild *g)
{
    const struct bus_out out = { .subject = "$JS.API.STREAM.INFO." STREAM_EVENTS };

    if (!g->unowned_since_ms)
        return;
    if (clock_wall_ms() - g->unowned_since_ms < NO_STREAM_IS_SO_SHORT_MS) {
        g->unowned_since_ms = 0;
        return;
    }
    bus_request(
        g->owner->bus, &out,
        &(struct bus_waiter){ g->owner->box, on_info, g->owner, owner_ask_new(g), JS_TIMEOUT_MS });
}
