/* needs: postgres */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pg.h"
#include "base/xmem.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */

enum { SKIPPED = 77 };

static const char *url;

#define PARAMS(...)                                                                                \
    (&(struct pg_params){ .count =                                                                 \
                              (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)),     \
                          .values = { __VA_ARGS__ } })

static int64_t ask(struct pg *pg, const char *sql)
{
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    struct err err;

    if (pg_exec(pg, sql, NULL, &r, &err) != STATUS_OK)
        fail_msg("%s: %s", sql, err.text);
    assert_int_equal(pg_rows(r), 1);
    return pg_int(r, 0, 0);
}

static void run(struct pg *pg, const char *sql)
{
    struct err err;

    if (pg_exec(pg, sql, NULL, NULL, &err) != STATUS_OK)
        fail_msg("%s: %s", sql, err.text);
}

static int make_table(void **state)
{
    struct pg *pg = pg_new(url);
    struct err err;

    if (pg_script(
            pg,
            "DROP TABLE IF EXISTS things;"
            "CREATE TABLE things (id bigint PRIMARY KEY, name text, size int CHECK (size > 0))",
            &err) != STATUS_OK)
        fail_msg("%s", err.text);
    *state = pg;
    return 0;
}

static int drop_table(void **state)
{
    pg_free(*state);
    return 0;
}

static void test_values_go_in_and_come_out_unchanged(void **state)
{
    static const char nasty[] = "'; DROP TABLE things; -- $1 \\ \xc3\xa4";
    struct pg *pg = *state;
    CLEANUP(pg_result_free) struct pg_result *in = NULL, *out = NULL;

    assert_int_equal(pg_exec(pg, "INSERT INTO things VALUES ($1, $2, $3), ($4, NULL, NULL)",
                             PARAMS("9223372036854775807", nasty, NULL, "2"), &in, NULL),
                     STATUS_OK);
    assert_int_equal(pg_affected(in), 2);
    assert_int_equal(pg_rows(in), 0);
    assert_int_equal(
        pg_exec(pg, "SELECT id, name, size, id > 5 FROM things ORDER BY id DESC", NULL, &out, NULL),
        STATUS_OK);
    assert_int_equal(pg_rows(out), 2);
    assert_true(pg_int(out, 0, 0) == INT64_MAX);
    assert_string_equal(pg_text(out, 0, 1), nasty);
    assert_true(pg_is_null(out, 0, 2) && !pg_is_null(out, 0, 1));
    assert_int_equal(pg_int(out, 0, 2), 0);
    assert_string_equal(pg_text(out, 1, 1), "");
    assert_true(pg_is_null(out, 1, 1));
    assert_int_equal(pg_int(out, 0, 3), 1);
    assert_int_equal(pg_int(out, 1, 3), 0);
}

static void test_failures_have_the_status_that_says_what_to_do(void **state)
{
    static const struct {
        enum status status;
        const char *sql;
    } cases[] = {
        { STATUS_CONFLICT, "INSERT INTO things VALUES (1, 'b', 1)" },
        { STATUS_CONFLICT, "INSERT INTO things VALUES (3, 'b', 0)" },
        { STATUS_INVALID, "INSERT INTO things VALUES (NULL, 'b', 1)" },
        { STATUS_INVALID, "SELECT 1 / 0" },
        { STATUS_INVALID, "SELECT 'x'::bigint" },
        { STATUS_INTERNAL, "SELEC 1" },
        { STATUS_INTERNAL, "SELECT * FROM nothing" },
        { STATUS_INTERNAL, "SELECT 1; SELECT 2" },
    };
    struct pg *pg = *state;

    run(pg, "INSERT INTO things VALUES (1, 'a', 1)");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = { .code = STATUS_OK };
        enum status status = pg_exec(pg, cases[i].sql, NULL, NULL, &err);
        if (status != cases[i].status || err.code != status || !err.text[0])
            fail_msg("%s: %s: %s", cases[i].sql, status_name(status), err.text);
    }
    assert_int_equal(pg_generation(pg), 1);
    assert_int_equal(ask(pg, "SELECT count(*) FROM things"), 1);
}

