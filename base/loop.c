#include "base/loop.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/epilogue.h"
#include "base/log.h"
#include "base/stall.h"
#include "base/xmem.h"

enum {
    EVENTS_AT_ONCE = 64,
    MAILBOX_CAPACITY = 65536,
    LWS_MAX_HEADERS = 20 * 1024, /* more than http_server takes, so that it can hand over */
};

struct loop_watch {
    struct loop *loop;
    int fd;
    bool dead;
    void (*on_ready)(void *ctx, uint32_t events);
    void *ctx;
    struct loop_watch *next_dead;
};

struct loop_timer {
    struct loop *loop;
    size_t at; /* place in the heap + 1; 0: not running */
    int64_t due_us;
    void (*on_time)(void *ctx);
    void *ctx;
};

struct on_free {
    struct on_free *next;
    void (*fn)(void *ctx);
    void *ctx;
};

struct loop {
    struct lws_context *lws;
    int epoll_fd, timer_fd, stop_fd;
    _Atomic bool stop;
    struct mailbox *box;
    struct loop_watch *timer_watch, *stop_watch, *box_watch;
    struct loop_watch *dead; /* freed when no event of the batch can name them any more */
    /* binary heap, soonest first */
    struct loop_timer **heap;
    size_t timers, room;
    int64_t armed_us; /* what timer_fd is set to; INT64_MAX: nothing */
    struct on_free *on_free;
    struct stall stall;
};

/* C lets a pointer to a function be kept as one of another type. */
#define ANY_FN(fn) ((void (*)(void))(fn))

/* --- watches --- */

struct loop_watch *loop_watch_new(struct loop *loop, int fd, uint32_t events,
                                  void (*on_ready)(void *ctx, uint32_t events), void *ctx)
{
    struct loop_watch *w = xcalloc(1, sizeof(*w));
    struct epoll_event e = { .events = events, .data.ptr = w };

    *w = (struct loop_watch){ .loop = loop, .fd = fd, .on_ready = on_ready, .ctx = ctx };
    must(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0);
    return w;
}

void loop_watch_set(struct loop_watch *watch, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = watch };

    must(epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &e) == 0);
}

void loop_watch_free(struct loop_watch *watch)
{
    if (!watch)
        return;
    must(epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL) == 0);
    watch->dead = true;
    watch->next_dead = watch->loop->dead;
    watch->loop->dead = watch;
}

static void bury_dead(struct loop *loop)
{
    while (loop->dead) {
        struct loop_watch *w = loop->dead;
        loop->dead = w->next_dead;
        free(w);
    }
}

static void serve_epoll(struct loop *loop)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int n = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, 0);

    stall_begin(&loop->stall, loop->timers ? loop->heap[0]->due_us : INT64_MAX);
    for (int i = 0; i < n; i++) {
        struct loop_watch *w = events[i].data.ptr;
        if (w->dead)
            continue;
        w->on_ready(w->ctx, events[i].events);
        stall_look(&loop->stall, w == loop->box_watch ? "letters" : "socket", ANY_FN(w->on_ready));
    }
    bury_dead(loop);
}

/* --- timers --- */

static void heap_put(struct loop *loop, size_t i, struct loop_timer *t)
{
    loop->heap[i] = t;
    t->at = i + 1;
}

static void heap_up(struct loop *loop, size_t i, struct loop_timer *t)
{
    for (; i > 0 && loop->heap[(i - 1) / 2]->due_us > t->due_us; i = (i - 1) / 2)
        heap_put(loop, i, loop->heap[(i - 1) / 2]);
    heap_put(loop, i, t);
}

static void heap_down(struct loop *loop, size_t i, struct loop_timer *t)
{
    for (size_t child; (child = 2 * i + 1) < loop->timers; i = child) {
        if (child + 1 < loop->timers && loop->heap[child + 1]->due_us < loop->heap[child]->due_us)
            child++;
        if (loop->heap[child]->due_us >= t->due_us)
            break;
        heap_put(loop, i, loop->heap[child]);
    }
    heap_put(loop, i, t);
}

