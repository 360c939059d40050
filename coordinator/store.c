#include "coordinator/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"
#include "coordinator/store_sql.h"
#include "coordinator/store_text.h"

enum { DAY_MS = 24 * 3600 * 1000, FORGET_MS = DAY_MS };

struct store {
    struct sql_backend *backend;
    int64_t fence; /* drawn when this process began to lead; 0: it does not */
};

void sql_args_text(struct sql_args *args, const char *text)
{
    must(args->count < SQL_MAX_PARAMS);
    args->values[args->count++] = text;
}

void sql_args_int(struct sql_args *args, int64_t value)
{
    must(args->count < SQL_MAX_PARAMS);
    char *into = args->numbers[args->count];
    (void)snprintf(into, sizeof(args->numbers[0]), "%" PRId64, value);
    args->values[args->count++] = into;
}

static enum status run(struct store *store, struct sql_run *what, struct err *err)
{
    return store->backend->run(store->backend, what, err);
}

static enum status run_plain(struct store *store, enum sql_id id, struct err *err)
{
    return run(store, &(struct sql_run){ .id = id }, err);
}

/* ---- transactions ---- */

static enum status begin(struct store *store, struct err *err)
{
    return run_plain(store, SQL_BEGIN, err);
}

/* Commits when status is OK, else undoes. Returns the first failure. */
static enum status end(struct store *store, enum status status, struct err *err)
{
    if (status == STATUS_OK)
        return run_plain(store, SQL_COMMIT, err);
    /* Failing to undo means that the connection is gone, which undoes too. */
    if (run_plain(store, SQL_ROLLBACK, NULL) != STATUS_OK)
        log_debug("rollback_failed", "store=%s", store->backend->kind);
    return status;
}

static enum status begin_fenced(struct store *store, struct err *err)
{
    struct sql_args args = { 0 };
    struct sql_run check = { .id = SQL_FENCE_CHECK, .args = &args };

    if (!store->fence)
        return err_set(err, STATUS_CONFLICT, "this process does not lead");
    sql_args_int(&args, store->fence);
    TRY(begin(store, err));
    enum status status = run(store, &check, err);
    if (status == STATUS_OK && check.affected != 1)
        status = err_set(err, STATUS_CONFLICT, "another coordinator leads now");
    return status == STATUS_OK ? STATUS_OK : end(store, status, err);
}

/* ---- opening ---- */

static void on_number(void *ctx, const struct sql_row *row)
{
    *(int64_t *)ctx = sql_int(row, 0);
}

/* A newer program keeps what this one would not heed, as a reshard that is under way. */
static enum status check_known(const struct sql_backend *b, uint64_t stored, struct err *err)
{
    uint64_t known = 0;

    for (size_t i = 0; b->schema[i]; i++)
        known = (uint64_t)b->schema_versions[i];
    if (stored > known)
        return err_set(err, STATUS_INVALID,
                       "the database has schema %" PRIu64 ", newer than this program's %" PRIu64
                       ": run the newer one",
                       stored, known);
    return STATUS_OK;
}

static enum status migrate_in(struct store *store, struct err *err)
{
    struct sql_backend *b = store->backend;
    uint64_t stored = 0;

    TRY(run_plain(store, SQL_SCHEMA_LOCK, err));
    TRY(run_plain(store, SQL_META_TABLE, err));
    TRY(store_meta(store, "schema", &stored, err));
    TRY(check_known(b, stored, err));
    uint64_t newest = stored;
    for (size_t i = 0; b->schema[i]; i++) {
        if ((uint64_t)b->schema_versions[i] <= stored)
            continue;
        TRY(b->script(b, b->schema[i], err));
        newest = (uint64_t)b->schema_versions[i];
    }
    struct sql_args args = { 0 };
    sql_args_text(&args, "schema");
    sql_args_int(&args, (int64_t)newest);
    return run(store, &(struct sql_run){ .id = SQL_META_PUT, .args = &args }, err);
}

static enum status migrate(struct store *store, struct err *err)
{
    TRY(begin(store, err));
    return end(store, migrate_in(store, err), err);
}

enum status store_open(const char *database_url, const char *data_dir, struct store **ret_store,
                       struct err *err)
{
    CLEANUP(store_free) struct store *store = xcalloc(1, sizeof(*store));
    CLEANUP(xfree) char *path = xasprintf("%s/coordinator.sqlite3", data_dir);

    if (!database_url && mkdir(data_dir, 0700) && errno != EEXIST)
        return err_set(err, STATUS_INVALID, "DATA_DIR %.160s: %m", data_dir);
    if (database_url)
        TRY(sql_pg_open(database_url, &store->backend, err));
    else
        TRY(sql_sqlite_open(path, &store->backend, err));
    TRY(migrate(store, err));
    *ret_store = TAKE(store);
    return STATUS_OK;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    if (store->backend)
        store->backend->free(store->backend);
    free(store);
}

