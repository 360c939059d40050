#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/visitors.h"

static struct membership *read_list(const char *json, size_t *ret_count)
{
    struct membership *guilds = NULL;

    assert_int_equal(memberships_read(json, strlen(json), &guilds, ret_count, NULL), STATUS_OK);
    return guilds;
}

static void test_only_moderated_guilds_are_kept_by_name(void **state UNUSED)
{
    size_t count;
    struct membership *g =
        read_list("[{\"id\":\"3\",\"name\":\"zoo\",\"owner\":true,\"permissions\":\"0\"},"
                  "{\"id\":\"1\",\"name\":\"Member\",\"owner\":false,\"permissions\":\"2048\"},"
                  "{\"id\":\"2\",\"name\":\"Alpha\",\"owner\":false,\"permissions\":\"8192\"}]",
                  &count);

    assert_int_equal(count, 2);
    assert_int_equal(g[0].guild_id, 2);
    assert_string_equal(g[0].name, "Alpha");
    assert_false(g[0].owner);
    assert_int_equal(g[1].guild_id, 3);
    assert_true(g[1].owner);
    free(g);
}

static void test_oddities_are_no_permission(void **state UNUSED)
{
    size_t count;
    struct membership *g = read_list(
        "[{\"id\":\"1\",\"owner\":\"true\",\"permissions\":\"x\"},{\"id\":\"abc\",\"owner\":true},"
        "{\"owner\":true},{},null,7,[],{\"id\":\"2\",\"owner\":1},"
        "{\"id\":\"3\",\"permissions\":\"-1\"},{\"id\":\"4\",\"permissions\":8.0}]",
        &count);

    assert_int_equal(count, 0);
    free(g);
}

static void test_more_guilds_than_discord_gives_are_cut(void **state UNUSED)
{
    static char json[300 * 40 + 3];
    size_t count, used = 1;

    json[0] = '[';
    for (int i = 1; i <= 300; i++)
        used += (size_t)snprintf(json + used, sizeof(json) - used,
                                 "%s{\"id\":\"%d\",\"owner\":true}", i > 1 ? "," : "", i);
    json[used] = ']';
    struct membership *g = read_list(json, &count);
    assert_int_equal(count, VISITOR_GUILDS_LIMIT);
    free(g);
}

static void test_what_is_no_list_is_refused(void **state UNUSED)
{
    struct membership *guilds = NULL;
    size_t count;

    assert_int_equal(memberships_read("{}", 2, &guilds, &count, NULL), STATUS_INVALID);
    assert_int_equal(memberships_read("<html>", 6, &guilds, &count, NULL), STATUS_INVALID);
    assert_null(guilds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_moderated_guilds_are_kept_by_name),
        cmocka_unit_test(test_oddities_are_no_permission),
        cmocka_unit_test(test_more_guilds_than_discord_gives_are_cut),
        cmocka_unit_test(test_what_is_no_list_is_refused),
    };
    return cmocka_run_group_tests_name("visitors", tests, NULL, NULL);
}
