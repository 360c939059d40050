#include <inttypes.h>
#include <string.h>

#include "base/xmem.h"
#include "coordinator/store_text.h"

enum { PAUSES_READ = 1000 };

/* ---- guilds ---- */

struct guild_sink {
    store_on_guild on_guild;
    void *ctx;
    size_t seen;
};

static void on_guild_row(void *ctx, const struct sql_row *row)
{
    struct guild_sink *sink = ctx;
    struct guild_row g = {
        .guild_id = (uint64_t)sql_int(row, 0),
        .epoch = (uint64_t)sql_int(row, 2),
        .next_epoch = (uint64_t)sql_int(row, 3),
        .incarnation = (uint64_t)sql_int(row, 5),
        .schema = (uint32_t)sql_int(row, 6),
        .assigned_ms = sql_int(row, 7),
        .heard_ms = sql_int(row, 8),
        .unowned_ms = sql_int(row, 9),
    };

    text_copy(g.pod, sizeof(g.pod), sql_text(row, 1));
    must(guild_state_parse(sql_text(row, 4), &g.state)); /* the table's CHECK */
    sink->seen++;
    sink->on_guild(sink->ctx, &g);
}

enum status store_guilds(struct store *store, const struct guild_query *query,
                         store_on_guild on_guild, void *ctx, struct err *err)
{
    struct guild_sink sink = { on_guild, ctx, 0 };
    struct sql_args args = { 0 };

    sql_args_int(&args, query->from_start);
    sql_args_int(&args, (int64_t)query->after);
    sql_args_int(&args, query->limit);
    if (*query->pod)
        sql_args_text(&args, query->pod);
    return store_select(store, *query->pod ? SQL_GUILDS_OF_POD : SQL_GUILDS, &args, on_guild_row,
                        &sink, err);
}

static void keep_guild(void *ctx, const struct guild_row *row)
{
    *(struct guild_row *)ctx = *row;
}

enum status store_guild(struct store *store, uint64_t guild_id, struct guild_row *ret_row,
                        struct err *err)
{
    struct guild_sink sink = { keep_guild, ret_row, 0 };
    struct sql_args args = { 0 };

    sql_args_int(&args, (int64_t)guild_id);
    TRY(store_select(store, SQL_GUILD, &args, on_guild_row, &sink, err));
    return sink.seen ? STATUS_OK
                     : err_set(err, STATUS_NOT_FOUND, "guild %" PRIu64 " was never seen", guild_id);
}

/* ---- pods ---- */

struct pod_reader {
    store_on_pod on_pod;
    void *ctx;
};

static void on_pod_row(void *ctx, const struct sql_row *row)
{
    const struct pod_reader *reader = ctx;
    struct pod_row p = {
        .incarnation = (uint64_t)sql_int(row, 2),
        .guild_count = (uint32_t)sql_int(row, 3),
        .load = (uint32_t)sql_int(row, 4),
        .capacity = (uint32_t)sql_int(row, 5),
        .schema = (uint32_t)sql_int(row, 6),
        .heard_ms = sql_int(row, 8),
        .lease_until_ms = sql_int(row, 9),
        .drain_wished = sql_int(row, 10),
        .lease_before_ms = sql_int(row, 11),
    };

    text_copy(p.pod, sizeof(p.pod), sql_text(row, 0));
    must(pod_status_parse(sql_text(row, 1), &p.status));
    text_copy(p.version, sizeof(p.version), sql_text(row, 7));
    reader->on_pod(reader->ctx, &p);
}

enum status store_pods(struct store *store, store_on_pod on_pod, void *ctx, struct err *err)
{
    return store_select(store, SQL_PODS, NULL, on_pod_row, &(struct pod_reader){ on_pod, ctx },
                        err);
}

/* ---- moves ---- */

struct move_sink {
    store_on_move on_move;
    void *ctx;
    size_t seen;
};

static void on_move_row(void *ctx, const struct sql_row *row)
{
    struct move_sink *sink = ctx;
    struct move_row m = {
        .id = (uint64_t)sql_int(row, 0),
        .guild_id = (uint64_t)sql_int(row, 1),
        .epoch = (uint64_t)sql_int(row, 4),
        .unseal_epoch = (uint64_t)sql_int(row, 5),
        .created_ms = sql_int(row, 8),
        .changed_ms = sql_int(row, 9),
        .pause_us = (uint64_t)sql_int(row, 10),
    };

    text_copy(m.source, sizeof(m.source), sql_text(row, 2));
    text_copy(m.target, sizeof(m.target), sql_text(row, 3));
    must(move_state_parse(sql_text(row, 6), &m.state));
    text_copy(m.error, sizeof(m.error), sql_text(row, 7));
    text_copy(m.reason, sizeof(m.reason), sql_text(row, 11));
    sink->seen++;
    sink->on_move(sink->ctx, &m);
}

