#include "base/service.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"

enum { EXIT_USAGE = 2, ADMIN_TIMEOUT_MS = 10000 };

/* A signal handler has no argument of its own. Set before signals are taken. */
static struct {
    struct service *service;
    int fd;
    struct loop_watch *watch;
    int64_t started_ms;
} process = { .fd = -1 };

/* --- flags --- */

static void print_help(const struct service *s)
{
    printf("%s - %s\n\nUsage: %s [--help | --version | --print-config]\n\n", s->program, s->purpose,
           s->program);
    puts("Settings come from the environment. NAME[_FILE] may also come as NAME_FILE, the path\n"
         "of a file that holds the value.\n");
    config_help(s->rows, s->row_count, stdout);
}

static void load_config(struct service *s)
{
    bool good = config_load(s->rows, s->row_count, s->config, stderr) == STATUS_OK;

    if (s->check && !s->check(s->config, stderr))
        good = false;
    if (good)
        return;
    fprintf(stderr, "%s: settings are wrong, see above; %s --help lists them\n", s->program,
            s->program);
    exit(EXIT_USAGE); /* NOLINT(concurrency-mt-unsafe): before any thread */
}

static NORETURN void finish_output(void)
{
    bool good = fflush(stdout) == 0 && !ferror(stdout);

    exit(good ? 0 : 1); /* NOLINT(concurrency-mt-unsafe): before any thread */
}

static void read_flags(struct service *s, int argc, char **argv)
{
    const char *flag = argc > 1 ? argv[1] : NULL;

    if (argc == 2 && (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0)) {
        print_help(s);
        finish_output();
    }
    if (argc == 2 && strcmp(flag, "--version") == 0) {
        printf("%s %s\n", s->program, GUILDBUS_VERSION);
        finish_output();
    }
    if (argc == 2 && strcmp(flag, "--print-config") == 0) {
        load_config(s);
        config_print(s->rows, s->row_count, s->config, stdout);
        finish_output();
    }
    if (argc > 1) {
        fprintf(stderr, "%s: cannot use \"%s\": the flags are --help, --version, --print-config\n",
                s->program, flag);
        exit(EXIT_USAGE); /* NOLINT(concurrency-mt-unsafe): before any thread */
    }
}

/* --- signals --- */

static void on_signal(int number)
{
    const uint64_t one = 1;
    int saved = errno;

    if (atomic_exchange(&process.service->stopping, true))
        _exit(128 + number);
    if (write(process.fd, &one, sizeof(one)) < 0)
        _exit(128 + number);
    errno = saved;
}

static void on_stop_asked(void *ctx, uint32_t events UNUSED)
{
    struct service *s = ctx;
    uint64_t times;

    if (read(process.fd, &times, sizeof(times)) < 0)
        return;
    log_info("stopping", "program=%s", s->program);
    if (s->on_stop)
        s->on_stop(s->ctx);
    else
        loop_stop(s->loop);
}

static void stop_later(void *ctx UNUSED)
{
}

bool service_turn(struct service *s)
{
    void (*on_stop)(void *ctx) = s->on_stop;
    const uint64_t again = 1;

    s->on_stop = stop_later;
    loop_turn(s->loop);
    s->on_stop = on_stop;
    if (s->stopping &&
        write(process.fd, &again, sizeof(again)) < 0) /* if the start succeeds all the same */
        return true;
    return s->stopping;
}

static enum status take_signals(struct service *s, struct err *err)
{
    struct sigaction stop = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    process.service = s;
    process.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (process.fd < 0)
        return err_set(err, STATUS_UNAVAILABLE, "eventfd: %m");
    process.watch = loop_watch_new(s->loop, process.fd, EPOLLIN, on_stop_asked, s);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    return STATUS_OK;
}

static void leave_signals(void)
{
    struct sigaction usual = { .sa_handler = SIG_DFL };

    sigaction(SIGTERM, &usual, NULL);
    sigaction(SIGINT, &usual, NULL);
    loop_watch_free(TAKE(process.watch));
    close(process.fd);
    process.fd = -1;
}

/* --- the admin port --- */

