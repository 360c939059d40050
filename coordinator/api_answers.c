/* The API's answers, made on the coordinator's thread from the store. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"
#include "coordinator/api_call.h"
#include "coordinator/rebalance.h"
#include "coordinator/state.h"

/* "2026-11-23T10:26:00.123Z" */
static json_t *json_from_ms(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char text[64];

    if (!gmtime_r(&seconds, &utc))
        return json_null();
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(ms % 1000));
    return json_string(text);
}

static json_t *json_from_text(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static void put(json_t *object, const char *key, json_t *value)
{
    must(value && !json_object_set_new(object, key, value));
}

/* ---- rows ---- */

static json_t *json_from_guild(const struct guild_row *row)
{
    json_t *o = json_object();

    put(o, "guild_id", json_from_id(row->guild_id));
    put(o, "pod_id", json_from_text(row->pod));
    put(o, "epoch", json_from_id(row->epoch));
    put(o, "state", json_string(guild_state_text(row->state)));
    put(o, "assigned_at", json_from_ms(row->assigned_ms));
    put(o, "last_heartbeat", json_from_ms(row->heard_ms));
    return o;
}

static json_t *json_from_move(const struct move_row *row)
{
    json_t *o = json_object();
    bool is_open = move_state_is_open(row->state);

    put(o, "id", json_from_id(row->id));
    put(o, "guild_id", json_from_id(row->guild_id));
    put(o, "source", json_string(row->source));
    put(o, "target", json_string(row->target));
    put(o, "reason", json_string(row->reason));
    put(o, "state", json_string(move_state_text(row->state)));
    put(o, "error", json_string(row->error));
    put(o, "created_at", json_from_ms(row->created_ms));
    put(o, "finished_at", is_open ? json_null() : json_from_ms(row->changed_ms));
    put(o, "pause_us", json_integer((json_int_t)row->pause_us));
    return o;
}

/* ---- lists ---- */

struct list_sink {
    json_t *rows;
    uint64_t last;
    int64_t now_ms;
};

static void add_guild(void *ctx, const struct guild_row *row)
{
    struct list_sink *sink = ctx;

    sink->last = row->guild_id;
    must(!json_array_append_new(sink->rows, json_from_guild(row)));
}

static void add_move(void *ctx, const struct move_row *row)
{
    struct list_sink *sink = ctx;

    must(!json_array_append_new(sink->rows, json_from_move(row)));
}

static void add_pod(void *ctx, const struct pod_row *row)
{
    struct list_sink *sink = ctx;
    json_t *o = json_object();
    int64_t left_ms = row->status == POD_OFFLINE ? 0 : row->lease_until_ms - sink->now_ms;

    put(o, "pod_id", json_string(row->pod));
    put(o, "status", json_string(pod_status_text(row->status)));
    put(o, "guild_count", json_integer(row->guild_count));
    put(o, "capacity", json_integer(row->capacity));
    put(o, "load", json_integer(row->load));
    put(o, "last_heartbeat", json_from_ms(row->heard_ms));
    put(o, "lease_ms_left", json_integer(left_ms > 0 ? left_ms : 0));
    put(o, "version", json_string(row->version));
    put(o, "schema", json_integer(row->schema));
    put(o, "standbys", json_integer(0));
    put(o, "drain_wished", json_boolean(row->drain_wished));
    put(o, "shards", json_array());
    put(o, "next_shards", json_array());
    must(!json_array_append_new(sink->rows, o));
}

static void add_shard(void *ctx, const struct shard_row *row)
{
    struct list_sink *sink = ctx;
    size_t i;
    json_t *pod;

    json_array_foreach(sink->rows, i, pod)
    {
        if (!strcmp(json_str(pod, "pod_id"), row->pod))
            must(!json_array_append_new(
                json_object_get(pod, row->is_next ? "next_shards" : "shards"),
                json_integer(row->shard)));
    }
}

static void add_standbys(void *ctx, const char *name, uint64_t count)
{
    struct list_sink *sink = ctx;
    size_t i;
    json_t *pod;

    json_array_foreach(sink->rows, i, pod)
    {
        if (!strcmp(json_str(pod, "pod_id"), name))
            put(pod, "standbys", json_integer((json_int_t)count));
    }
}

void api_finish(struct api_call *call, int code, const json_t *root)
{
    call->code = code;
    call->json = json_text(root);
}

static enum status answer_assignments(struct coordinator *c, struct api_call *call, struct err *err)
{
    CLEANUP(json_decref) json_t *root = json_object();
    struct list_sink sink = { .rows = json_array() };
    const struct guild_query query = { call->from_start, call->id, call->pod, call->limit };

    put(root, "assignments", sink.rows);
    TRY(store_guilds(c->store, &query, add_guild, &sink, err));
    bool more = json_array_size(sink.rows) == call->limit;
    put(root, "next", more ? json_from_id(sink.last) : json_null());
    api_finish(call, 200, root);
    return STATUS_OK;
}

static void add_standby(void *ctx, const struct standby_row *row)
{
    must(!json_array_append_new(ctx, json_string(row->pod)));
}

static enum status answer_assignment(struct coordinator *c, struct api_call *call, struct err *err)
{
    struct guild_row row;

    TRY(store_guild(c->store, call->id, &row, err));
    CLEANUP(json_decref) json_t *root = json_from_guild(&row);
    json_t *standbys = json_array();
    put(root, "standbys", standbys);
    TRY(store_standbys_of(c->store, call->id, add_standby, standbys, err));
    api_finish(call, 200, root);
    return STATUS_OK;
}

static enum status answer_pods(struct coordinator *c, struct api_call *call, struct err *err)
{
    CLEANUP(json_decref) json_t *root = json_object();
    struct list_sink sink = { .rows = json_array() };

    put(root, "pods", sink.rows);
    TRY(store_now(c->store, &sink.now_ms, err));
    TRY(store_pods(c->store, add_pod, &sink, err));
    TRY(store_shards(c->store, add_shard, &sink, err));
    TRY(store_count_standbys(c->store, add_standbys, &sink, err));
    api_finish(call, 200, root);
    return STATUS_OK;
}

static enum status answer_moves(struct coordinator *c, struct api_call *call, struct err *err)
{
    CLEANUP(json_decref) json_t *root = json_object();
    struct list_sink sink = { .rows = json_array() };

    put(root, "moves", sink.rows);
    TRY(store_moves(c->store, call->limit, add_move, &sink, err));
    api_finish(call, 200, root);
    return STATUS_OK;
}

static enum status answer_move(struct coordinator *c, struct api_call *call, struct err *err)
{
    struct move_row row;

    TRY(store_move(c->store, call->id, &row, err));
    CLEANUP(json_decref) json_t *root = json_from_move(&row);
    api_finish(call, 200, root);
    return STATUS_OK;
}

static void add_history(void *ctx, const struct history_row *row)
{
    struct list_sink *sink = ctx;
    json_t *o = json_object();

    sink->last = row->id;
    put(o, "id", json_from_id(row->id));
    put(o, "at", json_from_ms(row->at_ms));
    put(o, "guild_id", json_from_id(row->guild_id));
    put(o, "pod_id", json_from_text(row->pod));
    put(o, "epoch", json_from_id(row->epoch));
    put(o, "what", json_string(row->what));
    put(o, "reason", json_string(row->why));
    put(o, "move_id", row->move_id ? json_from_id(row->move_id) : json_null());
    must(!json_array_append_new(sink->rows, o));
}

static enum status answer_history(struct coordinator *c, struct api_call *call, struct err *err)
{
    CLEANUP(json_decref) json_t *root = json_object();
    struct list_sink sink = { .rows = json_array() };
    const struct history_query query = { call->has_guild ? &call->guild_id : NULL, call->id,
                                         call->limit };

    put(root, "history", sink.rows);
    TRY(store_history(c->store, &query, add_history, &sink, err));
    bool more = json_array_size(sink.rows) == call->limit;
    put(root, "next", more ? json_from_id(sink.last) : json_null());
    api_finish(call, 200, root);
    return STATUS_OK;
}

static void sum_standbys(void *ctx, const char *name UNUSED, uint64_t count)
{
    *(uint64_t *)ctx += count;
}

static json_t *json_from_reshard(const struct coordinator *c)
{
    char text[128];

    reshards_say(c, text, sizeof(text));
    return json_from_text(text);
}

static enum status answer_status(struct coordinator *c, struct api_call *call, struct err *err)
{
    CLEANUP(json_decref) json_t *root = json_object();
    struct store_counts n = { 0 };
    uint64_t shards = 0, standbys = 0;

    TRY(store_count_standbys(c->store, sum_standbys, &standbys, err));
    TRY(store_counts(c->store, &n, err));
    TRY(store_meta(c->store, "shard_count", &shards, err));
    put(root, "version", json_string(GUILDBUS_VERSION));
    put(root, "storage", json_string(store_kind(c->store)));
    put(root, "leader", json_boolean(c->leads));
    put(root, "placement_held", json_boolean(c->held));
    put(root, "guilds", json_integer((json_int_t)n.guilds));
    put(root, "guilds_owned", json_integer((json_int_t)n.guilds_owned));
    put(root, "pods_active", json_integer((json_int_t)n.pods_active));
    put(root, "standbys", json_integer((json_int_t)standbys));
    put(root, "rebalance", c->leads ? json_string(rebalance_state(c)) : json_null());
    put(root, "moves_open", json_integer((json_int_t)n.moves_open));
    put(root, "moves_done", json_integer((json_int_t)n.moves_done));
    put(root, "moves_failed", json_integer((json_int_t)n.moves_failed));
    put(root, "shard_count", json_integer((json_int_t)shards));
    put(root, "reshard", c->leads ? json_from_reshard(c) : json_null());
    put(root, "pause_us_p50", json_integer((json_int_t)n.pause_us_p50));
    put(root, "pause_us_max", json_integer((json_int_t)n.pause_us_max));
    api_finish(call, 200, root);
    return STATUS_OK;
}

static enum status answer_call(struct coordinator *c, struct api_call *call, struct err *err)
{
    switch (call->kind) {
    case API_ASSIGNMENTS:
        return answer_assignments(c, call, err);
    case API_ASSIGNMENT:
        return answer_assignment(c, call, err);
    case API_PODS:
        return answer_pods(c, call, err);
    case API_MOVES:
        return answer_moves(c, call, err);
    case API_MOVE:
        return answer_move(c, call, err);
    case API_STATUS:
        return answer_status(c, call, err);
    case API_HISTORY:
        return answer_history(c, call, err);
    case API_REASSIGN:
    case API_UNFREEZE:
    case API_DRAIN:
    case API_UNDRAIN:
    case API_REBALANCE:
    case API_RESHARD:
        return api_change(c, call, err);
    }
    return err_set(err, STATUS_INTERNAL, "no such call");
}

void api_answer(struct coordinator *c, struct api_call *call)
{
    enum status status = answer_call(c, call, &call->err);

    if (status == STATUS_OK)
        return;
    if (status == STATUS_UNAVAILABLE || status == STATUS_INTERNAL)
        log_warn("api_call_failed", "text=%s next=the_caller_is_told", LOG_QUOTE(call->err.text));
}
