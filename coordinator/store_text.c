#include "coordinator/store_text.h"

#include "base/macros.h"

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static void append(json_t *list, json_t *row)
{
    must(row && !json_array_append_new(list, row));
}

json_t *text_of_guilds(const struct guild_row *rows, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        const struct guild_row *r = &rows[i];
        append(list, json_pack("{sI so sI sI ss sI sI sI ss ss sI}", "g", (json_int_t)r->guild_id,
                               "p", text_or_null(r->pod), "e", (json_int_t)r->epoch, "n",
                               (json_int_t)r->next_epoch, "s", guild_state_text(r->state), "i",
                               (json_int_t)r->incarnation, "v", (json_int_t)r->schema, "u",
                               (json_int_t)r->unowned_ms, "w", r->what ? r->what : "", "y",
                               r->why ? r->why : "", "m", (json_int_t)r->move_id));
    }
    return list;
}

json_t *text_of_moves(const struct move_row *rows, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        const struct move_row *r = &rows[i];
        append(list, json_pack("{sI sI ss ss sI sI ss ss ss sI}", "m", (json_int_t)r->id, "g",
                               (json_int_t)r->guild_id, "f", r->source, "t", r->target, "e",
                               (json_int_t)r->epoch, "u", (json_int_t)r->unseal_epoch, "s",
                               move_state_text(r->state), "x", r->error, "y", r->reason, "z",
                               (json_int_t)r->pause_us));
    }
    return list;
}

json_t *text_of_shards(const struct shard_row *rows, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        append(list, json_pack("{sI so si}", "h", (json_int_t)rows[i].shard, "p",
                               text_or_null(rows[i].pod), "x", (int)rows[i].is_next));
    return list;
}

json_t *text_of_standbys(const struct standby_row *rows, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        append(list, json_pack("{sI ss sI}", "g", (json_int_t)rows[i].guild_id, "p", rows[i].pod,
                               "r", (json_int_t)rows[i].rank));
    return list;
}

json_t *text_of_pods(const struct pod_row *rows, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        const struct pod_row *r = &rows[i];
        append(list,
               json_pack("{ss ss sI sI sI sI sI ss}", "p", r->pod, "s", pod_status_text(r->status),
                         "i", (json_int_t)r->incarnation, "c", (json_int_t)r->guild_count, "l",
                         (json_int_t)r->load, "k", (json_int_t)r->capacity, "v",
                         (json_int_t)r->schema, "n", r->version));
    }
    return list;
}
