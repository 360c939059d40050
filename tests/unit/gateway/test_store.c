#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/xmem.h"
#include "gateway/encode.h"
#include "gateway/store.h"
#include "messages/codec.h"

enum { GUILD = 81384788765712384 % 2147483647 };

static struct store *open_memory(void)
{
    struct store *s = NULL;
    struct err err;

    assert_int_equal(store_open(":memory:", &s, &err), STATUS_OK);
    return s;
}

static void run(struct store *s, const char *sql)
{
    int code = sqlite3_step(store_sql(s, sql));

    assert_true(code == SQLITE_DONE || code == SQLITE_ROW);
    sqlite3_reset(store_sql(s, sql));
}

/* The unit's rows as a Change, through the real decoder. */
static Guildbus__V1__Change *captured(struct store *s, struct arena *arena)
{
    CLEANUP(bytes_release) struct bytes record = { 0 }, envelope = { 0 };
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };

    encode_varint(&record, 1, GUILD);
    encode_block(&record, 11, store_unit_rows(s)->data, store_unit_rows(s)->size);
    encode_block(&envelope, 7, record.data, record.size);
    assert_int_equal(codec_decode(envelope.data, envelope.size, arena, &e, &err), STATUS_OK);
    return e->record->change;
}

static int64_t count(struct store *s, const char *sql)
{
    sqlite3_stmt *q = store_sql(s, sql);

    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return n;
}

static void write_rows(struct store *s)
{
    sqlite3_stmt *q = store_sql(s, "INSERT INTO answered VALUES(?1,'a',x'00ff',0)");

    sqlite3_bind_int64(q, 1, GUILD);
    assert_int_equal(sqlite3_step(q), SQLITE_DONE);
    q = store_sql(
        s, "INSERT INTO outbox VALUES(?1,-7,'POST','/p',NULL,'','s',NULL,9223372036854775807)");
    sqlite3_bind_int64(q, 1, GUILD);
    assert_int_equal(sqlite3_step(q), SQLITE_DONE);
}

static void test_captured_rows_make_the_same_rows_elsewhere(void **state UNUSED)
{
    CLEANUP(store_close) struct store *from = open_memory(), *to = open_memory();
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct err err;

    store_unit_begin(from, GUILD);
    write_rows(from);
    run(from, "UPDATE answered SET request_id='b'"); /* changes the key: remove and put */
    assert_int_equal(store_unit_keep(from, &err), STATUS_OK);
    Guildbus__V1__Change *change = captured(from, arena);
    assert_int_equal(change->n_rows, 4);
    for (int twice = 0; twice < 2; twice++) /* records may be applied again */
        assert_int_equal(store_apply(to, GUILD, change, &err), STATUS_OK);
    assert_int_equal(store_commit(to, &err), STATUS_OK);

    assert_int_equal(count(to, "SELECT count(*) FROM answered"), 1);
    assert_int_equal(
        count(to,
              "SELECT count(*) FROM answered WHERE request_id='b' AND reply=x'00ff' AND at_ms=0"),
        1);
    assert_int_equal(
        count(to,
              "SELECT count(*) FROM outbox WHERE action_id=-7 AND body IS NULL AND continuation=''"
              " AND created_ms=9223372036854775807"),
        1);
}

static void test_removed_rows_are_removed_elsewhere(void **state UNUSED)
{
    CLEANUP(store_close) struct store *from = open_memory(), *to = open_memory();
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct err err;

    store_unit_begin(from, GUILD);
    write_rows(from);
    assert_int_equal(store_unit_keep(from, &err), STATUS_OK);
    assert_int_equal(store_apply(to, GUILD, captured(from, arena), &err), STATUS_OK);
    store_unit_begin(from, GUILD);
    run(from, "DELETE FROM outbox");
    assert_int_equal(store_unit_keep(from, &err), STATUS_OK);
    assert_int_equal(store_apply(to, GUILD, captured(from, arena), &err), STATUS_OK);
    assert_int_equal(store_commit(to, &err), STATUS_OK);
    assert_int_equal(count(to, "SELECT count(*) FROM outbox"), 0);
    assert_int_equal(count(to, "SELECT count(*) FROM answered"), 1);
}

static void test_an_undone_unit_leaves_nothing(void **state UNUSED)
{
    CLEANUP(store_close) struct store *s = open_memory();
    struct err err;

    store_unit_begin(s, GUILD);
    write_rows(s);
    store_note_action(s, 1);
    store_unit_undo(s);
    assert_int_equal(store_commit(s, &err), STATUS_OK);
    size_t actions = 9;
    (void)store_unit_actions(s, &actions);
    assert_int_equal(actions, 0);
    assert_int_equal(
        count(s, "SELECT (SELECT count(*) FROM answered) + (SELECT count(*) FROM outbox)"), 0);
}

