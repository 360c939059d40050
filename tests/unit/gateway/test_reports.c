#include "tests/unit/gateway/feature_bench.h"

#define MODERATOR "\"permissions\":\"8192\",\"roles\":[]"
#define MEMBER    "\"permissions\":\"2048\",\"roles\":[\"71\"]"

/* An interaction up to its data's name. */
#define HEAD                                                                                       \
    "{\"id\":\"1\",\"type\":2,\"token\":\"t\",\"member\":{\"permissions\":\"8\",\"user\":{\"id\":\"7\"}},\"data\":{\"name\":\"x\""

/* A message menu used on a message of user 42 (bob) in channel 500. */
static const char *menu(const char *name, uint64_t message_id, const char *member)
{
    static char json[2048];

    snprintf(json, sizeof(json),
             "{\"id\":\"1\",\"type\":2,\"token\":\"tok\",\"channel_id\":\"500\",\"member\":{"
             "\"user\":{\"id\":\"770077\",\"username\":\"zoe\"},%s},\"data\":{\"type\":3,"
             "\"name\":\"%s\",\"target_id\":\"%" PRIu64 "\",\"resolved\":{\"messages\":{\"%" PRIu64
             "\":{\"id\":\"%" PRIu64 "\",\"channel_id\":\"500\",\"content\":\"bad "
             "http://spam.test\\n`word` and more\",\"author\":{\"id\":\"42\",\"username\":\"bob\"},"
             "\"attachments\":[{\"filename\":\"a.png\",\"url\":\"https://cdn.test/a\","
             "\"size\":2048}],\"reactions\":[{\"emoji\":{\"name\":\"x\"},\"count\":3}]}}}}}",
             member, name, message_id, message_id, message_id);
    return json;
}

static const char *button(const char *report_id, const char *member)
{
    static char json[1024];

    snprintf(json, sizeof(json),
             "{\"id\":\"2\",\"type\":3,\"token\":\"tok\",\"channel_id\":\"500\",\"member\":{"
             "\"user\":{\"id\":\"770077\",\"username\":\"zoe\"},%s},\"data\":{"
             "\"custom_id\":\"delete-tracked|%s\",\"component_type\":2}}",
             member, report_id);
    return json;
}

static uint64_t sent_minutes_ago(int minutes)
{
    return (uint64_t)(NOW_MS - minutes * INT64_C(60000) - INT64_C(1420070400000)) << 22;
}

static void bench_setup(struct bench *b)
{
    bench_start(b);
    bench_exec(b, "INSERT INTO guilds VALUES (81384788765712384, 'Home',"
                  " '{\"modLog\":\"300\",\"moderator\":\"71\"}')");
}

static void report(struct bench *b, uint64_t message_id)
{
    assert_int_equal(bench_interact(b, command_report, menu("Report", message_id, MEMBER)),
                     STATUS_OK);
}

static void expect_action(struct bench *b, int n, const char *path, const char *continuation)
{
    struct bench_action *a = bench_action(b, n);

    assert_string_equal(a->method, "POST");
    assert_string_equal(a->path, path);
    assert_string_equal(a->continuation, continuation);
}

