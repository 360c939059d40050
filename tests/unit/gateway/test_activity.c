#include "tests/unit/gateway/feature_bench.h"

#define MESSAGE(content)                                                                           \
    "{\"id\":\"1000000000000000001\",\"channel_id\":\"500\",\"guild_id\":\"81384788765712384\","   \
    "\"author\":{\"id\":\"42\",\"username\":\"ann\"},\"type\":0,\"content\":\"" content "\"}"

static void bench_setup(struct bench *b)
{
    bench_start(b);
    assert_int_equal(
        bench_event(b, on_guild_create,
                    "{\"id\":\"81384788765712384\",\"name\":\"Home\",\"channels\":["
                    "{\"id\":\"500\",\"type\":0,\"name\":\"general\",\"parent_id\":\"400\"},"
                    "{\"id\":\"501\",\"type\":0,\"name\":\"lobby\",\"parent_id\":null},"
                    "{\"id\":\"400\",\"type\":4,\"name\":\"Talk\"}],\"threads\":["
                    "{\"id\":\"600\",\"type\":11,\"name\":\"t\",\"parent_id\":\"500\"}]}"),
        STATUS_OK);
}

static void test_message_becomes_a_row(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("hello [world](http://x) `a b`")),
                     STATUS_OK);
    assert_string_equal(
        bench_text(&b, "SELECT json_array(guild_id, message_id, author_id, channel_id,"
                       " channel_category, recipient_id, char_count, word_count, react_count,"
                       " sent_at, json(code_stats), json(link_stats)) FROM message_stats"),
        "[81384788765712384,1000000000000000001,42,500,\"Talk\",null,12,2,0,1658488979101,"
        "[{\"chars\":3,\"words\":2,\"lines\":1}],[\"http://x\"]]");
    bench_stop(&b);
}

static void test_same_message_twice_counts_once(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("one two")), STATUS_OK);
    assert_int_equal(bench_event(&b, on_reaction_add, "{\"message_id\":\"1000000000000000001\"}"),
                     STATUS_OK);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("one two")), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM message_stats"), 1);
    assert_int_equal(bench_int(&b, "SELECT react_count FROM message_stats"), 1);
    bench_stop(&b);
}

static void test_bots_webhooks_system_and_empty_messages_are_skipped(void **state UNUSED)
{
    static const char *const skipped[] = {
        MESSAGE(""),
        "{\"id\":\"1\",\"channel_id\":\"5\",\"author\":{\"id\":\"4\",\"bot\":true},\"type\":0,"
        "\"content\":\"x\"}",
        "{\"id\":\"1\",\"channel_id\":\"5\",\"author\":{\"id\":\"4\"},\"type\":0,\"content\":\"x\","
        "\"webhook_id\":\"4\"}",
        "{\"id\":\"1\",\"channel_id\":\"5\",\"author\":{\"id\":\"4\"},\"type\":7,\"content\":\"x\"}",
    };
    struct bench b;

    bench_setup(&b);
    for (size_t i = 0; i < ARRAY_LEN(skipped); i++)
        assert_int_equal(bench_event(&b, on_message_create, skipped[i]), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM message_stats"), 0);
    bench_stop(&b);
}

static void test_reply_names_its_recipient(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create,
                                 "{\"id\":\"9\",\"channel_id\":\"501\",\"author\":{\"id\":\"4\"},"
                                 "\"type\":19,\"content\":\"x\",\"referenced_message\":"
                                 "{\"id\":\"8\",\"author\":{\"id\":\"77\"}}}"),
                     STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT recipient_id FROM message_stats"), 77);
    assert_string_equal(bench_text(&b, "SELECT typeof(channel_category) FROM message_stats"),
                        "null");
    bench_stop(&b);
}

static void test_tracking_can_be_turned_off(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "UPDATE guilds SET settings = '{\"activityTracking\":false}'");
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM message_stats"), 0);
    bench_exec(&b, "UPDATE guilds SET settings = '{\"activityTracking\":true}'");
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM message_stats"), 1);
    bench_stop(&b);
}

static void test_settings_that_are_not_json_do_not_stop_tracking(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "UPDATE guilds SET settings = 'nonsense'");
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM message_stats"), 1);
    bench_stop(&b);
}

static void test_edit_counts_the_new_text_and_keeps_reactions(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
    assert_int_equal(bench_event(&b, on_reaction_add, "{\"message_id\":\"1000000000000000001\"}"),
                     STATUS_OK);
    assert_int_equal(bench_event(&b, on_message_update,
                                 "{\"id\":\"1000000000000000001\",\"content\":\"a b `c`\"}"),
                     STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT json_array(word_count, char_count, react_count,"
                                       " json(code_stats)) FROM message_stats"),
                        "[2,4,1,[{\"chars\":1,\"words\":1,\"lines\":1}]]");
    bench_stop(&b);
}