static void test_text_that_is_not_utf8_undoes_the_unit(void **state UNUSED)
{
    CLEANUP(store_close) struct store *s = open_memory();
    struct err err;

    store_unit_begin(s, GUILD);
    sqlite3_stmt *q = store_sql(s, "INSERT INTO answered VALUES(?1,CAST(x'ff' AS TEXT),x'',0)");
    sqlite3_bind_int64(q, 1, GUILD);
    assert_int_equal(sqlite3_step(q), SQLITE_DONE);
    assert_int_equal(store_unit_keep(s, &err), STATUS_INVALID);
    assert_int_equal(store_commit(s, &err), STATUS_OK);
    assert_int_equal(count(s, "SELECT count(*) FROM answered"), 0);
}

static void test_refuses_rows_it_cannot_hold(void **state UNUSED)
{
    CLEANUP(store_close) struct store *s = open_memory();
    Guildbus__V1__Value value = GUILDBUS__V1__VALUE__INIT;
    Guildbus__V1__Value *values[40];
    Guildbus__V1__RowOp op = GUILDBUS__V1__ROW_OP__INIT;
    Guildbus__V1__RowOp *ops[] = { &op };
    Guildbus__V1__Change change = GUILDBUS__V1__CHANGE__INIT;
    char answered[] = "answered", unknown[] = "sqlite_master";
    struct err err;

    value.kind_case = GUILDBUS__V1__VALUE__KIND_INTEGER;
    value.integer = GUILD;
    for (size_t i = 0; i < 40; i++)
        values[i] = &value;
    change.n_rows = 1;
    change.rows = ops;
    op.values = values;
    op.table = unknown;
    op.n_values = 4;
    assert_int_equal(store_apply(s, GUILD, &change, &err), STATUS_INVALID);
    op.table = answered;
    for (size_t wrong = 0; wrong <= 40;
         wrong += 5) { /* answered has 4 columns, 2 of them its key */
        op.n_values = wrong;
        assert_int_equal(store_apply(s, GUILD, &change, &err), STATUS_INVALID);
    }
    op.n_values = 4;
    assert_int_equal(store_apply(s, GUILD + 1, &change, &err),
                     STATUS_INVALID); /* another guild's row */
}

static void test_removes_a_guild_in_small_steps_and_no_other(void **state UNUSED)
{
    CLEANUP(store_close) struct store *s = open_memory();
    const struct guild_position p = { .epoch = 3, .idx = 4, .deleting = true };
    struct guild_position got;
    uint64_t id = 0;
    bool left = true;
    int steps = 0;
    struct err err;

    run(s, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100)"
           " INSERT INTO answered SELECT g, i, x'', 0 FROM n, (SELECT 5 AS g UNION SELECT 6)");
    assert_int_equal(store_position_put(s, 5, &p, &err), STATUS_OK);
    assert_int_equal(store_next_removal(s, &id, &err), STATUS_OK);
    assert_int_equal(id, 5);
    for (; left; steps++)
        assert_int_equal(store_remove_some(s, 5, 30, &left, &err), STATUS_OK);
    assert_true(steps >= 4);
    assert_int_equal(count(s, "SELECT count(*) FROM answered WHERE guild_id=5"), 0);
    assert_int_equal(count(s, "SELECT count(*) FROM answered WHERE guild_id=6"), 100);
    assert_int_equal(store_position_get(s, 5, &got, &err), STATUS_NOT_FOUND);
    assert_int_equal(store_next_removal(s, &id, &err), STATUS_NOT_FOUND);
}

static bool is_guild(void *ctx, uint64_t guild_id)
{
    (*(int *)ctx)++;
    return guild_id == GUILD;
}

static void test_rows_that_nobody_asked_for_are_marked_for_removal(void **state UNUSED)
{
    CLEANUP(store_close) struct store *s = open_memory();
    const struct guild_position p = { .epoch = 1, .idx = 1, .log_seq = 1 };
    struct err err;
    uint64_t id = 0;
    int asked = 0;

    store_begin(s);
    assert_int_equal(store_position_put(s, GUILD, &p, &err), STATUS_OK);
    assert_int_equal(store_position_put(s, GUILD + 1, &p, &err), STATUS_OK);
    assert_int_equal(store_remove_strangers(s, is_guild, &asked), 1);
    assert_int_equal(asked, 2);
    assert_int_equal(store_next_removal(s, &id, &err), STATUS_OK);
    assert_int_equal(id, GUILD + 1);
    assert_int_equal(store_commit(s, &err), STATUS_OK);
}

