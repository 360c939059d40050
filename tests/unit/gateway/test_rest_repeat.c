/* Whether a call that failed is made again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "gateway/rest_repeat.h"

enum { UNSENT = true, DOUBTFUL = false };

/* How often it is tried when each try fails so; a try takes no time. */
static unsigned tries_of(struct rest_tries t, bool unsent, int64_t for_ms)
{
    int64_t now = 1000, wait = 0;

    while (wait != REST_GIVE_UP && now < 1000 + for_ms) {
        t.tries++;
        wait = rest_repeat_wait(&t, unsent, now);
        now += wait;
    }
    return t.tries;
}

static void test_what_discord_makes_harmless_is_known(void **state UNUSED)
{
    assert_int_equal(rest_safety_of("GET", NULL), REST_IDEMPOTENT);
    assert_int_equal(rest_safety_of("DELETE", NULL), REST_IDEMPOTENT);
    assert_int_equal(rest_safety_of("POST", NULL), REST_UNSAFE);
    assert_int_equal(rest_safety_of("POST", "{"), REST_UNSAFE);
    assert_int_equal(rest_safety_of("POST", "{\"nonce\":\"1\"}"), REST_UNSAFE);
    assert_int_equal(rest_safety_of("POST", "{\"enforce_nonce\":true}"), REST_UNSAFE);
    assert_int_equal(rest_safety_of("POST", "{\"nonce\":\"1\",\"enforce_nonce\":true}"),
                     REST_BY_NONCE);
}

static void test_what_is_kept_is_not_given_up_before_it_left(void **state UNUSED)
{
    enum { DAY_MS = 86400000 };
    for (int safety = REST_UNSAFE; safety <= REST_IDEMPOTENT; safety++) {
        const struct rest_tries kept = { .safety = (enum rest_safety)safety, .is_kept = true };
        const struct rest_tries not = { .safety = (enum rest_safety)safety };
        assert_int_equal(tries_of(kept, UNSENT, DAY_MS), DAY_MS / REST_BACKOFF_MAX_MS + 6);
        assert_int_equal(tries_of(not, UNSENT, DAY_MS), REST_TRIES_MAX);
    }
}

static void
test_what_may_have_had_its_effect_is_repeated_where_that_is_harmless(void **state UNUSED)
{
    static const struct {
        struct rest_tries call;
        unsigned least, most;
    } rows[] = {
        { { .safety = REST_UNSAFE, .is_kept = true }, 1, 1 },
        { { .safety = REST_UNSAFE }, 1, 1 },
        { { .safety = REST_BY_NONCE }, REST_TRIES_MAX, REST_TRIES_MAX },
        { { .safety = REST_IDEMPOTENT }, REST_TRIES_MAX, REST_TRIES_MAX },
        { { .safety = REST_BY_NONCE, .is_kept = true }, 9, 11 },
        { { .safety = REST_IDEMPOTENT, .is_kept = true }, 110, 130 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_in_range(tries_of(rows[i].call, DOUBTFUL, 2 * REST_REPEAT_MS), rows[i].least,
                        rows[i].most);
}

/* The nonce's time begins when it may have been seen, not when Discord was away. */
static void test_the_nonce_is_young_after_an_outage(void **state UNUSED)
{
    struct rest_tries t = { .safety = REST_BY_NONCE, .is_kept = true, .tries = 1 };

    assert_int_equal(rest_repeat_wait(&t, UNSENT, 1000), REST_BACKOFF_MS);
    assert_true(rest_is_untouched(&t));
    t.tries++;
    assert_int_equal(rest_repeat_wait(&t, DOUBTFUL, 10000000), 2 * REST_BACKOFF_MS);
    assert_false(rest_is_untouched(&t));
    t.tries++;
    t.limited++;
    assert_false(rest_is_untouched(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_discord_makes_harmless_is_known),
        cmocka_unit_test(test_what_is_kept_is_not_given_up_before_it_left),
        cmocka_unit_test(test_what_may_have_had_its_effect_is_repeated_where_that_is_harmless),
        cmocka_unit_test(test_the_nonce_is_young_after_an_outage),
    };
    return cmocka_run_group_tests_name("gateway/rest_repeat", tests, NULL, NULL);
}
