#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/xmem.h"
#include "coordinator/place.h"

enum { MOST = 4 };

static const struct {
    const char *what, *want; /* NULL: nobody */
    struct place_pod pods[MOST];
    uint32_t schema;
    const char *except;
    bool full;
} choices[] = {
    { "nobody there", NULL, { { 0 } }, 0, NULL, false },
    { "fewest guilds",
      "b",
      { { "a", 100, 0, 3, 3, 1, 0, true, NULL }, { "b", 100, 0, 1, 1, 1, 0, true, NULL } },
      1,
      NULL,
      false },
    { "least load at equal counts",
      "a",
      { { "a", 100, 10, 5, 5, 1, 0, true, NULL }, { "b", 100, 900, 5, 5, 1, 0, true, NULL } },
      1,
      NULL,
      false },
    { "load counts more than a few guilds",
      "b",
      { { "a", 100, 5000, 2, 2, 1, 0, true, NULL }, { "b", 100, 10, 3, 3, 1, 0, true, NULL } },
      1,
      NULL,
      false },
    { "twice the capacity carries twice",
      "b",
      { { "a", 100, 0, 6, 6, 1, 0, true, NULL }, { "b", 200, 0, 10, 10, 1, 0, true, NULL } },
      1,
      NULL,
      false },
    { "a full pod comes last",
      "b",
      { { "a", 2, 0, 2, 2, 1, 0, true, NULL }, { "b", 100, 100000, 90, 90, 1, 0, true, NULL } },
      1,
      NULL,
      false },
    { "all full: still the lightest",
      "b",
      { { "a", 2, 0, 4, 4, 1, 0, true, NULL }, { "b", 2, 0, 3, 3, 1, 0, true, NULL } },
      1,
      NULL,
      true },
    { "draining or silent pods take nothing",
      "b",
      { { "a", 100, 0, 0, 0, 1, 0, false, NULL }, { "b", 100, 0, 50, 50, 1, 0, true, NULL } },
      1,
      NULL,
      false },
    { "an older schema cannot read the rows",
      "b",
      { { "a", 100, 0, 0, 0, 1, 0, true, NULL }, { "b", 100, 0, 50, 50, 2, 0, true, NULL } },
      2,
      NULL,
      false },
    { "nobody has the schema", NULL, { { "a", 100, 0, 0, 0, 1, 0, true, NULL } }, 2, NULL, false },
    { "not back to where it comes from",
      "b",
      { { "a", 100, 0, 0, 0, 1, 0, true, NULL }, { "b", 100, 0, 50, 50, 1, 0, true, NULL } },
      1,
      "a",
      false },
    { "absurd numbers of a pod do not wrap around",
      "b",
      { { "a", 1, UINT32_MAX, 1, UINT32_MAX, 1, 0, true, NULL },
        { "b", 100, 0, 50, 50, 1, 0, true, NULL } },
      1,
      NULL,
      false },
};

static void test_guilds_go_to_the_lightest_pod_that_can_take_them(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        struct place_pod pods[MOST];
        struct place place = { .pods = pods };
        bool full = true;
        memcpy(pods, choices[i].pods, sizeof(pods));
        while (place.count < MOST && pods[place.count].id)
            place.count++;
        place_prepare(&place);
        const struct place_pod *got =
            place_guild(&place, choices[i].schema, choices[i].except, &full);
        if (choices[i].want ? !got || strcmp(got->id, choices[i].want) != 0 : got != NULL)
            fail_msg("%s: got %s", choices[i].what, got ? got->id : "nobody");
        assert_int_equal(full, choices[i].full);
    }
}

static void test_a_thousand_guilds_spread_by_capacity(void **state UNUSED)
{
    struct place_pod pods[] = {
        { "a", 1000, 0, 0, 0, 1, 0, true, NULL },
        { "b", 1000, 0, 0, 0, 1, 0, true, NULL },
        { "c", 2000, 0, 0, 0, 1, 0, true, NULL },
    };
    struct place place = { .pods = pods, .count = ARRAY_LEN(pods) };
    bool full;

    place_prepare(&place);
    for (int i = 0; i < 1000; i++) {
        assert_non_null(place_guild(&place, 0, NULL, &full));
        assert_false(full);
    }
    assert_in_range(pods[0].assigned, 245, 255);
    assert_in_range(pods[1].assigned, 245, 255);
    assert_in_range(pods[2].assigned, 495, 505);
}

