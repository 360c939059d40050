#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/gateway_info.h"

static void test_gateway_facts_are_read_and_bounded(void **state UNUSED)
{
    struct gateway_facts f;
    const char *good =
        "{\"url\":\"wss://gateway.discord.gg\",\"shards\":9,\"session_start_limit\":{\"total\":1000,"
        "\"remaining\":999,\"reset_after\":14400000,\"max_concurrency\":16}}";
    assert_int_equal(gateway_facts_parse(good, strlen(good), &f, NULL), STATUS_OK);
    assert_string_equal(f.url, "wss://gateway.discord.gg");
    assert_int_equal(f.shards, 9);
    assert_int_equal(f.remaining, 999);
    assert_int_equal(f.max_concurrency, 16);
    const char *odd =
        "{\"url\":\"ws://x\",\"shards\":-3,\"session_start_limit\":{\"remaining\":0,\"max_concurrency\":0}}";
    assert_int_equal(gateway_facts_parse(odd, strlen(odd), &f, NULL), STATUS_OK);
    assert_int_equal(f.shards, 1);
    assert_int_equal(f.remaining, 0);
    assert_int_equal(f.max_concurrency, 1);
    assert_int_equal(gateway_facts_parse("{\"shards\":1}", 12, &f, NULL), STATUS_INVALID);
    assert_int_equal(gateway_facts_parse("<html>", 6, &f, NULL), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_facts_are_read_and_bounded),
    };
    return cmocka_run_group_tests_name("gateway_info", tests, NULL, NULL);
}
