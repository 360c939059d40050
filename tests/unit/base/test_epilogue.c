/* test_epilogue.c - what is added in a turn runs once, at its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/epilogue.h"
#include "base/macros.h"

struct one {
    struct epilogue epilogue;
    int number;
    struct one *adds;
};

static int ran[8];
static size_t count;

static void note(struct epilogue *e)
{
    struct one *one = CONTAINER_OF(e, struct one, epilogue);

    ran[count++] = one->number;
    if (one->adds)
        assert_true(epilogue_add(&one->adds->epilogue));
}

static int setup(void **state UNUSED)
{
    count = 0;
    return 0;
}

static struct one one_new(int number, struct one *adds)
{
    return (struct one){ .epilogue.run = note, .number = number, .adds = adds };
}

static void test_outside_of_a_turn_nothing_is_taken(void **state UNUSED)
{
    struct one a = one_new(1, NULL);

    assert_false(epilogue_add(&a.epilogue));
    epilogue_begin();
    epilogue_end();
    assert_int_equal(count, 0);
}

static void test_each_runs_once_in_order_at_the_outermost_end(void **state UNUSED)
{
    struct one a = one_new(1, NULL), b = one_new(2, NULL);

    epilogue_begin();
    epilogue_begin();
    assert_true(epilogue_add(&b.epilogue));
    assert_true(epilogue_add(&a.epilogue));
    assert_true(epilogue_add(&b.epilogue));
    epilogue_end();
    assert_int_equal(count, 0);
    epilogue_end();
    assert_int_equal(count, 2);
    assert_int_equal(ran[0], 2);
    assert_int_equal(ran[1], 1);
}

static void test_one_that_runs_may_add_another_or_itself_next_time(void **state UNUSED)
{
    struct one b = one_new(2, NULL), a = one_new(1, &b);

    for (int turn = 0; turn < 2; turn++) {
        epilogue_begin();
        assert_true(epilogue_add(&a.epilogue));
        epilogue_end();
    }
    assert_int_equal(count, 4);
    assert_int_equal(ran[1], 2);
    assert_int_equal(ran[2], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_outside_of_a_turn_nothing_is_taken, setup),
        cmocka_unit_test_setup(test_each_runs_once_in_order_at_the_outermost_end, setup),
        cmocka_unit_test_setup(test_one_that_runs_may_add_another_or_itself_next_time, setup),
    };
    return cmocka_run_group_tests_name("epilogue", tests, NULL, NULL);
}