const char *store_kind(const struct store *store)
{
    return store->backend->kind;
}

enum status store_lead(struct store *store, bool *ret_leads, struct err *err)
{
    bool got = false;

    store->fence = 0;
    *ret_leads = false;
    TRY(store->backend->lock(store->backend, &got, err));
    if (!got)
        return STATUS_OK;
    struct sql_run draw = { .id = SQL_FENCE_DRAW, .on_row = on_number, .ctx = &store->fence };
    TRY(run(store, &draw, err));
    *ret_leads = store->fence > 0;
    return STATUS_OK;
}

void store_resign(struct store *store)
{
    store->fence = 0;
    store->backend->unlock(store->backend);
}

void store_unlock_for_test(struct store *store)
{
    store->backend->unlock(store->backend);
}

enum status store_now(struct store *store, int64_t *ret_ms, struct err *err)
{
    return run(store, &(struct sql_run){ .id = SQL_NOW_MS, .on_row = on_number, .ctx = ret_ms },
               err);
}

enum status store_meta(struct store *store, const char *key, uint64_t *ret_value, struct err *err)
{
    struct sql_args args = { 0 };
    int64_t value = 0;

    sql_args_text(&args, key);
    TRY(run(
        store,
        &(struct sql_run){ .id = SQL_META_GET, .args = &args, .on_row = on_number, .ctx = &value },
        err));
    *ret_value = (uint64_t)value;
    return STATUS_OK;
}

/* ---- writing ---- */

/* A statement over the JSON array in $1 that must touch count rows; 0: as many as it finds. */
static enum status put_rows(struct store *store, enum sql_id id, json_t *rows, size_t count,
                            struct err *err)
{
    CLEANUP(xfree) char *text = json_text(rows);
    struct sql_args args = { 0 };
    struct sql_run what = { .id = id, .args = &args };

    sql_args_text(&args, text);
    TRY(run(store, &what, err));
    if (count && (size_t)what.affected != count)
        return err_set(err, STATUS_CONFLICT, "%zu rows were planned, %lld could be stored", count,
                       (long long)what.affected);
    return STATUS_OK;
}

static enum status commit_in(struct store *store, const struct plan *plan, struct err *err)
{
    if (plan->guild_count) {
        CLEANUP(json_decref) json_t *rows = text_of_guilds(plan->guilds, plan->guild_count);
        TRY(put_rows(store, SQL_GUILDS_PUT, rows, plan->guild_count, err));
        TRY(put_rows(store, SQL_HISTORY_PUT, rows, 0, err));
    }
    if (plan->move_count) {
        CLEANUP(json_decref) json_t *rows = text_of_moves(plan->moves, plan->move_count);
        TRY(put_rows(store, SQL_MOVES_PUT, rows, plan->move_count, err));
    }
    if (plan->shard_count) {
        CLEANUP(json_decref) json_t *rows = text_of_shards(plan->shards, plan->shard_count);
        TRY(put_rows(store, SQL_SHARDS_PUT, rows, 0, err));
        TRY(put_rows(store, SQL_NEXT_SHARDS_PUT, rows, 0, err));
    }
    if (plan->standby_count) {
        CLEANUP(json_decref) json_t *rows = text_of_standbys(plan->standbys, plan->standby_count);
        TRY(put_rows(store, SQL_STANDBYS_CUT, rows, 0, err));
        TRY(put_rows(store, SQL_STANDBYS_PUT, rows, 0, err));
    }
    return STATUS_OK;
}

enum status store_commit(struct store *store, const struct plan *plan, struct err *err)
{
    if (plan_is_empty(plan))
        return STATUS_OK;
    TRY(begin_fenced(store, err));
    return end(store, commit_in(store, plan, err), err);
}

enum status store_still_leads(struct store *store, struct err *err)
{
    TRY(begin_fenced(store, err));
    return end(store, STATUS_OK, err);
}

static enum status run_fenced(struct store *store, struct sql_run *what, struct err *err)
{
    TRY(begin_fenced(store, err));
    return end(store, run(store, what, err), err);
}

static void on_registered(void *ctx, const struct sql_row *row)
{
    struct pod_row *pod = ctx;

    pod->heard_ms = sql_int(row, 0);
    pod->lease_until_ms = sql_int(row, 1);
    pod->drain_wished = sql_int(row, 2);
    pod->lease_before_ms = sql_int(row, 3);
    if (pod->drain_wished)
        pod->status = POD_DRAINING;
}

