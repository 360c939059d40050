#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/epoll.h>

#include "loop_world.h"

struct turn {
    struct loop *loop;
    struct loop_timer *timers[8];
    int order[8], count;
    int left;
};
struct entry {
    struct turn *turn;
    int number;
};

static void note(void *ctx)
{
    struct entry *e = ctx;

    e->turn->order[e->turn->count++] = e->number;
    if (e->turn->count == e->turn->left)
        loop_stop(e->turn->loop);
}

/* The delays are given in rising order, so that a test thread that is held up between two starts
 * only widens the distance of their times. */
static void test_timers_come_in_the_order_of_their_times(void **state UNUSED)
{
    static const int started[] = { 3, 7, 1, 6, 4, 2, 5, 0 };
    static const int order[] = { 3, 7, 1, 6, 2, 0 };
    CLEANUP(loop_free) struct loop *loop = NULL;
    struct entry entries[8];

    assert_int_equal(loop_new(&loop, NULL), STATUS_OK);
    struct turn t = { .loop = loop, .left = 6 };
    for (int i = 0; i < 8; i++) {
        entries[i] = (struct entry){ &t, i };
        t.timers[i] = loop_timer_new(loop, note, &entries[i]);
        loop_timer_start(t.timers[i], 60000 - i);
    }
    for (int i = 0; i < 8; i++)
        loop_timer_start(t.timers[started[i]], i); /* moves it */
    loop_timer_stop(t.timers[4]);
    loop_timer_stop(t.timers[5]);
    loop_timer_stop(t.timers[5]);
    loop_run(loop);
    assert_memory_equal(t.order, order, sizeof(order));
    for (int i = 0; i < 8; i++)
        loop_timer_free(t.timers[i]);
}

struct ticker {
    struct loop *loop;
    struct loop_timer *timer;
    int ticks;
};

static void tick(void *ctx)
{
    struct ticker *t = ctx;

    if (++t->ticks < 5) {
        loop_timer_start(t->timer, 0);
    } else {
        loop_timer_free(TAKE(t->timer));
        loop_stop(t->loop);
    }
}

static void test_a_timer_may_start_and_free_itself(void **state UNUSED)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    struct ticker t = { 0 };

    assert_int_equal(loop_new(&loop, NULL), STATUS_OK);
    t = (struct ticker){ .loop = loop, .timer = loop_timer_new(loop, tick, &t) };
    loop_timer_start(t.timer, 0);
    loop_run(loop);
    assert_int_equal(t.ticks, 5);
    assert_null(t.timer);
}

static void note_thread(void *ctx)
{
    *(pthread_t *)ctx = pthread_self();
}

static void test_letters_are_read_on_the_loops_thread(void **state UNUSED)
{
    struct loop_world w;
    pthread_t read_on;

    assert_int_equal(loop_new(&w.loop, NULL), STATUS_OK);
    loop_world_start(&w);
    loop_world_call(&w, note_thread, &read_on);
    assert_true(pthread_equal(read_on, w.thread));
    loop_world_stop(&w);
    loop_free(w.loop);
}

static void test_a_stop_before_the_run_ends_it_at_once(void **state UNUSED)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    struct ticker t = { 0 };

    assert_int_equal(loop_new(&loop, NULL), STATUS_OK);
    loop_stop(loop);
    loop_run(loop);
    /* … and only that run */
    t = (struct ticker){ .loop = loop, .timer = loop_timer_new(loop, tick, &t) };
    loop_timer_start(t.timer, 0);
    loop_run(loop);
    assert_int_equal(t.ticks, 5);
}

struct pipes {
    struct loop *loop;
    struct loop_watch *watches[2];
    int fds[2][2], calls;
};

/* Each of two ready descriptors removes the other: the second must not be called any more. */
static void on_pipe(void *ctx, uint32_t events)
{
    struct pipes *p = ctx;

    assert_true(events & EPOLLIN);
    p->calls++;
    loop_watch_free(TAKE(p->watches[0]));
    loop_watch_free(TAKE(p->watches[1]));
    loop_stop(p->loop);
}

static void test_a_watch_that_was_freed_is_not_called(void **state UNUSED)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    struct pipes p = { 0 };

    assert_int_equal(loop_new(&loop, NULL), STATUS_OK);
    p.loop = loop;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(p.fds[i]), 0);
        assert_int_equal(write(p.fds[i][1], "x", 1), 1);
        p.watches[i] = loop_watch_new(loop, p.fds[i][0], EPOLLIN, on_pipe, &p);
    }
    loop_run(loop);
    assert_int_equal(p.calls, 1);
    for (int i = 0; i < 2; i++) {
        close(p.fds[i][0]);
        close(p.fds[i][1]);
    }
}

static void count_up(void *ctx)
{
    ++*(int *)ctx;
}

static void test_what_belongs_to_the_loop_is_freed_with_it(void **state UNUSED)
{
    struct loop *loop = NULL;
    int freed = 0;

    assert_int_equal(loop_new(&loop, NULL), STATUS_OK);
    loop_on_free(loop, count_up, &freed);
    loop_on_free(loop, count_up, &freed);
    assert_int_equal(freed, 0);
    loop_free(loop);
    assert_int_equal(freed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_come_in_the_order_of_their_times),
        cmocka_unit_test(test_a_timer_may_start_and_free_itself),
        cmocka_unit_test(test_letters_are_read_on_the_loops_thread),
        cmocka_unit_test(test_a_stop_before_the_run_ends_it_at_once),
        cmocka_unit_test(test_a_watch_that_was_freed_is_not_called),
        cmocka_unit_test(test_what_belongs_to_the_loop_is_freed_with_it),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
