#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/answering.h"

enum { START_MS = 500000 };

struct bench {
    struct answering a;
    int64_t now;
};

static enum answering_action step(struct bench *b, enum answering_input input)
{
    return answering_step(&b->a, input, b->now);
}

static enum answering_action begin(struct bench *b, bool is_storable, int64_t age_ms)
{
    b->now = START_MS;
    answering_init(&b->a, is_storable, age_ms, b->now);
    return step(b, ANSWERING_ON_START);
}

/* Moves the clock to where it matters. */
static enum answering_action wake(struct bench *b)
{
    assert_true(answering_wake_ms(&b->a) < INT64_MAX);
    b->now = answering_wake_ms(&b->a);
    return step(b, ANSWERING_ON_TIME);
}

static void test_an_answer_is_posted_once(void **state)
{
    struct bench b;
    (void)state;
    assert_int_equal(begin(&b, true, 0), ANSWERING_ASK);
    assert_int_equal(step(&b, ANSWERING_ON_REPLY), ANSWERING_POST);
    assert_int_equal(step(&b, ANSWERING_ON_REPLY), ANSWERING_WAIT);
    assert_true(answering_wake_ms(&b.a) == INT64_MAX);
    assert_int_equal(step(&b, ANSWERING_ON_TAKEN), ANSWERING_ANSWERED);
    assert_int_equal(step(&b, ANSWERING_ON_TIME), ANSWERING_WAIT);
}

static void test_a_refused_owner_is_asked_again_soon_a_silent_one_later(void **state)
{
    static const int64_t pauses[] = { 5, 20, 80, 320, 400, 400 };
    struct bench b;
    (void)state;
    (void)begin(&b, true, 0);
    for (size_t i = 0; i < sizeof(pauses) / sizeof(*pauses); i++) {
        int64_t from = b.now;
        assert_int_equal(step(&b, ANSWERING_ON_REFUSED), ANSWERING_WAIT);
        assert_int_equal(wake(&b), ANSWERING_ASK);
        assert_int_equal(b.now - from, pauses[i]);
    }
    (void)begin(&b, true, 0);
    assert_int_equal(wake(&b), ANSWERING_ASK);
    assert_int_equal(b.now - START_MS, 400);
}

static void test_a_late_owner_is_deferred_within_three_seconds(void **state)
{
    struct bench b;
    int asked = 0;
    enum answering_action did = begin(&b, true, 0);
    (void)state;
    for (; did == ANSWERING_ASK; did = wake(&b))
        asked++;
    assert_int_equal(did, ANSWERING_DEFER);
    assert_int_equal(b.now - START_MS, ANSWERING_DEFER_MS);
    assert_int_equal(asked, 5);
    assert_int_equal(step(&b, ANSWERING_ON_REPLY), ANSWERING_WAIT); /* it comes again as an event */
    assert_int_equal(step(&b, ANSWERING_ON_TAKEN), ANSWERING_DEFERRED);
}

static void test_an_autocomplete_gets_an_empty_list(void **state)
{
    struct bench b;
    enum answering_action did = begin(&b, false, 0);
    (void)state;
    while (did == ANSWERING_ASK)
        did = wake(&b);
    assert_int_equal(did, ANSWERING_POST);
    assert_int_equal(step(&b, ANSWERING_ON_TAKEN), ANSWERING_ANSWERED);
}

static void test_a_failed_callback_is_tried_until_the_time_is_over(void **state)
{
    struct bench b;
    int posted = 1;
    (void)state;
    (void)begin(&b, true, 0);
    assert_int_equal(step(&b, ANSWERING_ON_REPLY), ANSWERING_POST);
    for (;;) {
        enum answering_action did = step(&b, ANSWERING_ON_FAILED);
        if (did == ANSWERING_LATE)
            break;
        assert_int_equal(did, ANSWERING_WAIT);
        did = wake(&b);
        if (did == ANSWERING_LATE)
            break;
        assert_int_equal(did, ANSWERING_POST);
        posted++;
    }
    assert_in_range(b.now - START_MS, 2700, 3200);
    assert_in_range(posted, 10, 16);
}

static void test_what_was_acknowledged_before_is_written_into_the_message(void **state)
{
    struct bench b;
    (void)state;
    (void)begin(&b, true, 0);
    b.a.has_message = true;
    assert_int_equal(step(&b, ANSWERING_ON_REPLY), ANSWERING_POST);
    assert_int_equal(step(&b, ANSWERING_ON_KNOWN), ANSWERING_PATCH);
    assert_int_equal(step(&b, ANSWERING_ON_TAKEN), ANSWERING_ANSWERED);

    (void)begin(&b, true, 0); /* a modal, a deferral: nothing to write */
    assert_int_equal(step(&b, ANSWERING_ON_REPLY), ANSWERING_POST);
    assert_int_equal(step(&b, ANSWERING_ON_KNOWN), ANSWERING_ANSWERED);

    (void)begin(&b, true, 0);
    b.now += ANSWERING_DEFER_MS;
    assert_int_equal(step(&b, ANSWERING_ON_TIME), ANSWERING_DEFER);
    assert_int_equal(step(&b, ANSWERING_ON_FAILED), ANSWERING_WAIT);
    assert_int_equal(wake(&b), ANSWERING_POST_DEFERRAL);
    assert_int_equal(step(&b, ANSWERING_ON_KNOWN), ANSWERING_DEFERRED);
}

static void test_a_dead_token_ends_it(void **state)
{
    struct bench b;
    (void)state;
    (void)begin(&b, true, 0);
    assert_int_equal(step(&b, ANSWERING_ON_ERROR), ANSWERING_POST);
    assert_int_equal(step(&b, ANSWERING_ON_DEAD), ANSWERING_LATE);
}

/* After a RESUME: only Discord knows whether it was deferred. */
static void test_an_old_one_has_an_effect_only_when_it_was_acknowledged(void **state)
{
    static const struct {
        enum answering_input said;
        enum answering_action then;
    } rows[] = {
        { ANSWERING_ON_TAKEN, ANSWERING_STORE },
        { ANSWERING_ON_KNOWN, ANSWERING_STORE },
        { ANSWERING_ON_DEAD, ANSWERING_LATE },
    };
    struct bench b;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(begin(&b, true, 60000), ANSWERING_POST_DEFERRAL);
        assert_int_equal(step(&b, rows[i].said), rows[i].then);
    }
    assert_int_equal(begin(&b, false, 60000), ANSWERING_LATE);

    enum answering_action did = begin(&b, true, 60000);
    while (did == ANSWERING_POST_DEFERRAL) {
        did = step(&b, ANSWERING_ON_FAILED);
        if (did == ANSWERING_WAIT)
            did = wake(&b);
    }
    assert_int_equal(did, ANSWERING_STORE); /* not known: a promise may have been made */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_is_posted_once),
        cmocka_unit_test(test_a_refused_owner_is_asked_again_soon_a_silent_one_later),
        cmocka_unit_test(test_a_late_owner_is_deferred_within_three_seconds),
        cmocka_unit_test(test_an_autocomplete_gets_an_empty_list),
        cmocka_unit_test(test_a_failed_callback_is_tried_until_the_time_is_over),
        cmocka_unit_test(test_what_was_acknowledged_before_is_written_into_the_message),
        cmocka_unit_test(test_a_dead_token_ends_it),
        cmocka_unit_test(test_an_old_one_has_an_effect_only_when_it_was_acknowledged),
    };
    return cmocka_run_group_tests_name("answering", tests, NULL, NULL);
}
