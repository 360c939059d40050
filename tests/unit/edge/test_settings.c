#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/json.h"
#include "edge/settings.h"

static struct settings_page page_with(const char *a, const char *b, const char *c, const char *d)
{
    return (struct settings_page){ .values = { a, b, c, d } };
}

static void test_ids_and_emptiness_are_right(void **state UNUSED)
{
    struct settings_page good = page_with("8138", "", NULL, "18446744073709551615");
    struct settings_page bad = page_with("general", "12x", "<b>", "18446744073709551616");

    assert_true(settings_check(&good));
    assert_false(settings_check(&bad));
    for (int i = 0; i < SETTINGS_COUNT; i++)
        assert_true(bad.wrong[i]);
}

static void test_the_patch_sets_clears_and_leaves_alone(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct settings_page page = page_with("8138", "", NULL, "7");
    CLEANUP(json_decref) json_t *patch = NULL;
    const char *text = settings_patch(&page, a);

    assert_int_equal(json_parse(text, strlen(text), &patch, NULL), STATUS_OK);
    assert_string_equal(json_str(patch, "modLog"), "8138");
    assert_true(json_is_null(json_object_get(patch, "moderator")));
    assert_null(json_object_get(patch, "restricted"));
    assert_string_equal(json_str(patch, "deletionLog"), "7");
}

static void test_stored_settings_fill_the_form(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct settings_page page = { 0 };

    assert_true(settings_read("{\"moderator\":\"5\",\"quorum\":3,\"restricted\":6}", a, &page));
    assert_string_equal(page.values[0], "");
    assert_string_equal(page.values[1], "5");
    assert_string_equal(page.values[2], "");
    assert_false(settings_read("[]", a, &page));
    assert_false(settings_read("", a, &page));
}

static void test_request_ids_are_as_the_form_makes_them(void **state UNUSED)
{
    assert_true(settings_request_id_fits("0123456789abcdef0123456789abcdef"));
    assert_false(settings_request_id_fits("0123456789abcde"));
    assert_false(settings_request_id_fits("0123456789abcdef."));
    assert_false(settings_request_id_fits("0123456789abcdef\r\n"));
    assert_false(settings_request_id_fits(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_and_emptiness_are_right),
        cmocka_unit_test(test_the_patch_sets_clears_and_leaves_alone),
        cmocka_unit_test(test_stored_settings_fill_the_form),
        cmocka_unit_test(test_request_ids_are_as_the_form_makes_them),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
