#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/xmem.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */

struct settings {
    const char *pod, *nats, *database, *key, *guilds, *mode, *secret;
    int64_t slots, port, level, ratio;
    bool dry;
};

#define FIELD(name) offsetof(struct settings, name)
static const struct config_row rows[] = {
    { "T_POD", CONFIG_ID, FIELD(pod), .help = "the pod's name", .required = true },
    { "T_NATS", CONFIG_URL, FIELD(nats), .fallback = "nats://127.0.0.1:4222", .help = "NATS" },
    { "T_DATABASE", CONFIG_URL, FIELD(database), .help = "PostgreSQL" },
    { "T_KEY", CONFIG_HEX32, FIELD(key), .help = "the public key" },
    { "T_GUILDS", CONFIG_GUILDS, FIELD(guilds), .help = "guilds" },
    { "T_MODE", CONFIG_STRING, FIELD(mode), .fallback = "a", .one_of = "a|bc", .help = "mode" },
    { "T_SECRET", CONFIG_STRING, FIELD(secret), .secret = true, .help = "a secret" },
    { "T_SLOTS", CONFIG_INT, FIELD(slots), .fallback = "7", .min = 1, .max = 16, .help = "slots" },
    { "T_RATIO", CONFIG_INT, FIELD(ratio), .help = "any number" },
    { "T_PORT", CONFIG_PORT, FIELD(port), .fallback = "0", .help = "port" },
    { "T_LEVEL", CONFIG_LEVEL, FIELD(level), .fallback = "warn", .help = "level" },
    { "T_DRY", CONFIG_BOOL, FIELD(dry), .help = "dry" },
};

static struct settings settings;

/* Strings live as long as the process; a test's process has many lives. */
static void forget(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].offset <= FIELD(secret))
            free(*(void **)((char *)&settings + rows[i].offset));
    }
    settings = (struct settings){ 0 };
}

static int clear(void **state UNUSED)
{
    forget();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        unsetenv(rows[i].name);
    unsetenv("T_SECRET_FILE");
    setenv("T_POD", "gw-1", 1);
    return 0;
}

static enum status load(char **ret_errors)
{
    size_t size;
    FILE *out = open_memstream(ret_errors, &size);

    forget();
    enum status status = config_load(rows, ARRAY_LEN(rows), &settings, out);
    (void)fclose(out);
    return status;
}

static char *print(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    config_print(rows, ARRAY_LEN(rows), &settings, out);
    (void)fclose(out);
    return text;
}

static void test_what_is_unset_or_empty_has_its_default(void **state UNUSED)
{
    CLEANUP(xfree) char *errors = NULL;

    setenv("T_MODE", "", 1);
    assert_int_equal(load(&errors), STATUS_OK);
    assert_string_equal(errors, "");
    assert_string_equal(settings.nats, "nats://127.0.0.1:4222");
    assert_string_equal(settings.mode, "a");
    assert_null(settings.database);
    assert_int_equal(settings.slots, 7);
    assert_int_equal(settings.ratio, 0);
    assert_int_equal(settings.level, LOG_LEVEL_WARN);
    assert_false(settings.dry);
}

static void test_each_kind_takes_its_values(void **state UNUSED)
{
    CLEANUP(xfree) char *errors = NULL;

    setenv("T_NATS", "nats://u:p@a.example:4222,nats://b:4222", 1);
    setenv("T_DATABASE", "postgresql:///db?host=/run/postgresql", 1);
    setenv("T_KEY", "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", 1);
    setenv("T_GUILDS", "1,18446744073709551615", 1);
    setenv("T_MODE", "bc", 1);
    setenv("T_SLOTS", "16", 1);
    setenv("T_RATIO", "-9223372036854775808", 1);
    setenv("T_PORT", "65535", 1);
    setenv("T_LEVEL", "debug", 1);
    setenv("T_DRY", "yes", 1);
    assert_int_equal(load(&errors), STATUS_OK);
    assert_string_equal(errors, "");
    assert_string_equal(settings.pod, "gw-1");
    assert_string_equal(settings.guilds, "1,18446744073709551615");
    assert_int_equal(settings.slots, 16);
    assert_true(settings.ratio == INT64_MIN);
    assert_int_equal(settings.port, 65535);
    assert_int_equal(settings.level, LOG_LEVEL_DEBUG);
    assert_true(settings.dry);
}

static void test_all_that_is_wrong_is_reported_at_once(void **state UNUSED)
{
    static const char *const wrong[][2] = {
        { "T_POD", "" },
        { "T_NATS", "nats://" },
        { "T_DATABASE", "mysql://h/db" },
        { "T_KEY", "0011" },
        { "T_GUILDS", "1,,2" },
        { "T_MODE", "b" },
        { "T_SLOTS", "17" },
        { "T_RATIO", "9223372036854775808" },
        { "T_PORT", "65536" },
        { "T_LEVEL", "loud" },
        { "T_DRY", "perhaps" },
        { "T_SECRET_FILE", "/nonexistent/secret" },
    };
    CLEANUP(xfree) char *errors = NULL;
    size_t lines = 0;

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        setenv(wrong[i][0], wrong[i][1], 1);
    assert_int_equal(load(&errors), STATUS_INVALID);
    for (const char *c = errors; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, ARRAY_LEN(wrong));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        bool of_file = strcmp(wrong[i][0], "T_SECRET_FILE") == 0;
        CLEANUP(xfree) char *start = xasprintf("%s: ", of_file ? "T_SECRET" : wrong[i][0]);
        const char *line = strstr(errors, start);
        /* NAME: what is wrong: what to do */
        assert_true(line && (line == errors || line[-1] == '\n'));
        assert_non_null(memmem(line + strlen(start), strcspn(line, "\n") - strlen(start), ": ", 2));
    }
}