/* A body posted as message 1001 into thread 900, and what follows it. */
static void post_all(struct bench *b)
{
    assert_int_equal(bench_answer(b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bench_answer(b, 0, 200, "{\"id\":\"1002\"}"), STATUS_OK);
}

static void test_report_goes_its_whole_way(void **state UNUSED)
{
    struct bench b;
    uint64_t message = sent_minutes_ago(3);

    bench_setup(&b);
    report(&b, message);
    assert_non_null(strstr(b.callback, "anonymously"));
    assert_non_null(strstr(b.callback, "\"type\":4"));
    assert_non_null(strstr(b.callback, "\"flags\":64"));
    assert_string_equal(
        bench_text(&b, "SELECT json_array(reported_channel_id, reported_user_id, log_message_id,"
                       " log_channel_id, reason, staff_id, staff_username, extra, created_at,"
                       " deleted_at, length(id), substr(id, 15, 1)) FROM reported_messages"),
        "[500,42,0,0,\"anonReport\",null,null,null,\"2026-03-10T12:00:00.000Z\",null,36,\"4\"]");

    assert_int_equal(bench_action_count(&b), 1);
    expect_action(&b, 0, "/channels/300/threads", "report_thread");
    assert_string_equal(bench_action(&b, 0)->body, "{\"name\":\"bob logs\",\"type\":11,"
                                                   "\"auto_archive_duration\":10080}");
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT user_id || ' ' || thread_id FROM user_threads"),
                        "42 900");

    expect_action(&b, 0, "/channels/900/messages", "report_body");
    char expected[600];
    snprintf(expected, sizeof(expected),
             "{\"content\":\"-# reported anonymously\\nhttps://discord.com/channels/%" PRIu64
             "/500/%" PRIu64 " by <@42> (bob)\\n-# 3 minutes ago · <t:%" PRId64 ":R>\","
             "\"allowed_mentions\":{\"parse\":[],\"roles\":[\"71\"]}}",
             GUILD, message, (NOW_MS - 180000) / 1000);
    assert_string_equal(bench_action(&b, 0)->body, expected);
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    assert_string_equal(bench_text(&b, "SELECT log_message_id || ' ' || log_channel_id"
                                       " FROM reported_messages"),
                        "1001 900");

    expect_action(&b, 0, "/channels/900/messages", "report_quote");
    assert_string_equal(bench_action(&b, 0)->body,
                        "{\"content\":\"> bad http://spam.test\\n> \\\\`word` and more\","
                        "\"allowed_mentions\":{\"parse\":[]},\"embeds\":[{\"description\":"
                        "\"2.0 kB: [a.png](https://cdn.test/a)\"},{\"fields\":[{\"name\":\"x\","
                        "\"value\":\"3\",\"inline\":true}]}]}");
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1002\"}"), STATUS_OK);

    expect_action(&b, 0, "/channels/300/messages", "report_forward");
    assert_string_equal(bench_action(&b, 0)->body,
                        "{\"message_reference\":{\"type\":1,\"channel_id\":\"900\","
                        "\"message_id\":\"1001\"}}");
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1003\"}"), STATUS_OK);

    expect_action(&b, 0, "/channels/300/messages", "report_summary");
    snprintf(expected, sizeof(expected),
             "{\"content\":\"bad <http://spam.test>\\\\n`word` and more\\n-# [14 chars in 3 words."
             " 1 links, 1 lines of code. 1 attachments, 1 reactions]"
             "(<https://discord.com/channels/%" PRIu64 "/900/1001>)\","
             "\"allowed_mentions\":{\"parse\":[]}}",
             GUILD);
    assert_string_equal(bench_action(&b, 0)->body, expected);
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1004\"}"), STATUS_OK);

    assert_int_equal(bench_action_count(&b), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 0);
    bench_stop(&b);
}

static void test_who_reports_anonymously_is_written_nowhere(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    report(&b, 1000);
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    struct bench_action *a = bench_action(&b, 0);
    assert_null(strstr(a->body, "zoe"));
    assert_null(strstr(a->body, "770077"));
    assert_int_equal(
        bench_int(&b, "SELECT count(*) FROM reported_messages AS r, report_drafts AS d WHERE"
                      " coalesce(r.staff_id, '') || coalesce(r.staff_username, '') <> '' OR"
                      " d.body || d.quote || d.summary LIKE '%zoe%'"),
        0);
    bench_stop(&b);
}

static void test_track_names_the_moderator_and_offers_the_button(void **state UNUSED)
{
    struct bench b;
    char expected[128];

    bench_setup(&b);
    assert_int_equal(bench_interact(&b, command_track, menu("Track", 1000, MODERATOR)), STATUS_OK);
    assert_string_equal(
        bench_text(&b, "SELECT reason || staff_id || staff_username FROM reported_messages"),
        "track770077zoe");
    snprintf(expected, sizeof(expected), "\"custom_id\":\"delete-tracked|%s\"",
             bench_text(&b, "SELECT id FROM reported_messages"));
    assert_non_null(strstr(b.callback, expected));
    assert_non_null(strstr(b.callback, "\"content\":\"Tracked.\""));

    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    assert_non_null(strstr(bench_action(&b, 0)->body, "-# zoe tracked\\n"));
    post_all(&b);
    assert_int_equal(bench_interact(&b, command_track, menu("Track", 1001, MODERATOR)), STATUS_OK);
    assert_non_null(strstr(b.callback, "Tracked in <#900>."));
    bench_stop(&b);
}