static enum status register_in(struct store *store, struct pod_row *row, int64_t lease_ms,
                               int64_t *ret_left_ms, struct err *err)
{
    struct sql_args rival = { 0 }, put = { 0 };
    int64_t left_ms = 0;

    sql_args_text(&rival, row->pod);
    sql_args_int(&rival, (int64_t)row->incarnation);
    TRY(run(store,
            &(struct sql_run){
                .id = SQL_POD_RIVAL, .args = &rival, .on_row = on_number, .ctx = &left_ms },
            err));
    if (left_ms > 0) {
        *ret_left_ms = left_ms;
        return err_set(err, STATUS_DENIED, "pod %s is held by another process", row->pod);
    }
    sql_args_text(&put, row->pod);
    sql_args_text(&put, pod_status_text(row->status));
    sql_args_int(&put, row->capacity);
    sql_args_int(&put, (int64_t)row->incarnation);
    sql_args_int(&put, lease_ms);
    sql_args_text(&put, row->version);
    sql_args_int(&put, row->schema);
    return run(
        store,
        &(struct sql_run){ .id = SQL_POD_PUT, .args = &put, .on_row = on_registered, .ctx = row },
        err);
}

enum status store_register(struct store *store, struct pod_row *row, int64_t lease_ms,
                           int64_t *ret_left_ms, struct err *err)
{
    TRY(begin_fenced(store, err));
    return end(store, register_in(store, row, lease_ms, ret_left_ms, err), err);
}

struct pod_sink {
    store_on_pod on_pod;
    void *ctx;
    bool with_lease; /* columns 1 and 2 */
};

static void on_pod_named(void *ctx, const struct sql_row *row)
{
    struct pod_sink *sink = ctx;
    struct pod_row pod = { 0 };

    text_copy(pod.pod, sizeof(pod.pod), sql_text(row, 0));
    if (sink->with_lease) {
        pod.heard_ms = sql_int(row, 1);
        pod.lease_until_ms = sql_int(row, 2);
    }
    sink->on_pod(sink->ctx, &pod);
}

enum status store_heartbeats(struct store *store, const struct store_beats *beats,
                             store_on_pod on_renewed, void *ctx, struct err *err)
{
    CLEANUP(json_decref) json_t *list = text_of_pods(beats->rows, beats->count);
    CLEANUP(xfree) char *text = json_text(list);
    struct pod_sink sink = { on_renewed, ctx, true };
    struct sql_args args = { 0 };

    sql_args_text(&args, text);
    sql_args_int(&args, beats->lease_ms);
    struct sql_run what = {
        .id = SQL_HEARTBEATS, .args = &args, .on_row = on_pod_named, .ctx = &sink
    };
    return run_fenced(store, &what, err);
}

/* Ends leases; the guilds of these pods no longer name a process. */
static enum status end_leases(struct store *store, struct sql_run *what, struct err *err)
{
    TRY(run(store, what, err));
    return what->affected ? run_plain(store, SQL_GUILDS_STALE, err) : STATUS_OK;
}

enum status store_expire(struct store *store, int64_t grace_ms, store_on_pod on_pod, void *ctx,
                         struct err *err)
{
    struct pod_sink sink = { on_pod, ctx, false };
    struct sql_args args = { 0 };
    struct sql_run what = { .id = SQL_EXPIRE, .args = &args, .on_row = on_pod_named, .ctx = &sink };

    sql_args_int(&args, grace_ms);
    TRY(begin_fenced(store, err));
    return end(store, end_leases(store, &what, err), err);
}

enum status store_forget(struct store *store, store_on_pod on_pod, void *ctx, struct err *err)
{
    struct pod_sink sink = { on_pod, ctx, false };
    struct sql_args args = { 0 };
    struct sql_run what = { .id = SQL_FORGET, .args = &args, .on_row = on_pod_named, .ctx = &sink };

    sql_args_int(&args, FORGET_MS);
    TRY(begin_fenced(store, err));
    enum status status = run(store, &what, err);
    if (status == STATUS_OK && what.affected)
        status = run_plain(store, SQL_FORGET_STANDBYS, err);
    return end(store, status, err);
}

enum status store_wish_drain(struct store *store, const char *pod, bool drain,
                             enum pod_status status, struct err *err)
{
    struct sql_args args = { 0 };
    struct sql_run what = { .id = SQL_DRAIN_WISH, .args = &args };

    sql_args_text(&args, pod);
    sql_args_int(&args, drain);
    sql_args_text(&args, pod_status_text(status));
    TRY(run_fenced(store, &what, err));
    return what.affected ? STATUS_OK : err_set(err, STATUS_NOT_FOUND, "there is no pod %s", pod);
}

enum status store_prune(struct store *store, uint32_t days, uint32_t limit, bool *ret_more,
                        struct err *err)
{
    struct sql_args args = { 0 };
    struct sql_run history = { .id = SQL_PRUNE_HISTORY, .args = &args },
                   moves = { .id = SQL_PRUNE_MOVES, .args = &args };

