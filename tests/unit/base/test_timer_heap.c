#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/idmap.h"
#include "base/timer_heap.h"

enum { COUNT = 1000 };

static void test_gives_out_in_order_of_time_and_only_what_is_due(void **state UNUSED)
{
    struct timer_heap *h = timer_heap_new();
    uint64_t id = 0;

    assert_true(timer_heap_next(h) == INT64_MAX);
    for (uint64_t i = 0; i < COUNT; i++)
        timer_heap_add(h, (int64_t)(i * 7919 % COUNT), i);
    assert_false(timer_heap_pop(h, -1, &id));
    for (int64_t at = 0; at < COUNT; at++) {
        assert_true(timer_heap_next(h) == at);
        assert_true(timer_heap_pop(h, at, &id));
        assert_int_equal(id * 7919 % COUNT, at);
        assert_false(timer_heap_pop(h, at, &id));
    }
    timer_heap_free(h);
}

static void remove_odd(void *ctx, uint64_t id, void *value UNUSED)
{
    if ((id >> 32) % 2)
        assert_non_null(idmap_remove(ctx, id));
}

static void test_a_map_keeps_what_was_put_and_survives_removal_while_visiting(void **state UNUSED)
{
    struct idmap *map = idmap_new();
    static int values[COUNT];

    for (uint64_t i = 0; i < COUNT; i++)
        assert_null(idmap_put(map, i << 32, &values[i]));
    assert_ptr_equal(idmap_put(map, 5ull << 32, &values[6]), &values[5]);
    assert_ptr_equal(idmap_get(map, 5ull << 32), &values[6]);
    assert_null(idmap_get(map, 5));
    idmap_each(map, remove_odd, map);
    assert_null(idmap_get(map, 5ull << 32));
    assert_ptr_equal(idmap_get(map, 4ull << 32), &values[4]);
    assert_int_equal(idmap_count(map), COUNT / 2);
    idmap_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gives_out_in_order_of_time_and_only_what_is_due),
        cmocka_unit_test(test_a_map_keeps_what_was_put_and_survives_removal_while_visiting),
    };
    return cmocka_run_group_tests_name("base/timer_heap", tests, NULL, NULL);
}