static int64_t resident_bytes(void)
{
    int64_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%*d %" SCNd64, &pages) != 1) /* NOLINT(cert-err34-c): the kernel's format */
        pages = 0;
    (void)fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int64_t open_fds(void)
{
    int64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");

    if (!dir)
        return 0;
    while (readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of its own */
        n++;
    closedir(dir);
    return n - 3; /* . and .. and the folder itself */
}

static double cpu_seconds(void)
{
    struct rusage use = { 0 };

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static char *process_text(const struct service *s)
{
    return xasprintf("# HELP guildbus_build_info the program and its version\n"
                     "# TYPE guildbus_build_info gauge\n"
                     "guildbus_build_info{program=\"%s\",version=\"%s\"} 1\n"
                     "# HELP process_cpu_seconds_total user and system time\n"
                     "# TYPE process_cpu_seconds_total counter\n"
                     "process_cpu_seconds_total %.2f\n"
                     "# HELP process_open_fds open file descriptors\n"
                     "# TYPE process_open_fds gauge\n"
                     "process_open_fds %" PRId64 "\n"
                     "# HELP process_resident_memory_bytes resident memory\n"
                     "# TYPE process_resident_memory_bytes gauge\n"
                     "process_resident_memory_bytes %" PRId64 "\n"
                     "# HELP process_start_time_seconds since 1970\n"
                     "# TYPE process_start_time_seconds gauge\n"
                     "process_start_time_seconds %.3f\n",
                     s->program, GUILDBUS_VERSION, cpu_seconds(), open_fds(), resident_bytes(),
                     (double)process.started_ms / 1000.0);
}

static void answer_metrics(struct service *s, struct http_exchange *x)
{
    size_t size;
    CLEANUP(xfree) char *own = metrics_text(&size);
    CLEANUP(xfree) char *of_process = process_text(s);
    CLEANUP(xfree) char *all = xasprintf("%s%s", own, of_process);

    http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", all, strlen(all));
}

static void answer_ready(struct service *s, struct http_exchange *x)
{
    const char *why = "not ready";

    if (s->stopping) {
        http_respond_text(x, 503, "stopping\n");
    } else if (!s->is_ready || s->is_ready(s->ctx, &why)) {
        http_respond_text(x, 200, "ready\n");
    } else {
        CLEANUP(xfree) char *text = xasprintf("%s\n", why ? why : "not ready");
        http_respond_text(x, 503, text);
    }
}

static void on_admin_request(void *ctx, struct http_exchange *x)
{
    struct service *s = ctx;
    const char *path = http_path(x);

    if (http_method(x) != HTTP_GET && http_method(x) != HTTP_HEAD)
        http_respond_text(x, 405, "only GET and HEAD\n");
    else if (strcmp(path, "/livez") == 0)
        http_respond_text(x, 200, "alive\n");
    else if (strcmp(path, "/readyz") == 0)
        answer_ready(s, x);
    else if (strcmp(path, "/metrics") == 0)
        answer_metrics(s, x);
    else
        http_respond_text(x, 404, "here are /livez, /readyz and /metrics\n");
}

static enum status start_admin(struct service *s, struct err *err)
{
    struct http_server_config config = {
        .name = "admin",
        .bind = s->common->admin_bind,
        .port = (int)s->common->admin_port,
        .max_body = 0,
        .timeout_ms = ADMIN_TIMEOUT_MS,
        .on_request = on_admin_request,
        .ctx = s,
    };

    return http_server_listen(s->loop, &config, &s->admin, err);
}

/* --- start and stop --- */

NORETURN void service_fail(const char *doing, const struct err *err)
{
    log_error("start_failed", "doing=%s status=%s why=%s", LOG_QUOTE(doing), status_name(err->code),
              LOG_QUOTE(err->text));
    /* Not exit(): what libraries tear down there is in use by the threads that already run. */
    (void)fflush(NULL);
    _exit(1);
}

void service_start(struct service *s, int argc, char **argv)
{
    struct err err = { .code = STATUS_OK };

    read_flags(s, argc, argv);
    load_config(s);
    log_set_level((enum log_level)s->common->log_level);
    log_set_format(strcmp(s->common->log_format, "json") == 0 ? LOG_FORMAT_JSON
                                                              : LOG_FORMAT_LOGFMT);
    process.started_ms = clock_wall_ms();
    if (loop_new(&s->loop, &err) != STATUS_OK)
        service_fail("make the event loop", &err);
    if (take_signals(s, &err) != STATUS_OK)
        service_fail("take signals", &err);
    if (start_admin(s, &err) != STATUS_OK)
        service_fail("open the admin port", &err);
    log_info("started", "program=%s version=%s pid=%d admin=%s admin_port=%d", s->program,
             GUILDBUS_VERSION, (int)getpid(), s->common->admin_bind, http_server_port(s->admin));
}

void service_stop(struct service *s)
{
    leave_signals();
    s->admin = NULL;
    loop_free(TAKE(s->loop));
    log_info("stopped", "program=%s", s->program);
}
