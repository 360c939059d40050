#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "messages/subjects.h"

static const uint64_t guild = UINT64_C(613425648685547541);

static void test_each_kind_is_spelled_as_the_table_says(void **state UNUSED)
{
    char expected[SUBJECT_SIZE];
    uint32_t part = subject_part(guild);

    (void)snprintf(expected, sizeof(expected), "event.%u.613425648685547541", part);
    assert_string_equal(subject_event(guild).text, expected);
    (void)snprintf(expected, sizeof(expected), "tail.%u.613425648685547541", part);
    assert_string_equal(subject_tail(guild).text, expected);
    (void)snprintf(expected, sizeof(expected), "LOG_%u", part);
    assert_string_equal(subject_log_stream(guild).text, expected);
    assert_string_equal(subject_portal(guild).text, "guild.613425648685547541.portal");
    assert_string_equal(subject_interaction(0).text, "guild.0.interaction");
    assert_string_equal(subject_heartbeat("*").text, "pod.*.heartbeat");
    assert_string_equal(subject_control("gw-1").text, "pod.gw-1.control");
    assert_string_equal(subject_coordinator("guilds-seen").text, "coordinator.guilds-seen");
    assert_string_equal(subject_shard(12).text, "$KV.SHARDS.shard-12");
    assert_string_equal(subject_shard_of(16, 12).text, "$KV.SHARDS.shard-16-12");
    assert_string_equal(subject_wildcard(SUBJECT_EVENT), "event.>");
    assert_string_equal(subject_of_part(SUBJECT_LOG, 11).text, "log.11.>");
}

static void test_a_name_that_is_no_token_makes_the_empty_subject(void **state UNUSED)
{
    static const char *const bad[] = { "", "a.b", ">", "a b", "a*", "**", "a\n", "p\xc3\xb6" };
    char longest[SUBJECT_TOKEN_SIZE + 1];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_string_equal(subject_control(bad[i]).text, "");
    memset(longest, 'x', sizeof(longest));
    longest[SUBJECT_TOKEN_SIZE] = '\0';
    assert_string_equal(subject_control(longest).text, "");
    longest[SUBJECT_TOKEN_SIZE - 1] = '\0';
    assert_int_equal(strlen(subject_control(longest).text), 64 + strlen("pod..control"));
}

static void test_the_guild_is_read_back_from_each_kind_that_has_one(void **state UNUSED)
{
    struct subject (*const make[])(uint64_t) = {
        subject_event, subject_feed, subject_interaction, subject_portal,
        subject_log,   subject_tail, subject_assignment,
    };
    static const uint64_t ids[] = { 0, 1, 613425648685547541, UINT64_MAX };

    for (size_t i = 0; i < ARRAY_LEN(make); i++) {
        for (size_t k = 0; k < ARRAY_LEN(ids); k++) {
            uint64_t got = 42;
            assert_true(subject_guild(make[i](ids[k]).text, &got));
            assert_true(got == ids[k]);
        }
    }
}

static void test_what_is_not_a_guilds_subject_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "event",
        "event.1",
        "event.1.",
        "event..1",
        "event.x.1",
        "event.99.613425648685547541", /* not its part */
        "guild.18446744073709551616.portal",
        "guild.99999999999999999999999.portal",
        "guild.01.portal",
        "guild.-1.portal",
        "guild.+1.portal",
        "guild. 1.portal",
        "guild.1.portal.x",
        "guild.1.portals",
        "guild.*.portal",
        "pod.1.control",
        "$KV.SHARDS.shard-1",
        "_INBOX.x.1",
    };
    uint64_t got = 42;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(subject_guild(bad[i], &got));
    assert_true(got == 42);
}

static void test_the_pod_is_read_back(void **state UNUSED)
{
    char pod[SUBJECT_TOKEN_SIZE] = "", longest[200];

    assert_true(subject_pod(subject_heartbeat("gw_2-b").text, pod));
    assert_string_equal(pod, "gw_2-b");
    assert_false(subject_pod("pod..control", pod));
    assert_false(subject_pod("pod.a b.control", pod));
    assert_false(subject_pod("pod.a.other", pod));
    assert_false(subject_pod(subject_coordinator("claimed").text, pod));
    (void)snprintf(longest, sizeof(longest), "pod.%0100d.control", 0);
    assert_false(subject_pod(longest, pod));
    assert_string_equal(pod, "gw_2-b");
}

static void test_the_kind_is_told(void **state UNUSED)
{
    enum subject_kind kind;

    assert_true(subject_kind(subject_log(guild).text, &kind));
    assert_int_equal(kind, SUBJECT_LOG);
    assert_true(subject_kind(subject_coordinator("move").text, &kind));
    assert_int_equal(kind, SUBJECT_COORDINATOR);
    assert_false(subject_kind("coordinator.a.b", &kind));
}

static void test_guilds_spread_evenly_over_the_parts(void **state UNUSED)
{
    unsigned count[SUBJECT_PARTITIONS] = { 0 };

    /* made one after the other, and a millisecond apart with the same low bits */
    for (uint64_t i = 0; i < 16000; i++)
        count[subject_part((UINT64_C(200000000000) + i * 3600000) << 22 | (1 << 17))]++;
    for (unsigned p = 0; p < SUBJECT_PARTITIONS; p++) {
        assert_true(count[p] > 800);
        assert_true(count[p] < 1200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_is_spelled_as_the_table_says),
        cmocka_unit_test(test_a_name_that_is_no_token_makes_the_empty_subject),
        cmocka_unit_test(test_the_guild_is_read_back_from_each_kind_that_has_one),
        cmocka_unit_test(test_what_is_not_a_guilds_subject_is_refused),
        cmocka_unit_test(test_the_pod_is_read_back),
        cmocka_unit_test(test_the_kind_is_told),
        cmocka_unit_test(test_guilds_spread_evenly_over_the_parts),
    };
    return cmocka_run_group_tests_name("subjects", tests, NULL, NULL);
}
