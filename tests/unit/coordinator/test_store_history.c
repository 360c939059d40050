/* needs: postgres
 *
 * Standbys, wishes to drain, history, and tables of an older version: on SQLite and on PostgreSQL. */
#include "store_world.h"

#include <sqlite3.h>

/* ---- standbys ---- */

struct followers {
    struct standby_row rows[8];
    size_t count;
};

static void keep_standby(void *ctx, const struct standby_row *row)
{
    struct followers *f = ctx;

    assert_true(f->count < ARRAY_LEN(f->rows));
    f->rows[f->count++] = *row;
}

static void commit_standby(struct store *store, uint64_t guild_id, const char *name, int rank)
{
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct standby_row row = { .guild_id = guild_id, .rank = rank };

    text_copy(row.pod, sizeof(row.pod), name);
    plan_standby(&plan, &row);
    OK(store_commit(store, &plan, NULL));
}

static void count_named(void *ctx, const char *name, uint64_t count)
{
    struct counted *n = ctx;

    n->rows++;
    n->last_id = count;
    text_copy(n->last_pod, sizeof(n->last_pod), name);
}

TEST_ON_BOTH(test_standbys_change_and_go_by_guild_and_pod)
{
    struct followers f = { 0 };
    struct counted n = { 0 };

    commit_standby(w->store, 9, "b", 1);
    commit_standby(w->store, 9, "c", 2);
    commit_standby(w->store, UINT64_C(18000000000000000001), "b", 1);
    commit_standby(w->store, 9, "b", STANDBY_DROP);
    commit_standby(w->store, 9, "c", 1);
    OK(store_standbys_of(w->store, 9, keep_standby, &f, NULL));
    assert_int_equal(f.count, 1);
    assert_string_equal(f.rows[0].pod, "c");
    assert_int_equal(f.rows[0].rank, 1);
    OK(store_count_standbys(w->store, count_named, &n, NULL));
    assert_int_equal(n.rows, 2);
    assert_int_equal(n.last_id, 1);
    commit_standby(w->store, 9, "b", STANDBY_NONE);
    commit_standby(w->store, 9, "nobody", STANDBY_NONE);
    f = (struct followers){ 0 };
    const struct standby_query all = { .from_start = true, .limit = 8 };
    OK(store_standbys(w->store, &all, keep_standby, &f, NULL));
    assert_int_equal(f.count, 2);
    assert_true(f.rows[0].guild_id == UINT64_C(18000000000000000001)); /* signed: below 9 */
    assert_string_equal(f.rows[1].pod, "c");
}

TEST_ON_BOTH(test_standbys_are_read_in_pages)
{
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct followers f = { 0 };

    for (uint64_t i = 0; i < 7; i++) {
        struct standby_row row = { .guild_id = i / 2, .rank = i % 2 ? 2 : 1 };
        text_copy(row.pod, sizeof(row.pod), i % 2 ? "b" : "a");
        plan_standby(&plan, &row);
    }
    OK(store_commit(w->store, &plan, NULL));
    struct standby_query page = { .from_start = true, .limit = 3 };
    for (size_t seen = 0; seen < 7;) {
        OK(store_standbys(w->store, &page, keep_standby, &f, NULL));
        assert_true(f.count > seen);
        seen = f.count;
        page = (struct standby_query){ .after = f.rows[seen - 1].guild_id,
                                       .after_pod = f.rows[seen - 1].pod,
                                       .limit = 3 };
    }
    assert_int_equal(f.count, 7);
    assert_int_equal(f.rows[6].guild_id, 3);
}

/* ---- drains, leases that ended ---- */

TEST_ON_BOTH(test_a_wish_to_drain_outlives_the_process)
{
    struct pod_row first = pod("a", 1), second = pod("a", 2);
    struct counted n = { 0 };
    int64_t left_ms;

    assert_int_equal(store_wish_drain(w->store, "a", true, POD_DRAINING, NULL), STATUS_NOT_FOUND);
    OK(store_register(w->store, &first, 60000, &left_ms, NULL));
    assert_false(first.drain_wished);
    OK(store_wish_drain(w->store, "a", true, POD_DRAINING, NULL));
    OK(store_pods(w->store, count_pod, &n, NULL));
    assert_true(n.pod.drain_wished);
    assert_int_equal(n.pod.status, POD_DRAINING);
    OK(store_leave(w->store, "a", 1, NULL));
    OK(store_register(w->store, &second, 60000, &left_ms, NULL));
    assert_true(second.drain_wished);
    assert_int_equal(second.status, POD_DRAINING);
    OK(store_wish_drain(w->store, "a", false, POD_ACTIVE, NULL));
    OK(store_leave(w->store, "a", 2, NULL));
    OK(store_wish_drain(w->store, "a", false, POD_ACTIVE, NULL));
    OK(store_pods(w->store, count_pod, &n, NULL));
    assert_int_equal(n.pod.status, POD_OFFLINE);
    struct pod_row third = pod("a", 3);
    OK(store_register(w->store, &third, 60000, &left_ms, NULL));
    assert_int_equal(third.status, POD_ACTIVE);
}

