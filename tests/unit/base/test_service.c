#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/service.h"
#include "loop_world.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */

/* The program under test is a child of this one: a service ends its process. */
struct child_config {
    struct service_config service;
    const char *token;
    bool stubborn;
};
static const struct config_row rows[] = {
    SERVICE_CONFIG_ROWS(struct child_config, service),
    { "T_TOKEN", CONFIG_STRING, offsetof(struct child_config, token), .secret = true,
      .required = true, .help = "the token" },
    { "T_STUBBORN", CONFIG_BOOL, offsetof(struct child_config, stubborn), .help = "does not stop" },
};

static bool ready(void *ctx UNUSED, const char **ret_why)
{
    *ret_why = "still warming up";
    return false;
}

static void ignore_stop(void *ctx UNUSED)
{
    log_info("will_not_stop", "%s", "");
}

static NORETURN void be_the_service(int argc, char **argv)
{
    static struct child_config config;
    static struct service s = { .program = "test-service",
                                .purpose = "serves the test",
                                .rows = rows,
                                .row_count = ARRAY_LEN(rows),
                                .config = &config,
                                .common = &config.service };

    s.is_ready = getenv("T_COLD") ? ready : NULL;
    service_start(&s, argc, argv);
    if (config.stubborn)
        s.on_stop = ignore_stop;
    loop_run(s.loop);
    service_stop(&s);
    exit(0);
}

struct child {
    pid_t pid;
    int out; /* its stdout and stderr */
};

static struct child start(const char *flag)
{
    char program[] = "test-service", *word = flag ? xstrdup(flag) : NULL;
    char *argv[] = { program, word, NULL };
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        be_the_service(flag ? 2 : 1, argv);
    }
    close(fds[1]);
    free(word);
    return (struct child){ .pid = pid, .out = fds[0] };
}

