#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"

static int pipe_fds[2], real_stderr;

static int catch_stderr(void **state UNUSED)
{
    assert_int_equal(pipe(pipe_fds), 0);
    real_stderr = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
    close(pipe_fds[1]);
    return 0;
}

static int give_stderr_back(void **state UNUSED)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_fds[0]);
    log_set_format(LOG_FORMAT_LOGFMT);
    log_set_level(LOG_LEVEL_INFO);
    log_set_trace(NULL);
    return 0;
}

/* The line just written; a line is one write. NUL instead of its newline. */
static const char *line(void)
{
    static char text[10000];
    ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);

    assert_true(n > 1);
    assert_int_equal(text[n - 1], '\n');
    text[n - 1] = '\0';
    assert_null(strchr(text, '\n'));
    return text;
}

static void test_a_line_has_its_head_and_fields(void **state UNUSED)
{
    log_warn("lease_lost", "guild=%d pod=%s", 8138, "gw-2");
    const char *text = line();
    assert_memory_equal(text, "ts=20", 5);
    assert_non_null(strstr(text, "Z level=warn at=base/test_log.c:"));
    const char *at = strstr(text, "test_log.c:") + strlen("test_log.c:");
    size_t digits = strspn(at, "0123456789");
    assert_true(digits > 0);
    assert_memory_equal(at + digits, " event=lease_lost ", 18);
    assert_string_equal(strstr(text, "guild="), "guild=8138 pod=gw-2");
    log_info("plain", "%s", "");
    text = line();
    assert_string_equal(strstr(text, " event="), " event=plain");
}

static void test_lines_below_the_level_are_not_written(void **state UNUSED)
{
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("quiet", "a=1");
    log_error("loud", "a=2");
    assert_non_null(strstr(line(), "event=loud a=2"));
}

static void test_outside_text_can_forge_neither_a_line_nor_a_field(void **state UNUSED)
{
    log_info("said", "a=%s b=%s", "x\ny\x1b[31m", LOG_QUOTE("he said \"no\\yes\" level=error\r\n"));
    assert_non_null(strstr(line(), "a=x y [31m b=\"he said \\\"no\\\\yes\\\" level=error  \""));
}

static void test_a_quoted_value_is_cut_to_its_bound(void **state UNUSED)
{
    CLEANUP(xfree) char *text = xcalloc(1, 2001);
    struct log_quoted q;

    memset(text, '"', 2000);
    log_quote(&q, text);
    size_t len = strlen(q.text);
    assert_true(len < LOG_QUOTE_SIZE && len > LOG_QUOTE_SIZE - 6);
    assert_int_equal(q.text[len - 1], '"');
    assert_int_equal((len - 2) % 2, 0); /* no escape is cut in two */
    assert_string_equal(log_quote(&q, NULL), "\"\"");
}

static void test_a_long_line_is_cut_and_ends(void **state UNUSED)
{
    CLEANUP(xfree) char *text = xcalloc(1, 50001);

    memset(text, '"', 50000);
    log_info("long", "a=%s", text);
    assert_true(strlen(line()) < 8192);
    log_set_format(LOG_FORMAT_JSON);
    log_info("long", "a=x%s", text);
    const char *json = line();
    assert_true(strlen(json) < 8192);
    assert_int_equal(json[strlen(json) - 1], '}');
}

static void test_json_has_each_field_as_a_member(void **state UNUSED)
{
    log_set_format(LOG_FORMAT_JSON);
    log_set_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    log_warn("w", "guild=%d why=%s empty= odd words here", 1, LOG_QUOTE("a \"b\" \\ c=d"));
    const char *text = line();
    json_t *root = NULL;
    assert_int_equal(json_parse(text, strlen(text), &root, NULL), STATUS_OK);
    assert_string_equal(json_str(root, "level"), "warn");
    assert_string_equal(json_str(root, "event"), "w");
    assert_string_equal(json_str(root, "guild"), "1");
    assert_string_equal(json_str(root, "why"), "a \"b\" \\ c=d");
    assert_string_equal(json_str(root, "empty"), "");
    assert_string_equal(json_str(root, "text"), "odd words here");
    assert_string_equal(json_str(root, "trace"), "0af7651916cd43dd8448eb211c80319c");
    assert_int_equal(strlen(json_str(root, "ts")), 24);
    json_decref(root);
}

static void *log_elsewhere(void *arg UNUSED)
{
    assert_null(log_trace());
    log_info("elsewhere", "a=1");
    return NULL;
}

static void test_a_trace_belongs_to_its_thread_until_it_is_cleared(void **state UNUSED)
{
    static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    pthread_t thread;

    log_set_trace(trace);
    assert_string_equal(log_trace(), trace);
    log_info("here", "a=1");
    assert_non_null(strstr(line(), "event=here trace=0af7651916cd43dd8448eb211c80319c a=1"));
    pthread_create(&thread, NULL, log_elsewhere, NULL);
    pthread_join(thread, NULL);
    assert_null(strstr(line(), "trace="));

    log_set_trace("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_null(log_trace());
    log_set_trace(trace);
    log_set_trace("a\" forged=1");
    assert_null(log_trace());
}

static int64_t counted(const char *word)
{
    size_t size;
    CLEANUP(xfree) char *text = metrics_text(&size);
    CLEANUP(xfree) char *start = xasprintf("guildbus_log_events_total{event=\"%s\"} ", word);
    const char *at = strstr(text, start);

    return at ? strtoll(at + strlen(start), NULL, 10) : 0;
}

static void test_warnings_and_errors_are_counted_by_word(void **state UNUSED)
{
    log_warn("counted", "a=1");
    line();
    log_error("counted", "a=1");
    line();
    log_info("not_counted", "a=1");
    line();
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("counted", "a=1"); /* not written, counted all the same */
    assert_int_equal(counted("counted"), 3);
    assert_int_equal(counted("not_counted"), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, catch_stderr, give_stderr_back)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_line_has_its_head_and_fields),
        CASE(test_lines_below_the_level_are_not_written),
        CASE(test_outside_text_can_forge_neither_a_line_nor_a_field),
        CASE(test_a_quoted_value_is_cut_to_its_bound),
        CASE(test_a_long_line_is_cut_and_ends),
        CASE(test_json_has_each_field_as_a_member),
        CASE(test_a_trace_belongs_to_its_thread_until_it_is_cleared),
        CASE(test_warnings_and_errors_are_counted_by_word),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
