#include "bench/load/http_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/xmem.h"
#include "bench/load/latency.h"

enum { ANSWER_MAX = 1024 * 1024, PATIENCE_US = 10000000 };

struct connection {
    int fd;              /* -1: broken, opened again for its next request */
    const char *request; /* NULL: idle */
    size_t size, sent, got;
    int64_t due_us;
    char *answer;
};

struct run {
    const struct http_load *what;
    size_t started, done;
    struct connection *connections, **idle;
    size_t idle_count;
    int64_t started_us, heard_us;
    int epoll;
    struct latency latency;
    size_t answered, deferred, broken;
    FILE *trace;
};

enum status http_target_read(const char *url, struct http_target *ret_target, struct err *err)
{
    static const char http[] = "http://";
    const char *host = url && !strncmp(url, http, sizeof(http) - 1) ? url + sizeof(http) - 1 : "";
    size_t name = strcspn(host, ":"), whole = strcspn(host, "/");
    char address[INET_ADDRSTRLEN];
    unsigned long port = name < whole ? strtoul(host + name + 1, NULL, 10) : 0;

    (void)snprintf(address, sizeof(address), "%.*s", (int)name, host);
    if (!port || port > UINT16_MAX ||
        inet_pton(AF_INET, address, &ret_target->address.sin_addr) != 1)
        return err_set(err, STATUS_INVALID, "--url is to be http://A.B.C.D:PORT/PATH");
    ret_target->address.sin_family = AF_INET;
    ret_target->address.sin_port = htons((uint16_t)port);
    (void)snprintf(ret_target->host, sizeof(ret_target->host), "%.*s", (int)whole, host);
    (void)snprintf(ret_target->path, sizeof(ret_target->path), "%s", host + whole);
    return STATUS_OK;
}

/* ---- connections ---- */

static enum status connect_one(struct run *l, struct connection *c, struct err *err)
{
    const int on = 1;
    const struct http_target *t = l->what->target;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&t->address, sizeof(t->address)) ||
        fcntl(c->fd, F_SETFL, O_NONBLOCK) ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event))
        return err_set(err, STATUS_UNAVAILABLE, "%s: %s", t->host, strerrordesc_np(errno));
    return STATUS_OK;
}

static void trace(struct run *l, const struct connection *c, int64_t now_us, bool answered)
{
    if (l->trace)
        (void)fprintf(l->trace, "%" PRId64 " %" PRId64 " %d\n", c->due_us, now_us - c->due_us,
                      answered);
}

/* The request that was on it has failed; with forgive the run goes on. */
static enum status give_up(struct run *l, struct connection *c, struct err *err)
{
    if (!l->what->forgive)
        return STATUS_UNAVAILABLE;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    if (!c->request)
        return STATUS_OK;
    trace(l, c, clock_now_us(), false);
    l->heard_us = clock_now_us();
    l->broken++;
    l->done++;
    c->request = NULL;
    l->idle[l->idle_count++] = c;
    *err = (struct err){ 0 };
    return STATUS_OK;
}

static enum status send_more(struct run *l, struct connection *c, struct err *err)
{
    while (c->sent < c->size) {
        ssize_t n = send(c->fd, c->request + c->sent, c->size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            (void)err_set(err, STATUS_UNAVAILABLE, "send: %s", strerrordesc_np(errno));
            return give_up(l, c, err);
        }
        if (n < 0)
            break;
        c->sent += (size_t)n;
    }
    struct epoll_event event = { .events = EPOLLIN | (c->sent < c->size ? EPOLLOUT : 0),
                                 .data.ptr = c };
    if (c->sent < c->size || c->got)
        (void)epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &event);
    return STATUS_OK;
}

static enum status start_next(struct run *l, int64_t due_us, struct err *err)
{
    struct connection *c = l->idle[--l->idle_count];

    c->request = l->what->requests[l->started++];
    c->size = strlen(c->request);
    c->sent = c->got = 0;
    c->due_us = due_us;
    if (c->fd < 0 && connect_one(l, c, err) != STATUS_OK)
        return give_up(l, c, err);
    return send_more(l, c, err);
}

/* When the next one is due; in a closed loop: at once. */
static int64_t due_us(const struct run *l, int64_t now_us)
{
    return l->what->rate ? l->started_us + (int64_t)l->started * 1000000 / l->what->rate : now_us;
}

/* What is due leaves over what is idle; *ret_wait_us: for so long nothing more is due. */
static enum status start_due(struct run *l, int64_t *ret_wait_us, struct err *err)
{
    int64_t now = clock_now_us();

    while (l->idle_count && l->started < l->what->count && due_us(l, now) <= now)
        TRY(start_next(l, due_us(l, now), err));
    *ret_wait_us = 1000000;
    if (l->idle_count && l->started < l->what->count)
        *ret_wait_us = due_us(l, now) - now;
    return STATUS_OK;
}

/* ---- what comes back ---- */

size_t http_message_size(const char *text, size_t got, bool *ret_has_length)
{
    static const char name[] = "\r\ncontent-length:";
    const char *end = memmem(text, got, "\r\n\r\n", 4);
    const char *length = end ? strcasestr(text, name) : NULL;

    *ret_has_length = length && length < end;
    if (!end)
        return 0;
    return (size_t)(end + 4 - text) +
           (*ret_has_length ? strtoul(length + sizeof(name) - 1, NULL, 10) : 0);
}

