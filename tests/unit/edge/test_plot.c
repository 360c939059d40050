#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "edge/plot.h"

static const char *drawn(struct html *h, const struct plot *plot)
{
    plot_add(h, plot);
    bytes_append(&h->bytes, "", 1);
    return (const char *)h->bytes.data;
}

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void test_the_axis_ends_at_a_round_number(void **state UNUSED)
{
    static const uint64_t cases[][2] = {
        { 0, 1 },   { 1, 1 },   { 2, 2 },    { 3, 5 },     { 5, 5 },       { 6, 10 },
        { 11, 20 }, { 49, 50 }, { 51, 100 }, { 100, 100 }, { 4321, 5000 }, { 5001, 10000 }
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(plot_axis_top(cases[i][0]), cases[i][1]);
    assert_int_equal(plot_axis_top(UINT64_MAX), UINT64_MAX);
}

static void test_each_day_has_a_bar_that_says_its_number(void **state UNUSED)
{
    const struct plot_day days[] = { { "2026-11-21", 0 },
                                     { "2026-11-22", 5 },
                                     { "2026-11-23", 10 } };
    struct html h = { 0 };
    const char *svg =
        drawn(&h, &(struct plot){ "Messages a day", "15 messages", "messages", days, 3 });

    assert_int_equal(count_of(svg, "<rect class=\"bar\""), 3);
    assert_non_null(strstr(svg, "<title>2026-11-22: 5 messages</title>"));
    assert_non_null(strstr(svg, "height=\"0.0\"><title>2026-11-21"));
    assert_non_null(strstr(svg, "height=\"86.0\"><title>2026-11-22"));
    assert_non_null(strstr(svg, "height=\"172.0\"><title>2026-11-23"));
    assert_non_null(strstr(svg, "<title id=\"plot-title\">Messages a day</title>"));
    assert_non_null(strstr(svg, "<desc id=\"plot-desc\">15 messages</desc>"));
    html_release(&h);
}

static void test_the_axis_is_labelled_with_whole_numbers(void **state UNUSED)
{
    const struct plot_day high[] = { { "2026-11-23", 30 } }, low[] = { { "2026-11-23", 2 } };
    struct html h = { 0 };
    const char *svg = drawn(&h, &(struct plot){ "t", "d", "messages", high, 1 });

    for (int i = 0; i <= 5; i++) {
        char label[16];
        snprintf(label, sizeof(label), ">%d</text>", i * 10);
        assert_int_equal(count_of(svg, label), 1);
    }
    html_release(&h);

    struct html other = { 0 };
    svg = drawn(&other, &(struct plot){ "t", "d", "messages", low, 1 });
    assert_int_equal(count_of(svg, "text-anchor=\"end\""), 2); /* 0 and 2, nothing between */
    html_release(&other);
}

static void test_no_days_still_make_a_figure(void **state UNUSED)
{
    struct html h = { 0 };
    const char *svg = drawn(&h, &(struct plot){ "t", "d", "messages", NULL, 0 });

    assert_int_equal(count_of(svg, "<svg"), 1);
    assert_int_equal(count_of(svg, "</svg>"), 1);
    assert_int_equal(count_of(svg, "<rect"), 0);
    html_release(&h);
}

static void test_hostile_labels_stay_text(void **state UNUSED)
{
    const struct plot_day days[] = { { "<script>", 1 } };
    struct html h = { 0 };
    const char *svg = drawn(&h, &(struct plot){ "</title><script>", "\"&", "<b>", days, 1 });

    assert_null(strstr(svg, "<script>"));
    assert_null(strstr(svg, "<b>"));
    html_release(&h);
}

static void test_a_year_of_great_numbers_fits(void **state UNUSED)
{
    struct plot_day days[366];
    struct html h = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(days); i++)
        days[i] = (struct plot_day){ "2026-01-01", UINT64_MAX - i };
    const char *svg = drawn(&h, &(struct plot){ "t", "d", "messages", days, ARRAY_LEN(days) });
    assert_int_equal(count_of(svg, "<rect class=\"bar\""), 366);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    html_release(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_axis_ends_at_a_round_number),
        cmocka_unit_test(test_each_day_has_a_bar_that_says_its_number),
        cmocka_unit_test(test_the_axis_is_labelled_with_whole_numbers),
        cmocka_unit_test(test_no_days_still_make_a_figure),
        cmocka_unit_test(test_hostile_labels_stay_text),
        cmocka_unit_test(test_a_year_of_great_numbers_fits),
    };
    return cmocka_run_group_tests_name("plot", tests, NULL, NULL);
}
