#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/identify.h"

static void test_each_identify_bucket_opens_once_in_five_seconds(void **state UNUSED)
{
    struct identify_buckets b = { .free_ms = { 0 } };
    assert_int_equal(identify_take(&b, 0, 2, 1000), 0);
    assert_int_equal(identify_take(&b, 1, 2, 1000), 0);
    assert_int_equal(identify_take(&b, 2, 2, 1100), IDENTIFY_EACH_MS - 100);
    assert_int_equal(identify_take(&b, 3, 2, 1100), IDENTIFY_EACH_MS - 100);
    assert_int_equal(identify_take(&b, 2, 2, 1000 + IDENTIFY_EACH_MS), 0);
    assert_true(IDENTIFY_EACH_MS >= 5000);
    assert_int_equal(identify_take(&b, 7, 100000, 1000),
                     0); /* more keys than buckets: slower, not wrong */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_identify_bucket_opens_once_in_five_seconds),
    };
    return cmocka_run_group_tests_name("identify", tests, NULL, NULL);
}
