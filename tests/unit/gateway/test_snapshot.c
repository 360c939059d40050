/* needs: nats
 *
 * Snapshots replace the log; who has not got their rows begins with them. */
#include <sqlite3.h>

#include "base/bytes.h"
#include "tests/unit/gateway/town.h"

/* ---- what is where ---- */

static int64_t number(sqlite3 *db, const char *sql, uint64_t guild)
{
    sqlite3_stmt *q = NULL;
    int64_t n = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(q, 1, (sqlite3_int64)guild);
        if (sqlite3_step(q) == SQLITE_ROW)
            n = sqlite3_column_int64(q, 0);
    }
    sqlite3_finalize(q);
    return n;
}

static sqlite3 *open_rows(struct town *t, int pod)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open_v2(t->pods[pod].path, &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 5000);
    return db;
}

static int64_t ask_rows(struct town *t, int pod, const char *sql)
{
    sqlite3 *db = open_rows(t, pod);
    int64_t n = number(db, sql, t->guild);

    sqlite3_close(db);
    return n;
}

static int64_t idx_of(struct town *t, int pod)
{
    return ask_rows(t, pod, "SELECT idx FROM guild_state WHERE guild_id=?1 AND NOT dirty");
}

static bool caught_up(struct town *t, int64_t beyond)
{
    int64_t idx = idx_of(t, 1);

    return idx > beyond && idx == idx_of(t, 0);
}

/* All rows of a table as text, in key order. */
static void put_table(sqlite3 *db, const char *table, uint64_t guild, struct bytes *into)
{
    CLEANUP(xfree) char *sql = xasprintf("SELECT * FROM %s WHERE guild_id=?1 ORDER BY 1, 2", table);
    sqlite3_stmt *q = NULL;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    sqlite3_bind_int64(q, 1, (sqlite3_int64)guild);
    while (sqlite3_step(q) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            const char *text = (const char *)sqlite3_column_text(q, i);
            bytes_append(into, text ? text : "NULL", text ? strlen(text) : 4);
            bytes_append(into, "|", 1);
        }
    }
    sqlite3_finalize(q);
}

static void put_rows(struct town *t, int pod, struct bytes *into)
{
    static const char *const tables[] = {
#define TABLE(name, columns) #name,
#include "gateway/schema.def"
#undef TABLE
    };
    sqlite3 *db = open_rows(t, pod);

    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        put_table(db, tables[i], t->guild, into);
    sqlite3_close(db);
}

static void assert_same_rows(struct town *t)
{
    CLEANUP(bytes_release) struct bytes a = { 0 }, b = { 0 };

    put_rows(t, 0, &a);
    put_rows(t, 1, &b);
    assert_true(a.size > 0);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
}

static int64_t stored(struct town *t, const char *stream, const char *subject)
{
    char api[128], body[160];
    char *data;
    size_t size;
    struct err err;
    CLEANUP(json_decref) json_t *root = NULL;

    (void)snprintf(api, sizeof(api), "$JS.API.STREAM.INFO.%s", stream);
    (void)snprintf(body, sizeof(body), "{\"subjects_filter\":\"%s\"}", subject);
    const struct bus_out out = { .subject = api, .data = body, .size = strlen(body) };
    assert_int_equal(bus_request_wait(t->bus, &out, 5000, &data, &size, &err), STATUS_OK);
    assert_int_equal(json_parse(data, size, &root, &err), STATUS_OK);
    free(data);
    return json_int(json_object_get(json_object_get(root, "state"), "subjects"), subject, 0);
}

static int64_t in_log(struct town *t)
{
    return stored(t, subject_log_stream(t->guild).text, subject_log(t->guild).text);
}

static int64_t chunks(struct town *t)
{
    return stored(t, STREAM_SNAPSHOTS, subject_snapshot(t->guild).text);
}

static void publish_alone(struct town *t, uint64_t id)
{
    int64_t before = applied(t);

    publish_message(t, id);
    WAIT_FOR(t, applied(t) == before + 1);
}

/* One record each. */
static void publish_one_by_one(struct town *t, uint64_t first, int count)
{
    for (int i = 0; i < count; i++)
        publish_alone(t, first + (uint64_t)i);
}

static int open_small(void **state)
{
    return town_open_with(state, 8);
}

/* ---- tests ---- */

static void test_a_small_guilds_log_begins_with_one_record(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_one_by_one(t, 100, 60);
    WAIT_FOR(t, in_log(t) < 20);
    assert_int_equal(chunks(t), 0);
    be_standby(t, 1);
    WAIT_FOR(t, caught_up(t, 60));
    assert_same_rows(t);
    publish_one_by_one(t, 200, 20); /* it follows also past the next ones */
    WAIT_FOR(t, caught_up(t, 80));
    assert_same_rows(t);
    own(t, 1, 2);
    WAIT_FOR(t, applied(t) == 80);
}

static void publish_many(struct town *t, uint64_t first, int count)
{
    int64_t before = applied(t);

    for (int i = 0; i < count; i++)
        publish_message(t, first + (uint64_t)i);
    WAIT_FOR(t, applied(t) == before + count);
}

