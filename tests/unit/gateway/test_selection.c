/* test_selection.c - what is selected stays, all else is gone, and what is no JSON is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xmem.h"
#include "gateway/selection.h"

/* malloc'd; NULL: it was refused. The last byte that may be read and written is the last of d. */
static char *cut(const struct selection *s, const char *text)
{
    CLEANUP(xfree) char *d = xmemdup(text, strlen(text));
    size_t size = strlen(text), left = 0;
    char *into = xcalloc(size + 1, 1);

    if (!selection_cut(s, (struct span){ d, size }, into, &left)) {
        free(into);
        return NULL;
    }
    assert_true(left <= size);
    into[left] = '\0';
    return into;
}

static void check(const char *selected, const char *text, const char *expected)
{
    struct selection *s = selection_new(selected);
    CLEANUP(xfree) char *got = cut(s, text);

    selection_free(s);
    if (!expected)
        assert_null(got);
    else if (!got)
        fail_msg("refused: %s", text);
    else
        assert_string_equal(got, expected);
}

static void test_members_are_kept_in_their_order(void **state UNUSED)
{
    check("a c", "{\"c\":[1,{\"x\":2}],\"b\":\"}\",\"a\":\"\\\"\"}",
          "{\"c\":[1,{\"x\":2}],\"a\":\"\\\"\"}");
    check("a", " { \"b\" : 1 , \"a\" : null } ", NULL); /* a span begins with its value */
    check("a", "{ \"b\" : 1 , \"a\" : null }", "{\"a\":null}");
    check("a", "{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}");
    check("", "{\"a\":1}", "{}");
    check("a", "{}", "{}");
}

static void test_members_of_members(void **state UNUSED)
{
    check("author{id bot}", "{\"author\":{\"name\":\"x\",\"id\":\"5\"},\"id\":\"1\"}",
          "{\"author\":{\"id\":\"5\"}}");
    check("a{b{c}}", "{\"a\":{\"b\":{\"c\":1,\"d\":2},\"c\":3}}", "{\"a\":{\"b\":{\"c\":1}}}");
    check("list{id}", "{\"list\":[{\"id\":\"1\",\"x\":0},{\"x\":0},7,null]}",
          "{\"list\":[{\"id\":\"1\"},{},7,null]}");
    check("author{id}", "{\"author\":\"nobody\"}", "{\"author\":\"nobody\"}");
    check("id", "[{\"id\":\"1\",\"x\":0}]", "[{\"id\":\"1\"}]");
}

static void test_selections_are_united(void **state UNUSED)
{
    struct selection *s = selection_new("a b{c}");

    selection_add(s, "b{d} e");
    CLEANUP(xfree) char *got = cut(s, "{\"a\":1,\"b\":{\"c\":2,\"d\":3,\"x\":4},\"e\":5,\"f\":6}");
    assert_string_equal(got, "{\"a\":1,\"b\":{\"c\":2,\"d\":3},\"e\":5}");
    selection_free(s);
}

static void test_what_is_no_json_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",           "{",           "[",          "7",
        "null",       "{\"a\":1",    "{\"a\":1}x", "{\"b\":1]}",
        "{\"b\"}",    "{\"b\":}",    "{\"b\":[1}", "{b:1}",
        "{\"b\":01}", "{\"b\":1,,}", "[1 2]",      "{\"b\":\"\x01\"}"
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check("a", bad[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_kept_in_their_order),
        cmocka_unit_test(test_members_of_members),
        cmocka_unit_test(test_selections_are_united),
        cmocka_unit_test(test_what_is_no_json_is_refused),
    };
    return cmocka_run_group_tests_name("selection", tests, NULL, NULL);
}
