#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/turns.h"

struct guest {
    struct turn turn;
    int number;
};

static int next_number(struct turns *t)
{
    struct turn *turn = turns_next(t);

    return turn ? ((struct guest *)(void *)turn)->number : 0;
}

static void test_so_many_go_at_once_and_the_others_in_their_order(void **state UNUSED)
{
    struct guest g[4] = { { .number = 1 }, { .number = 2 }, { .number = 3 }, { .number = 4 } };
    struct turns t;

    turns_init(&t, 2);
    assert_true(turns_enter(&t));
    assert_true(turns_enter(&t));
    for (int i = 0; i < 3; i++) {
        assert_false(turns_enter(&t));
        turns_wait(&t, &g[i].turn);
    }
    assert_int_equal(next_number(&t), 0);
    turns_leave(&t);
    assert_false(turns_enter(&t)); /* nobody is overtaken */
    assert_int_equal(next_number(&t), 1);
    assert_int_equal(next_number(&t), 0);
    turns_leave(&t);
    turns_leave(&t);
    turns_wait(&t, &g[3].turn);
    assert_int_equal(next_number(&t), 2);
    assert_int_equal(next_number(&t), 3);
    turns_leave(&t);
    assert_int_equal(next_number(&t), 4);
    turns_leave(&t);
    turns_leave(&t);
    assert_true(turns_enter(&t));
}

static void test_who_gives_up_takes_no_turn(void **state UNUSED)
{
    struct guest g[2] = { { .number = 1 }, { .number = 2 } };
    struct turns t;

    turns_init(&t, 1);
    assert_true(turns_enter(&t));
    turns_wait(&t, &g[0].turn);
    turns_wait(&t, &g[1].turn);
    assert_ptr_equal(turns_give_up(&t), &g[0].turn);
    assert_ptr_equal(turns_give_up(&t), &g[1].turn);
    assert_null(turns_give_up(&t));
    turns_leave(&t);
    assert_null(turns_next(&t));
    turns_wait(&t, &g[0].turn);
    assert_int_equal(next_number(&t), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_so_many_go_at_once_and_the_others_in_their_order),
        cmocka_unit_test(test_who_gives_up_takes_no_turn),
    };
    return cmocka_run_group_tests_name("base/turns", tests, NULL, NULL);
}
