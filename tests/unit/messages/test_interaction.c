#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "messages/interaction.h"

static enum status parse(const char *text, struct interaction_head *head)
{
    return interaction_parse(text, strlen(text), head, NULL);
}

static void test_what_is_routed_by_is_read(void **state UNUSED)
{
    struct interaction_head h;

    assert_int_equal(
        parse("{\"id\":\"18446744073709551615\",\"type\":2,\"token\":\"t\",\"guild_id\":\"8138\"}",
              &h),
        STATUS_OK);
    assert_int_equal(h.id, UINT64_MAX);
    assert_int_equal(h.guild_id, 8138);
    assert_int_equal(h.type, INTERACTION_COMMAND);
}

static void test_a_direct_message_belongs_to_guild_0(void **state UNUSED)
{
    struct interaction_head h;

    assert_int_equal(parse("{\"id\":\"1\",\"type\":3,\"token\":\"t\"}", &h), STATUS_OK);
    assert_int_equal(h.guild_id, 0);
    assert_int_equal(parse("{\"id\":\"1\",\"type\":3,\"token\":\"t\",\"guild_id\":null}", &h),
                     STATUS_OK);
    assert_int_equal(h.guild_id, 0);
}

static void test_a_ping_needs_its_type_only(void **state UNUSED)
{
    struct interaction_head h;

    assert_int_equal(parse("{\"type\":1}", &h), STATUS_OK);
    assert_int_equal(h.type, INTERACTION_PING);
}

static void test_what_is_no_interaction_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "null",
        "2",
        "\"type\"",
        "{}",
        "{\"type\":2}",
        "{\"id\":\"1\",\"type\":2}",
        "{\"id\":\"1\",\"type\":2,\"token\":\"\"}",
        "{\"id\":\"1\",\"type\":2,\"token\":7}",
        "{\"id\":\"0\",\"type\":2,\"token\":\"t\"}",
        "{\"id\":\"x\",\"type\":2,\"token\":\"t\"}",
        "{\"id\":\"18446744073709551616\",\"type\":2,\"token\":\"t\"}",
        "{\"id\":\"1\",\"type\":0,\"token\":\"t\"}",
        "{\"id\":\"1\",\"type\":6,\"token\":\"t\"}",
        "{\"id\":\"1\",\"type\":-1,\"token\":\"t\"}",
        "{\"id\":\"1\",\"type\":4294967298,\"token\":\"t\"}",
        "{\"id\":\"1\",\"type\":\"2\",\"token\":\"t\"}",
        "{\"id\":\"1\",\"type\":2.0,\"token\":\"t\"}",
        "{\"id\":\"1\",\"type\":2,\"token\":\"t\",\"guild_id\":\"x\"}",
        "{\"id\":\"1\",\"type\":2,\"token\":\"t\",\"guild_id\":\"0\"}",
        "{\"id\":\"1\",\"type\":2,\"token\":\"t\",\"guild_id\":{}}",
        "{\"id\":\"1\",\"type\":2,\"token\":\"t\"} x",
        "{\"id\":\"1\",\"type\":2,\"token\":\"\xFF\"}",
    };
    struct interaction_head h;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (parse(bad[i], &h) != STATUS_INVALID)
            fail_msg("let through: %s", bad[i]);
    assert_int_equal(interaction_parse("{\"type\":1}\0", 11, &h, NULL), STATUS_INVALID);
    assert_int_equal(interaction_parse("{\"type\":1\0}", 11, &h, NULL), STATUS_INVALID);
}

static void test_timestamps_are_plain_seconds_of_about_now(void **state UNUSED)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        { "1000000", true },    { "999700", true },
        { "999699", false },    { "1000060", true },
        { "1000061", false },   { "", false },
        { "1000000 ", false },  { " 1000000", false },
        { "+1000000", false },  { "-1000000", false },
        { "0x0f4240", false },  { "1000000.0", false },
        { "1e6", false },       { "99999999999999999999", false },
        { "0001000000", true }, { "0000001000000", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (timestamp_is_current(cases[i].text, 1000000, 300, 60) != cases[i].good)
            fail_msg("timestamp \"%s\"", cases[i].text);
}

static void test_each_type_has_its_deferral(void **state UNUSED)
{
    static const struct {
        enum interaction_type type;
        int callback, flags;
    } cases[] = {
        { INTERACTION_COMMAND, 5, 64 },
        { INTERACTION_COMPONENT, 6, 0 },
        { INTERACTION_AUTOCOMPLETE, 8, 0 },
        { INTERACTION_MODAL, 5, 64 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(json_decref) json_t *root = NULL;
        const char *text = interaction_deferral(cases[i].type);
        assert_int_equal(json_parse(text, strlen(text), &root, NULL), STATUS_OK);
        assert_int_equal(json_int(root, "type", 0), cases[i].callback);
        assert_int_equal(json_int(json_object_get(root, "data"), "flags", 0), cases[i].flags);
    }
}

static void test_messages_are_for_their_sender_only_and_ping_nobody(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    CLEANUP(json_decref) json_t *root = NULL;
    const char *text = interaction_message(INTERACTION_COMPONENT, "not \"now\" @everyone", a);

    assert_int_equal(json_parse(text, strlen(text), &root, NULL), STATUS_OK);
    const json_t *data = json_object_get(root, "data");
    assert_int_equal(json_int(root, "type", 0), 4);
    assert_int_equal(json_int(data, "flags", 0), 64);
    assert_string_equal(json_str(data, "content"), "not \"now\" @everyone");
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(data, "allowed_mentions"), "parse")), 0);
    assert_string_equal(interaction_message(INTERACTION_AUTOCOMPLETE, "x", a),
                        "{\"type\":8,\"data\":{\"choices\":[]}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_routed_by_is_read),
        cmocka_unit_test(test_a_direct_message_belongs_to_guild_0),
        cmocka_unit_test(test_a_ping_needs_its_type_only),
        cmocka_unit_test(test_what_is_no_interaction_is_refused),
        cmocka_unit_test(test_timestamps_are_plain_seconds_of_about_now),
        cmocka_unit_test(test_each_type_has_its_deferral),
        cmocka_unit_test(test_messages_are_for_their_sender_only_and_ping_nobody),
    };
    return cmocka_run_group_tests_name("interaction", tests, NULL, NULL);
}