/* Size of the whole answer; 0: more has to come; SIZE_MAX: it cannot be read. */
static size_t answer_size(const struct connection *c)
{
    bool has_length;
    size_t size = http_message_size(c->answer, c->got, &has_length);

    if (!size)
        return c->got < ANSWER_MAX - 1 ? 0 : SIZE_MAX;
    if (!has_length || size >= ANSWER_MAX)
        return SIZE_MAX;
    return size <= c->got ? size : 0;
}

static void count_answer(struct run *l, struct connection *c)
{
    int64_t now = clock_now_us();
    bool ok = !strncmp(c->answer, "HTTP/1.1 200", 12);

    latency_add(&l->latency, (uint64_t)(now - c->due_us));
    l->heard_us = now;
    bool deferred = ok && l->what->deferred && strstr(c->answer, l->what->deferred);
    bool answered = ok && !deferred && strstr(c->answer, l->what->expected);
    l->deferred += deferred;
    l->answered += answered;
    trace(l, c, now, answered);
    l->done++;
    c->request = NULL;
    l->idle[l->idle_count++] = c;
}

static enum status on_ready(struct run *l, struct connection *c, uint32_t events, struct err *err)
{
    if (c->request && events & EPOLLOUT)
        TRY(send_more(l, c, err));
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return STATUS_OK;
    ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, 0);
    if (n < 0 && errno == EAGAIN)
        return STATUS_OK;
    if (n <= 0 || !c->request) {
        (void)err_set(err, STATUS_UNAVAILABLE, "the server closed a connection");
        return give_up(l, c, err);
    }
    c->got += (size_t)n;
    c->answer[c->got] = '\0';
    size_t size = answer_size(c);
    if (size == SIZE_MAX)
        return err_set(err, STATUS_CORRUPT, "an answer without Content-Length, or too long");
    if (size)
        count_answer(l, c);
    return STATUS_OK;
}

static enum status go(struct run *l, struct err *err)
{
    enum { EVENTS = 256 };
    struct epoll_event events[EVENTS];
    int64_t wait_us;

    l->started_us = l->heard_us = clock_now_us();
    while (l->done < l->what->count) {
        TRY(start_due(l, &wait_us, err));
        const struct timespec wait = { wait_us / 1000000, wait_us % 1000000 * 1000 };
        int n = epoll_pwait2(l->epoll, events, EVENTS, &wait, NULL);
        for (int i = 0; i < n; i++)
            TRY(on_ready(l, events[i].data.ptr, events[i].events, err));
        if (l->started > l->done && clock_now_us() - l->heard_us > PATIENCE_US)
            return err_set(err, STATUS_TIMEOUT, "no answer for ten seconds");
    }
    return STATUS_OK;
}

/* ---- the whole ---- */

static void print_result(const struct run *l, int64_t cpu_us)
{
    int64_t took_us = l->heard_us - l->started_us;

    (void)printf("{\"sent\":%zu,\"answered\":%zu,\"deferred\":%zu,\"failed\":%zu,\"broken\":%zu,"
                 "\"seconds\":%.3f,\"per_s\":%.0f,\"p50_us\":%" PRIu64 ",\"p90_us\":%" PRIu64
                 ",\"p99_us\":%" PRIu64 ",\"max_us\":%" PRIu64 ",\"generator_cpu_us_each\":%.2f}\n",
                 l->done, l->answered, l->deferred, l->done - l->answered - l->deferred, l->broken,
                 (double)took_us / 1e6, (double)l->done * 1e6 / (double)took_us,
                 latency_at(&l->latency, 500), latency_at(&l->latency, 900),
                 latency_at(&l->latency, 990), l->latency.max_us, (double)cpu_us / (double)l->done);
}

static enum status connect_all(struct run *l, struct err *err)
{
    size_t count = l->what->connections;

    l->connections = xcalloc(count, sizeof(*l->connections));
    l->idle = xcalloc(count, sizeof(struct connection *));
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < count; i++) {
        struct connection *c = &l->connections[i];
        c->answer = xcalloc(1, ANSWER_MAX);
        TRY(connect_one(l, c, err));
        l->idle[l->idle_count++] = c;
    }
    return STATUS_OK;
}

static enum status trace_open(struct run *l, struct err *err)
{
    const char *path = l->what->trace;

    l->trace = path ? fopen(path, "we") : NULL;
    if (path && !l->trace)
        return err_set(err, STATUS_UNAVAILABLE, "%s: %s", path, strerrordesc_np(errno));
    return STATUS_OK;
}

static void run_release(struct run *l)
{
    if (l->trace)
        (void)fclose(l->trace);
    for (size_t i = 0; i < l->what->connections; i++) {
        if (l->connections[i].fd > 0)
            (void)close(l->connections[i].fd);
        free(l->connections[i].answer);
    }
    free(l->connections);
    free(l->idle);
    (void)close(l->epoll);
}

enum status http_load_run(const struct http_load *what, struct err *err)
{
    static struct run l;

    l = (struct run){ .what = what };
    TRY(trace_open(&l, err));
    enum status status = connect_all(&l, err);
    int64_t cpu_us = load_cpu_us();
    if (status == STATUS_OK)
        status = go(&l, err);
    if (status == STATUS_OK)
        print_result(&l, load_cpu_us() - cpu_us);
    run_release(&l);
    return status;
}