/* Sets timer_fd when the soonest timer is sooner than what it is set to. It may go off for a timer
 * that was stopped meanwhile; that is cheaper than setting it each time. */
static void arm(struct loop *loop)
{
    int64_t due = loop->timers ? loop->heap[0]->due_us : INT64_MAX;

    if (due >= loop->armed_us)
        return;
    loop->armed_us = due;
    int64_t at = due > 0 ? due : 1;
    struct itimerspec when = { .it_value = { at / 1000000, at % 1000000 * 1000 } };
    must(timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*on_time)(void *ctx), void *ctx)
{
    struct loop_timer *t = xcalloc(1, sizeof(*t));

    *t = (struct loop_timer){ .loop = loop, .on_time = on_time, .ctx = ctx };
    return t;
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms)
{
    struct loop *loop = timer->loop;

    loop_timer_stop(timer);
    timer->due_us = clock_now_us() + (delay_ms > 0 ? delay_ms : 0) * 1000;
    if (loop->timers == loop->room) {
        loop->room = loop->room ? loop->room * 2 : 64;
        /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
        loop->heap = xrealloc(loop->heap, loop->room * sizeof(*loop->heap));
    }
    loop->timers++;
    heap_up(loop, loop->timers - 1, timer);
    arm(loop);
}

void loop_timer_stop(struct loop_timer *timer)
{
    struct loop *loop = timer->loop;

    if (!timer->at)
        return;
    size_t i = timer->at - 1;
    struct loop_timer *last = loop->heap[--loop->timers];
    timer->at = 0;
    if (last == timer)
        return;
    if (i > 0 && loop->heap[(i - 1) / 2]->due_us > last->due_us)
        heap_up(loop, i, last);
    else
        heap_down(loop, i, last);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (!timer)
        return;
    loop_timer_stop(timer);
    free(timer);
}

static void on_timer_fd(void *ctx, uint32_t events UNUSED)
{
    struct loop *loop = ctx;
    uint64_t times;

    must(read(loop->timer_fd, &times, sizeof(times)) >= 0 || errno == EAGAIN);
    /* Timers started from here on wait for the next round, so a timer of 0 ms cannot starve the
     * sockets. */
    int64_t now = clock_now_us();
    while (loop->timers && loop->heap[0]->due_us <= now) {
        struct loop_timer *t = loop->heap[0];
        loop_timer_stop(t);
        void (*on_time)(void *ctx) = t->on_time; /* which may free t */
        on_time(t->ctx);
        stall_look(&loop->stall, "timer", ANY_FN(on_time));
    }
    loop->armed_us = INT64_MAX;
    arm(loop);
}

/* --- lws --- */

static _Atomic bool lws_quiet;

void loop_lws_quiet(bool quiet)
{
    atomic_store(&lws_quiet, quiet);
}

static void on_lws_log(int level UNUSED, const char *text)
{
    char line[200];

    if (atomic_load(&lws_quiet))
        return;
    (void)snprintf(line, sizeof(line), "%s", text);
    line[strcspn(line, "\r\n")] = '\0';
    log_warn("websocket_library", "text=%s", LOG_QUOTE(line));
}

static int on_epoll(struct lws *wsi, enum lws_callback_reasons reason, void *user UNUSED,
                    void *in UNUSED, size_t len UNUSED)
{
    if (reason == LWS_CALLBACK_RAW_RX_FILE)
        serve_epoll(lws_context_user(lws_get_context(wsi)));
    return 0;
}

/* The set of watches, as one file in lws' own poll set. lws closes what it adopts: a duplicate. */
static enum status adopt_epoll(struct loop *loop, struct err *err)
{
    static const struct lws_protocols protocols[] = { { .name = "loop", .callback = on_epoll },
                                                      { .name = NULL } };
    struct lws_context_creation_info info = { .port = CONTEXT_PORT_NO_LISTEN,
                                              .vhost_name = "loop",
                                              .protocols = protocols };
    struct lws_vhost *vhost = lws_create_vhost(loop->lws, &info);
    lws_sock_file_fd_type fd = { .filefd = dup(loop->epoll_fd) };