static void test_values_that_only_look_right_are_refused(void **state UNUSED)
{
    static const char *const wrong[][2] = {
        { "T_POD", "a.b" },           { "T_POD", "a b" },
        { "T_NATS", "nats://h x:1" }, { "T_NATS", "nats://:422" },
        { "T_NATS", "http:///p" },    { "T_NATS", "h:4222" },
        { "T_SLOTS", " 1" },          { "T_SLOTS", "+1" },
        { "T_SLOTS", "1x" },          { "T_SLOTS", "0" },
        { "T_PORT", "-1" },           { "T_MODE", "a|bc" },
        { "T_GUILDS", "1," },         { "T_GUILDS", "0" },
        { "T_GUILDS", "1, 2" },       { "T_GUILDS", "18446744073709551616" },
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        CLEANUP(xfree) char *errors = NULL;
        clear(NULL);
        setenv(wrong[i][0], wrong[i][1], 1);
        if (load(&errors) != STATUS_INVALID ||
            strncmp(errors, wrong[i][0], strlen(wrong[i][0])) != 0)
            fail_msg("%s=%s: %s", wrong[i][0], wrong[i][1], errors);
    }
}

/* A file with content; unlink it. */
static char *file_with(const char *content)
{
    char *path = xstrdup("/tmp/guildbus-config.XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return path;
}

static void test_a_secret_may_come_from_a_file(void **state UNUSED)
{
    CLEANUP(xfree) char *path = file_with("s3cret \n"), *errors = NULL, *both = NULL;

    setenv("T_SECRET_FILE", path, 1);
    assert_int_equal(load(&errors), STATUS_OK);
    assert_string_equal(settings.secret, "s3cret ");
    CLEANUP(xfree) char *shown = print();
    assert_non_null(strstr(shown, "T_SECRET=****  # file /tmp/guildbus-config."));
    assert_null(strstr(shown, "s3cret"));

    setenv("T_SECRET", "x", 1);
    assert_int_equal(load(&both), STATUS_INVALID);
    assert_non_null(strstr(both, "T_SECRET_FILE"));
    unlink(path);
}

static void test_an_empty_secret_file_is_an_error(void **state UNUSED)
{
    CLEANUP(xfree) char *path = file_with("\n"), *errors = NULL;

    setenv("T_SECRET_FILE", path, 1);
    assert_int_equal(load(&errors), STATUS_INVALID);
    assert_non_null(strstr(errors, "is empty"));
    unlink(path);
}

static void test_secrets_are_shown_masked_with_their_source(void **state UNUSED)
{
    CLEANUP(xfree) char *errors = NULL;

    setenv("T_SECRET", "hunter2", 1);
    setenv("T_NATS", "nats://user:pa:ss@h:4222/x@y", 1);
    assert_int_equal(load(&errors), STATUS_OK);
    CLEANUP(xfree) char *shown = print();
    assert_null(strstr(shown, "hunter2"));
    assert_null(strstr(shown, "ss@h"));
    assert_non_null(strstr(shown, "T_SECRET=****  # environment\n"));
    assert_non_null(strstr(shown, "T_NATS=nats://user:****@h:4222/x@y  # environment\n"));
    assert_non_null(strstr(shown, "T_DATABASE=  # unset\n"));
    assert_non_null(strstr(shown, "T_SLOTS=7  # default\n"));
    assert_non_null(strstr(shown, "T_LEVEL=warn  # default\n"));
}

static void test_each_url_of_a_list_is_masked(void **state UNUSED)
{
    static const char *const cases[][2] = {
        { "nats://a:1,nats://u:pass@b:2", "nats://a:1,nats://u:****@b:2" },
        { "nats://u:pass@a:1,tls://v:pass@b:2/", "nats://u:****@a:1,tls://v:****@b:2/" },
        { "nats://u:pa,ss@a:1", "nats://u:****@a:1" },
        { "nats://u:pass@a:1,v:pass@b:2",
          "nats://u:****@b:2" }, /* rather too little than a secret */
        { "http://u:pass@a/x,y?to=http://b", "http://u:****@a/x,y?to=http://b" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(xfree) char *errors = NULL;
        setenv("T_NATS", cases[i][0], 1);
        assert_int_equal(load(&errors), STATUS_OK);
        CLEANUP(xfree) char *shown = print();
        CLEANUP(xfree) char *line = xasprintf("T_NATS=%s  # environment\n", cases[i][1]);
        assert_non_null(strstr(shown, line));
    }
}

static void test_the_help_names_each_setting(void **state UNUSED)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    config_help(rows, ARRAY_LEN(rows), out);
    (void)fclose(out);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_non_null(strstr(text, rows[i].name));
    assert_non_null(strstr(text, "T_SECRET[_FILE]"));
    assert_non_null(strstr(text, "the pod's name (required)\n"));
    assert_non_null(strstr(text, "slots (default 7)\n"));
    free(text);
}

static int end(void **state)
{
    clear(state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_unset_or_empty_has_its_default, clear),
        cmocka_unit_test_setup(test_each_kind_takes_its_values, clear),
        cmocka_unit_test_setup(test_all_that_is_wrong_is_reported_at_once, clear),
        cmocka_unit_test_setup(test_values_that_only_look_right_are_refused, clear),
        cmocka_unit_test_setup(test_a_secret_may_come_from_a_file, clear),
        cmocka_unit_test_setup(test_an_empty_secret_file_is_an_error, clear),
        cmocka_unit_test_setup(test_secrets_are_shown_masked_with_their_source, clear),
        cmocka_unit_test_setup(test_each_url_of_a_list_is_masked, clear),
        cmocka_unit_test_setup(test_the_help_names_each_setting, clear),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, end);
}
/* NOLINTEND(concurrency-mt-unsafe) */