static void test_update_without_content_or_without_change_writes_nothing(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("one two")), STATUS_OK);
    int before = sqlite3_total_changes(bench_db(&b));
    assert_int_equal(
        bench_event(&b, on_message_update, "{\"id\":\"1000000000000000001\",\"embeds\":[]}"),
        STATUS_OK);
    assert_int_equal(bench_event(&b, on_message_update,
                                 "{\"id\":\"1000000000000000001\",\"content\":\"one two\"}"),
                     STATUS_OK);
    assert_int_equal(sqlite3_total_changes(bench_db(&b)), before);
    assert_int_equal(bench_int(&b, "SELECT word_count FROM message_stats"), 2);
    bench_stop(&b);
}

static void test_deleted_messages_lose_their_rows(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "INSERT INTO message_stats(guild_id, message_id, author_id, channel_id,"
                   " char_count, word_count, sent_at) VALUES (81384788765712384,1,1,1,1,1,1),"
                   " (81384788765712384,2,1,1,1,1,1), (81384788765712384,3,1,1,1,1,1),"
                   " (7,1,1,1,1,1,1)");
    assert_int_equal(bench_event(&b, on_message_delete, "{\"id\":\"1\"}"), STATUS_OK);
    assert_int_equal(bench_event(&b, on_message_delete_bulk, "{\"ids\":[\"2\",\"9\"]}"), STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT group_concat(guild_id || ':' || message_id)"
                                       " FROM message_stats"),
                        "7:1,81384788765712384:3");
    bench_stop(&b);
}

static void test_reactions_add_up_and_never_go_below_zero(void **state UNUSED)
{
    const char *reaction = "{\"message_id\":\"1000000000000000001\",\"user_id\":\"1\","
                           "\"emoji\":{\"id\":null,\"name\":\"x\"}}";
    const char *other = "{\"message_id\":\"1000000000000000001\",\"user_id\":\"2\","
                        "\"emoji\":{\"id\":null,\"name\":\"x\"}}";
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
    assert_int_equal(bench_event(&b, on_reaction_remove, reaction), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT react_count FROM message_stats"), 0);
    assert_int_equal(bench_event(&b, on_reaction_add, reaction), STATUS_OK);
    assert_int_equal(bench_event(&b, on_reaction_add, other), STATUS_OK);
    assert_int_equal(bench_event(&b, on_reaction_remove, reaction), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT react_count FROM message_stats"), 1);
    bench_stop(&b);
}

#define REACTION(user, emoji, more)                                                                \
    "{\"message_id\":\"1000000000000000001\",\"user_id\":\"" user "\",\"emoji\":" emoji more "}"
#define HEART "{\"id\":null,\"name\":\"\xe2\x9d\xa4\"}"

static int64_t reactions(struct bench *b)
{
    return bench_int(b, "SELECT react_count FROM message_stats");
}

static void test_a_reaction_that_comes_again_counts_once(void **state UNUSED)
{
    static const char *const different[] = {
        REACTION("1", HEART, ""),
        REACTION("2", HEART, ""),
        REACTION("1", "{\"id\":\"77\",\"name\":\"x\"}", ""),
        REACTION("1", "{\"id\":\"78\",\"name\":\"x\"}", ""),
        REACTION("1", HEART, ",\"burst\":true"),
    };
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
    for (size_t again = 0; again < 2; again++)
        for (size_t i = 0; i < ARRAY_LEN(different); i++)
            assert_int_equal(bench_event(&b, on_reaction_add, different[i]), STATUS_OK);
    assert_int_equal(reactions(&b), 5);
    assert_int_equal(b.last_rows, 0); /* the log does not grow by it */
    for (size_t again = 0; again < 2; again++)
        assert_int_equal(bench_event(&b, on_reaction_remove, different[0]), STATUS_OK);
    assert_int_equal(reactions(&b), 4);
    /* A removal of one that was there before we looked. */
    for (size_t again = 0; again < 2; again++)
        assert_int_equal(bench_event(&b, on_reaction_remove, REACTION("9", HEART, "")), STATUS_OK);
    assert_int_equal(reactions(&b), 3);
    bench_stop(&b);
}

/* As when another session says the last seconds again, in order. */
static void test_events_that_come_again_in_order_change_nothing(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
    assert_int_equal(bench_event(&b, on_reaction_add, REACTION("1", HEART, "")), STATUS_OK);
    for (size_t again = 0; again < 2; again++) {
        assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
        assert_int_equal(bench_event(&b, on_reaction_remove, REACTION("1", HEART, "")), STATUS_OK);
        assert_int_equal(bench_event(&b, on_reaction_add, REACTION("1", HEART, "")), STATUS_OK);
        assert_int_equal(bench_event(&b, on_reaction_add, REACTION("2", HEART, "")), STATUS_OK);
        assert_int_equal(reactions(&b), 2);
        assert_int_equal(bench_event(&b, on_message_update,
                                     "{\"id\":\"1000000000000000001\",\"content\":\"a b\"}"),
                         STATUS_OK);
    }
    assert_string_equal(bench_text(&b, "SELECT json_array(react_count, word_count)"
                                       " FROM message_stats"),
                        "[2,2]");
    for (size_t again = 0; again < 2; again++) {
        assert_int_equal(bench_event(&b, on_message_create, MESSAGE("x")), STATUS_OK);
        assert_int_equal(bench_event(&b, on_reaction_add, REACTION("3", HEART, "")), STATUS_OK);
        assert_int_equal(bench_event(&b, on_message_delete, "{\"id\":\"1000000000000000001\"}"),
                         STATUS_OK);
    }
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM message_stats"), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reactions_seen"), 0);
    bench_stop(&b);
}

