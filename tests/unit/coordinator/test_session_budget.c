#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/macros.h"
#include "coordinator/session_budget.h"

enum { NOW = 5000000, HOUR_MS = 3600000 };

static int64_t wait_for(const struct session_budget *b, int64_t percent, int64_t now_ms)
{
    char why[256] = "";
    int64_t ms = session_budget_wait(b, percent, now_ms, why, sizeof(why));

    assert_int_equal(ms > 0, strlen(why) > 0);
    return ms;
}

static void hear(struct session_budget *b, int64_t remaining, int64_t age_ms, int64_t now_ms)
{
    session_budget_hear(b, &(struct session_facts){ 1000, remaining, HOUR_MS, age_ms }, now_ms);
}

static void test_the_reserve_is_not_touched(void **state UNUSED)
{
    struct session_budget b = { 0 };
    int granted = 0;

    assert_int_equal(wait_for(&b, 10, NOW), 0); /* nobody knows: Discord has not said */
    hear(&b, 105, 0, NOW);
    while (!wait_for(&b, 10, NOW)) {
        session_budget_spend(&b, NOW);
        hear(&b, 105, 100, NOW); /* the same old word */
        granted++;
    }
    assert_int_equal(granted, 5);
    assert_int_equal(wait_for(&b, 10, NOW), HOUR_MS);
    assert_int_equal(wait_for(&b, 0, NOW), 0);
}

static void test_what_is_said_after_the_last_grant_counts(void **state UNUSED)
{
    struct session_budget b = { 0 };

    hear(&b, 101, 0, NOW);
    session_budget_spend(&b, NOW);
    assert_true(wait_for(&b, 10, NOW) > 0);
    hear(&b, 900, 0, NOW + 1000); /* that IDENTIFY may not be in it */
    assert_true(wait_for(&b, 10, NOW + 1000) > 0);
    hear(&b, 900, 0, NOW + 20000); /* raised by hand */
    assert_int_equal(wait_for(&b, 10, NOW + 20000), 0);
    hear(&b, 50, 30000, NOW + 21000); /* less is always believed */
    assert_true(wait_for(&b, 10, NOW + 21000) > 0);
}

static void test_a_new_day_brings_new_ones(void **state UNUSED)
{
    struct session_budget b = { 0 };

    hear(&b, 100, 0, NOW);
    session_budget_spend(&b, NOW + HOUR_MS - 1);
    assert_int_equal(wait_for(&b, 10, NOW + HOUR_MS + 5000), 1000);
    hear(&b, 1000, 2000, NOW + HOUR_MS + 5000);
    assert_int_equal(wait_for(&b, 10, NOW + HOUR_MS + 5000), 0);
    assert_int_equal(b.left, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_reserve_is_not_touched),
        cmocka_unit_test(test_what_is_said_after_the_last_grant_counts),
        cmocka_unit_test(test_a_new_day_brings_new_ones),
    };
    return cmocka_run_group_tests_name("session_budget", tests, NULL, NULL);
}
