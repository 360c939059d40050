#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/xmem.h"
#include "gateway/guild_cut.h"

enum { BUS = 1 << 20 };

static char *cut(const char *d, size_t most)
{
    const struct span span = { d, strlen(d) };
    char *into = xcalloc(1, span.size + 1);

    into[guild_cut(span, most, into)] = '\0';
    return into;
}

static const char guild[] =
    "{\"id\":\"5\", \"name\":\"a \\\"b\\\" \",\"members\":[{\"user\":{\"id\":\"1\"}}],\"large\":true,"
    "\"emojis\":[{\"id\":\"9\"}],\"channels\":[ {\"id\":\"6\",\"topic\":\"long\",\"type\":0,"
    "\"name\":\"c\",\"parent_id\":null,\"permission_overwrites\":[{\"id\":\"5\"}]},{}],"
    "\"threads\":[],\"roles\":[{\"id\":\"5\",\"permissions\":\"8\",\"tags\":{}},7],\"x\":{\"y\":1}}";

static void test_what_fits_loses_its_members_only(void **state UNUSED)
{
    CLEANUP(xfree) char *text = cut(guild, BUS);
    assert_non_null(strstr(text, "\"members\":[]"));
    assert_non_null(strstr(text, "\"emojis\":[{\"id\":\"9\"}]"));
    assert_non_null(strstr(text, "\"topic\":\"long\""));
}

static void test_what_is_too_large_keeps_what_owners_read(void **state UNUSED)
{
    CLEANUP(xfree) char *text = cut(guild, 10);
    assert_string_equal(
        text,
        "{\"id\":\"5\",\"name\":\"a \\\"b\\\" \",\"large\":true,\"channels\":[{\"id\":\"6\",\"type\":0,"
        "\"name\":\"c\",\"parent_id\":null},{}],\"threads\":[],\"roles\":[{\"id\":\"5\","
        "\"permissions\":\"8\"},7]}");
}

static void append(struct bytes *b, const char *text)
{
    bytes_append(b, text, strlen(text));
}

/* As large as Discord lets one be: 500 channels with topics of 1,024 characters in four bytes each,
 * 1,000 threads, 250 roles, 50 emojis, names of 100 characters. */
static void test_the_largest_guild_fits_on_the_bus(void **state UNUSED)
{
    CLEANUP(bytes_release) struct bytes b = { .size = 0 };
    char topic[4 * 1024 + 1], name[4 * 100 + 1], head[200];

    for (size_t i = 0; i < sizeof(topic) - 1; i++)
        topic[i] = "\xf0\x9f\xa6\xa6"[i % 4];
    topic[sizeof(topic) - 1] = '\0';
    memcpy(name, topic, sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    append(&b, "{\"id\":\"5\",\"name\":\"big\",\"members\":[]");
    for (int list = 0; list < 2; list++) {
        append(&b, list ? ",\"threads\":[" : ",\"channels\":[");
        for (int i = 0; i < (list ? 1000 : 500); i++) {
            (void)snprintf(head, sizeof(head),
                           "%s{\"id\":\"13000000000000%05d\",\"type\":%d,\"parent_id\":\"1300\",",
                           i ? "," : "", i, list ? 11 : 0);
            append(&b, head);
            append(&b, "\"topic\":\"");
            append(&b, topic);
            append(&b, "\",\"name\":\"");
            append(&b, name);
            append(&b, "\"}");
        }
        append(&b, "]");
    }
    append(&b, "}");
    bytes_append(&b, "", 1);
    assert_true(b.size > 4 << 20);

    CLEANUP(xfree) char *text = cut((const char *)b.data, BUS);
    CLEANUP(json_decref) json_t *root = NULL;
    assert_true(strlen(text) < BUS);
    assert_int_equal(json_parse(text, strlen(text), &root, NULL), STATUS_OK);
    assert_int_equal(json_array_size(json_object_get(root, "channels")), 500);
    assert_int_equal(json_array_size(json_object_get(root, "threads")), 1000);
    const json_t *last = json_array_get(json_object_get(root, "threads"), 999);
    assert_string_equal(json_str(last, "name"), name);
    assert_int_equal(json_id(last, "parent_id"), 1300);
}

static void test_odd_shapes_stay_json(void **state UNUSED)
{
    static const char *const rows[][2] = {
        { "{}", "{}" },
        { "{\"channels\":{}}", "{}" },
        { "{\"channels\":7,\"roles\":[[1],2]}", "{\"channels\":7,\"roles\":[[1],2]}" },
        { "{\"a\":[],\"id\":\"1\"}", "{\"id\":\"1\"}" },
        { "null", "null" },
        { "[1]", "[1]" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(xfree) char *text = cut(rows[i][0], 0);
        assert_string_equal(text, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits_loses_its_members_only),
        cmocka_unit_test(test_what_is_too_large_keeps_what_owners_read),
        cmocka_unit_test(test_the_largest_guild_fits_on_the_bus),
        cmocka_unit_test(test_odd_shapes_stay_json),
    };
    return cmocka_run_group_tests_name("guild_cut", tests, NULL, NULL);
}
