#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "gateway/rest_limits.h"

enum { NOW = 100000000 };

static struct rest_key key(const char *method, const char *path)
{
    struct rest_key k;
    rest_key_read(method, path, &k);
    return k;
}

static struct rest_lane *lane(struct rest_limits *l, const char *method, const char *path)
{
    struct rest_key k = key(method, path);
    return rest_limits_lane(l, &k);
}

static void answered(struct rest_limits *l, struct rest_lane *at, const char *bucket,
                     int64_t remaining, int64_t reset_after_ms)
{
    const struct rest_facts f = { 200, bucket, remaining, reset_after_ms, 0, false, false };
    rest_limits_answered(l, at, &f, NOW);
}

static void test_only_the_major_parameter_tells_paths_apart(void **state UNUSED)
{
    static const struct {
        const char *a, *b;
        bool same_route, same_major;
    } rows[] = {
        { "/channels/1/messages", "/channels/1/messages", true, true },
        { "/channels/1/messages", "/channels/2/messages", true, false },
        { "/channels/1/messages/8", "/channels/1/messages/9", true, true },
        { "/channels/1/messages/8", "/channels/1/messages", false, true },
        { "/channels/1/messages?limit=1", "/channels/1/messages?limit=2", true, true },
        { "/guilds/1/members/5", "/guilds/1/members/6", true, true },
        { "/guilds/1/members/5", "/guilds/2/members/5", true, false },
        { "/users/1", "/users/2", true, true },
        { "/webhooks/1/tokenA", "/webhooks/1/tokenB", true, false },
        { "/webhooks/1/tokenA/messages/@original", "/webhooks/1/tokenA/messages/@original", true,
          true },
        { "/channels/1/messages/2/reactions/%F0%9F%98%80/@me",
          "/channels/1/messages/3/reactions/x:4/@me", true, true },
        { "/interactions/1/tokenA/callback", "/interactions/2/tokenB/callback", true, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rest_key a = key("GET", rows[i].a), b = key("GET", rows[i].b);
        if ((a.route == b.route) != rows[i].same_route ||
            (a.major == b.major) != rows[i].same_major)
            fail_msg("%s and %s", rows[i].a, rows[i].b);
    }
    assert_true(key("GET", "/channels/1").route != key("DELETE", "/channels/1").route);
}

static void test_interactions_need_no_token_and_no_global_limit(void **state UNUSED)
{
    assert_false(key("POST", "/interactions/1/tok/callback").limited_globally);
    assert_false(key("PATCH", "/webhooks/1/tok/messages/@original").as_bot);
    assert_false(key("POST", "/webhooks/1/tok?wait=true").as_bot);
    assert_true(key("GET", "/webhooks/1").as_bot);
    assert_true(key("GET", "/webhooks/1").limited_globally);
    assert_true(key("POST", "/channels/1/messages").as_bot);
}

static void test_a_redacted_path_has_no_token(void **state UNUSED)
{
    char buf[64];
    rest_path_redact("/interactions/12/aW50ZXJ/callback", buf, sizeof(buf));
    assert_string_equal(buf, "/interactions/12/***/callback");
    rest_path_redact("/webhooks/12/aW50ZXJ?wait=true", buf, sizeof(buf));
    assert_string_equal(buf, "/webhooks/12/***");
    rest_path_redact("/channels/12/messages", buf, sizeof(buf));
    assert_string_equal(buf, "/channels/12/messages");
    rest_path_redact("/channels/12/messages", buf, 8);
    assert_true(strlen(buf) < 8);
}

static void test_an_unknown_bucket_lets_one_call_out(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    struct rest_lane *a = lane(l, "POST", "/channels/1/messages"),
                     *b = lane(l, "POST", "/channels/2/messages");
    assert_int_equal(rest_limits_wait(l, a, NOW), 0);
    rest_limits_sent(l, a, NOW);
    assert_true(rest_limits_wait(l, a, NOW) == INT64_MAX);
    assert_int_equal(rest_limits_wait(l, b, NOW), 0);
    answered(l, a, "h1", 4, 1000);
    assert_int_equal(rest_limits_wait(l, a, NOW), 0);
    rest_limits_free(l);
}

static void test_an_empty_bucket_waits_for_its_reset(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    struct rest_lane *a = lane(l, "POST", "/channels/1/messages");
    rest_limits_sent(l, a, NOW);
    answered(l, a, "h1", 0, 1500);
    assert_int_equal(rest_limits_wait(l, a, NOW), 1500);
    assert_int_equal(rest_limits_wait(l, a, NOW + 1499), 1);
    assert_int_equal(rest_limits_wait(l, a, NOW + 1500), 0);
    rest_limits_free(l);
}

static void test_routes_of_one_hash_share_a_bucket_for_each_major(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    struct rest_lane *get = lane(l, "GET", "/channels/1/messages"),
                     *pins = lane(l, "GET", "/channels/1/pins");
    rest_limits_sent(l, get, NOW);
    answered(l, get, "h1", 3, 1000);
    rest_limits_sent(l, pins, NOW);
    answered(l, pins, "h1", 0, 1000);
    assert_int_equal(rest_limits_wait(l, get, NOW), 1000);
    struct rest_lane *other = lane(l, "GET", "/channels/2/messages");
    assert_int_equal(rest_limits_wait(l, other, NOW), 0);
    rest_limits_sent(l, other,
                     NOW); /* the route's bucket is known now: its siblings wait for the answer */
    assert_true(rest_limits_wait(l, lane(l, "GET", "/channels/2/pins"), NOW) == INT64_MAX);
    assert_int_equal(rest_limits_wait(l, lane(l, "GET", "/channels/3/messages"), NOW), 0);
    rest_limits_free(l);
}

static void test_fifty_calls_a_window_and_no_more(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    char path[64];
    for (int i = 0; i < REST_GLOBAL; i++) {
        (void)snprintf(path, sizeof(path), "/channels/%d", i + 1);
        struct rest_lane *a = lane(l, "GET", path);
        assert_int_equal(rest_limits_wait(l, a, NOW + i * 22), 0);
        rest_limits_sent(l, a, NOW + i * 22);
    }
    assert_int_equal(rest_limits_wait(l, lane(l, "GET", "/channels/900"), NOW + 1090),
                     REST_GLOBAL_MS - 1090);
    assert_int_equal(rest_limits_wait(l, lane(l, "POST", "/interactions/1/t/callback"), NOW + 1090),
                     0);
    assert_int_equal(rest_limits_wait(l, lane(l, "GET", "/channels/900"), NOW + REST_GLOBAL_MS), 0);
    rest_limits_free(l);
}

/* How many calls of lanes of their own can leave at once. */
static uint32_t leave(struct rest_limits *l, int64_t now)
{
    static int channel = 1000;
    char path[64];

    for (uint32_t n = 0;; n++) {
        (void)snprintf(path, sizeof(path), "/channels/%d", channel++);
        struct rest_lane *a = lane(l, "GET", path);
        if (rest_limits_wait(l, a, now)) {
            assert_true(rest_limits_waits_globally(l, a, now));
            return n;
        }
        rest_limits_sent(l, a, now);
    }
}

/* In one window. */
static uint32_t leave_all(struct rest_limits *l, int64_t now)
{
    uint32_t n = 0;

    for (int quarter = 0; quarter < 4; quarter++)
        n += leave(l, now + quarter * REST_GLOBAL_MS / 4);
    return n;
}

static void test_a_window_is_not_spent_at_once(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();

    assert_int_equal(leave(l, NOW), 13);
    assert_int_equal(leave(l, NOW + 274), 0);
    assert_int_equal(leave(l, NOW + 275), 13);
    assert_int_equal(leave(l, NOW + 550), 13);
    assert_int_equal(leave(l, NOW + 825), REST_GLOBAL - 3 * 13);
    assert_int_equal(leave(l, NOW + 1099), 0);
    assert_int_equal(leave(l, NOW + 1100), 13);
    rest_limits_free(l);
}

static void give(struct rest_limits *l, uint32_t calls, int64_t until_ms, int64_t now)
{
    rest_limits_set_share(
        l, &(struct rest_share){ .calls = calls, .until_ms = until_ms, .drip_ms = 5000 }, now);
}

static struct rest_usage usage(struct rest_limits *l, int64_t now)
{
    struct rest_usage u;

    rest_limits_usage(l, now, &u);
    return u;
}

static void test_a_share_is_kept_and_ends_with_the_lease(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();

    give(l, 7, NOW + 3000, NOW);
    assert_int_equal(usage(l, NOW).in_force, 7);
    assert_int_equal(leave_all(l, NOW), 7);
    assert_int_equal(usage(l, NOW + 825).sent, 7);
    assert_int_equal(leave(l, NOW + REST_GLOBAL_MS - 1), 0);
    assert_int_equal(leave_all(l, NOW + REST_GLOBAL_MS), 7);
    /* The lease has ended: a drip, from the last one at 1,925 ms. */
    assert_int_equal(leave(l, NOW + 3000), 0);
    assert_int_equal(leave(l, NOW + 6924), 0);
    assert_int_equal(leave(l, NOW + 6925), 1);
    assert_int_equal(leave(l, NOW + 11924), 0);
    assert_int_equal(leave(l, NOW + 11925), 1);
    assert_int_equal(usage(l, NOW + 11925).in_force, 0);
    rest_limits_free(l);
}

static void test_less_is_in_force_only_after_a_window(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();

    give(l, 30, INT64_MAX / 2, NOW);
    assert_int_equal(leave_all(l, NOW), 30);
    give(l, 10, INT64_MAX / 2, NOW + 100);
    assert_int_equal(usage(l, NOW + 100).in_force, 30);
    give(l, 5, INT64_MAX / 2, NOW + 200);
    assert_int_equal(usage(l, NOW + 1299).in_force, 30);
    assert_int_equal(usage(l, NOW + 1300).in_force, 5);
    assert_int_equal(leave(l, NOW + 1924), 0); /* the last six left at 825 ms */
    assert_int_equal(leave_all(l, NOW + 1925), 5);
    give(l, 0, INT64_MAX / 2, NOW + 2500);
    assert_int_equal(leave(l, NOW + 7474), 0);
    assert_int_equal(leave(l, NOW + 7475), 1);
    rest_limits_free(l);
}

static void test_invalid_requests_of_others_count(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();

    rest_limits_set_share(l,
                          &(struct rest_share){ .calls = 50,
                                                .until_ms = INT64_MAX / 2,
                                                .drip_ms = 1100,
                                                .invalid_elsewhere = REST_INVALID_MAX },
                          NOW);
    assert_int_equal(leave(l, NOW), 0);
    assert_int_equal(usage(l, NOW).invalid, 0);
    assert_int_equal(rest_limits_invalid(l, NOW), REST_INVALID_MAX);
    rest_limits_free(l);
}

static void limited(struct rest_limits *l, struct rest_lane *at, bool global, bool shared)
{
    const struct rest_facts f = { 429, NULL, -1, 0, 2500, global, shared };
    rest_limits_sent(l, at, NOW);
    rest_limits_answered(l, at, &f, NOW);
}

static void test_a_429_stops_its_bucket_or_all(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    struct rest_lane *a = lane(l, "GET", "/channels/1"), *b = lane(l, "GET", "/channels/2");
    limited(l, a, false, false);
    assert_int_equal(rest_limits_wait(l, a, NOW), 2500);
    assert_int_equal(rest_limits_wait(l, b, NOW), 0);
    limited(l, a, true, false);
    assert_int_equal(rest_limits_wait(l, b, NOW), 2500);
    assert_int_equal(rest_limits_wait(l, lane(l, "POST", "/interactions/1/t/callback"), NOW), 0);
    rest_limits_free(l);
}

static void test_invalid_requests_are_counted_but_not_shared_ones(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    struct rest_lane *a = lane(l, "GET", "/channels/1");
    limited(l, a, false, true);
    assert_int_equal(rest_limits_invalid(l, NOW), 0);
    const struct rest_facts forbidden = { .code = 403, .remaining = -1 };
    for (int i = 0; i < REST_INVALID_MAX; i++)
        rest_limits_answered(l, a, &forbidden, NOW);
    assert_int_equal(rest_limits_invalid(l, NOW), REST_INVALID_MAX);
    int64_t wait = rest_limits_wait(l, lane(l, "GET", "/channels/2"), NOW);
    assert_in_range(wait, 1, 60000);
    assert_int_equal(rest_limits_invalid(l, NOW + REST_INVALID_MINUTES * 60000), 0);
    assert_int_equal(
        rest_limits_wait(l, lane(l, "GET", "/channels/2"), NOW + REST_INVALID_MINUTES * 60000), 0);
    rest_limits_free(l);
}

static void test_idle_lanes_go_at_a_sweep_and_routes_are_remembered(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    struct rest_lane *a = lane(l, "GET", "/channels/1/messages");
    struct rest_item item;
    rest_limits_sent(l, a, NOW);
    rest_limits_sweep(l, NOW);
    assert_int_equal(rest_limits_lane_count(l), 1);
    answered(l, a, "h1", 0, 1000);
    rest_lane_append(a, &item);
    rest_limits_sweep(l, NOW);
    assert_int_equal(rest_limits_lane_count(l), 1);
    assert_ptr_equal(rest_lane_take(a), &item);
    rest_limits_sweep(l, NOW);
    assert_int_equal(rest_limits_lane_count(l), 0);
    /* the empty bucket is still there for a lane made anew */
    assert_int_equal(rest_limits_wait(l, lane(l, "GET", "/channels/1/messages"), NOW), 1000);
    rest_limits_free(l);
}

static void test_a_lane_is_a_queue_whose_head_can_come_back(void **state UNUSED)
{
    struct rest_limits *l = rest_limits_new();
    struct rest_lane *a = lane(l, "GET", "/channels/1");
    struct rest_item i[3];
    rest_lane_append(a, &i[0]);
    rest_lane_append(a, &i[1]);
    assert_ptr_equal(rest_lane_take(a), &i[0]);
    rest_lane_prepend(a, &i[0]);
    rest_lane_append(a, &i[2]);
    for (int n = 0; n < 3; n++)
        assert_ptr_equal(rest_lane_take(a), &i[n]);
    assert_null(rest_lane_take(a));
    rest_lane_prepend(a, &i[1]);
    rest_lane_append(a, &i[2]);
    assert_ptr_equal(rest_lane_take(a), &i[1]);
    assert_ptr_equal(rest_lane_take(a), &i[2]);
    rest_limits_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_major_parameter_tells_paths_apart),
        cmocka_unit_test(test_interactions_need_no_token_and_no_global_limit),
        cmocka_unit_test(test_a_redacted_path_has_no_token),
        cmocka_unit_test(test_an_unknown_bucket_lets_one_call_out),
        cmocka_unit_test(test_an_empty_bucket_waits_for_its_reset),
        cmocka_unit_test(test_routes_of_one_hash_share_a_bucket_for_each_major),
        cmocka_unit_test(test_fifty_calls_a_window_and_no_more),
        cmocka_unit_test(test_a_window_is_not_spent_at_once),
        cmocka_unit_test(test_a_share_is_kept_and_ends_with_the_lease),
        cmocka_unit_test(test_less_is_in_force_only_after_a_window),
        cmocka_unit_test(test_invalid_requests_of_others_count),
        cmocka_unit_test(test_a_429_stops_its_bucket_or_all),
        cmocka_unit_test(test_invalid_requests_are_counted_but_not_shared_ones),
        cmocka_unit_test(test_idle_lanes_go_at_a_sweep_and_routes_are_remembered),
        cmocka_unit_test(test_a_lane_is_a_queue_whose_head_can_come_back),
    };
    return cmocka_run_group_tests_name("rest_limits", tests, NULL, NULL);
}
