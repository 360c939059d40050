#include "tests/unit/gateway/feature_bench.h"

#define SETUP(permissions, options)                                                                \
    "{\"id\":\"1\",\"type\":2,\"token\":\"t\",\"member\":{\"permissions\":\"" permissions          \
    "\",\"user\":{\"id\":\"7\"}},\"data\":{\"type\":1,\"name\":\"setup\",\"options\":[" options    \
    "]}}"
#define OPTION(name, value) "{\"type\":7,\"name\":\"" name "\",\"value\":\"" value "\"}"
#define NEEDED              OPTION("modlog", "300") "," OPTION("moderator", "71")

static void test_setup_writes_settings_and_sums_up(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    assert_int_equal(bench_interact(&b, command_setup, SETUP("8", NEEDED)), STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT settings FROM guilds"),
                        "{\"modLog\":\"300\",\"moderator\":\"71\"}");
    assert_string_equal(b.callback,
                        "{\"type\":4,\"data\":{\"content\":\"Set up.\\n- Mod log: <#300>\\n"
                        "- Moderators: <@&71>\\n"
                        "More: https://portal.test/guilds/81384788765712384\","
                        "\"allowed_mentions\":{\"parse\":[]},\"flags\":64}}");
    bench_stop(&b);
}

static void test_what_is_not_given_stays(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    b.unit.portal_url = "";
    bench_exec(&b, "INSERT INTO guilds VALUES (81384788765712384, 'Home',"
                   " '{\"modLog\":\"1\",\"restricted\":\"9\"}')");
    assert_int_equal(
        bench_interact(&b, command_setup, SETUP("32", NEEDED "," OPTION("deletion-log", "301"))),
        STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT name || settings FROM guilds"),
                        "Home{\"modLog\":\"300\",\"restricted\":\"9\",\"moderator\":\"71\","
                        "\"deletionLog\":\"301\"}");
    assert_non_null(strstr(b.callback, "Restricted: <@&9>\\n- Deletion log: <#301>\","));
    bench_stop(&b);
}

static void test_members_may_not(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    assert_int_equal(bench_interact(&b, command_setup, SETUP("8192", NEEDED)), STATUS_OK);
    assert_non_null(strstr(b.callback, "Only administrators"));
    b.unit.guild_id = 0;
    assert_int_equal(bench_interact(&b, command_setup, SETUP("8", NEEDED)), STATUS_OK);
    assert_non_null(strstr(b.callback, "servers only"));
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM guilds"), 0);
    bench_stop(&b);
}

static void test_options_that_cannot_be_are_refused(void **state UNUSED)
{
    static const char *const broken[] = {
        SETUP("8", ""),
        SETUP("8", OPTION("modlog", "300")),
        SETUP("8", OPTION("modlog", "x") "," OPTION("moderator", "71")),
        SETUP("8", NEEDED ",{\"name\":\"restricted\",\"value\":[]}"),
        SETUP("8", "7,null,[],{\"name\":5}"),
    };
    struct bench b;

    bench_start(&b);
    for (size_t i = 0; i < ARRAY_LEN(broken); i++)
        assert_int_equal(bench_interact(&b, command_setup, broken[i]), STATUS_INVALID);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM guilds"), 0);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setup_writes_settings_and_sums_up),
        cmocka_unit_test(test_what_is_not_given_stays),
        cmocka_unit_test(test_members_may_not),
        cmocka_unit_test(test_options_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests_name("setup", tests, NULL, NULL);
}
