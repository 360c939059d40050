#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/metrics.h"
#include "base/xmem.h"

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

static void test_a_family_is_described_once_and_stands_together(void **state UNUSED)
{
    static struct metric red = METRIC_COUNTER_L("t_colours_total", "colours", "colour=\"red\"");
    static struct metric other = METRIC_GAUGE("t_between", "a gauge");
    static struct metric blue = METRIC_COUNTER_L("t_colours_total", "colours", "colour=\"blue\"");
    size_t size;

    metric_add(&red, 2);
    metric_set(&other, -5);
    metric_add(&blue, 1);
    metric_add(&blue, 1);
    assert_int_equal(metric_get(&blue), 2);
    CLEANUP(xfree) char *text = metrics_text(&size);
    assert_int_equal(strlen(text), size);
    assert_has(text, "# HELP t_colours_total colours\n# TYPE t_colours_total counter\n"
                     "t_colours_total{colour=\"blue\"} 2\nt_colours_total{colour=\"red\"} 2\n");
    assert_has(text, "# HELP t_between a gauge\n# TYPE t_between gauge\nt_between -5\n");
    assert_int_equal(text[size - 1], '\n');
}

static void test_a_metric_that_was_never_used_is_absent(void **state UNUSED)
{
    static struct metric unused = METRIC_COUNTER("t_unused_total", "unused");
    size_t size;
    CLEANUP(xfree) char *text = metrics_text(&size);

    assert_null(strstr(text, unused.name));
}

static void test_a_histogram_adds_its_buckets_up(void **state UNUSED)
{
    static struct metric m = METRIC_HISTOGRAM("t_wait_seconds", "waiting");
    size_t size;

    metric_observe_us(&m, 0);
    metric_observe_us(&m, 40); /* at a bound: within it */
    metric_observe_us(&m, 41);
    metric_observe_us(&m, 30000000); /* over the last bound */
    CLEANUP(xfree) char *text = metrics_text(&size);
    assert_has(text, "# TYPE t_wait_seconds histogram\n");
    assert_has(text, "t_wait_seconds_bucket{le=\"4e-05\"} 2\n");
    assert_has(text, "t_wait_seconds_bucket{le=\"8e-05\"} 3\n");
    assert_has(text, "t_wait_seconds_bucket{le=\"20.9715\"} 3\n");
    assert_has(text, "t_wait_seconds_bucket{le=\"+Inf\"} 4\n");
    assert_has(text, "t_wait_seconds_sum 30.000081\n");
    assert_has(text, "t_wait_seconds_count 4\n");
}

enum { THREADS = 4, EACH = 10000 };
static struct metric shared = METRIC_COUNTER("t_shared_total", "shared");

static void *count_many(void *arg UNUSED)
{
    for (int i = 0; i < EACH; i++) {
        metric_add(&shared, 1);
        metric_count_event(i % 2 ? "t_odd" : "t_even");
    }
    return NULL;
}

static void test_threads_count_together(void **state UNUSED)
{
    pthread_t threads[THREADS];
    size_t size;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, NULL), 0);
    free(metrics_text(&size)); /* while they count */
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_get(&shared), THREADS * EACH);
    CLEANUP(xfree) char *text = metrics_text(&size);
    assert_has(text, "guildbus_log_events_total{event=\"t_even\"} 20000\n"
                     "guildbus_log_events_total{event=\"t_odd\"} 20000\n");
}

static void test_too_many_words_are_counted_as_other(void **state UNUSED)
{
    enum { MANY = 600 };
    static char words[MANY][16];
    size_t size;

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(words[i], sizeof(words[i]), "w%d", i);
        metric_count_event(words[i]);
    }
    CLEANUP(xfree) char *text = metrics_text(&size);
    assert_has(text, "guildbus_log_events_total{event=\"other\"} ");
    assert_has(text, "guildbus_log_events_total{event=\"w0\"} 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_family_is_described_once_and_stands_together),
        cmocka_unit_test(test_a_metric_that_was_never_used_is_absent),
        cmocka_unit_test(test_a_histogram_adds_its_buckets_up),
        cmocka_unit_test(test_threads_count_together),
        cmocka_unit_test(test_too_many_words_are_counted_as_other),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