static void keep_move(void *ctx, const struct move_row *row)
{
    *(struct move_row *)ctx = *row;
}

enum status store_moves(struct store *store, uint32_t limit, store_on_move on_move, void *ctx,
                        struct err *err)
{
    struct move_sink sink = { on_move, ctx, 0 };
    struct sql_args args = { 0 };

    sql_args_int(&args, limit);
    return store_select(store, SQL_MOVES, &args, on_move_row, &sink, err);
}

enum status store_open_moves(struct store *store, store_on_move on_move, void *ctx, struct err *err)
{
    return store_select(store, SQL_OPEN_MOVES, NULL, on_move_row,
                        &(struct move_sink){ on_move, ctx, 0 }, err);
}

enum status store_move(struct store *store, uint64_t id, struct move_row *ret_row, struct err *err)
{
    struct move_sink sink = { keep_move, ret_row, 0 };
    struct sql_args args = { 0 };

    sql_args_int(&args, (int64_t)id);
    TRY(store_select(store, SQL_MOVE, &args, on_move_row, &sink, err));
    return sink.seen ? STATUS_OK : err_set(err, STATUS_NOT_FOUND, "no move %" PRIu64, id);
}

enum status store_move_of_epoch(struct store *store, uint64_t guild_id, uint64_t epoch,
                                const char *pod, struct move_row *ret_row, struct err *err)
{
    struct move_sink sink = { keep_move, ret_row, 0 };
    struct sql_args args = { 0 };

    sql_args_int(&args, (int64_t)guild_id);
    sql_args_int(&args, (int64_t)epoch);
    sql_args_text(&args, pod);
    TRY(store_select(store, SQL_MOVE_OF_EPOCH, &args, on_move_row, &sink, err));
    return sink.seen ? STATUS_OK
                     : err_set(err, STATUS_NOT_FOUND, "no move gave this epoch to this pod");
}

static void on_number(void *ctx, const struct sql_row *row)
{
    *(uint64_t *)ctx = (uint64_t)sql_int(row, 0);
}

enum status store_last_move_id(struct store *store, uint64_t *ret_id, struct err *err)
{
    return store_select(store, SQL_LAST_MOVE_ID, NULL, on_number, ret_id, err);
}

/* ---- standbys ---- */

struct standby_reader {
    store_on_standby on_standby;
    void *ctx;
};

static void on_standby_row(void *ctx, const struct sql_row *row)
{
    const struct standby_reader *reader = ctx;
    struct standby_row s = { .guild_id = (uint64_t)sql_int(row, 0), .rank = (int)sql_int(row, 2) };

    text_copy(s.pod, sizeof(s.pod), sql_text(row, 1));
    reader->on_standby(reader->ctx, &s);
}

enum status store_standbys(struct store *store, const struct standby_query *query,
                           store_on_standby on_standby, void *ctx, struct err *err)
{
    struct sql_args args = { 0 };

    sql_args_int(&args, query->from_start);
    sql_args_int(&args, (int64_t)query->after);
    sql_args_text(&args, query->from_start ? "" : query->after_pod);
    sql_args_int(&args, query->limit);
    return store_select(store, SQL_STANDBYS, &args, on_standby_row,
                        &(struct standby_reader){ on_standby, ctx }, err);
}

enum status store_standbys_of(struct store *store, uint64_t guild_id, store_on_standby on_standby,
                              void *ctx, struct err *err)
{
    struct sql_args args = { 0 };

    sql_args_int(&args, (int64_t)guild_id);
    return store_select(store, SQL_STANDBYS_OF_GUILD, &args, on_standby_row,
                        &(struct standby_reader){ on_standby, ctx }, err);
}

struct count_reader {
    store_on_count on_count;
    void *ctx;
};

static void on_count_row(void *ctx, const struct sql_row *row)
{
    const struct count_reader *reader = ctx;

    reader->on_count(reader->ctx, sql_text(row, 0), (uint64_t)sql_int(row, 1));
}

enum status store_count_standbys(struct store *store, store_on_count on_count, void *ctx,
                                 struct err *err)
{
    return store_select(store, SQL_COUNT_STANDBYS, NULL, on_count_row,
                        &(struct count_reader){ on_count, ctx }, err);
}

