#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/frame.h"

static enum status parse(const char *text, struct frame *ret)
{
    return frame_parse(text, strlen(text), ret, NULL);
}

static void test_a_dispatch_is_read(void **state UNUSED)
{
    struct frame f;
    assert_int_equal(
        parse(" {\"t\":\"MESSAGE_CREATE\",\"s\":42,\"op\":0,\"d\":{\"x\":[{\"id\":\"9\","
              "\"guild_id\":\"8\"}],\"id\":\"77\",\"guild_id\":\"18446744073709551615\"}} ",
              &f),
        STATUS_OK);
    assert_int_equal(f.op, 0);
    assert_true(f.has_seq);
    assert_int_equal(f.seq, 42);
    assert_string_equal(f.type, "MESSAGE_CREATE");
    assert_true(f.guild_id == UINT64_MAX);
    assert_int_equal(f.id, 77);
    assert_true(f.d.at[0] == '{' && f.d.at[f.d.size - 1] == '}');
}

static void test_nulls_and_absences_are_none(void **state UNUSED)
{
    struct frame f;
    assert_int_equal(parse("{\"op\":11,\"t\":null,\"s\":null,\"d\":null}", &f), STATUS_OK);
    assert_false(f.has_seq);
    assert_string_equal(f.type, "");
    assert_int_equal(f.guild_id, 0);
    assert_int_equal(parse("{\"op\":7}", &f), STATUS_OK);
    assert_int_equal(f.d.size, 0);
    assert_int_equal(parse("{\"op\":9,\"d\":true}", &f), STATUS_OK);
    assert_true(scan_is_true(f.d));
}

static void test_what_is_no_payload_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        " ",
        "null",
        "[]",
        "{}",
        "{\"op\":0",
        "{\"op\":0}x",
        "{\"op\":-1}",
        "{\"op\":1.5}",
        "{\"op\":\"0\"}",
        "{\"op\":0,}",
        "{\"op\":0 \"s\":1}",
        "{\"op\":0,\"d\":[1,]}",
        "{\"op\":0,\"d\":{\"a\"}}",
        "{\"op\":0,\"d\":{\"a\":01}}",
        "{\"op\":0,\"d\":tru}",
        "{\"op\":0,\"d\":\"\x01\"}",
        "{\"op\":0,\"d\":\"\\x\"}",
        "{\"op\":0,\"d\":\"\\u12g4\"}",
        "{\"op\":0,\"d\":\"\xC0\x80\"}",
        "{\"op\":0,\"d\":\"\xE0\x80\x80\"}",
        "{\"op\":0,\"d\":\"\xF0\x80\x80\x80\"}",
        "{\"op\":0,\"d\":\"\xF4\x90\x80\x80\"}",
        "{\"op\":0,\"d\":\"\xED\xA0\x80\"}",
        "{\"op\":0,\"d\":\"\xF5\x80\x80\x80\"}",
        "{\"op\":0,\"d\":\"\xE2\x82\"}",
        "{\"op\":0,\"d\":1.}",
        "{\"op\":0,\"d\":1e}",
        "{\"op\":0,\"d\":-}",
        "{\"op\":0,\"s\":-1}",
        "{\"op\":0,\"s\":18446744073709551616}",
        "{\"op\":0,\"t\":3}",
        "{\"op\":0,\"d\":{\"a\":1]}",
        "{\"op\":0,\"d\":[}",
        "{'op':0}",
    };
    struct frame f;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (parse(bad[i], &f) != STATUS_INVALID)
            fail_msg("taken: %s", bad[i]);
}

static void test_nesting_has_a_bound(void **state UNUSED)
{
    char text[2 * SCAN_DEPTH + 64];
    struct frame f;
    for (size_t depth = SCAN_DEPTH; depth <= SCAN_DEPTH + 1; depth++) {
        size_t n = (size_t)snprintf(text, sizeof(text), "{\"op\":0,\"d\":");
        memset(text + n, '[', depth);
        memset(text + n + depth, ']', depth);
        memcpy(text + n + 2 * depth, "}", 2);
        assert_int_equal(parse(text, &f), depth <= SCAN_DEPTH ? STATUS_OK : STATUS_INVALID);
    }
}

