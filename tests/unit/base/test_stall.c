#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/stall.h"
#include "loop_world.h"

enum { LONG_US = 600 * 1000 };

static long long stalls(void)
{
    static const char name[] = "guildbus_loop_stall_seconds_count ";
    size_t size;
    CLEANUP(xfree) char *text = metrics_text(&size);
    const char *at = strstr(text, name);

    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

static void some_callback(void)
{
}

static void test_what_takes_half_a_second_is_counted(void **state UNUSED)
{
    long long before = stalls();
    struct stall s;

    stall_forget(&s);
    s.from_us -= 1000000;
    stall_look(&s, "timer", some_callback);
    assert_int_equal(stalls(), before + 1);
    s.from_us = clock_now_us() + 1000000; /* whatever the machine does, that was short */
    stall_look(&s, "timer", some_callback);
    assert_int_equal(stalls(), before + 1);
}

static void test_what_was_due_and_not_done_is_counted(void **state UNUSED)
{
    long long before = stalls();
    int64_t now_us = clock_now_us();
    struct stall s = { .from_us = now_us - 5000000 };

    stall_begin(&s, INT64_MAX); /* it only waited */
    assert_int_equal(stalls(), before);
    s.from_us = now_us - 5000000;
    stall_begin(&s, now_us - 1000000);
    assert_int_equal(stalls(), before + 1);
    s.from_us = now_us + 1000000; /* the same once more, but it is known where the time went */
    stall_begin(&s, now_us - 1000000);
    assert_int_equal(stalls(), before + 1);
}

static void dawdle(void *ctx)
{
    usleep(LONG_US);
    if (ctx)
        loop_stop(ctx);
}

/* A timer and a letter. */
static void test_a_loop_tells_of_its_callbacks(void **state UNUSED)
{
    long long before = stalls();
    struct loop_world w;

    assert_int_equal(loop_new(&w.loop, NULL), STATUS_OK);
    struct loop_timer *timer = loop_timer_new(w.loop, dawdle, w.loop);
    loop_timer_start(timer, 0);
    loop_run(w.loop);
    assert_true(stalls() >= before + 1);
    before = stalls();
    loop_world_start(&w);
    loop_world_call(&w, dawdle, NULL);
    loop_world_stop(&w);
    assert_true(stalls() >= before + 1);
    loop_timer_free(timer);
    loop_free(w.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_takes_half_a_second_is_counted),
        cmocka_unit_test(test_what_was_due_and_not_done_is_counted),
        cmocka_unit_test(test_a_loop_tells_of_its_callbacks),
    };
    return cmocka_run_group_tests_name("base/stall", tests, NULL, NULL);
}
