#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/commands.h"

/* Discord's limits */
enum { NAME_MAX_SIZE = 32, DESCRIPTION_MAX = 100, OPTIONS_MAX = 25, COMMAND_MAX = 8000 };

static json_t *payload(void)
{
    char *text = commands_payload();
    json_t *root = NULL;
    struct err err;

    if (json_parse(text, strlen(text), &root, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    free(text);
    assert_true(json_is_array(root));
    return root;
}

/* A slash command's and an option's name: -_a-z0-9 of those Discord allows. Returns what it counts.
 */
static size_t check_named(const json_t *one)
{
    const char *name = json_str(one, "name"), *description = json_str(one, "description");

    assert_in_range(strlen(name), 1, NAME_MAX_SIZE);
    for (const char *c = name; *c; c++)
        assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) || strchr("-_", *c));
    assert_in_range(strlen(description), 1, DESCRIPTION_MAX);
    return strlen(name) + strlen(description);
}

static void check_slash(const json_t *command)
{
    const json_t *options = json_object_get(command, "options");
    size_t size = check_named(command);
    bool optional_before = false;

    assert_true(json_is_array(options));
    assert_in_range(json_array_size(options), 0, OPTIONS_MAX);
    for (size_t i = 0; i < json_array_size(options); i++) {
        const json_t *option = json_array_get(options, i);
        size += check_named(option);
        assert_in_range(json_int(option, "type", 0), 3, 11);
        bool required = json_bool(option, "required");
        assert_false(required && optional_before); /* required ones come first */
        optional_before = !required;
    }
    assert_in_range(size, 1, COMMAND_MAX);
}

static void check_menu(const json_t *command)
{
    assert_in_range(strlen(json_str(command, "name")), 1, NAME_MAX_SIZE);
    assert_null(json_object_get(command, "description"));
    assert_null(json_object_get(command, "options"));
}

static void test_every_command_keeps_discords_limits(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *all = payload();

    assert_in_range(json_array_size(all), 1, 100);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *command = json_array_get(all, i);
        int64_t type = json_int(command, "type", 0);
        assert_in_range(type, 1, 3);
        assert_true(json_id(command, "default_member_permissions") != 0);
        assert_true(json_is_string(json_object_get(command, "default_member_permissions")));
        assert_int_equal(json_array_size(json_object_get(command, "contexts")), 1);
        if (type == 1)
            check_slash(command);
        else
            check_menu(command);
    }
}

static void test_no_two_commands_share_name_and_type(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *all = payload();

    for (size_t i = 0; i < json_array_size(all); i++)
        for (size_t j = 0; j < i; j++) {
            const json_t *a = json_array_get(all, i), *b = json_array_get(all, j);
            assert_false(!strcmp(json_str(a, "name"), json_str(b, "name")) &&
                         json_int(a, "type", 0) == json_int(b, "type", 0));
        }
}

static void test_the_commands_are_there(void **state UNUSED)
{
    static const struct {
        const char *name, *permissions;
        int type;
    } rows[] = { { "Report", "2048", 3 },
                 { "Track", "8192", 3 },
                 { "modreport", "8192", 1 },
                 { "setup", "8", 1 } };
    CLEANUP(json_decref) json_t *all = payload();

    assert_int_equal(json_array_size(all), ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const json_t *command = json_array_get(all, i);
        assert_string_equal(json_str(command, "name"), rows[i].name);
        assert_string_equal(json_str(command, "default_member_permissions"), rows[i].permissions);
        assert_int_equal(json_int(command, "type", 0), rows[i].type);
    }
    assert_int_equal(json_array_size(json_object_get(json_array_get(all, 3), "options")), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_keeps_discords_limits),
        cmocka_unit_test(test_no_two_commands_share_name_and_type),
        cmocka_unit_test(test_the_commands_are_there),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
