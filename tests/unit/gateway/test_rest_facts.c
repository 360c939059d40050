#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "gateway/rest_facts.h"

static struct rest_facts read(int code, struct rest_headers headers, const char *body)
{
    struct rest_facts f;
    rest_facts_read(code, &headers, body, strlen(body), &f);
    return f;
}

static void test_headers_become_numbers(void **state UNUSED)
{
    struct rest_facts f = read(
        200, (struct rest_headers){ .bucket = "abcd", .remaining = "4", .reset_after = "1.250" },
        "{}");
    assert_string_equal(f.bucket, "abcd");
    assert_int_equal(f.remaining, 4);
    assert_in_range(f.reset_after_ms, 1250, 1251);
    assert_false(f.global || f.shared);
}

static void test_a_429_of_each_scope_is_told_apart(void **state UNUSED)
{
    static const char body[] = "{\"message\":\"…\",\"retry_after\":0.75,\"global\":false}";
    static const struct {
        const char *scope, *global;
        bool is_shared, is_global;
    } rows[] = {
        { "user", NULL, false, false },
        { "shared", NULL, true, false },
        { "global", NULL, false, true },
        { NULL, "true", false, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rest_facts f =
            read(429,
                 (struct rest_headers){
                     .scope = rows[i].scope, .global = rows[i].global, .retry_after = "1" },
                 body);
        assert_int_equal(f.shared, rows[i].is_shared);
        assert_int_equal(f.global, rows[i].is_global);
        assert_in_range(f.retry_after_ms, 1000, 1001);
    }
    struct rest_facts f = read(429, (struct rest_headers){ .retry_after = "1" },
                               "{\"retry_after\":64.57,\"global\":true}");
    assert_true(f.global);
    assert_in_range(f.retry_after_ms, 64570, 64571); /* the body is more exact */
}

static void test_a_429_without_json_is_cloudflares(void **state UNUSED)
{
    struct rest_facts f = read(429, (struct rest_headers){ .scope = "shared", .retry_after = "2" },
                               "<html>error code: 1015</html>");
    assert_true(f.global && !f.shared);
    assert_int_equal(f.retry_after_ms, REST_BANNED_MS);
    f = read(429, (struct rest_headers){ .retry_after = "900" }, "");
    assert_in_range(f.retry_after_ms, 900000, 900001);
}

static void test_nonsense_is_bounded(void **state UNUSED)
{
    static const char *const rows[] = {
        "", "-1", "nan", "inf", "1e400", "99999999999999999999", "0x1p9", "soon", "-inf", "1e-400"
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rest_headers h = { .remaining = rows[i],
                                  .reset_after = rows[i],
                                  .retry_after = rows[i] };
        struct rest_facts f = read(429, h, "{\"retry_after\":1e308}");
        assert_in_range(f.reset_after_ms, 0, REST_WAIT_MAX_MS);
        assert_int_equal(f.retry_after_ms, REST_WAIT_MAX_MS);
        assert_true(f.remaining >= -1);
    }
    assert_int_equal(read(0, (struct rest_headers){ .bucket = "x" }, "").remaining, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_become_numbers),
        cmocka_unit_test(test_a_429_of_each_scope_is_told_apart),
        cmocka_unit_test(test_a_429_without_json_is_cloudflares),
        cmocka_unit_test(test_nonsense_is_bounded),
    };
    return cmocka_run_group_tests_name("rest_facts", tests, NULL, NULL);
}
