#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bus_url.h"
#include "base/macros.h"
#include "base/xmem.h"

static void test_shows_no_names_and_passwords(void **state UNUSED)
{
    char shown[64];

    assert_string_equal(bus_url_show("nats://u:p@a:1,b:2,tls://t@c:3", shown, sizeof(shown)),
                        "nats://a:1,b:2,tls://c:3");
    assert_string_equal(bus_url_show("nats://u:p@a:1,b:2", shown, 10), "nats://a:");
}

static void test_finds_the_host(void **state UNUSED)
{
    static const char *const urls[] = { "h:1", "nats://h:1", "nats://u@h:1", "u:p@x@h:1" };

    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        assert_string_equal(bus_url_host(urls[i], strlen(urls[i])), "h:1");
}

static void test_others_are_those_that_the_list_does_not_name(void **state UNUSED)
{
    static char a[] = "nats://a:1", b[] = "nats://b:2", c[] = "nats://c:3", c1[] = "nats://c:33";
    char *const told[] = { a, b, c, c1 };

    CLEANUP(xfree) char *others = bus_url_others("tls://u:p@a:1,nats://c:3", told, 4);
    assert_string_equal(others, "tls://u:p@b:2,tls://u:p@c:33");
    assert_null(bus_url_others("nats://a:1,b:2", told, 2));
    assert_null(bus_url_others("nats://a:1", NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shows_no_names_and_passwords),
        cmocka_unit_test(test_finds_the_host),
        cmocka_unit_test(test_others_are_those_that_the_list_does_not_name),
    };
    return cmocka_run_group_tests_name("base/bus_url", tests, NULL, NULL);
}