static void test_track_is_for_moderators(void **state UNUSED)
{
    static const char *const allowed[] = { "\"permissions\":\"8\"", "\"permissions\":\"8192\"",
                                           MEMBER };
    struct bench b;

    bench_setup(&b);
    assert_int_equal(
        bench_interact(&b, command_track,
                       menu("Track", 1000, "\"permissions\":\"2048\",\"roles\":[\"7\"]")),
        STATUS_OK);
    assert_non_null(strstr(b.callback, "Only moderators"));
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 0);
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        assert_int_equal(bench_interact(&b, command_track, menu("Track", 1000 + i, allowed[i])),
                         STATUS_OK);
        assert_non_null(strstr(b.callback, "Tracked"));
    }
    bench_stop(&b);
}

static void test_without_setup_nothing_is_filed(void **state UNUSED)
{
    struct bench b;

    bench_start(&b);
    report(&b, 1000);
    assert_non_null(strstr(b.callback, "/setup"));
    bench_exec(&b, "INSERT INTO guilds VALUES (81384788765712384, '', '{\"modLog\":\"1\"}')");
    report(&b, 1000);
    assert_non_null(strstr(b.callback, "/setup"));
    b.unit.guild_id = 0;
    report(&b, 1000);
    assert_non_null(strstr(b.callback, "servers only"));
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 0);
    assert_int_equal(bench_action_count(&b), 0);
    bench_stop(&b);
}

static void test_the_same_report_again_is_a_line_below_the_first(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    report(&b, 1000);
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    post_all(&b);
    report(&b, 1000);
    assert_non_null(strstr(b.callback, "anonymously"));
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 1);
    assert_int_equal(bench_action_count(&b), 1);
    expect_action(&b, 0, "/channels/900/messages", "report_note");
    assert_string_equal(bench_action(&b, 0)->body,
                        "{\"content\":\"-# reported anonymously\",\"allowed_mentions\":{"
                        "\"parse\":[]},\"message_reference\":{\"message_id\":\"1001\","
                        "\"fail_if_not_exists\":false}}");
    assert_int_equal(bench_answer(&b, 0, 500, NULL), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 0);
    bench_stop(&b);
}

static void test_messages_carry_a_nonce(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    report(&b, 1000);
    assert_false(bench_action(&b, 0)->has_nonce);
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    for (int i = 0; i < 4; i++) {
        assert_true(bench_action(&b, 0)->has_nonce);
        assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    }
    bench_stop(&b);
}

static void test_many_waiting_reports_are_posted_a_few_at_a_time(void **state UNUSED)
{
    struct bench b;
    size_t largest = 0;

    bench_setup(&b);
    for (uint64_t i = 0; i < 40; i++)
        report(&b, 1000 + i);
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 8);
    while (bench_action_count(&b)) {
        assert_in_range(bench_action_count(&b), 1, 40 * 4);
        assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
        largest = b.last_rows > largest ? b.last_rows : largest;
    }
    assert_in_range(largest, 1, 64 * 1024);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " log_message_id = 1001"),
                     40);
    bench_stop(&b);
}

static void test_another_reason_is_a_report_of_its_own(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    report(&b, 1000);
    assert_int_equal(bench_interact(&b, command_track, menu("Track", 1000, MODERATOR)), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 2);
    bench_stop(&b);
}

static void test_the_same_report_while_it_is_being_posted_changes_nothing(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    report(&b, 1000);
    report(&b, 1000);
    assert_int_equal(bench_action_count(&b), 1);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 1);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 1);
    bench_stop(&b);
}

static void test_concurrent_reports_of_a_user_share_one_thread(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    for (uint64_t i = 0; i < 5; i++)
        report(&b, 1000 + i);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 5);
    assert_int_equal(bench_action_count(&b), 1);
    expect_action(&b, 0, "/channels/300/threads", "report_thread");
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 5);
    for (int i = 0; i < 5; i++)
        expect_action(&b, i, "/channels/900/messages", "report_body");

    report(&b, 2000);
    assert_int_equal(bench_action_count(&b), 6);
    expect_action(&b, 5, "/channels/900/messages", "report_body");
    while (bench_action_count(&b))
        assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"
                                   " WHERE log_channel_id = 900 AND log_message_id = 1001"),
                     6);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 0);
    bench_stop(&b);
}