    if (fd.filefd < 0)
        return err_set(err, STATUS_UNAVAILABLE, "dup: %m");
    if (!vhost || !lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_RAW_FILE_DESC, fd, "loop", NULL)) {
        close(fd.filefd);
        return err_set(err, STATUS_INTERNAL, "libwebsockets refused the event loop");
    }
    return STATUS_OK;
}

static enum status start_lws(struct loop *loop, struct err *err)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .user = loop,
        .max_http_header_data = LWS_MAX_HEADERS,
    };

    lws_set_log_level(LLL_ERR, on_lws_log);
    loop->lws = lws_create_context(&info);
    if (!loop->lws)
        return err_set(err, STATUS_INTERNAL, "cannot start libwebsockets");
    return adopt_epoll(loop, err);
}

/* --- the loop --- */

static void on_letters(void *ctx, uint32_t events UNUSED)
{
    struct loop *loop = ctx;

    mailbox_drain(loop->box, loop);
}

static void on_stop_fd(void *ctx, uint32_t events UNUSED)
{
    struct loop *loop = ctx;
    uint64_t times;

    must(read(loop->stop_fd, &times, sizeof(times)) >= 0 || errno == EAGAIN);
}

static enum status open_fds(struct loop *loop, struct err *err)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    loop->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->epoll_fd < 0 || loop->timer_fd < 0 || loop->stop_fd < 0)
        return err_set(err, STATUS_UNAVAILABLE, "cannot make an event loop: %m");
    loop->timer_watch = loop_watch_new(loop, loop->timer_fd, EPOLLIN, on_timer_fd, loop);
    loop->stop_watch = loop_watch_new(loop, loop->stop_fd, EPOLLIN, on_stop_fd, loop);
    return STATUS_OK;
}

enum status loop_new(struct loop **ret_loop, struct err *err)
{
    CLEANUP(loop_free) struct loop *loop = xcalloc(1, sizeof(*loop));

    loop->epoll_fd = loop->timer_fd = loop->stop_fd = -1;
    loop->armed_us = INT64_MAX;
    TRY(open_fds(loop, err));
    TRY(mailbox_new(MAILBOX_CAPACITY, &loop->box, err));
    loop->box_watch = loop_watch_new(loop, mailbox_fd(loop->box), EPOLLIN, on_letters, loop);
    TRY(start_lws(loop, err));
    *ret_loop = TAKE(loop);
    return STATUS_OK;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->lws)
        lws_context_destroy(loop->lws);
    while (loop->on_free) {
        struct on_free *f = loop->on_free;
        loop->on_free = f->next;
        f->fn(f->ctx);
        free(f);
    }
    loop_watch_free(loop->box_watch);
    loop_watch_free(loop->timer_watch);
    loop_watch_free(loop->stop_watch);
    mailbox_free(loop->box);
    bury_dead(loop);
    free(loop->heap);
    close_fd(loop->epoll_fd);
    close_fd(loop->timer_fd);
    close_fd(loop->stop_fd);
    free(loop);
}

/* Waits, unless wait is -1, and serves what is ready, as one turn. */
static void serve(struct loop *loop, int wait)
{
    epilogue_begin();
    must(lws_service(loop->lws, wait) >= 0);
    epilogue_end();
}

void loop_turn(struct loop *loop)
{
    stall_forget(&loop->stall);
    serve(loop, -1);
}

void loop_run(struct loop *loop)
{
    stall_forget(&loop->stall);
    while (!atomic_load(&loop->stop))
        serve(loop, 0);
    atomic_store(&loop->stop, false);
}

void loop_stop(struct loop *loop)
{
    const uint64_t one = 1;

    atomic_store(&loop->stop, true);
    must(write(loop->stop_fd, &one, sizeof(one)) >= 0 || errno == EAGAIN);
}

struct mailbox *loop_mailbox(struct loop *loop)
{
    return loop->box;
}

struct lws_context *loop_lws(struct loop *loop)
{
    return loop->lws;
}

void loop_on_free(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct on_free *f = xcalloc(1, sizeof(*f));

    *f = (struct on_free){ .next = loop->on_free, .fn = fn, .ctx = ctx };
    loop->on_free = f;
}
