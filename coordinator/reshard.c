#include "coordinator/reshard.h"

#include <inttypes.h>

const char *reshard_stage_text(enum reshard_stage stage)
{
    static const char *const texts[] = { "none", "opening", "keeping", "retiring" };

    return texts[stage];
}

void reshard_enter(struct reshard *r, enum reshard_stage stage, int64_t now_ms)
{
    *r = (struct reshard){ .stage = stage, .entered_ms = now_ms, .round = r->round + 1 };
}

void reshard_turn_over(struct reshard *r)
{
    r->round++;
}

/* Without a moment of weakness. */
static bool is_good_for(struct reshard *r, bool is_good, int64_t ms, int64_t now_ms)
{
    if (!is_good)
        r->good_ms = 0;
    else if (!r->good_ms)
        r->good_ms = now_ms;
    return is_good && now_ms - r->good_ms >= ms;
}

enum reshard_stage reshard_step(struct reshard *r, const struct reshard_sight *sight,
                                int64_t now_ms)
{
    bool is_ready = sight->ready == sight->next && !sight->unsettled;

    switch (r->stage) {
    case RESHARD_NONE:
        break;
    case RESHARD_OPENING:
        return is_good_for(r, is_ready, RESHARD_SETTLE_MS, now_ms) ? RESHARD_KEEPING
                                                                   : RESHARD_OPENING;
    case RESHARD_KEEPING:
        if (is_good_for(r, is_ready && sight->keeping == sight->next, RESHARD_OVERLAP_MS, now_ms))
            return RESHARD_RETIRING;
        return now_ms - r->entered_ms >= RESHARD_KEEP_MAX_MS ? RESHARD_OPENING : RESHARD_KEEPING;
    case RESHARD_RETIRING:
        return sight->retired == sight->current ? RESHARD_NONE : RESHARD_RETIRING;
    }
    return RESHARD_NONE;
}

/* ---- may it begin? ---- */

static enum status judge_count(const struct reshard_case *c, struct err *err)
{
    if (c->under_way)
        return err_set(err, STATUS_CONFLICT,
                       "a reshard to %u shards is under way: cancel it first, or wait",
                       c->under_way);
    if (!c->current)
        return err_set(err, STATUS_UNAVAILABLE,
                       "the number of shards is not known yet: no pod has asked Discord");
    if (c->to < 1 || c->to > c->most)
        return err_set(err, STATUS_INVALID, "shard_count must be 1 … %u", c->most);
    if (c->to == c->current)
        return err_set(err, STATUS_CONFLICT, "there are %u shards already", c->to);
    if (c->guilds > (uint64_t)c->to * RESHARD_GUILDS_MOST)
        return err_set(err, STATUS_INVALID,
                       "%u shards are too few for %" PRIu64
                       " guilds: Discord takes %d guilds a shard",
                       c->to, c->guilds, RESHARD_GUILDS_MOST);
    if (c->setting && c->setting != c->to)
        return err_set(err, STATUS_CONFLICT,
                       "SHARD_COUNT is %u and would lead back: change it, which begins the reshard",
                       c->setting);
    return STATUS_OK;
}

enum status reshard_judge(const struct reshard_case *c, struct err *err)
{
    TRY(judge_count(c, err));
    if (!c->pods)
        return err_set(err, STATUS_UNAVAILABLE, "no pod could hold the new shards");
    if (c->to > (uint64_t)c->pods * RESHARD_POD_MOST)
        return err_set(err, STATUS_UNAVAILABLE, "%u pods can hold %u shards at most", c->pods,
                       c->pods * RESHARD_POD_MOST);
    if (c->pods_unable)
        return err_set(err, STATUS_UNAVAILABLE,
                       "%u of %u pods have not said that they can hold two sets of shards: update "
                       "them first",
                       c->pods_unable, c->pods);
    if (!c->sessions_total)
        return err_set(err, STATUS_UNAVAILABLE,
                       "no pod has said yet how many sessions Discord lets the bot start today");
    if (c->sessions < c->to)
        return err_set(err, STATUS_BUSY,
                       "%u shards need as many session starts, and of today's %" PRId64
                       " only %" PRId64 " are left beside the reserve (IDENTIFY_RESERVE_PERCENT)",
                       c->to, c->sessions_total, c->sessions);
    return STATUS_OK;
}

uint32_t reshard_wanted(const struct reshard_reasons *r)
{
    if (!r->current)
        return 0;
    if (r->setting)
        return r->setting != r->current ? r->setting : 0;
    if (r->recommended <= r->current || r->recommended <= r->decided)
        return 0;
    bool is_clear = (uint64_t)r->recommended * 2 >= (uint64_t)r->current * 3;
    bool is_full = r->guilds >= (uint64_t)r->current * RESHARD_GUILDS_NEAR;
    return is_clear || is_full ? r->recommended : 0;
}