    sql_args_int(&args, (int64_t)days * DAY_MS);
    sql_args_int(&args, limit);
    TRY(begin_fenced(store, err));
    enum status status = run(store, &history, err);
    if (status == STATUS_OK)
        status = run(store, &moves, err);
    TRY(end(store, status, err));
    *ret_more = history.affected == limit || moves.affected == limit;
    return STATUS_OK;
}

enum status store_leave(struct store *store, const char *pod, uint64_t incarnation, struct err *err)
{
    struct sql_args args = { 0 };
    struct sql_run what = { .id = SQL_LEAVE, .args = &args };

    sql_args_text(&args, pod);
    sql_args_int(&args, (int64_t)incarnation);
    TRY(begin_fenced(store, err));
    TRY(end(store, end_leases(store, &what, err), err));
    return what.affected ? STATUS_OK
                         : err_set(err, STATUS_NOT_FOUND, "no such pod and incarnation");
}

static enum status put_meta(struct store *store, const char *key, uint64_t value, struct err *err)
{
    struct sql_args args = { 0 };

    sql_args_text(&args, key);
    sql_args_int(&args, (int64_t)value);
    return run(store, &(struct sql_run){ .id = SQL_META_PUT, .args = &args }, err);
}

enum status store_set_meta(struct store *store, const char *key, uint64_t value, struct err *err)
{
    TRY(begin_fenced(store, err));
    return end(store, put_meta(store, key, value, err), err);
}

static enum status reshard_in(struct store *store, const struct reshard_row *row, struct err *err)
{
    struct sql_args note = { 0 };

    TRY(put_meta(store, "reshard_count", row->to, err));
    TRY(put_meta(store, "reshard_stage", row->stage, err));
    if (!row->to)
        TRY(run_plain(store, SQL_NEXT_SHARDS_CUT, err));
    if (!row->what)
        return STATUS_OK;
    sql_args_text(&note, row->what);
    sql_args_text(&note, row->why);
    return run(store, &(struct sql_run){ .id = SQL_HISTORY_NOTE, .args = &note }, err);
}

enum status store_reshard(struct store *store, const struct reshard_row *row, struct err *err)
{
    TRY(begin_fenced(store, err));
    return end(store, reshard_in(store, row, err), err);
}

static enum status replace_shards(struct store *store, uint32_t count,
                                  const struct reshard_row *row, struct err *err)
{
    struct sql_args all = { 0 };

    sql_args_int(&all, 0);
    TRY(run(store, &(struct sql_run){ .id = SQL_SHARDS_CUT, .args = &all }, err));
    TRY(run_plain(store, SQL_SHARDS_REPLACE, err));
    TRY(put_meta(store, "shard_count", count, err));
    return reshard_in(store, row, err);
}

enum status store_reshard_commit(struct store *store, uint32_t count, const struct reshard_row *row,
                                 struct err *err)
{
    TRY(begin_fenced(store, err));
    return end(store, replace_shards(store, count, row, err), err);
}

enum status store_cut_shards(struct store *store, uint32_t count, struct err *err)
{
    struct sql_args args = { 0 };

    sql_args_int(&args, count);
    return run_fenced(store, &(struct sql_run){ .id = SQL_SHARDS_CUT, .args = &args }, err);
}

static enum status identify_in(struct store *store, struct sql_args *args, int64_t *ret_wait_ms,
                               struct err *err)
{
    struct sql_run grant = { .id = SQL_IDENTIFY_GRANT, .args = args };
    int64_t wait_ms = 1;

    TRY(run(store, &grant, err));
    if (!grant.affected)
        TRY(run(store,
                &(struct sql_run){
                    .id = SQL_IDENTIFY_WAIT, .args = args, .on_row = on_number, .ctx = &wait_ms },
                err));
    *ret_wait_ms = grant.affected ? 0 : wait_ms < 1 ? 1 : wait_ms;
    return STATUS_OK;
}

enum status store_identify(struct store *store, uint32_t bucket, int64_t interval_ms,
                           int64_t *ret_wait_ms, struct err *err)
{
    struct sql_args args = { 0 };

    sql_args_int(&args, bucket);
    sql_args_int(&args, interval_ms);
    TRY(begin_fenced(store, err));
    return end(store, identify_in(store, &args, ret_wait_ms, err), err);
}

/* ---- reading ---- */

enum status store_select(struct store *store, enum sql_id id, const struct sql_args *args,
                         sql_on_row on_row, void *ctx, struct err *err)
{
    return run(store, &(struct sql_run){ .id = id, .args = args, .on_row = on_row, .ctx = ctx },
               err);
}