static void test_a_thread_that_cannot_be_made_leaves_the_rows(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    report(&b, 1000);
    report(&b, 1001);
    assert_int_equal(bench_answer(&b, 0, 403, "{\"code\":50013}"), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM user_threads"), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " log_message_id = 0"),
                     2);

    report(&b, 1000); /* tries again, under the same id */
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 2);
    expect_action(&b, 0, "/channels/300/threads", "report_thread");
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    post_all(&b);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " log_message_id = 1001"),
                     1);
    bench_stop(&b);
}

static void test_a_lost_thread_is_made_anew_once(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 800, '')");
    report(&b, 1000);
    expect_action(&b, 0, "/channels/800/messages", "report_body");
    assert_int_equal(bench_answer(&b, 0, 404, "{\"code\":10003}"), STATUS_OK);
    expect_action(&b, 0, "/channels/300/threads", "report_thread");
    assert_int_equal(bench_answer(&b, 0, 201, "{\"id\":\"900\"}"), STATUS_OK);
    expect_action(&b, 0, "/channels/900/messages", "report_body");

    assert_int_equal(bench_answer(&b, 0, 404, "{\"code\":10003}"), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 0);
    assert_int_equal(bench_int(&b, "SELECT log_message_id FROM reported_messages"), 0);
    bench_stop(&b);
}

static void test_reports_that_find_the_thread_lost_share_the_new_one(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 800, '')");
    report(&b, 1000);
    report(&b, 1001);
    report(&b, 1002);
    assert_int_equal(bench_answer(&b, 0, 404, NULL), STATUS_OK); /* 1000: makes a thread */
    assert_int_equal(bench_answer(&b, 0, 404, NULL), STATUS_OK); /* 1001: waits for it */
    assert_int_equal(bench_action_count(&b), 2);
    expect_action(&b, 0, "/channels/800/messages", "report_body");
    expect_action(&b, 1, "/channels/300/threads", "report_thread");
    assert_int_equal(bench_answer(&b, 1, 201, "{\"id\":\"900\"}"), STATUS_OK);
    assert_int_equal(bench_answer(&b, 0, 404, NULL), STATUS_OK); /* 1002: it is there already */
    assert_int_equal(bench_action_count(&b), 3);
    while (bench_action_count(&b)) {
        assert_null(strstr(bench_action(&b, 0)->path, "threads"));
        assert_null(strstr(bench_action(&b, 0)->path, "800"));
        assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    }
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " log_channel_id = 900"),
                     3);
    bench_stop(&b);
}

static void test_a_body_that_is_refused_ends_the_posting(void **state UNUSED)
{
    static const int codes[] = { 0, 400, 403, 500, 200 };
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 800, '')");
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        report(&b, 1000 + i);
        assert_int_equal(bench_answer(&b, 0, codes[i], codes[i] == 200 ? "[7]" : NULL), STATUS_OK);
        assert_int_equal(bench_action_count(&b), 0);
    }
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 5);
    bench_stop(&b);
}

static void test_failures_after_the_body_do_not_stop_the_rest(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 800, '')");
    report(&b, 1000);
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    assert_int_equal(bench_answer(&b, 0, 400, NULL), STATUS_OK);
    expect_action(&b, 0, "/channels/300/messages", "report_forward");
    assert_int_equal(bench_answer(&b, 0, 403, NULL), STATUS_OK);
    expect_action(&b, 0, "/channels/300/messages", "report_summary");
    assert_int_equal(bench_answer(&b, 0, 0, NULL), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 0);
    bench_stop(&b);
}

static void test_a_mod_log_taken_away_ends_the_posting(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 800, '')");
    report(&b, 1000);
    report(&b, 1001);
    bench_exec(&b, "UPDATE guilds SET settings = '{}'");
    assert_int_equal(bench_answer(&b, 1, 404, NULL), STATUS_OK);
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1002\"}"), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 0);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM report_drafts"), 0);
    bench_stop(&b);
}

static void test_results_of_reports_that_are_gone_are_ignored(void **state UNUSED)
{
    static const continuation_handler all[] = { on_report_body, on_report_quote, on_report_forward,
                                                on_report_summary, on_report_note };
    struct action_result result = { .code = 200, .state = "nobody" };
    struct bench b;

    bench_setup(&b);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        bench_begin(&b);
        assert_int_equal(bench_end(&b, all[i](&b.unit, &result, &b.err)), STATUS_OK);
    }
    assert_int_equal(bench_action_count(&b), 0);
    bench_stop(&b);
}