static void test_a_busy_pod_gets_fewer_of_a_batch_but_not_none(void **state UNUSED)
{
    struct place_pod pods[] = {
        { "busy", 1000, 2000, 100, 100, 1, 0, true, NULL },
        { "idle", 1000, 0, 100, 100, 1, 0, true, NULL },
    };
    struct place place = { .pods = pods, .count = ARRAY_LEN(pods) };
    bool full;

    place_prepare(&place);
    for (int i = 0; i < 1000; i++)
        assert_non_null(place_guild(&place, 0, NULL, &full));
    assert_true(pods[0].assigned > 150);
    assert_true(pods[1].assigned > pods[0].assigned + 50);
}

/* A standby is taken as long as it does not carry a quarter more than the average. */
static void test_a_preferred_pod_is_taken_until_it_unbalances(void **state UNUSED)
{
    struct place_pod pods[] = {
        { "draining", 1000, 0, 90, 90, 1, 0, false, NULL },
        { "standby", 1000, 0, 30, 30, 1, 0, true, NULL },
        { "other", 1000, 0, 30, 30, 1, 0, true, NULL },
        { "full", 40, 0, 40, 40, 1, 0, true, NULL },
        { "old", 1000, 0, 0, 0, 0, 0, true, NULL },
    };
    struct place place = { .pods = pods, .count = ARRAY_LEN(pods) };
    uint32_t taken = 0;

    place_prepare(&place);
    while (place_prefer(&place, &pods[1], 1))
        taken++;
    assert_int_equal(pods[1].assigned, 30 + taken);
    assert_in_range(pods[1].assigned, 75, 85); /* 190 guilds: 62 on average */
    assert_false(place_prefer(&place, &pods[0], 1));
    assert_false(place_prefer(&place, &pods[3], 1));
    assert_false(place_prefer(&place, &pods[4], 1));
    assert_true(place_prefer(&place, &pods[2], 1));
}

static void test_shards_go_to_the_pod_with_the_fewest(void **state UNUSED)
{
    struct place_pod pods[] = {
        { "a", 100, 0, 0, 0, 1, 1, true, NULL },
        { "b", 100, 0, 0, 0, 1, 0, true, NULL },
        { "c", 100, 0, 0, 0, 1, 0, false, NULL },
    };
    struct place place = { .pods = pods, .count = ARRAY_LEN(pods) };

    assert_string_equal(place_shard(&place, NULL)->id, "b");
    assert_string_equal(place_shard(&place, NULL)->id, "a");
    assert_string_equal(place_shard(&place, "b")->id, "a");
    assert_int_equal(pods[0].shards, 3);
    assert_int_equal(pods[2].shards, 0);
}

static void test_holds_when_most_pods_vanish_at_once(void **state UNUSED)
{
    assert_false(place_should_hold(1, 1));
    assert_false(place_should_hold(2, 2));
    assert_false(place_should_hold(3, 1));
    assert_true(place_should_hold(3, 2));
    assert_false(place_should_hold(4, 2));
    assert_true(place_should_hold(4, 3));
    assert_true(place_should_hold(3, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guilds_go_to_the_lightest_pod_that_can_take_them),
        cmocka_unit_test(test_a_thousand_guilds_spread_by_capacity),
        cmocka_unit_test(test_a_busy_pod_gets_fewer_of_a_batch_but_not_none),
        cmocka_unit_test(test_a_preferred_pod_is_taken_until_it_unbalances),
        cmocka_unit_test(test_shards_go_to_the_pod_with_the_fewest),
        cmocka_unit_test(test_holds_when_most_pods_vanish_at_once),
    };
    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