/* Until the rows are more than a record takes. */
static void publish_until_chunks(struct town *t)
{
    for (uint64_t first = 1000; chunks(t) < 2 && first < 50000; first += 500)
        publish_many(t, first, 500);
    assert_true(chunks(t) > 1);
}

static void test_a_large_guild_comes_in_chunks_which_the_next_snapshot_purges(void **state)
{
    struct town *t = *state;
    int64_t restored = metric("guildbus_snapshots_restored_total");

    own(t, 0, 1);
    publish_until_chunks(t);
    be_standby(t, 1);
    WAIT_FOR(t, caught_up(t, 0));
    assert_int_equal(metric("guildbus_snapshots_restored_total"), restored + 1);
    assert_same_rows(t);

    int64_t now = chunks(t), written = metric("guildbus_snapshots_total");
    publish_many(t, 100000, 4000); /* half as much again is due another */
    publish_one_by_one(t, 200000, 10);
    WAIT_FOR(t, metric("guildbus_snapshots_total") > written);
    WAIT_FOR(t, chunks(t) < 3 * now);
    int64_t all = applied(t);
    WAIT_FOR(t, caught_up(t, 0));
    assert_same_rows(t);
    own(t, 1, 2);
    WAIT_FOR(t, applied(t) == all);
}

static void test_a_standby_that_was_away_takes_the_snapshot_over_its_old_rows(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    be_standby(t, 1);
    publish_one_by_one(t, 100, 5);
    WAIT_FOR(t, caught_up(t, 0));
    pod_stop(t, 1);
    publish_one_by_one(t, 200, 40);
    WAIT_FOR(t, in_log(t) < 20);
    pod_start(t, 1, "beta");
    be_standby(t, 1);
    WAIT_FOR(t, caught_up(t, 40));
    assert_same_rows(t);
    pod_stop(t, 0);
    own(t, 1, 2);
    publish_one_by_one(t, 300, 1);
    WAIT_FOR(t, applied(t) == 46);
}

static void test_a_reader_whose_snapshot_is_replaced_takes_the_newer_one(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_until_chunks(t);
    purge(t, STREAM_SNAPSHOTS,
          subject_snapshot(t->guild)
              .text); /* as the purge after a newer snapshot does, but before that can be read */
    be_standby(t, 1);
    publish_many(t, 100000, 5000);
    publish_one_by_one(t, 200000, 10);
    WAIT_FOR(t, caught_up(t, 0));
    assert_same_rows(t);
}

static void test_moves_go_on_while_snapshots_are_written(void **state)
{
    struct town *t = *state;
    uint64_t id = 0, epoch = 2;

    own(t, 0, 1);
    for (int round = 0; round < 6; round++, epoch += 2) {
        for (int i = 0; i < 300; i++)
            publish_message(t, 100 + id++);
        move(t, round % 2, 1 - round % 2, epoch);
    }
    WAIT_FOR(t, applied(t) == (int64_t)id);
    be_standby(t, 1);
    publish_one_by_one(t, 100000, 3);
    WAIT_FOR(t, caught_up(t, 0));
    assert_same_rows(t);
}

/* Straight into the file, while nobody has it open: what years of a guild leave there. */
static void fill(struct town *t, int64_t rows)
{
    CLEANUP(xfree) char *path = xasprintf("%s/alpha.sqlite3", t->folder);
    sqlite3_stmt *q = NULL;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(
            db,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?2)"
            " INSERT INTO message_stats SELECT ?1, 1000000000000 + i, i % 5000, i % 50, 'a category',"
            " NULL, 40 + i % 900, 8 + i % 200, i % 7, 1700000000000 + i * 1000,"
            " '[{\"chars\":120,\"words\":14,\"lines\":5,\"lang\":\"ts\"}]', '[\"https://example.org/' || i || '\"]'"
            " FROM n",
            -1, &q, NULL),
        SQLITE_OK);
    sqlite3_bind_int64(q, 1, (sqlite3_int64)t->guild);
    sqlite3_bind_int64(q, 2, rows);
    assert_int_equal(sqlite3_step(q), SQLITE_DONE);
    sqlite3_finalize(q);
    sqlite3_close(db);
}

/* SNAPSHOT_ROWS=1200000 makes a guild of 200 MB of it. */
static void test_a_guild_of_many_rows_moves_whole(void **state)
{
    struct town *t = *state;
    const char *wish = getenv("SNAPSHOT_ROWS");
    int64_t rows = wish ? strtoll(wish, NULL, 10) : 30000;

    own(t, 0, 1);
    publish_one_by_one(t, 100, 1);
    pod_stop(t, 0);
    fill(t, rows);
    pod_start(t, 0, "alpha");
    own(t, 0, 2);
    int64_t begun_ms = clock_now_ms(), written = metric("guildbus_snapshots_total");
    for (uint64_t id = 200; id < 220; id++) {
        publish_message(t, id);
        usleep(1000); /* records of their own */
    }
    WAIT_FOR(t, metric("guildbus_snapshots_total") > written);
    int64_t written_ms = clock_now_ms();
    be_standby(t, 1);
    WAIT_FOR(t, caught_up(t, 0));
    print_message("%" PRId64 " rows, %" PRId64 " chunks: written in %" PRId64
                  " ms, read in %" PRId64 " ms\n",
                  rows, chunks(t), written_ms - begun_ms, clock_now_ms() - written_ms);
    assert_same_rows(t);
    own(t, 1, 3);
    assert_int_equal(
        ask_rows(t, 1,
                 "SELECT count(*) FROM message_stats WHERE guild_id=?1 AND message_id > 999999"),
        rows);
}