/* A database of this folder, by hand. */
static void behind(const char *path, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t file_size(const char *path, const char *suffix)
{
    CLEANUP(xfree) char *name = xasprintf("%s%s", path, suffix);
    struct stat st;

    return stat(name, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* Twice what a checkpoint waits for, a mebibyte a commit. While somebody reads what is older the log
 * grows, and afterwards it does not. */
static void test_the_write_ahead_log_goes_into_the_database(void **state UNUSED)
{
    enum { MIB = 1 << 20, LIMIT = 80, COMMITS = 130 };
    char folder[] = "/tmp/guildbus-store-XXXXXX";
    assert_non_null(mkdtemp(folder));
    CLEANUP(xfree) char *path = xasprintf("%s/db", folder);
    struct store *s = NULL;
    struct err err;
    sqlite3 *reader = NULL;

    assert_int_equal(store_open(path, &s, &err), STATUS_OK);
    assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
    for (int i = 0; i < COMMITS; i++) {
        if (i == 10)
            assert_int_equal(
                sqlite3_exec(reader, "BEGIN; SELECT 1 FROM answered LIMIT 1", NULL, NULL, NULL),
                SQLITE_OK);
        if (i == 100)
            assert_int_equal(sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
        store_begin(s);
        run(s, "INSERT INTO answered(guild_id, request_id, reply, at_ms)"
               " SELECT 1, count(*), zeroblob(1 << 20), 0 FROM answered");
        assert_int_equal(store_commit(s, &err), STATUS_OK);
    }
    int64_t log = file_size(path, "-wal");
    assert_true(log > 90 * (int64_t)MIB); /* the reader held it up */
    assert_true(file_size(path, "") > 90 * (int64_t)MIB);
    for (int i = 0; i < LIMIT; i++) {
        store_begin(s);
        run(s, "INSERT INTO answered(guild_id, request_id, reply, at_ms)"
               " SELECT 1, count(*), zeroblob(1 << 20), 0 FROM answered");
        assert_int_equal(store_commit(s, &err), STATUS_OK);
    }
    assert_int_equal(file_size(path, "-wal"), log); /* begun anew, from its start */
    assert_int_equal(count(s, "SELECT count(*) FROM answered"), COMMITS + LIMIT);
    sqlite3_close(reader);
    store_close(s);
    assert_true(file_size(path, "") > (COMMITS + LIMIT) * (int64_t)MIB);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_a_database_of_schema_2_is_upgraded_and_a_newer_one_refused(void **state UNUSED)
{
    char folder[] = "/tmp/guildbus-store-old.XXXXXX", path[64];
    struct store *s = NULL;
    struct err err = { 0 };

    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/guilds.sqlite3", folder);
    assert_int_equal(store_open(path, &s, &err), STATUS_OK);
    store_close(s);
    behind(path, "DROP TABLE reactions_seen; PRAGMA user_version=2;"
                 "INSERT INTO event_gaps VALUES(7, 1, 2)");
    assert_int_equal(store_open(path, &s, &err), STATUS_OK);
    assert_int_equal(count(s, "SELECT count(*) FROM event_gaps WHERE guild_id=7"), 1);
    assert_int_equal(count(s, "SELECT count(*) FROM reactions_seen"), 0);
    assert_int_equal(count(s, "PRAGMA user_version"), 3);
    store_close(s);
    behind(path, "PRAGMA user_version=4");
    assert_int_not_equal(store_open(path, &s, &err), STATUS_OK);
    assert_non_null(strstr(err.text, "schema 4, newer than this program's 3"));
    const char *const files[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/guilds.sqlite3%s", folder, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captured_rows_make_the_same_rows_elsewhere),
        cmocka_unit_test(test_removed_rows_are_removed_elsewhere),
        cmocka_unit_test(test_an_undone_unit_leaves_nothing),
        cmocka_unit_test(test_text_that_is_not_utf8_undoes_the_unit),
        cmocka_unit_test(test_refuses_rows_it_cannot_hold),
        cmocka_unit_test(test_rows_that_nobody_asked_for_are_marked_for_removal),
        cmocka_unit_test(test_removes_a_guild_in_small_steps_and_no_other),
        cmocka_unit_test(test_the_write_ahead_log_goes_into_the_database),
        cmocka_unit_test(test_a_database_of_schema_2_is_upgraded_and_a_newer_one_refused),
    };
    return cmocka_run_group_tests_name("gateway/store", tests, NULL, NULL);
}
