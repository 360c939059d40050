/* REST gone wrong: rules, blocks of each scope, and who asks too often for what it may not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/discord-sim/faults.h"
#include "tests/discord-sim/rates.h"

static void a_rule_fits_by_method_and_path(void **state)
{
    CLEANUP(faults_free) struct faults *f = faults_new(1);
    struct rest_fault rule = {
        .method = "POST", .path = "/channels/*/messages", .how = REST_FAULT_CUT, .percent = 100
    };

    (void)state;
    assert_true(faults_add(f, &rule));
    assert_null(faults_take(f, "GET", "/channels/1/messages"));
    assert_null(faults_take(f, "POST", "/channels/1/threads"));
    assert_null(faults_take(f, "POST", "/guilds/1"));
    assert_non_null(faults_take(f, "POST", "/channels/1/messages"));
    rule.method[0] = '\0';
    memcpy(rule.path, "*", 2);
    faults_clear(f);
    assert_true(faults_add(f, &rule));
    assert_non_null(faults_take(f, "DELETE", "/anything/at/all"));
    assert_int_equal(faults_hits(f), 2);
}

static void a_rule_skips_and_counts(void **state)
{
    CLEANUP(faults_free) struct faults *f = faults_new(1);
    struct rest_fault rule = {
        .path = "*", .how = REST_FAULT_STATUS, .skip = 2, .times = 3, .percent = 100
    };
    int hits = 0;

    (void)state;
    assert_true(faults_add(f, &rule));
    for (int i = 0; i < 10; i++) {
        bool hit = faults_take(f, "GET", "/x") != NULL;
        assert_int_equal(hit, i >= 2 && i < 5);
        hits += hit;
    }
    assert_int_equal(hits, 3);
}

static void chance_is_by_the_seed(void **state)
{
    struct rest_fault rule = { .path = "*", .how = REST_FAULT_CUT, .percent = 30 };
    bool first[200];
    int hits = 0;

    (void)state;
    for (int run = 0; run < 2; run++) {
        CLEANUP(faults_free) struct faults *f = faults_new(9);
        assert_true(faults_add(f, &rule));
        for (int i = 0; i < 200; i++) {
            bool hit = faults_take(f, "GET", "/x") != NULL;
            if (run == 0)
                first[i] = hit;
            assert_int_equal(hit, first[i]);
            hits += hit;
        }
    }
    assert_in_range(hits, 60, 180);
}

static void a_block_holds_its_bucket_or_all_of_them(void **state)
{
    CLEANUP(rates_free) struct rates *r = rates_new(10, 50, 0);

    (void)state;
    struct rate_answer a = rates_block(r, 1, 7, RATE_SHARED, 500, 1000);
    assert_true(a.limited && !a.again && a.scope == RATE_SHARED && a.reset_after_ms == 500);
    a = rates_take(r, 1, 7, true, 1400);
    assert_true(a.limited && a.again && a.scope == RATE_SHARED && a.reset_after_ms == 100);
    assert_false(rates_take(r, 1, 8, true, 1400).limited);
    assert_false(rates_take(r, 1, 7, true, 1500).limited);

    (void)rates_block(r, 1, 7, RATE_GLOBAL, 300, 2000);
    a = rates_take(r, 5, 5, true, 2100);
    assert_true(a.limited && a.scope == RATE_GLOBAL);
    assert_false(rates_take(r, 5, 5, false, 2100).limited); /* webhooks of interactions */
    assert_false(rates_take(r, 5, 5, true, 2300).limited);
}

static void too_many_invalid_requests_shut_one_out(void **state)
{
    CLEANUP(rates_free) struct rates *r = rates_new(0, 0, 100);
    int64_t now = 5000000;

    (void)state;
    for (int i = 0; i < 99; i++, now += 1000)
        rates_count_invalid(r, now);
    assert_int_equal(rates_banned_ms(r, now), 0);
    assert_int_equal(rates_invalid(r, now), 99);
    rates_count_invalid(r, now);
    assert_int_equal(rates_banned_ms(r, now), INVALID_WINDOW_MS);
    now += INVALID_WINDOW_MS;
    assert_int_equal(rates_banned_ms(r, now), 0);
    assert_true(rates_invalid(r, now) <= 1);
    for (int i = 0; i < 100; i++)
        rates_count_invalid(r, now);
    assert_true(rates_banned_ms(r, now) > 0);
    rates_forgive(r);
    assert_int_equal(rates_banned_ms(r, now), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_fits_by_method_and_path),
        cmocka_unit_test(a_rule_skips_and_counts),
        cmocka_unit_test(chance_is_by_the_seed),
        cmocka_unit_test(a_block_holds_its_bucket_or_all_of_them),
        cmocka_unit_test(too_many_invalid_requests_shut_one_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
