#include "tests/unit/gateway/feature_bench.h"

static enum status ask(struct bench *b, query_handler handler, Guildbus__V1__PortalRequest *request,
                       Guildbus__V1__PortalReply *reply)
{
    guildbus__v1__portal_reply__init(reply);
    bench_begin(b);
    return bench_end(b, handler(&b->unit, request, reply, &b->err));
}

static void add_message(struct bench *b, uint64_t id, uint64_t author, int words)
{
    char sql[400];

    snprintf(sql, sizeof(sql),
             "INSERT INTO message_stats(guild_id, message_id, author_id, channel_id, char_count,"
             " word_count, react_count, sent_at) VALUES(%" PRIu64 ", %" PRIu64 ", %" PRIu64
             ", 1, %d, %d, 1, %" PRIu64 ")",
             GUILD, id, author, words * 5, words, (id >> 22) + UINT64_C(1420070400000));
    bench_exec(b, sql);
}

static uint64_t id_at(int64_t ms)
{
    return (uint64_t)(ms - INT64_C(1420070400000)) << 22;
}

static void test_overview_counts(void **state UNUSED)
{
    Guildbus__V1__PortalRequest request;
    Guildbus__V1__PortalReply reply;
    struct bench b;

    bench_start(&b);
    guildbus__v1__portal_request__init(&request);
    assert_int_equal(ask(&b, query_overview, &request, &reply), STATUS_OK);
    assert_string_equal(reply.overview->name, "");
    assert_int_equal(reply.overview->messages, 0);

    assert_int_equal(bench_event(&b, on_guild_update, "{\"name\":\"Home\"}"), STATUS_OK);
    add_message(&b, 1, 7, 1);
    add_message(&b, 2, 7, 1);
    add_message(&b, 3, 8, 1);
    bench_exec(&b, "INSERT INTO message_stats SELECT 5, message_id, 99, 1, NULL, NULL, 1, 1,"
                   " 1, 1, '[]', '[]' FROM message_stats");
    assert_int_equal(ask(&b, query_overview, &request, &reply), STATUS_OK);
    assert_int_equal(reply.reply_case, GUILDBUS__V1__PORTAL_REPLY__REPLY_OVERVIEW);
    assert_string_equal(reply.overview->name, "Home");
    assert_int_equal(reply.overview->messages, 3);
    assert_int_equal(reply.overview->authors, 2);
    assert_int_equal(reply.overview->reports, 0);
    bench_stop(&b);
}

static void test_activity_has_every_day(void **state UNUSED)
{
    Guildbus__V1__PortalRequest request;
    Guildbus__V1__ActivityQuery query = GUILDBUS__V1__ACTIVITY_QUERY__INIT;
    Guildbus__V1__PortalReply reply;
    struct bench b;
    int64_t midnight = NOW_MS - NOW_MS % 86400000;

    bench_start(&b);
    guildbus__v1__portal_request__init(&request);
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_ACTIVITY;
    request.activity = &query;
    add_message(&b, id_at(midnight), 7, 2);
    add_message(&b, id_at(midnight) + 1, 8, 3);
    add_message(&b, id_at(midnight - 1), 7, 10);
    add_message(&b, id_at(midnight - 29 * INT64_C(86400000)), 7, 20);
    add_message(&b, id_at(midnight - 29 * INT64_C(86400000) - 1), 7, 40);
    assert_int_equal(ask(&b, query_activity, &request, &reply), STATUS_OK);
    assert_int_equal(reply.reply_case, GUILDBUS__V1__PORTAL_REPLY__REPLY_ACTIVITY);
    assert_int_equal(reply.activity->n_days, 30);

    Guildbus__V1__ActivityDay **days = reply.activity->days;
    assert_string_equal(days[0]->day, "2026-02-09");
    assert_int_equal(days[0]->words, 20);
    assert_string_equal(days[1]->day, "2026-02-10");
    assert_int_equal(days[1]->messages, 0);
    assert_string_equal(days[28]->day, "2026-03-09");
    assert_int_equal(days[28]->words, 10);
    assert_string_equal(days[29]->day, "2026-03-10");
    assert_int_equal(days[29]->messages, 2);
    assert_int_equal(days[29]->words, 5);
    assert_int_equal(days[29]->chars, 25);
    assert_int_equal(days[29]->authors, 2);
    assert_int_equal(days[29]->reactions, 2);

    query.days = 367;
    assert_int_equal(ask(&b, query_activity, &request, &reply), STATUS_INVALID);
    query.days = 366;
    assert_int_equal(ask(&b, query_activity, &request, &reply), STATUS_OK);
    assert_string_equal(reply.activity->days[0]->day, "2025-03-10");
    bench_stop(&b);
}