static void test_forwarded_message_and_poll_are_quoted(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    bench_exec(&b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 800, '')");
    assert_int_equal(
        bench_interact(&b, command_report,
                       HEAD
                       ",\"type\":3,\"target_id\":"
                       "\"5\",\"resolved\":{\"messages\":{\"5\":{\"content\":\"\",\"channel_id\":"
                       "\"500\",\"author\":{\"id\":\"42\",\"username\":\"bob\"},"
                       "\"message_reference\":{\"type\":1},\"message_snapshots\":[{\"message\":{"
                       "\"content\":\"told\\nelsewhere\"}}]}}}}}"),
        STATUS_OK);
    assert_non_null(strstr(bench_action(&b, 0)->body, "(bob) (forwarded)\\n"));
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    assert_non_null(strstr(bench_action(&b, 0)->body, "\"> told\\n> elsewhere\""));
    bench_forget_actions(&b);

    assert_int_equal(
        bench_interact(&b, command_report,
                       HEAD
                       ",\"type\":3,\"target_id\":"
                       "\"6\",\"resolved\":{\"messages\":{\"6\":{\"content\":\"\",\"channel_id\":"
                       "\"500\",\"author\":{\"id\":\"42\",\"username\":\"bob\"},\"poll\":{"
                       "\"question\":{\"text\":\"Tea?\"},\"answers\":[{\"poll_media\":{\"text\":"
                       "\"yes\"}},{\"poll_media\":{\"text\":\"no\"}}]}}}}}}"),
        STATUS_OK);
    assert_int_equal(bench_answer(&b, 0, 200, "{\"id\":\"1001\"}"), STATUS_OK);
    assert_non_null(strstr(bench_action(&b, 0)->body, "\"> Tea?\\n> - yes\\n> - no\""));
    bench_stop(&b);
}

/* A tracked message whose report is posted; *id is its report's. */
static void track_posted(struct bench *b, char id[40])
{
    bench_exec(b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 800, '')");
    assert_int_equal(bench_interact(b, command_track, menu("Track", 1000, MODERATOR)), STATUS_OK);
    post_all(b);
    snprintf(id, 40, "%s", bench_text(b, "SELECT id FROM reported_messages"));
}

static void test_the_button_deletes_the_message(void **state UNUSED)
{
    struct bench b;
    char id[40];

    bench_setup(&b);
    track_posted(&b, id);
    report(&b, 1000); /* another report of the message */
    bench_forget_actions(&b);
    assert_int_equal(bench_interact(&b, component_delete_tracked, button(id, MODERATOR)),
                     STATUS_OK);
    assert_non_null(strstr(b.callback, "\"type\":7"));
    assert_non_null(strstr(b.callback, "\"components\":[]"));
    struct bench_action *a = bench_action(&b, 0);
    assert_string_equal(a->method, "DELETE");
    assert_string_equal(a->path, "/channels/500/messages/1000");
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " deleted_at IS NOT NULL"),
                     0);

    assert_int_equal(bench_answer(&b, 0, 204, NULL), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " deleted_at = '2026-03-10T12:00:00.000Z'"),
                     2);
    a = bench_action(&b, 0);
    assert_string_equal(a->method, "PATCH");
    assert_string_equal(a->path, "/webhooks/900/tok/messages/@original");
    assert_non_null(strstr(a->body, "The message is deleted."));
    expect_action(&b, 1, "/channels/800/messages", "report_note");
    assert_non_null(strstr(bench_action(&b, 1)->body, "-# deleted by zoe"));
    assert_non_null(strstr(bench_action(&b, 1)->body, "\"message_id\":\"1001\""));
    bench_stop(&b);
}

static void test_a_message_that_is_gone_counts_as_deleted(void **state UNUSED)
{
    struct bench b;
    char id[40];

    bench_setup(&b);
    track_posted(&b, id);
    assert_int_equal(bench_interact(&b, component_delete_tracked, button(id, MODERATOR)),
                     STATUS_OK);
    assert_int_equal(bench_answer(&b, 0, 404, "{\"code\":10008}"), STATUS_OK);
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " deleted_at IS NOT NULL"),
                     1);
    bench_stop(&b);
}