/* What it wrote until text came, or until its end (NULL). */
static char *output(const struct child *c, const char *text)
{
    size_t used = 0, room = 65536;
    char *all = xcalloc(1, room + 1);

    while (used < room && !(text && strstr(all, text))) {
        ssize_t n = read(c->out, all + used, room - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    return all;
}

static int end(const struct child *c)
{
    int status;

    close(c->out);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int clean_environment(void **state UNUSED)
{
    setenv("T_TOKEN", "hush", 1);
    setenv("ADMIN_PORT", "0", 1);
    unsetenv("T_STUBBORN");
    unsetenv("T_COLD");
    unsetenv("LOG_FORMAT");
    unsetenv("LOG_LEVEL");
    unsetenv("ADMIN_BIND");
    return 0;
}

static int port_in(const char *text)
{
    const char *at = strstr(text, "admin_port=");

    assert_non_null(at);
    return (int)strtol(at + strlen("admin_port="), NULL, 10);
}

static char *get(int port, const char *path)
{
    int fd = socket_to(port);
    CLEANUP(xfree)
    char *request = xasprintf("GET %s HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", path);

    socket_text(fd, request);
    char *answer = socket_read_until(fd, NULL, NULL);
    close(fd);
    return answer;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in: %s", part, text);
}

static void test_flags_print_and_end(void **state UNUSED)
{
    struct child help = start("--help"), version = start("--version"),
                 config = start("--print-config");
    CLEANUP(xfree)
    char *help_text = output(&help, NULL), *version_text = output(&version, NULL),
         *config_text = output(&config, NULL);

    assert_has(help_text, "serves the test");
    assert_has(help_text, "T_TOKEN[_FILE]");
    assert_has(version_text, "test-service " GUILDBUS_VERSION "\n");
    assert_has(config_text, "T_TOKEN=****  # environment\n");
    assert_has(config_text, "LOG_FORMAT=logfmt  # default\n");
    assert_null(strstr(config_text, "hush"));
    assert_int_equal(end(&help), 0);
    assert_int_equal(end(&version), 0);
    assert_int_equal(end(&config), 0);
}

static void test_wrong_flags_and_settings_end_with_2(void **state UNUSED)
{
    struct child flag = start("--hepl");
    unsetenv("T_TOKEN");
    setenv("LOG_LEVEL", "loud", 1);
    struct child setting = start(NULL);
    CLEANUP(xfree) char *flag_text = output(&flag, NULL), *setting_text = output(&setting, NULL);

    assert_has(flag_text, "--hepl");
    assert_has(setting_text, "T_TOKEN: is not set");
    assert_has(setting_text, "LOG_LEVEL: is not a level");
    assert_int_equal(end(&flag), 2);
    assert_int_equal(end(&setting), 2);
}

static void test_an_admin_port_in_use_ends_with_1_and_names_it(void **state UNUSED)
{
    struct child first = start(NULL);
    CLEANUP(xfree) char *started = output(&first, "admin_port=");
    CLEANUP(xfree) char *port = xasprintf("%d", port_in(started));

    setenv("ADMIN_PORT", port, 1);
    struct child second = start(NULL);
    CLEANUP(xfree) char *text = output(&second, NULL);
    CLEANUP(xfree) char *named = xasprintf("port %s on 127.0.0.1 is in use", port);
    assert_has(text, named);
    assert_int_equal(end(&second), 1);
    kill(first.pid, SIGTERM);
    assert_int_equal(end(&first), 0);
}

static void test_the_admin_port_answers_and_sigterm_ends_it(void **state UNUSED)
{
    struct child c = start(NULL);
    CLEANUP(xfree) char *started = output(&c, "admin_port=");
    int port = port_in(started);
    CLEANUP(xfree)
    char *live = get(port, "/livez"), *readiness = get(port, "/readyz"),
         *metrics = get(port, "/metrics"), *other = get(port, "/other");

    assert_has(started, "event=started program=test-service version=" GUILDBUS_VERSION);
    assert_has(live, "HTTP/1.1 200 ");
    assert_has(readiness, "HTTP/1.1 200 ");
    assert_has(metrics, "content-type: text/plain; version=0.0.4");
    assert_has(metrics, "\nguildbus_build_info{program=\"test-service\",version=");
    assert_has(metrics, "\nprocess_resident_memory_bytes ");
    assert_has(metrics, "# TYPE guildbus_log_events_total counter\n");
    assert_has(other, "HTTP/1.1 404 ");
    kill(c.pid, SIGTERM);
    CLEANUP(xfree) char *rest = output(&c, NULL);
    assert_has(rest, "event=stopping");
    assert_has(rest, "event=stopped");
    assert_int_equal(end(&c), 0);
}

static void test_a_service_that_is_not_ready_says_why(void **state UNUSED)
{
    setenv("T_COLD", "1", 1);
    setenv("LOG_FORMAT", "json", 1);
    struct child c = start(NULL);
    CLEANUP(xfree) char *started = output(&c, "admin_port\":\"");
    int port = (int)strtol(strstr(started, "admin_port\":\"") + 13, NULL, 10);
    CLEANUP(xfree) char *readiness = get(port, "/readyz");

    assert_has(readiness, "HTTP/1.1 503 ");
    assert_has(readiness, "still warming up");
    kill(c.pid, SIGINT);
    assert_int_equal(end(&c), 0);
}

static void test_a_second_signal_ends_what_does_not_stop(void **state UNUSED)
{
    setenv("T_STUBBORN", "1", 1);
    struct child c = start(NULL);
    CLEANUP(xfree) char *started = output(&c, "admin_port=");
    CLEANUP(xfree) char *stopping = NULL, *readiness = NULL;

    kill(c.pid, SIGTERM);
    stopping = output(&c, "event=will_not_stop");
    assert_has(stopping, "event=will_not_stop");
    readiness = get(port_in(started), "/readyz");
    assert_has(readiness, "HTTP/1.1 503 ");
    kill(c.pid, SIGTERM);
    assert_int_equal(end(&c), 128 + SIGTERM);
}

#define CASE(test) cmocka_unit_test_setup(test, clean_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_flags_print_and_end),
        CASE(test_wrong_flags_and_settings_end_with_2),
        CASE(test_an_admin_port_in_use_ends_with_1_and_names_it),
        CASE(test_the_admin_port_answers_and_sigterm_ends_it),
        CASE(test_a_service_that_is_not_ready_says_why),
        CASE(test_a_second_signal_ends_what_does_not_stop),
    };
    return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
/* NOLINTEND(concurrency-mt-unsafe) */