static void test_reports_come_newest_first(void **state UNUSED)
{
    Guildbus__V1__PortalRequest request;
    Guildbus__V1__ReportsQuery query = GUILDBUS__V1__REPORTS_QUERY__INIT;
    Guildbus__V1__PortalReply reply;
    struct bench b;

    bench_start(&b);
    guildbus__v1__portal_request__init(&request);
    request.reports = &query;
    bench_exec(&b, "INSERT INTO reported_messages VALUES"
                   "(81384788765712384,'a',1,10,100,5,6,'track',3,'mod',NULL,'2026-01-01T',NULL),"
                   "(81384788765712384,'b',2,10,100,0,0,'anonReport',NULL,NULL,NULL,'2026-01-02T',"
                   "'2026-01-03T'),"
                   "(81384788765712384,'c',3,10,101,0,0,'track',3,'mod',NULL,'2026-01-03T',NULL),"
                   "(5,'d',3,10,101,0,0,'track',3,'mod',NULL,'2026-01-03T',NULL)");
    query.limit = 2;
    assert_int_equal(ask(&b, query_reports, &request, &reply), STATUS_OK);
    assert_int_equal(reply.reports->total, 3);
    assert_int_equal(reply.reports->n_reports, 2);
    assert_string_equal(reply.reports->reports[0]->id, "c");
    Guildbus__V1__Report *anonymous = reply.reports->reports[1];
    assert_string_equal(anonymous->id, "b");
    assert_true(anonymous->staff_id == 0 && anonymous->log_message_id == 0);
    assert_string_equal(anonymous->staff_username, "");
    assert_string_equal(anonymous->deleted_at, "2026-01-03T");

    query = (Guildbus__V1__ReportsQuery)GUILDBUS__V1__REPORTS_QUERY__INIT;
    query.user_id = 100;
    assert_int_equal(ask(&b, query_reports, &request, &reply), STATUS_OK);
    assert_int_equal(reply.reports->total, 2);
    Guildbus__V1__Report *tracked = reply.reports->reports[1];
    assert_string_equal(tracked->staff_username, "mod");
    assert_true(tracked->message_id == 1 && tracked->channel_id == 10 && tracked->user_id == 100);
    assert_true(tracked->log_message_id == 5 && tracked->log_channel_id == 6);

    query.limit = 201;
    assert_int_equal(ask(&b, query_reports, &request, &reply), STATUS_INVALID);
    bench_stop(&b);
}

static void test_settings_are_shown_and_changed(void **state UNUSED)
{
    Guildbus__V1__PortalRequest request;
    Guildbus__V1__SettingsChange change;
    Guildbus__V1__PortalReply reply;
    struct bench b;
    char good[] = "{\"modLog\":\"5\"}", bad[] = "{\"modlog\":\"5\"}";

    bench_start(&b);
    guildbus__v1__portal_request__init(&request);
    assert_int_equal(ask(&b, query_settings, &request, &reply), STATUS_OK);
    assert_string_equal(reply.settings->settings_json, "{}");

    guildbus__v1__settings_change__init(&change);
    request.change_settings = &change;
    change.patch_json = good;
    assert_int_equal(ask(&b, query_change_settings, &request, &reply), STATUS_OK);
    assert_int_equal(reply.reply_case, GUILDBUS__V1__PORTAL_REPLY__REPLY_SETTINGS);
    assert_string_equal(reply.settings->settings_json, good);
    change.patch_json = bad;
    assert_int_equal(ask(&b, query_change_settings, &request, &reply), STATUS_INVALID);
    assert_non_null(strstr(b.err.text, "modlog"));
    assert_int_equal(ask(&b, query_settings, &request, &reply), STATUS_OK);
    assert_string_equal(reply.settings->settings_json, good);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overview_counts),
        cmocka_unit_test(test_activity_has_every_day),
        cmocka_unit_test(test_reports_come_newest_first),
        cmocka_unit_test(test_settings_are_shown_and_changed),
    };
    return cmocka_run_group_tests_name("portal", tests, NULL, NULL);
}