TEST_ON_BOTH(test_a_new_process_knows_when_the_lease_before_ended)
{
    struct pod_row first = pod("a", 1), again = pod("a", 1), second = pod("a", 2);
    struct counted n = { 0 };
    int64_t left_ms, now_ms;

    OK(store_register(w->store, &first, 60000, &left_ms, NULL));
    assert_int_equal(first.lease_before_ms, 0);
    OK(store_register(w->store, &again, 60000, &left_ms, NULL)); /* its lease ran */
    assert_int_equal(again.lease_before_ms, 0);
    OK(store_leave(w->store, "a", 1, NULL));
    OK(store_now(w->store, &now_ms, NULL));
    OK(store_register(w->store, &second, 60000, &left_ms, NULL));
    assert_in_range(second.lease_before_ms, now_ms - 60000, now_ms);
    OK(store_pods(w->store, count_pod, &n, NULL));
    assert_true(n.pod.lease_before_ms == second.lease_before_ms);
}

/* ---- history ---- */

struct past {
    struct history_row rows[16];
    size_t count;
};

static void keep_past(void *ctx, const struct history_row *row)
{
    struct past *p = ctx;

    assert_true(p->count < ARRAY_LEN(p->rows));
    p->rows[p->count++] = *row;
}

static void commit_note(struct store *store, uint64_t guild_id, uint64_t epoch, const char *what)
{
    struct guild_row row = guild(guild_id, "a", epoch, GUILD_OWNED);

    guild_row_note(&row, what, "drain", epoch * 10);
    OK(commit_guild(store, &row));
}

TEST_ON_BOTH(test_history_is_read_newest_first_in_pages)
{
    struct past p = { 0 };
    uint64_t guild_id = 9;

    for (uint64_t epoch = 1; epoch <= 3; epoch++) {
        commit_note(w->store, 9, epoch, "moved");
        commit_note(w->store, 10, epoch, "owned");
    }
    commit_note(w->store, 9, 4, NULL); /* not worth a line */
    struct history_query query = { .guild_id = &guild_id, .limit = 2 };
    OK(store_history(w->store, &query, keep_past, &p, NULL));
    assert_int_equal(p.count, 2);
    assert_int_equal(p.rows[0].epoch, 3);
    assert_int_equal(p.rows[0].move_id, 30);
    assert_string_equal(p.rows[0].what, "moved");
    assert_string_equal(p.rows[0].why, "drain");
    assert_string_equal(p.rows[0].pod, "a");
    query.before = p.rows[1].id;
    OK(store_history(w->store, &query, keep_past, &p, NULL));
    assert_int_equal(p.count, 3);
    assert_int_equal(p.rows[2].epoch, 1);
    p = (struct past){ 0 };
    query = (struct history_query){ .limit = 16 };
    OK(store_history(w->store, &query, keep_past, &p, NULL));
    assert_int_equal(p.count, 6);
    assert_int_equal(p.rows[0].guild_id, 10);
    for (size_t i = 1; i < p.count; i++)
        assert_true(p.rows[i].id < p.rows[i - 1].id && p.rows[i].at_ms <= p.rows[i - 1].at_ms);
}

