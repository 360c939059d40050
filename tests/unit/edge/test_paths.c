#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/paths.h"

static void test_every_address_has_its_route(void **state UNUSED)
{
    static const struct {
        enum http_method method;
        const char *path;
        enum route route;
        uint64_t guild_id;
    } cases[] = {
        { HTTP_GET, "/", ROUTE_LANDING, 0 },
        { HTTP_HEAD, "/", ROUTE_LANDING, 0 },
        { HTTP_POST, "/webhooks/discord", ROUTE_WEBHOOK, 0 },
        { HTTP_GET, "/webhooks/discord", ROUTE_WRONG_METHOD, 0 },
        { HTTP_GET, "/guilds", ROUTE_GUILDS, 0 },
        { HTTP_GET, "/guilds/8138", ROUTE_GUILD, 8138 },
        { HTTP_GET, "/guilds/18446744073709551615", ROUTE_GUILD, UINT64_MAX },
        { HTTP_GET, "/guilds/18446744073709551616", ROUTE_NONE, 0 },
        { HTTP_GET, "/guilds/0", ROUTE_NONE, 0 },
        { HTTP_GET, "/guilds/abc", ROUTE_NONE, 0 },
        { HTTP_GET, "/guilds/-1", ROUTE_NONE, 0 },
        { HTTP_GET, "/guilds/1 ", ROUTE_NONE, 0 },
        { HTTP_GET, "/guilds/", ROUTE_NONE, 0 },
        { HTTP_GET, "/guilds/8138/", ROUTE_NONE, 0 },
        { HTTP_GET, "/guilds/8138/activity.json", ROUTE_ACTIVITY, 8138 },
        { HTTP_GET, "/guilds/8138/settings", ROUTE_SETTINGS, 8138 },
        { HTTP_POST, "/guilds/8138/settings", ROUTE_SAVE_SETTINGS, 8138 },
        { HTTP_DELETE, "/guilds/8138/settings", ROUTE_WRONG_METHOD, 0 },
        { HTTP_GET, "/guilds/8138/settings/more", ROUTE_NONE, 0 },
        { HTTP_GET, "/logout", ROUTE_WRONG_METHOD, 0 },
        { HTTP_GET, "//", ROUTE_NONE, 0 },
        { HTTP_GET, "", ROUTE_NONE, 0 },
        { HTTP_GET, "guilds", ROUTE_NONE, 0 },
        { HTTP_GET, "/assets/", ROUTE_NONE, 0 },
        { HTTP_GET, "/assets/a/b", ROUTE_NONE, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_match m = route_find(cases[i].method, cases[i].path);
        if (m.route != cases[i].route ||
            (m.route == cases[i].route && m.guild_id != cases[i].guild_id &&
             m.route != ROUTE_WRONG_METHOD))
            fail_msg("%s: route %d guild %lu", cases[i].path, (int)m.route, m.guild_id);
    }
}

static void test_a_file_name_is_handed_on(void **state UNUSED)
{
    struct route_match m = route_find(HTTP_GET, "/assets/0123-style.css");

    assert_int_equal(m.route, ROUTE_ASSET);
    assert_string_equal(m.rest, "0123-style.css");
}

static void test_a_wrong_method_names_the_right_ones(void **state UNUSED)
{
    assert_string_equal(route_find(HTTP_PUT, "/guilds/8138/settings").allow, "GET, POST");
    assert_string_equal(route_find(HTTP_PUT, "/webhooks/discord").allow, "POST");
}

static void test_redirects_stay_on_this_site(void **state UNUSED)
{
    static const char *const good[] = { "/", "/guilds", "/guilds/1?days=7", "/guilds/1/settings" };
    static const char *const bad[] = { "",
                                       "guilds",
                                       "//evil.example",
                                       "/\\evil.example",
                                       "/a\\b",
                                       "https://evil.example/",
                                       "javascript:alert(1)",
                                       "/a\r\nset-cookie: x",
                                       "/a b",
                                       "/\xC3\xA4",
                                       "/\"><script>",
                                       "\t/guilds",
                                       "/a\x7F" };
    char longest[600];

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!path_is_local(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (path_is_local(bad[i]))
            fail_msg("let through: %s", bad[i]);
    for (size_t i = 0; i < sizeof(longest) - 1; i++)
        longest[i] = '/' + (i > 0);
    longest[sizeof(longest) - 1] = '\0';
    assert_false(path_is_local(longest));
    longest[512] = '\0';
    assert_true(path_is_local(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_address_has_its_route),
        cmocka_unit_test(test_a_file_name_is_handed_on),
        cmocka_unit_test(test_a_wrong_method_names_the_right_ones),
        cmocka_unit_test(test_redirects_stay_on_this_site),
    };
    return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