static void test_reactions_to_unknown_messages_leave_nothing(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_reaction_add, REACTION("1", HEART, "")), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reactions_seen"), 0);
    bench_stop(&b);
}

static void test_guild_brings_its_name_and_channels(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_string_equal(bench_text(&b, "SELECT name FROM guilds"), "Home");
    assert_string_equal(bench_text(&b, "SELECT group_concat(id || name || coalesce(category, '-'))"
                                       " FROM channel_info"),
                        "400Talk-,500generalTalk,501lobby-,600tgeneral");
    bench_exec(&b, "UPDATE guilds SET settings = '{\"modLog\":\"1\"}'");
    assert_int_equal(bench_event(&b, on_guild_update, "{\"name\":\"House\"}"), STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT name || settings FROM guilds"),
                        "House{\"modLog\":\"1\"}");
    bench_stop(&b);
}

static void test_channels_are_followed(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_event(&b, on_channel,
                                 "{\"id\":\"502\",\"name\":\"new\",\"type\":0,"
                                 "\"parent_id\":\"400\"}"),
                     STATUS_OK);
    assert_int_equal(
        bench_event(&b, on_channel_update, "{\"id\":\"400\",\"name\":\"Chat\",\"type\":4}"),
        STATUS_OK);
    assert_int_equal(
        bench_event(&b, on_channel_update,
                    "{\"id\":\"500\",\"name\":\"main\",\"type\":0,\"parent_id\":null}"),
        STATUS_OK);
    assert_int_equal(bench_event(&b, on_channel_delete, "{\"id\":\"501\"}"), STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT group_concat(id || name || coalesce(category, '-'))"
                                       " FROM channel_info"),
                        "400Chat-,500main-,502newChat,600tmain");
    bench_stop(&b);
}

static void test_nonsense_is_refused(void **state UNUSED)
{
    static const event_handler all[] = {
#define EVENT(type, handler, members) handler,
#include "gateway/events.def"
#undef EVENT
    };
    static const char *const nonsense[] = {
        "null",
        "7",
        "\"x\"",
        "[]",
        "[[1]]",
        "{\"ids\":[1,{}]}",
        "{\"ids\":5,\"id\":{}}",
        "{\"id\":[],\"author\":7,\"channel_id\":{},\"content\":[]}",
        "{\"name\":\"x\",\"channels\":[7,null,[]]}",
    };
    struct bench b;

    bench_start(&b);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (size_t j = 0; j < ARRAY_LEN(nonsense); j++)
            if (bench_event(&b, all[i], nonsense[j]) != STATUS_OK)
                assert_int_equal(b.err.code, STATUS_INVALID);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM message_stats"), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM channel_info"), 0);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_becomes_a_row),
        cmocka_unit_test(test_same_message_twice_counts_once),
        cmocka_unit_test(test_bots_webhooks_system_and_empty_messages_are_skipped),
        cmocka_unit_test(test_reply_names_its_recipient),
        cmocka_unit_test(test_tracking_can_be_turned_off),
        cmocka_unit_test(test_settings_that_are_not_json_do_not_stop_tracking),
        cmocka_unit_test(test_edit_counts_the_new_text_and_keeps_reactions),
        cmocka_unit_test(test_update_without_content_or_without_change_writes_nothing),
        cmocka_unit_test(test_deleted_messages_lose_their_rows),
        cmocka_unit_test(test_reactions_add_up_and_never_go_below_zero),
        cmocka_unit_test(test_a_reaction_that_comes_again_counts_once),
        cmocka_unit_test(test_events_that_come_again_in_order_change_nothing),
        cmocka_unit_test(test_reactions_to_unknown_messages_leave_nothing),
        cmocka_unit_test(test_guild_brings_its_name_and_channels),
        cmocka_unit_test(test_channels_are_followed),
        cmocka_unit_test(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests_name("activity", tests, NULL, NULL);
}