/* Two transactions that each read what the other writes: one must start again. */
static void test_a_serialisation_failure_is_a_conflict(void **state)
{
    struct pg *one = *state;
    CLEANUP(pg_free) struct pg *two = pg_new(url);
    struct pg *both[] = { one, two };
    enum status ends[2];

    run(one, "INSERT INTO things VALUES (1, 'a', 1), (2, 'b', 1)");
    for (size_t i = 0; i < 2; i++) {
        run(both[i], "BEGIN ISOLATION LEVEL SERIALIZABLE");
        assert_int_equal(ask(both[i], "SELECT sum(size) FROM things"), 2);
    }
    run(one, "UPDATE things SET size = 5 WHERE id = 1");
    ends[0] = pg_exec(one, "COMMIT", NULL, NULL, NULL);
    ends[1] = pg_exec(two, "UPDATE things SET size = 5 WHERE id = 2", NULL, NULL, NULL);
    if (ends[1] == STATUS_OK)
        ends[1] = pg_exec(two, "COMMIT", NULL, NULL, NULL);
    assert_int_equal(ends[0], STATUS_OK);
    assert_int_equal(ends[1], STATUS_CONFLICT);
}

static void test_a_lost_connection_is_made_anew_and_counted(void **state)
{
    struct pg *pg = *state;
    CLEANUP(pg_free) struct pg *killer = pg_new(url);
    char text[24];
    struct err err;

    run(pg, "SELECT pg_advisory_lock(42)");
    (void)snprintf(text, sizeof(text), "%" PRId64, ask(pg, "SELECT pg_backend_pid()"));
    assert_int_equal(pg_generation(pg), 1);
    assert_int_equal(
        pg_exec(killer, "SELECT pg_terminate_backend($1, 10000)", PARAMS(text), NULL, &err),
        STATUS_OK);
    assert_int_equal(pg_exec(pg, "SELECT 1", NULL, NULL, &err), STATUS_UNAVAILABLE);
    assert_int_equal(ask(pg, "SELECT 1"), 1);
    assert_int_equal(pg_generation(pg), 2);
    /* The lock went with its session. */
    assert_int_equal(ask(killer, "SELECT pg_try_advisory_lock(42)"), 1);
}

static void test_a_script_is_several_statements(void **state)
{
    struct pg *pg = *state;
    struct err err;

    assert_int_equal(pg_script(pg,
                               "INSERT INTO things VALUES (1, 'a', 1);"
                               "INSERT INTO things VALUES (2, 'b', 1);",
                               &err),
                     STATUS_OK);
    assert_int_equal(ask(pg, "SELECT count(*) FROM things"), 2);
    assert_int_equal(pg_script(pg, "", &err), STATUS_OK);
    /* One that fails undoes all of it. */
    assert_int_equal(pg_script(pg,
                               "INSERT INTO things VALUES (3, 'a', 1);"
                               "INSERT INTO things VALUES (1, 'b', 1);",
                               &err),
                     STATUS_CONFLICT);
    assert_int_equal(ask(pg, "SELECT count(*) FROM things"), 2);
}

static void test_a_statement_that_takes_too_long_times_out(void **state)
{
    struct pg *pg = *state;

    run(pg, "SET statement_timeout = 20");
    assert_int_equal(pg_exec(pg, "SELECT pg_sleep(60)", NULL, NULL, NULL), STATUS_TIMEOUT);
}

static void test_a_server_that_is_not_there_is_unavailable(void **state UNUSED)
{
    CLEANUP(pg_free) struct pg *nowhere = pg_new("postgresql://x@/x?host=/nonexistent");
    CLEANUP(pg_free) struct pg *nonsense = pg_new("postgresql://x@[/x");
    struct err err = { .code = STATUS_OK };

    assert_int_equal(pg_exec(nowhere, "SELECT 1", NULL, NULL, &err), STATUS_UNAVAILABLE);
    assert_true(err.text[0] && !strchr(err.text, '\n'));
    assert_int_equal(pg_generation(nowhere), 0);
    assert_int_equal(pg_exec(nonsense, "SELECT 1", NULL, NULL, &err), STATUS_UNAVAILABLE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_table, drop_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_values_go_in_and_come_out_unchanged),
        CASE(test_failures_have_the_status_that_says_what_to_do),
        CASE(test_a_serialisation_failure_is_a_conflict),
        CASE(test_a_lost_connection_is_made_anew_and_counted),
        CASE(test_a_script_is_several_statements),
        CASE(test_a_statement_that_takes_too_long_times_out),
        cmocka_unit_test(test_a_server_that_is_not_there_is_unavailable),
    };

    url = getenv("DATABASE_URL");
    if (!url || !*url) {
        (void)fputs("SKIPPED: DATABASE_URL is not set; tests/run_with_postgres.sh sets it\n",
                    stderr);
        return SKIPPED;
    }
    return cmocka_run_group_tests_name("pg", tests, NULL, NULL);
}
/* NOLINTEND(concurrency-mt-unsafe) */
