#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xmem.h"
#include "messages/commands.h"

/* Discord's limits */
enum {
    NAME_MAX_SIZE = 32,
    DESCRIPTION_MAX = 100,
    OPTIONS_MAX = 25,
    CHOICES_MAX = 25,
    CHOICE_MAX = 100,
    COMMAND_MAX = 8000,
    SLASH = 1,
    USER = 2,
    MESSAGE = 3,
};
static const size_t most[] = { [SLASH] = 100, [USER] = 15, [MESSAGE] = 15 };

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

static size_t check_choices(const json_t *option)
{
    const json_t *choices = json_object_get(option, "choices");
    size_t size = 0;

    assert_in_range(json_array_size(choices), 0, CHOICES_MAX);
    for (size_t i = 0; i < json_array_size(choices); i++) {
        const json_t *choice = json_array_get(choices, i);
        const char *value = json_str(choice, "value");
        assert_in_range(strlen(json_str(choice, "name")), 1, CHOICE_MAX);
        assert_in_range(strlen(value), 0, CHOICE_MAX);
        size += strlen(json_str(choice, "name")) + strlen(value);
    }
    return size;
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
        size += check_named(option) + check_choices(option);
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
    CLEANUP(json_decref) json_t *all = commands_payload(false);

    size_t counts[ARRAY_LEN(most)] = { 0 };

    assert_in_range(json_array_size(all), 1, 100 + 15 + 15);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *command = json_array_get(all, i);
        int64_t type = json_int(command, "type", 0);
        assert_in_range(type, SLASH, MESSAGE);
        assert_in_range(++counts[type], 1, most[type]);
        assert_true(json_id(command, "default_member_permissions") != 0);
        assert_true(json_is_string(json_object_get(command, "default_member_permissions")));
        assert_int_equal(json_array_size(json_object_get(command, "contexts")), 1);
        if (type == SLASH)
            check_slash(command);
        else
            check_menu(command);
    }
}

static void test_no_two_commands_share_name_and_type(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *all = commands_payload(false);

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
    CLEANUP(json_decref) json_t *all = commands_payload(false);

    assert_int_equal(json_array_size(all), ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const json_t *command = json_array_get(all, i);
        assert_string_equal(json_str(command, "name"), rows[i].name);
        assert_string_equal(json_str(command, "default_member_permissions"), rows[i].permissions);
        assert_int_equal(json_int(command, "type", 0), rows[i].type);
    }
    assert_int_equal(json_array_size(json_object_get(json_array_get(all, 3), "options")), 4);
}

/* ---- what differs ---- */

static json_t *json_of(const char *text)
{
    json_t *root = NULL;
    struct err err;

    if (json_parse(text, strlen(text), &root, &err) != STATUS_OK)
        fail_msg("%s: %s", err.text, text);
    return root;
}

/* As Discord tells of the payload: with its own fields, its defaults, its order. */
static json_t *as_discord_has(json_t *payload)
{
    json_t *all = json_deep_copy(payload), *first = json_incref(json_array_get(all, 0));
    size_t i;
    json_t *command, *option;

    json_array_foreach(all, i, command)
    {
        CLEANUP(json_decref)
        json_t *more =
            json_of("{\"id\":\"7\",\"application_id\":\"8\",\"version\":\"9\",\"nsfw\":false,"
                    "\"name_localizations\":null,\"description_localizations\":{},"
                    "\"dm_permission\":true,\"default_permission\":true}");
        (void)json_object_update(command, more);
        if (json_int(command, "type", 0) != SLASH)
            (void)json_object_set_new(command, "description", json_string(""));
        size_t k;
        json_array_foreach(json_object_get(command, "options"), k, option)
        {
            (void)json_object_set_new(option, "name_localizations", json_null());
            if (!json_bool(option, "required"))
                (void)json_object_set_new(option, "required", json_false());
        }
    }
    (void)json_array_remove(all, 0);
    (void)json_array_append_new(all, first);
    return all;
}

