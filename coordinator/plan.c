#include <string.h>

#include "base/xmem.h"
#include "coordinator/store.h"

void plan_release(struct plan *plan)
{
    free(plan->guilds);
    free(plan->moves);
    free(plan->shards);
    free(plan->standbys);
    *plan = (struct plan){ 0 };
}

void plan_clear(struct plan *plan)
{
    plan->guild_count = plan->move_count = plan->shard_count = plan->standby_count = 0;
}

bool plan_is_empty(const struct plan *plan)
{
    return !plan->guild_count && !plan->move_count && !plan->shard_count && !plan->standby_count;
}

static void *grow(void *rows, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return rows;
    *room = *room ? *room * 2 : 16;
    return xrealloc(rows, *room * size);
}

void plan_guild(struct plan *plan, const struct guild_row *row)
{
    for (size_t i = 0; i < plan->guild_count; i++) {
        if (plan->guilds[i].guild_id == row->guild_id) {
            plan->guilds[i] = *row;
            return;
        }
    }
    plan->guilds = grow(plan->guilds, plan->guild_count, &plan->guild_room, sizeof(*row));
    plan->guilds[plan->guild_count++] = *row;
}

void plan_move(struct plan *plan, const struct move_row *row)
{
    for (size_t i = 0; i < plan->move_count; i++) {
        if (plan->moves[i].id == row->id) {
            plan->moves[i] = *row;
            return;
        }
    }
    plan->moves = grow(plan->moves, plan->move_count, &plan->move_room, sizeof(*row));
    plan->moves[plan->move_count++] = *row;
}

void plan_shard(struct plan *plan, const struct shard_row *row)
{
    for (size_t i = 0; i < plan->shard_count; i++) {
        if (plan->shards[i].shard == row->shard && plan->shards[i].is_next == row->is_next) {
            plan->shards[i] = *row;
            return;
        }
    }
    plan->shards = grow(plan->shards, plan->shard_count, &plan->shard_room, sizeof(*row));
    plan->shards[plan->shard_count++] = *row;
}

void plan_standby(struct plan *plan, const struct standby_row *row)
{
    for (size_t i = 0; i < plan->standby_count; i++) {
        if (plan->standbys[i].guild_id == row->guild_id &&
            !strcmp(plan->standbys[i].pod, row->pod)) {
            plan->standbys[i] = *row;
            return;
        }
    }
    plan->standbys = grow(plan->standbys, plan->standby_count, &plan->standby_room, sizeof(*row));
    plan->standbys[plan->standby_count++] = *row;
}

bool plan_has_guild(const struct plan *plan, uint64_t guild_id)
{
    for (size_t i = 0; i < plan->guild_count; i++) {
        if (plan->guilds[i].guild_id == guild_id)
            return true;
    }
    return false;
}

bool plan_has_move(const struct plan *plan, uint64_t move_id)
{
    for (size_t i = 0; i < plan->move_count; i++) {
        if (plan->moves[i].id == move_id)
            return true;
    }
    return false;
}