static void test_the_guild_of_an_event(void **state UNUSED)
{
    static const struct {
        const char *text;
        uint64_t guild;
    } rows[] = {
        { "{\"op\":0,\"t\":\"GUILD_CREATE\",\"d\":{\"id\":\"5\"}}", 5 },
        { "{\"op\":0,\"t\":\"GUILD_UPDATE\",\"d\":{\"id\":\"5\",\"guild_id\":\"6\"}}", 5 },
        { "{\"op\":0,\"t\":\"GUILD_DELETE\",\"d\":{\"id\":\"5\",\"unavailable\":true}}", 5 },
        { "{\"op\":0,\"t\":\"GUILD_ROLE_DELETE\",\"d\":{\"guild_id\":\"6\",\"role_id\":\"1\"}}",
          6 },
        { "{\"op\":0,\"t\":\"MESSAGE_CREATE\",\"d\":{\"id\":\"5\",\"guild_id\":\"6\"}}", 6 },
        { "{\"op\":0,\"t\":\"MESSAGE_CREATE\",\"d\":{\"id\":\"5\"}}", 0 },
        { "{\"op\":0,\"t\":\"MESSAGE_CREATE\",\"d\":{\"id\":\"5\",\"guild_id\":null}}", 0 },
        { "{\"op\":0,\"t\":\"USER_UPDATE\",\"d\":{\"id\":\"5\"}}", 0 },
    };
    struct frame f;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(parse(rows[i].text, &f), STATUS_OK);
        assert_int_equal(frame_guild(&f), rows[i].guild);
    }
}

static void test_the_last_of_equal_keys_wins(void **state UNUSED)
{
    struct frame f;
    assert_int_equal(parse("{\"op\":1,\"op\":0,\"d\":{\"guild_id\":\"1\",\"guild_id\":\"2\"}}", &f),
                     STATUS_OK);
    assert_int_equal(f.op, 0);
    assert_int_equal(f.guild_id, 2);
}

static void test_a_large_guild_is_cut(void **state UNUSED)
{
    static const char text[] =
        "{\"op\":0,\"t\":\"GUILD_CREATE\",\"d\":{ \"members\" : [{\"a\":\"]\"},{}] ,\"id\":\"5\","
        "\"presences\":[1,2],\"roles\":[{\"id\":\"5\",\"members\":[7]}],\"voice_states\":[]}}";
    struct frame f;
    assert_int_equal(parse(text, &f), STATUS_OK);
    char *cut = malloc(f.d.size + 1);
    assert_non_null(cut);
    cut[frame_cut_guild(f.d, cut)] = '\0';
    assert_string_equal(
        cut, "{ \"members\" : [] ,\"id\":\"5\",\"presences\":[],\"roles\":[{\"id\":\"5\","
             "\"members\":[7]}],\"voice_states\":[]}");
    free(cut);
}

static void test_members_are_found_and_walked(void **state UNUSED)
{
    struct frame f;
    struct scan_walk walk;
    struct span key, value;
    char text[16];
    uint64_t sum = 0;

    assert_int_equal(
        parse("{\"op\":0,\"d\":{\"session_id\":\"abc\",\"e\":\"a\\n\",\"guilds\":[{\"id\":\"3\"},"
              "{\"unavailable\":true,\"id\":\"4\"}]}}",
              &f),
        STATUS_OK);
    assert_true(scan_text(scan_member(f.d, "session_id"), text, sizeof(text)));
    assert_string_equal(text, "abc");
    assert_false(scan_text(scan_member(f.d, "session_id"), text, 3));
    assert_false(scan_text(scan_member(f.d, "e"), text, sizeof(text)));
    assert_false(scan_text(scan_member(f.d, "guilds"), text, sizeof(text)));
    assert_int_equal(scan_member(f.d, "none").size, 0);
    assert_true(scan_walk_start(scan_member(f.d, "guilds"), &walk));
    while (scan_walk_next(&walk, &key, &value))
        sum += scan_id(scan_member(value, "id"));
    assert_int_equal(sum, 7);
    assert_false(scan_walk_start(scan_member(f.d, "session_id"), &walk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dispatch_is_read),
        cmocka_unit_test(test_nulls_and_absences_are_none),
        cmocka_unit_test(test_what_is_no_payload_is_refused),
        cmocka_unit_test(test_nesting_has_a_bound),
        cmocka_unit_test(test_the_guild_of_an_event),
        cmocka_unit_test(test_the_last_of_equal_keys_wins),
        cmocka_unit_test(test_a_large_guild_is_cut),
        cmocka_unit_test(test_members_are_found_and_walked),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