static void test_discords_own_fields_and_defaults_are_no_difference(void **state UNUSED)
{
    for (int for_guild = 0; for_guild < 2; for_guild++) {
        CLEANUP(json_decref) json_t *wanted = commands_payload(for_guild);
        CLEANUP(json_decref) json_t *present = as_discord_has(wanted);
        CLEANUP(json_decref) json_t *changes = commands_differences(wanted, present);
        CLEANUP(json_decref) json_t *back = commands_differences(present, wanted);
        assert_int_equal(json_array_size(changes), 0);
        assert_int_equal(json_array_size(back), 0);
        assert_int_equal(!json_object_get(json_array_get(wanted, 0), "contexts"), for_guild);
    }
}

static void expect_changes(const char *wanted_text, const char *present_text,
                           const char *expected_text)
{
    CLEANUP(json_decref) json_t *wanted = json_of(wanted_text);
    CLEANUP(json_decref) json_t *present = json_of(present_text);
    CLEANUP(json_decref) json_t *expected = json_of(expected_text);
    CLEANUP(json_decref) json_t *changes = commands_differences(wanted, present);
    CLEANUP(xfree) char *told = json_text(changes);

    if (!json_equal(changes, expected))
        fail_msg("%s\nbeside %s\ngives %s\nnot %s", wanted_text, present_text, told, expected_text);
}

#define CHANGED(fields)        "[{'change':'changed','name':'a','type':1,'fields':[" fields "]}]"
#define FIELD(field, from, to) "{'field':'" field "','from':" from ",'to':" to "}"

static void test_each_kind_of_difference_is_told(void **state UNUSED)
{
    static const struct {
        const char *wanted, *present, *changes;
    } rows[] = {
        { "[]", "[]", "[]" },
        { "[{'name':'a','type':1}]", "[]", "[{'change':'new','name':'a','type':1,'fields':[]}]" },
        { "[]", "[{'name':'a','type':2}]", "[{'change':'gone','name':'a','type':2,'fields':[]}]" },
        /* a type that is left out is 1; of one name there may be one of each type */
        { "[{'name':'a','type':1}]", "[{'name':'a'}]", "[]" },
        { "[{'name':'a','type':3}]", "[{'name':'a','type':2}]",
          "[{'change':'new','name':'a','type':3,'fields':[]},"
          "{'change':'gone','name':'a','type':2,'fields':[]}]" },
        /* an activity's entry point is nobody's to compare */
        { "[]", "[{'name':'launch','type':4,'handler':2}]", "[]" },
        { "[{'name':'a','description':'x'}]", "[{'name':'a','description':'y'}]",
          CHANGED(FIELD("description", "'y'", "'x'")) },
        { "[{'name':'a'}]", "[{'name':'a','default_member_permissions':'8'}]",
          CHANGED(FIELD("default_member_permissions", "'8'", "null")) },
        /* nobody but administrators is not everybody */
        { "[{'name':'a','default_member_permissions':'0'}]", "[{'name':'a'}]",
          CHANGED(FIELD("default_member_permissions", "null", "'0'")) },
        { "[{'name':'a','nsfw':true}]", "[{'name':'a','nsfw':false}]",
          CHANGED(FIELD("nsfw", "false", "true")) },
        { "[{'name':'a'}]", "[{'name':'a','name_localizations':{'id':'b'}}]",
          CHANGED(FIELD("name_localizations", "{'id':'b'}", "null")) },
        { "[{'name':'a','contexts':[0,1]}]", "[{'name':'a','contexts':[1,0]}]", "[]" },
        { "[{'name':'a','contexts':[0]}]", "[{'name':'a','contexts':[0,1]}]",
          CHANGED(FIELD("contexts", "[0,1]", "[0]")) },
        { "[{'name':'a','contexts':[0]}]", "[{'name':'a','contexts':null}]",
          CHANGED(FIELD("contexts", "null", "[0]")) },
        /* options: one by one when they are the same ones in the same order, else as a whole */
        { "[{'name':'a','options':[{'name':'o','type':3,'required':true}]}]",
          "[{'name':'a','options':[{'name':'o','type':3}]}]",
          CHANGED(FIELD("options.o.required", "null", "true")) },
        { "[{'name':'a','options':[{'name':'o','type':4,'min_value':0}]}]",
          "[{'name':'a','options':[{'name':'o','type':4}]}]",
          CHANGED(FIELD("options.o.min_value", "null", "0")) },
        { "[{'name':'a','options':[{'name':'o','type':10,'min_value':1}]}]",
          "[{'name':'a','options':[{'name':'o','type':10,'min_value':1.0}]}]", "[]" },
        { "[{'name':'a','options':[{'name':'o','choices':[{'name':'c','value':1}]}]}]",
          "[{'name':'a','options':[{'name':'o','choices':[{'name':'c','value':2}]}]}]",
          CHANGED(FIELD("options.o.choices.c.value", "2", "1")) },
        { "[{'name':'a','options':[{'name':'o'},{'name':'p'}]}]",
          "[{'name':'a','options':[{'name':'p'},{'name':'o'}]}]",
          CHANGED(FIELD("options", "[{'name':'p'},{'name':'o'}]", "[{'name':'o'},{'name':'p'}]")) },
        { "[{'name':'a'}]", "[{'name':'a','options':[{'name':'o'}]}]",
          CHANGED(FIELD("options", "[{'name':'o'}]", "null")) },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *in[3] = { rows[i].wanted, rows[i].present, rows[i].changes };
        char *texts[3];
        for (size_t k = 0; k < 3; k++) {
            texts[k] = xstrdup(in[k]);
            for (char *c = texts[k]; *c; c++)
                *c = *c == '\'' ? '"' : *c;
        }
        expect_changes(texts[0], texts[1], texts[2]);
        for (size_t k = 0; k < 3; k++)
            free(texts[k]);
    }
}

