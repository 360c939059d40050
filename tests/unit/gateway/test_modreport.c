#include "tests/unit/gateway/feature_bench.h"

#define ASK(member)                                                                                \
    "{\"id\":\"1\",\"type\":2,\"token\":\"t\",\"member\":{" member                                 \
    ",\"user\":{\"id\":\"7\",\"username\":\"mod\"}},\"data\":{\"type\":1,\"name\":\"modreport\","  \
    "\"options\":[{\"type\":6,\"name\":\"user\",\"value\":\"42\"}],\"resolved\":{\"users\":{"      \
    "\"42\":{\"username\":\"bob\"}}}}}"
#define MODERATOR ASK("\"permissions\":\"8192\"")

/* NOW is 2026-03-10. staff: "NULL, NULL" or "7, 'mod'" */
static void add_report(struct bench *b, int n, const char *at, const char *reason,
                       const char *staff)
{
    char sql[400];

    snprintf(sql, sizeof(sql),
             "INSERT INTO reported_messages VALUES (81384788765712384, 'r%d', %d, %d, 42, 0, 0,"
             " '%s', %s, NULL, '%s', '2026-03-10')",
             n, n, 500 + n % 2, reason, staff, at);
    bench_exec(b, sql);
}

static void bench_setup(struct bench *b)
{
    bench_start(b);
    bench_exec(b, "INSERT INTO guilds VALUES (81384788765712384, 'Home',"
                  " '{\"modLog\":\"300\",\"moderator\":\"71\"}')");
}

/* The one embed of the answer; borrowed from *root. */
static const json_t *embed(struct bench *b, json_t **root)
{
    assert_int_equal(bench_interact(b, command_modreport, MODERATOR), STATUS_OK);
    assert_int_equal(json_parse(b->callback, strlen(b->callback), root, &b->err), STATUS_OK);
    const json_t *data = json_object_get(*root, "data");
    assert_int_equal(json_int(*root, "type", 0), 4);
    assert_null(json_object_get(data, "flags")); /* everybody in the channel sees it */
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(data, "allowed_mentions"), "parse")), 0);
    assert_int_equal(json_array_size(json_object_get(data, "embeds")), 1);
    return json_array_get(json_object_get(data, "embeds"), 0);
}

static const char *field(const json_t *one, const char *name)
{
    const json_t *fields = json_object_get(one, "fields");

    for (size_t i = 0; i < json_array_size(fields); i++)
        if (!strcmp(json_str(json_array_get(fields, i), "name"), name))
            return json_str(json_array_get(fields, i), "value");
    return NULL;
}

static void test_nothing_on_record(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_interact(&b, command_modreport, MODERATOR), STATUS_OK);
    assert_string_equal(b.callback,
                        "{\"type\":4,\"data\":{\"content\":\"Nothing is on record about <@42>.\","
                        "\"allowed_mentions\":{\"parse\":[]}}}");
    bench_stop(&b);
}

static void test_one_report(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct bench b;

    bench_setup(&b);
    add_report(&b, 1, "2026-03-09T12:00:00.000Z", "anonReport", "NULL, NULL");
    bench_exec(&b, "INSERT INTO user_threads VALUES (81384788765712384, 42, 900, '')");
    const json_t *e = embed(&b, &root);
    assert_string_equal(json_str(e, "title"), "Reports about bob");
    assert_string_equal(json_str(e, "description"),
                        "1 message reported 1 time across 1 channel\nReported <t:1773057600:R>\n"
                        "▁▁▁▁▁█ last 6 months\n"
                        "[Log](https://discord.com/channels/81384788765712384/900)");
    assert_string_equal(field(e, "Reasons"), "reported anonymously ×1");
    assert_string_equal(field(e, "Top channels"), "<#501> ×1");
    assert_null(field(e, "Reported by"));
    assert_null(field(e, "Actions"));
    bench_stop(&b);
}