/* One column's value that is neither empty nor its default. */
static void put_value(struct bytes *sql, const char *type)
{
    const char *value = !strcmp(type, "TEXT")   ? ",'{\"a\":\"b\"}'"
                        : !strcmp(type, "BLOB") ? ",x'0102'"
                                                : ",4711";

    bytes_append(sql, value, strlen(value));
}

/* A row of the guild in this table, whatever columns it has. */
static void fill_table(sqlite3 *db, const char *table, uint64_t guild)
{
    CLEANUP(bytes_release) struct bytes sql = { 0 };
    CLEANUP(xfree) char *columns = xasprintf("SELECT type FROM pragma_table_info('%s')", table);
    CLEANUP(xfree)
    char *head = xasprintf("INSERT OR REPLACE INTO %s VALUES(%" PRIu64, table, guild);
    sqlite3_stmt *q = NULL;

    bytes_append(&sql, head, strlen(head));
    assert_int_equal(sqlite3_prepare_v2(db, columns, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW); /* guild_id */
    while (sqlite3_step(q) == SQLITE_ROW)
        put_value(&sql, (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    bytes_append(&sql, ")", 2);
    assert_int_equal(sqlite3_exec(db, (const char *)sql.data, NULL, NULL, NULL), SQLITE_OK);
}

static void fill_every_table(struct town *t)
{
    CLEANUP(xfree) char *path = xasprintf("%s/alpha.sqlite3", t->folder);
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
#define TABLE(name, columns) fill_table(db, #name, t->guild);
#include "gateway/schema.def"
#undef TABLE
    sqlite3_close(db);
}

static void test_a_snapshot_has_rows_of_every_table(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    publish_one_by_one(t, 100, 1);
    pod_stop(t, 0);
    fill_every_table(t); /* in no record: who comes later has them from the snapshot */
    pod_start(t, 0, "alpha");
    own(t, 0, 2);
    int64_t written = metric("guildbus_snapshots_total");
    publish_one_by_one(t, 200, 20);
    WAIT_FOR(t, metric("guildbus_snapshots_total") > written);
    be_standby(t, 1);
    WAIT_FOR(t, caught_up(t, 0));
    assert_same_rows(t);
}

static int open_without(void **state)
{
    return town_open_with(state, 0);
}

static void test_a_long_log_and_many_events_are_read_by_the_batch(void **state)
{
    struct town *t = *state;
    int64_t batches = metric("guildbus_batch_reads_total");

    for (uint64_t i = 0; i < 1500; i++)
        publish_message(t, 100 + i);
    own(t, 0, 1);
    WAIT_FOR(t, applied(t) == 1500);
    assert_int_equal(metric("guildbus_batch_reads_total"), batches + 1); /* the events */
    publish_many(t, 10000, 1500);
    be_standby(t, 1);
    WAIT_FOR(t, caught_up(t, 0));
    assert_int_equal(metric("guildbus_batch_reads_total"), batches + 2); /* the log */
    assert_same_rows(t);
    own(t, 1, 2);
    WAIT_FOR(t, applied(t) == 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_small_guilds_log_begins_with_one_record, open_small,
                                        town_close),
        cmocka_unit_test_setup_teardown(
            test_a_large_guild_comes_in_chunks_which_the_next_snapshot_purges, open_small,
            town_close),
        cmocka_unit_test_setup_teardown(
            test_a_standby_that_was_away_takes_the_snapshot_over_its_old_rows, open_small,
            town_close),
        cmocka_unit_test_setup_teardown(
            test_a_reader_whose_snapshot_is_replaced_takes_the_newer_one, open_small, town_close),
        cmocka_unit_test_setup_teardown(test_a_long_log_and_many_events_are_read_by_the_batch,
                                        open_without, town_close),
        cmocka_unit_test_setup_teardown(test_a_guild_of_many_rows_moves_whole, open_small,
                                        town_close),
        cmocka_unit_test_setup_teardown(test_a_snapshot_has_rows_of_every_table, open_small,
                                        town_close),
        cmocka_unit_test_setup_teardown(test_moves_go_on_while_snapshots_are_written, open_small,
                                        town_close),
    };

    if (getenv("DEBUG"))
        log_set_level(LOG_LEVEL_DEBUG);
    return cmocka_run_group_tests_name("gateway/snapshot", tests, NULL, NULL);
}
