#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/retry.h"

/* Sends at 0, silence: again each repeat_ms; refusals: after 5, 20, 80 … ms. */

static struct retry fresh(void)
{
    return (struct retry){ .repeat_ms = 400, .repeat_until_ms = 2200, .give_up_ms = 2700 };
}

static void assert_step(struct retry_step step, bool send, bool give_up, int64_t wake_ms)
{
    assert_int_equal(step.send, send);
    assert_int_equal(step.give_up, give_up);
    assert_int_equal(step.wake_ms, wake_ms);
}

static void test_silence_is_followed_by_a_repeat(void **state UNUSED)
{
    struct retry r = fresh();

    assert_step(retry_step(&r, RETRY_START, 0), true, false, 400);
    assert_step(retry_step(&r, RETRY_TIME, 399), false, false, 400);
    assert_step(retry_step(&r, RETRY_TIME, 400), true, false, 800);
    assert_step(retry_step(&r, RETRY_TIME, 800), true, false, 1200);
}

static void test_refusals_are_repeated_soon_then_later(void **state UNUSED)
{
    static const int64_t pauses[] = { 5, 20, 80, 320, 400, 400 };
    struct retry r = fresh();
    int64_t now = 0;

    assert_step(retry_step(&r, RETRY_START, now), true, false, 400);
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        assert_step(retry_step(&r, RETRY_REFUSED, now), false, false, now + pauses[i]);
        now += pauses[i];
        assert_step(retry_step(&r, RETRY_TIME, now), true, false, now + 400);
    }
}

static void test_nothing_is_sent_when_repeating_is_over(void **state UNUSED)
{
    struct retry r = fresh();

    (void)retry_step(&r, RETRY_START, 0);
    assert_step(retry_step(&r, RETRY_TIME, 2200), false, false, 2700);
    assert_step(retry_step(&r, RETRY_REFUSED, 2300), false, false, 2700);
    assert_step(retry_step(&r, RETRY_TIME, 2699), false, false, 2700);
    assert_step(retry_step(&r, RETRY_TIME, 2700), false, true, 2700);
}

static void test_the_end_comes_whatever_arrives(void **state UNUSED)
{
    static const enum retry_input inputs[] = { RETRY_START, RETRY_TIME, RETRY_REFUSED };

    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        struct retry r = fresh();
        assert_step(retry_step(&r, inputs[i], 2700), false, true, 2700);
    }
}

static void test_attempts_are_bounded(void **state UNUSED)
{
    struct retry r = fresh();
    int sent = 0;

    for (int64_t now = 0; now < 2700; now++) {
        struct retry_step step = retry_step(&r, now ? RETRY_TIME : RETRY_START, now);
        if (step.send) {
            sent++;
            (void)retry_step(&r, RETRY_REFUSED, now);
        }
    }
    assert_in_range(sent, 8, 12);
}

static void test_which_refusals_are_worth_another_try(void **state UNUSED)
{
    static const enum status worth[] = { STATUS_NOT_OWNER, STATUS_BUSY, STATUS_TIMEOUT,
                                         STATUS_UNAVAILABLE };
    static const enum status final[] = { STATUS_OK,        STATUS_INVALID,  STATUS_DENIED,
                                         STATUS_NOT_FOUND, STATUS_CONFLICT, STATUS_CORRUPT,
                                         STATUS_INTERNAL };

    for (size_t i = 0; i < ARRAY_LEN(worth); i++)
        assert_true(retry_is_worth(worth[i]));
    for (size_t i = 0; i < ARRAY_LEN(final); i++)
        assert_false(retry_is_worth(final[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence_is_followed_by_a_repeat),
        cmocka_unit_test(test_refusals_are_repeated_soon_then_later),
        cmocka_unit_test(test_nothing_is_sent_when_repeating_is_over),
        cmocka_unit_test(test_the_end_comes_whatever_arrives),
        cmocka_unit_test(test_attempts_are_bounded),
        cmocka_unit_test(test_which_refusals_are_worth_another_try),
    };
    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