TEST_ON_BOTH(test_only_what_is_old_is_pruned_and_in_small_batches)
{
    struct past p = { 0 };
    struct counted n = { 0 };
    bool more = true;

    for (uint64_t i = 1; i <= 5; i++) {
        struct move_row m = move(i, i, i == 2 ? MOVE_STATE_CUTOVER : MOVE_STATE_DONE);
        OK(commit_move(w->store, &m));
        commit_note(w->store, i, 1, "owned");
    }
    OK(store_prune(w->store, 1, 100, &more, NULL));
    assert_false(more);
    OK(store_history(w->store, &(struct history_query){ .limit = 16 }, keep_past, &p, NULL));
    assert_int_equal(p.count, 5);
    /* 0 days: what was written before this millisecond. */
    int64_t written_ms, now_ms = 0;
    OK(store_now(w->store, &written_ms, NULL));
    while (now_ms <= written_ms + 1)
        OK(store_now(w->store, &now_ms, NULL));
    OK(store_prune(w->store, 0, 3, &more, NULL));
    assert_true(more);
    p = (struct past){ 0 };
    OK(store_history(w->store, &(struct history_query){ .limit = 16 }, keep_past, &p, NULL));
    assert_int_equal(p.count, 2);
    assert_int_equal(p.rows[1].guild_id, 4);
    OK(store_moves(w->store, 10, count_move, &n, NULL));
    assert_int_equal(n.rows, 3); /* the open one stays */
    OK(store_prune(w->store, 0, 100, &more, NULL));
    n = (struct counted){ 0 };
    OK(store_moves(w->store, 10, count_move, &n, NULL));
    assert_int_equal(n.rows, 2); /* and the last number given out */
    uint64_t last = 0;
    OK(store_last_move_id(w->store, &last, NULL));
    assert_int_equal(last, 5);
}

/* ---- older tables ---- */

#define TIMESTAMP                      TIMESTAMP_OF_DIALECT
#define ROW_NUMBERS(table)             ""
#define ROW_INDEX(name, table, column) ""
#define SCHEMA(version, text)          { version, text },
struct old_statement {
    int version;
    const char *text;
};
#define TIMESTAMP_OF_DIALECT "bigint"
static const struct old_statement sqlite_schema[] = {
#include "coordinator/schema.def"
};
#undef TIMESTAMP_OF_DIALECT
#define TIMESTAMP_OF_DIALECT "timestamptz"
static const struct old_statement pg_schema[] = {
#include "coordinator/schema.def"
};
#undef SCHEMA

static void run_old(struct pg *pg, sqlite3 *db, const char *text)
{
    if (pg)
        OK(pg_script(pg, text, NULL));
    else
        assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
}

/* The world's database, behind its store's back. */
struct behind {
    struct pg *pg;
    sqlite3 *db;
    const char *now;
};

static struct behind go_behind(struct world *w)
{
    struct behind b = { .now = w->url ? "now()" : "1763893560000" };
    char path[256];

    store_free(w->store);
    w->store = NULL;
    (void)snprintf(path, sizeof(path), "%s/coordinator.sqlite3", w->data_dir);
    if (w->url)
        b.pg = pg_new(w->url);
    else
        assert_int_equal(sqlite3_open(path, &b.db), SQLITE_OK);
    return b;
}

static void come_back(struct behind *b)
{
    pg_free(b->pg);
    sqlite3_close(b->db);
}

/* Without rows. */
static void make_version(const struct behind *b, int version)
{
    static const char *const tables[] = { "meta",    "standbys",   "guild_assignments",
                                          "moves",   "pod_health", "shards",
                                          "history", "identifies", "next_shards" };
    char text[256];

    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        (void)snprintf(text, sizeof(text), "DROP TABLE %s", tables[i]);
        run_old(b->pg, b->db, text);
    }
    run_old(b->pg, b->db, "CREATE TABLE meta (key text PRIMARY KEY, value bigint NOT NULL)");
    for (size_t i = 0; i < ARRAY_LEN(pg_schema); i++) {
        const char *statement = b->pg ? pg_schema[i].text : sqlite_schema[i].text;
        if (pg_schema[i].version <= version && *statement)
            run_old(b->pg, b->db, statement);
    }
    (void)snprintf(text, sizeof(text), "INSERT INTO meta (key, value) VALUES ('schema', %d)",
                   version);
    run_old(b->pg, b->db, text);
}

/* As version 1 left it. */
static void make_version_1(struct world *w)
{
    struct behind b = go_behind(w);
    char row[256];

    make_version(&b, 1);
    (void)snprintf(row, sizeof(row),
                   "INSERT INTO guild_assignments VALUES (9, 'a', %s, %s, 5, 6, 'owned', 7, 3)",
                   b.now, b.now);
    run_old(b.pg, b.db, row);
    for (int i = 1; i <= 3; i++) {
        (void)snprintf(row, sizeof(row), "INSERT INTO history VALUES (%s, 9, 'a', %d, 'owned')",
                       b.now, i);
        run_old(b.pg, b.db, row);
    }
    come_back(&b);
}