static void test_a_deletion_that_fails_is_told(void **state UNUSED)
{
    struct bench b;
    char id[40];

    bench_setup(&b);
    track_posted(&b, id);
    assert_int_equal(bench_interact(&b, component_delete_tracked, button(id, MODERATOR)),
                     STATUS_OK);
    assert_int_equal(bench_answer(&b, 0, 403, NULL), STATUS_OK);
    assert_int_equal(bench_action_count(&b), 1);
    assert_non_null(strstr(bench_action(&b, 0)->body, "could not be deleted"));
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages WHERE"
                                   " deleted_at IS NOT NULL"),
                     0);
    bench_stop(&b);
}

static void test_the_button_is_for_moderators_and_for_reports_that_are_there(void **state UNUSED)
{
    struct bench b;
    char id[40];

    bench_setup(&b);
    track_posted(&b, id);
    assert_int_equal(
        bench_interact(&b, component_delete_tracked, button(id, "\"permissions\":\"2048\"")),
        STATUS_OK);
    assert_non_null(strstr(b.callback, "Only moderators"));
    assert_int_equal(bench_interact(&b, component_delete_tracked, button("x", MODERATOR)),
                     STATUS_OK);
    assert_non_null(strstr(b.callback, "not there any more"));
    assert_int_equal(bench_action_count(&b), 0);
    bench_stop(&b);
}

static void test_interactions_that_lack_something_are_refused(void **state UNUSED)
{
    static const char *const broken[] = {
        HEAD "}}",
        HEAD ",\"target_id\":{}}}",
        HEAD ",\"target_id\":\"5\"}}",
        HEAD ",\"target_id\":\"5\",\"resolved\":[]}}",
        HEAD ",\"target_id\":\"5\",\"resolved\":{\"messages\":{\"5\":7}}}}",
        HEAD ",\"target_id\":\"5\",\"resolved\":{\"messages\":{\"5\":{\"author\":\"bob\"}}}}}",
    };
    struct bench b;

    bench_setup(&b);
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        assert_int_equal(bench_interact(&b, command_report, broken[i]), STATUS_INVALID);
        assert_int_equal(bench_interact(&b, command_track, broken[i]), STATUS_INVALID);
    }
    assert_int_equal(bench_int(&b, "SELECT count(*) FROM reported_messages"), 0);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_goes_its_whole_way),
        cmocka_unit_test(test_who_reports_anonymously_is_written_nowhere),
        cmocka_unit_test(test_track_names_the_moderator_and_offers_the_button),
        cmocka_unit_test(test_track_is_for_moderators),
        cmocka_unit_test(test_without_setup_nothing_is_filed),
        cmocka_unit_test(test_the_same_report_again_is_a_line_below_the_first),
        cmocka_unit_test(test_messages_carry_a_nonce),
        cmocka_unit_test(test_many_waiting_reports_are_posted_a_few_at_a_time),
        cmocka_unit_test(test_another_reason_is_a_report_of_its_own),
        cmocka_unit_test(test_the_same_report_while_it_is_being_posted_changes_nothing),
        cmocka_unit_test(test_concurrent_reports_of_a_user_share_one_thread),
        cmocka_unit_test(test_a_thread_that_cannot_be_made_leaves_the_rows),
        cmocka_unit_test(test_a_lost_thread_is_made_anew_once),
        cmocka_unit_test(test_reports_that_find_the_thread_lost_share_the_new_one),
        cmocka_unit_test(test_a_body_that_is_refused_ends_the_posting),
        cmocka_unit_test(test_failures_after_the_body_do_not_stop_the_rest),
        cmocka_unit_test(test_a_mod_log_taken_away_ends_the_posting),
        cmocka_unit_test(test_results_of_reports_that_are_gone_are_ignored),
        cmocka_unit_test(test_forwarded_message_and_poll_are_quoted),
        cmocka_unit_test(test_the_button_deletes_the_message),
        cmocka_unit_test(test_a_message_that_is_gone_counts_as_deleted),
        cmocka_unit_test(test_a_deletion_that_fails_is_told),
        cmocka_unit_test(test_the_button_is_for_moderators_and_for_reports_that_are_there),
        cmocka_unit_test(test_interactions_that_lack_something_are_refused),
    };
    return cmocka_run_group_tests_name("reports", tests, NULL, NULL);
}
