/* filter.c - of a test program, only the tests that TEST_FILTER names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

__attribute__((constructor)) static void take_filter(void)
{
    cmocka_set_test_filter(getenv("TEST_FILTER"));
}