TEST_ON_BOTH(test_tables_of_version_1_are_upgraded_with_what_they_hold)
{
    struct guild_row got;
    struct past p = { 0 };

    make_version_1(w);
    OK(store_open(w->url, w->data_dir, &w->store, NULL));
    lead(w->store);
    OK(store_guild(w->store, 9, &got, NULL));
    assert_int_equal(got.epoch, 5);
    assert_int_equal(got.unowned_ms, 0);
    OK(store_history(w->store, &(struct history_query){ .limit = 16 }, keep_past, &p, NULL));
    assert_int_equal(p.count, 3);
    assert_int_equal(p.rows[0].epoch, 3);
    assert_string_equal(p.rows[0].why, "");
    commit_standby(w->store, 9, "b", 1);
    commit_note(w->store, 9, 6, "moved");
    OK(store_history(w->store, &(struct history_query){ .limit = 1 }, keep_past, &p, NULL));
    assert_int_equal(p.rows[3].epoch, 6);
}

static void keep_shard(void *ctx, const struct shard_row *row)
{
    struct shard_row *rows = ctx;

    assert_true(row->shard < 2);
    rows[row->shard + 2 * row->is_next] = *row;
}

TEST_ON_BOTH(test_tables_of_version_2_are_upgraded_with_their_shards)
{
    struct shard_row rows[4] = { 0 };
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct behind b = go_behind(w);
    uint64_t count = 1;
    char row[128];

    make_version(&b, 2);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(row, sizeof(row), "INSERT INTO shards VALUES (%d, 'gw-%d', %s)", i, i,
                       b.now);
        run_old(b.pg, b.db, row);
    }
    run_old(b.pg, b.db, "INSERT INTO meta (key, value) VALUES ('shard_count', 2)");
    come_back(&b);
    OK(store_open(w->url, w->data_dir, &w->store, NULL));
    lead(w->store);
    OK(store_meta(w->store, "shard_count", &count, NULL));
    assert_int_equal(count, 2);
    OK(store_meta(w->store, "reshard_stage", &count, NULL));
    assert_int_equal(count, 0);
    plan_shard(&plan, &(struct shard_row){ .shard = 1, .pod = "gw-9", .is_next = true });
    OK(store_commit(w->store, &plan, NULL));
    OK(store_shards(w->store, keep_shard, rows, NULL));
    assert_string_equal(rows[0].pod, "gw-0");
    assert_string_equal(rows[1].pod, "gw-1");
    assert_string_equal(rows[2].pod, "");
    assert_string_equal(rows[3].pod, "gw-9");
}

/* It might have a reshard under way, of which this one would know nothing. */
TEST_ON_BOTH(test_tables_of_a_newer_version_are_left_alone)
{
    struct behind b = go_behind(w);
    struct err err = { 0 };

    run_old(b.pg, b.db, "UPDATE meta SET value = 99 WHERE key = 'schema'");
    come_back(&b);
    assert_int_equal(store_open(w->url, w->data_dir, &w->store, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "schema 99, newer than this program's"));
    b = go_behind(w);
    run_old(b.pg, b.db, "UPDATE meta SET value = 3 WHERE key = 'schema' AND value = 99");
    come_back(&b);
    OK(store_open(w->url, w->data_dir, &w->store, NULL));
    lead(w->store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_standbys_change_and_go_by_guild_and_pod),
        ON_BOTH(test_standbys_are_read_in_pages),
        ON_BOTH(test_a_wish_to_drain_outlives_the_process),
        ON_BOTH(test_a_new_process_knows_when_the_lease_before_ended),
        ON_BOTH(test_history_is_read_newest_first_in_pages),
        ON_BOTH(test_only_what_is_old_is_pruned_and_in_small_batches),
        ON_BOTH(test_tables_of_version_1_are_upgraded_with_what_they_hold),
        ON_BOTH(test_tables_of_version_2_are_upgraded_with_their_shards),
        ON_BOTH(test_tables_of_a_newer_version_are_left_alone),
    };

    if (!mkdtemp(dir))
        return 1;
    return cmocka_run_group_tests_name("store_history", tests, NULL, remove_dir);
}