static void test_many_reports(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct bench b;

    bench_setup(&b);
    add_report(&b, 1, "2025-01-05T00:00:00.000Z", "spam", "9, 'bot'"); /* before the six months */
    add_report(&b, 2, "2025-10-01T00:00:00.000Z", "track", "7, 'mod'");
    add_report(&b, 3, "2026-01-01 08:00:00", "track", "7, 'mod'"); /* as old databases have it */
    add_report(&b, 4, "2026-03-01T00:00:00.000Z", "track", "8, 'ann'");
    add_report(&b, 5, "2026-03-01T23:59:59.999Z", "anonReport", "NULL, NULL");
    bench_exec(&b, "INSERT INTO reported_messages SELECT guild_id, 'x', 99, 1, 43, 0, 0, 'spam',"
                   " NULL, NULL, NULL, created_at, NULL FROM reported_messages LIMIT 1");
    const json_t *e = embed(&b, &root);
    assert_string_equal(json_str(e, "description"),
                        "2 reports in the last 30 days (5 total)\n"
                        "First reported <t:1736035200:D>; most recently <t:1772409599:R>;"
                        " up to 2 in one day\n"
                        "▅▁▁▅▁█ last 6 months");
    assert_string_equal(field(e, "Reasons"),
                        "tracked ×3\nreported anonymously ×1\ndetected as spam ×1");
    assert_string_equal(field(e, "Top channels"), "<#501> ×3\n<#500> ×2");
    assert_string_equal(field(e, "Reported by"), "<@7> (mod) ×2\n<@8> (ann) ×1\n<@9> (bot) ×1");
    bench_stop(&b);
}

static void test_actions_alone_are_shown(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct bench b;

    bench_setup(&b);
    bench_exec(
        &b,
        "INSERT INTO mod_actions VALUES"
        " (81384788765712384,'b',42,'ban',7,'mod','spam',NULL,'2026-03-02T00:00:00.000Z'),"
        " (81384788765712384,'a',42,'timeout',NULL,NULL,'','20 hours','2026-03-01T00:00:00.000Z'),"
        " (81384788765712384,'c',42,'timeout',7,'mod',NULL,NULL,'[]'),"
        " (81384788765712384,'d',41,'kick',7,'mod',NULL,NULL,'[]')");
    const json_t *e = embed(&b, &root);
    assert_string_equal(json_str(e, "description"), "1 ban · 2 timeouts");
    assert_string_equal(field(e, "Actions"), "timed out <t:1772323200:R>\n"
                                             "banned by <@7> — \"spam\" <t:1772409600:R>\n"
                                             "timed out by <@7>");
    bench_stop(&b);
}

static void test_fields_fit_discord(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct bench b;

    bench_setup(&b);
    for (int i = 0; i < 300; i++) {
        char reason[64];
        snprintf(reason, sizeof(reason), "reason number %d of very many reasons", i);
        add_report(&b, i, "2026-03-01T00:00:00.000Z", reason, "NULL, NULL");
    }
    const char *value = field(embed(&b, &root), "Reasons");
    assert_non_null(value);
    size_t size = strlen(value), units = 0;
    for (const char *c = value; *c; c++)
        units += ((unsigned char)*c & 0xc0) != 0x80;
    assert_int_equal(units, 1024);
    assert_string_equal(value + size - strlen("…"), "…");
    bench_stop(&b);
}

static void test_only_moderators_see_it(void **state UNUSED)
{
    struct bench b;

    bench_setup(&b);
    assert_int_equal(bench_interact(&b, command_modreport, ASK("\"permissions\":\"2048\"")),
                     STATUS_OK);
    assert_non_null(strstr(b.callback, "Only moderators"));
    assert_int_equal(
        bench_interact(&b, command_modreport, ASK("\"permissions\":\"0\",\"roles\":[\"71\"]")),
        STATUS_OK);
    assert_non_null(strstr(b.callback, "Nothing is on record"));
    b.unit.guild_id = 0;
    assert_int_equal(bench_interact(&b, command_modreport, MODERATOR), STATUS_OK);
    assert_non_null(strstr(b.callback, "servers only"));
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_on_record),  cmocka_unit_test(test_one_report),
        cmocka_unit_test(test_many_reports),       cmocka_unit_test(test_actions_alone_are_shown),
        cmocka_unit_test(test_fields_fit_discord), cmocka_unit_test(test_only_moderators_see_it),
    };
    return cmocka_run_group_tests_name("modreport", tests, NULL, NULL);
}