static void test_what_is_no_list_of_commands_is_told_apart(void **state UNUSED)
{
    static const char *const rows[] = { "{}",
                                        "[1]",
                                        "[[]]",
                                        "[{}]",
                                        "[null]",
                                        "[{\"name\":1}]",
                                        "{\"message\":\"401: Unauthorized\",\"code\":0}" };
    CLEANUP(json_decref) json_t *wanted = commands_payload(false);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(json_decref) json_t *present = json_of(rows[i]);
        assert_null(commands_differences(wanted, present));
    }
    assert_null(commands_differences(wanted, NULL));
}

static void test_an_entry_point_survives_the_overwrite(void **state UNUSED)
{
    CLEANUP(json_decref) json_t *wanted = commands_payload(false);
    CLEANUP(json_decref)
    json_t *present =
        json_of("[{\"id\":\"5\",\"application_id\":\"6\",\"version\":\"7\",\"name\":\"launch\","
                "\"type\":4,\"handler\":2},{\"id\":\"8\",\"name\":\"old\",\"type\":1}]");
    CLEANUP(json_decref)
    json_t *kept = json_of("{\"id\":\"5\",\"name\":\"launch\",\"type\":4,\"handler\":2}");
    CLEANUP(json_decref) json_t *all = commands_overwrite(wanted, present);

    assert_int_equal(json_array_size(all), json_array_size(wanted) + 1);
    assert_true(json_equal(json_array_get(all, json_array_size(wanted)), kept));
    assert_string_equal(json_str(json_array_get(present, 0), "version"), "7"); /* left as it was */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_keeps_discords_limits),
        cmocka_unit_test(test_no_two_commands_share_name_and_type),
        cmocka_unit_test(test_the_commands_are_there),
        cmocka_unit_test(test_discords_own_fields_and_defaults_are_no_difference),
        cmocka_unit_test(test_each_kind_of_difference_is_told),
        cmocka_unit_test(test_what_is_no_list_of_commands_is_told_apart),
        cmocka_unit_test(test_an_entry_point_survives_the_overwrite),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
