#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "edge/html.h"

static void assert_html(struct html *h, const char *expected)
{
    bytes_append(&h->bytes, "", 1);
    assert_string_equal((const char *)h->bytes.data, expected);
    html_release(h);
}

static void test_text_cannot_become_markup(void **state UNUSED)
{
    struct html h = { 0 };

    html_add(&h, "<p title=\"%s\">%s</p>", "\" onclick='x' ", "<script>alert(1)</script>&amp;");
    assert_html(&h, "<p title=\"&quot; onclick=&#39;x&#39; \">"
                    "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;</p>");
}

static void test_numbers_are_written(void **state UNUSED)
{
    struct html h = { 0 };

    html_add(&h, "%d %u %zu %lu %ld %.1f %%", -3, 4U, (size_t)5, UINT64_MAX, INT64_MIN, 2.26);
    assert_html(&h, "-3 4 5 18446744073709551615 -9223372036854775808 2.3 %");
}

static void test_no_text_is_empty_text(void **state UNUSED)
{
    struct html h = { 0 };
    const char *volatile none = NULL;

    html_add(&h, "[%s]", none);
    assert_html(&h, "[]");
}

static void test_what_is_no_utf8_is_replaced(void **state UNUSED)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80" },
        { "\xC3", "\xEF\xBF\xBD" },
        { "\xC3<", "\xEF\xBF\xBD&lt;" },
        { "\xE2\x82<", "\xEF\xBF\xBD\xEF\xBF\xBD&lt;" },
        { "\xC0\xBC", "\xEF\xBF\xBD\xEF\xBF\xBD" },                 /* overlong < */
        { "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, /* surrogate */
        { "\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" },
        { "a\x01\x7F"
          "b\tc\n",
          "a\xEF\xBF\xBD\xEF\xBF\xBD"
          "b\tc\n" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct html h = { 0 };
        html_add(&h, "%s", cases[i].in);
        assert_html(&h, cases[i].out);
    }
}

static void test_a_page_has_a_limit(void **state UNUSED)
{
    struct html h = { 0 };

    for (int i = 0; i < HTML_LIMIT / 8 + 10; i++)
        html_add(&h, "12345678");
    assert_false(html_is_whole(&h));
    assert_true(h.bytes.size <= HTML_LIMIT);
    html_release(&h);
}

static void test_links_go_to_the_web_or_here(void **state UNUSED)
{
    assert_string_equal(url_or_nothing("https://discord.com/x"), "https://discord.com/x");
    assert_string_equal(url_or_nothing("/guilds/1"), "/guilds/1");
    assert_string_equal(url_or_nothing("javascript:alert(1)"), "#");
    assert_string_equal(url_or_nothing("//elsewhere"), "#");
    assert_string_equal(url_or_nothing("data:text/html,x"), "#");
    assert_string_equal(url_or_nothing(""), "#");
}

static void test_query_values_are_encoded(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);

    assert_string_equal(url_encode(a, "/g/1?a=b&c d\xC3\xA4"), "%2Fg%2F1%3Fa%3Db%26c%20d%C3%A4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_cannot_become_markup),
        cmocka_unit_test(test_numbers_are_written),
        cmocka_unit_test(test_no_text_is_empty_text),
        cmocka_unit_test(test_what_is_no_utf8_is_replaced),
        cmocka_unit_test(test_a_page_has_a_limit),
        cmocka_unit_test(test_links_go_to_the_web_or_here),
        cmocka_unit_test(test_query_values_are_encoded),
    };
    return cmocka_run_group_tests_name("html", tests, NULL, NULL);
}
