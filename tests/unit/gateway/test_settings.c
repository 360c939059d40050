#include "gateway/features/settings.h"
#include "tests/unit/gateway/feature_bench.h"

static enum status change(struct bench *b, const char *patch)
{
    const char *json = NULL;

    bench_begin(b);
    return bench_end(b, settings_patch(&b->unit, patch, &json, &b->err));
}

static struct guild_settings loaded(struct bench *b)
{
    struct guild_settings s;

    bench_begin(b);
    assert_int_equal(bench_end(b, settings_load(&b->unit, &s, &b->err)), STATUS_OK);
    return s;
}

static void test_a_guild_without_a_row_has_defaults(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    struct guild_settings s = loaded(&b);
    assert_true(s.activity_tracking);
    assert_true(!s.mod_log && !s.moderator && !s.restricted && !s.deletion_log);
    bench_stop(&b);
}

static void test_a_patch_sets_keeps_and_clears(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    assert_int_equal(change(&b, "{\"modLog\":\"18446744073709551615\",\"restricted\":\"3\"}"),
                     STATUS_OK);
    assert_int_equal(change(&b, "{\"moderator\":\"2\",\"activityTracking\":false}"), STATUS_OK);
    struct guild_settings s = loaded(&b);
    assert_true(s.mod_log == UINT64_MAX && s.moderator == 2 && s.restricted == 3);
    assert_false(s.activity_tracking);

    assert_int_equal(change(&b, "{\"restricted\":null,\"activityTracking\":null}"), STATUS_OK);
    s = loaded(&b);
    assert_true(s.restricted == 0 && s.activity_tracking);
    assert_string_equal(bench_text(&b, "SELECT settings FROM guilds"),
                        "{\"modLog\":\"18446744073709551615\",\"moderator\":\"2\"}");
    bench_stop(&b);
}

static void test_keys_of_an_imported_guild_are_kept(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    bench_exec(&b, "INSERT INTO guilds VALUES (81384788765712384, 'x', '{\"quorum\":3}')");
    assert_int_equal(change(&b, "{\"modLog\":\"1\"}"), STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT name || settings FROM guilds"),
                        "x{\"quorum\":3,\"modLog\":\"1\"}");
    bench_stop(&b);
}

static void test_what_cannot_be_is_refused_by_name(void **state UNUSED)
{
    static const struct {
        const char *patch, *named;
    } rows[] = {
        { "{\"colour\":\"red\"}", "colour" },
        { "{\"colour\":null}", "colour" },
        { "{\"modLog\":\"general\"}", "modLog" },
        { "{\"modLog\":12}", "modLog" },
        { "{\"modLog\":\"0\"}", "modLog" },
        { "{\"moderator\":{\"id\":\"1\"}}", "moderator" },
        { "{\"restricted\":\"-1\"}", "restricted" },
        { "{\"deletionLog\":\"18446744073709551616\"}", "deletionLog" },
        { "{\"activityTracking\":\"no\"}", "activityTracking" },
        { "[]", "object" },
        { "null", "object" },
        { "{", "JSON" },
        { "", "JSON" },
    };
    struct bench b;

    bench_start(&b);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(change(&b, rows[i].patch), STATUS_INVALID);
        assert_non_null(strstr(b.err.text, rows[i].named));
    }
    assert_int_equal(change(&b, "{\"modLog\":\"1\",\"colour\":1}"), STATUS_INVALID);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM guilds"), 0);
    bench_stop(&b);
}

static void test_size_is_bounded(void **state UNUSED)
{
    static char patch[SETTINGS_MAX_BYTES + 64];
    struct bench b;

    bench_start(&b);
    snprintf(patch, sizeof(patch), "{%*s}", SETTINGS_MAX_BYTES, "");
    assert_int_equal(change(&b, patch), STATUS_INVALID);
    assert_non_null(strstr(b.err.text, "bytes"));
    snprintf(patch, sizeof(patch), "{%*s}", SETTINGS_MAX_BYTES - 2, "");
    assert_int_equal(change(&b, patch), STATUS_OK);
    bench_stop(&b);
}

static void test_stored_nonsense_is_written_anew(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    bench_exec(&b, "INSERT INTO guilds VALUES (81384788765712384, '', '[1]')");
    assert_true(loaded(&b).activity_tracking);
    assert_int_equal(change(&b, "{\"modLog\":\"1\"}"), STATUS_OK);
    assert_true(loaded(&b).mod_log == 1);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_guild_without_a_row_has_defaults),
        cmocka_unit_test(test_a_patch_sets_keeps_and_clears),
        cmocka_unit_test(test_keys_of_an_imported_guild_are_kept),
        cmocka_unit_test(test_what_cannot_be_is_refused_by_name),
        cmocka_unit_test(test_size_is_bounded),
        cmocka_unit_test(test_stored_nonsense_is_written_anew),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