/* ---- history ---- */

struct history_reader {
    store_on_history on_history;
    void *ctx;
};

static void on_history_row(void *ctx, const struct sql_row *row)
{
    const struct history_reader *reader = ctx;
    struct history_row h = {
        .id = (uint64_t)sql_int(row, 0),
        .at_ms = sql_int(row, 1),
        .guild_id = (uint64_t)sql_int(row, 2),
        .epoch = (uint64_t)sql_int(row, 4),
        .move_id = (uint64_t)sql_int(row, 7),
    };

    text_copy(h.pod, sizeof(h.pod), sql_text(row, 3));
    text_copy(h.what, sizeof(h.what), sql_text(row, 5));
    text_copy(h.why, sizeof(h.why), sql_text(row, 6));
    reader->on_history(reader->ctx, &h);
}

enum status store_history(struct store *store, const struct history_query *query,
                          store_on_history on_history, void *ctx, struct err *err)
{
    struct sql_args args = { 0 };
    bool from_newest = !query->before || query->before > INT64_MAX;

    sql_args_int(&args, from_newest ? INT64_MAX : (int64_t)query->before);
    sql_args_int(&args, query->limit);
    if (query->guild_id)
        sql_args_int(&args, (int64_t)*query->guild_id);
    return store_select(store, query->guild_id ? SQL_HISTORY_OF_GUILD : SQL_HISTORY, &args,
                        on_history_row, &(struct history_reader){ on_history, ctx }, err);
}

/* ---- shards ---- */

struct shard_reader {
    store_on_shard on_shard;
    void *ctx;
};

static void on_shard_row(void *ctx, const struct sql_row *row)
{
    const struct shard_reader *reader = ctx;
    struct shard_row s = { .shard = (uint32_t)sql_int(row, 0), .is_next = sql_int(row, 2) };

    text_copy(s.pod, sizeof(s.pod), sql_text(row, 1));
    reader->on_shard(reader->ctx, &s);
}

enum status store_shards(struct store *store, store_on_shard on_shard, void *ctx, struct err *err)
{
    return store_select(store, SQL_SHARDS, NULL, on_shard_row,
                        &(struct shard_reader){ on_shard, ctx }, err);
}

/* ---- counts ---- */

static void count_guilds(void *ctx, const struct sql_row *row)
{
    struct store_counts *c = ctx;
    enum guild_state state;
    uint64_t n = (uint64_t)sql_int(row, 1);

    must(guild_state_parse(sql_text(row, 0), &state));
    c->guilds += n;
    if (state == GUILD_OWNED || state == GUILD_MOVING)
        c->guilds_owned += n;
}

static void count_pods(void *ctx, const struct sql_row *row)
{
    struct store_counts *c = ctx;

    if (!strcmp(sql_text(row, 0), pod_status_text(POD_ACTIVE)))
        c->pods_active += (uint64_t)sql_int(row, 1);
}

static void count_moves(void *ctx, const struct sql_row *row)
{
    struct store_counts *c = ctx;
    enum move_state state;
    uint64_t n = (uint64_t)sql_int(row, 1);

    must(move_state_parse(sql_text(row, 0), &state));
    if (move_state_is_open(state))
        c->moves_open += n;
    else if (state == MOVE_STATE_DONE)
        c->moves_done += n;
    else
        c->moves_failed += n;
}

struct pauses {
    uint64_t sorted_us[PAUSES_READ];
    size_t count;
};

static void keep_pause(void *ctx, const struct sql_row *row)
{
    struct pauses *p = ctx;

    if (p->count < PAUSES_READ)
        p->sorted_us[p->count++] = (uint64_t)sql_int(row, 0);
}

enum status store_counts(struct store *store, struct store_counts *ret_counts, struct err *err)
{
    struct store_counts c = { 0 };
    CLEANUP(xfree) struct pauses *pauses = xcalloc(1, sizeof(*pauses));

    TRY(store_select(store, SQL_COUNT_GUILDS, NULL, count_guilds, &c, err));
    TRY(store_select(store, SQL_COUNT_PODS, NULL, count_pods, &c, err));
    TRY(store_select(store, SQL_COUNT_MOVES, NULL, count_moves, &c, err));
    TRY(store_select(store, SQL_PAUSES, NULL, keep_pause, pauses, err));
    if (pauses->count) {
        c.pause_us_p50 = pauses->sorted_us[pauses->count / 2];
        c.pause_us_max = pauses->sorted_us[pauses->count - 1];
    }
    *ret_counts = c;
    return STATUS_OK;
}
