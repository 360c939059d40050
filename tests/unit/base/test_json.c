#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xmem.h"

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    struct err err = { .code = STATUS_OK };

    if (json_parse(text, strlen(text), &root, &err) != STATUS_OK)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static void test_ids_never_pass_through_a_double(void **state UNUSED)
{
    /* Each differs from its neighbours by less than a double can tell. */
    CLEANUP(json_decref)
    json_t *root = parse("{\"text\":\"9007199254740993\",\"number\":9007199254740993,"
                         "\"most\":\"18446744073709551615\",\"largest\":9223372036854775807}");

    assert_true(json_id(root, "text") == UINT64_C(9007199254740993));
    assert_true(json_id(root, "number") == UINT64_C(9007199254740993));
    assert_true(json_id(root, "most") == UINT64_MAX);
    assert_true(json_id(root, "largest") == (uint64_t)INT64_MAX);

    CLEANUP(json_decref) json_t *made = json_from_id(UINT64_MAX);
    assert_string_equal(json_string_value(made), "18446744073709551615");
}

static void test_what_is_no_id_reads_as_none(void **state UNUSED)
{
    CLEANUP(json_decref)
    json_t *root = parse("{\"a\":\"\",\"b\":\"0\",\"c\":\"-1\",\"d\":\"18446744073709551616\","
                         "\"e\":\"1.0\",\"f\":1.0,\"g\":null,\"h\":true,\"i\":-5,\"j\":\" 1\","
                         "\"k\":\"1e3\",\"l\":\"99999999999999999999999\",\"m\":[1]}");
    const char *key;
    json_t *value;

    json_object_foreach(root, key, value)
    {
        if (json_id(root, key) != 0)
            fail_msg("an id: %s", key);
    }
    assert_true(json_id(root, "absent") == 0);
    assert_true(json_id(NULL, "a") == 0);
    assert_true(json_id(json_object_get(root, "m"), "a") == 0);
}

static void test_readers_never_give_null(void **state UNUSED)
{
    CLEANUP(json_decref)
    json_t *root = parse("{\"s\":\"text\",\"i\":-7,\"t\":true,\"f\":false,\"r\":1.5,\"n\":null}");

    assert_string_equal(json_str(root, "s"), "text");
    assert_string_equal(json_str(root, "i"), "");
    assert_string_equal(json_str(root, "absent"), "");
    assert_string_equal(json_str(NULL, "s"), "");
    assert_int_equal(json_int(root, "i", 3), -7);
    assert_int_equal(json_int(root, "r", 3), 3);
    assert_int_equal(json_int(root, "absent", 3), 3);
    assert_true(json_bool(root, "t"));
    assert_false(json_bool(root, "f") || json_bool(root, "i") || json_bool(root, "absent"));
}

static void test_what_is_not_json_is_refused_with_its_place(void **state UNUSED)
{
    static const char *const bad[] = {
        "",        "{",       "{\"a\":1} x",
        "{'a':1}", "[1,]",    "\"\xff\"",
        "nul",     "[1e999]", "[99999999999999999999]",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *root = NULL;
        struct err err = { .code = STATUS_OK };
        if (json_parse(bad[i], strlen(bad[i]), &root, &err) != STATUS_INVALID)
            fail_msg("taken: %s", bad[i]);
        assert_null(root);
        assert_non_null(strstr(err.text, "line 1 column "));
    }
}

static void test_deep_nesting_is_refused(void **state UNUSED)
{
    enum { DEPTH = 100000 };
    CLEANUP(xfree) char *deep = xcalloc(1, DEPTH + 1);
    json_t *root = NULL;

    memset(deep, '[', DEPTH);
    assert_int_equal(json_parse(deep, DEPTH, &root, NULL), STATUS_INVALID);
}

static void test_text_is_compact_and_a_size_bounds_it(void **state UNUSED)
{
    json_t *root = NULL;
    static const char text[] = "{ \"a\" : [ 1, 2 ], \"b\" : \"\xc3\xa4\" }garbage";

    assert_int_equal(json_parse(text, sizeof(text) - 8, &root, NULL), STATUS_OK);
    CLEANUP(xfree) char *compact = json_text(root);
    assert_string_equal(compact, "{\"a\":[1,2],\"b\":\"\xc3\xa4\"}");
    json_decref(root);
    CLEANUP(xfree) char *nothing = json_text(NULL);
    assert_string_equal(nothing, "null");
}

static void test_decimal_text_is_an_id_only_when_plain(void **state UNUSED)
{
    static const char *const bad[] = {
        "", "0", "00", "+1", "-1", "1 ", "0x1", "18446744073709551616", "184467440737095516150"
    };
    uint64_t id = 42;

    assert_true(id_parse("18446744073709551615", &id) && id == UINT64_MAX);
    assert_true(id_parse("1", &id) && id == 1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (id_parse(bad[i], &id))
            fail_msg("taken: %s", bad[i]);
    }
    assert_int_equal(id, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_never_pass_through_a_double),
        cmocka_unit_test(test_what_is_no_id_reads_as_none),
        cmocka_unit_test(test_readers_never_give_null),
        cmocka_unit_test(test_what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(test_deep_nesting_is_refused),
        cmocka_unit_test(test_text_is_compact_and_a_size_bounds_it),
        cmocka_unit_test(test_decimal_text_is_an_id_only_when_plain),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
