/* loop.h - the process's event loop: sockets, timers, and letters from other threads.
 *
 *     lws ◀─poll─ epoll ◀─ watches (HTTP sockets), one timerfd, the mailbox' eventfd
 *
 * HTTP servers, WebSocket clients and servers all live on one loop. lws drives it and speaks
 * WebSocket; everything else waits in one epoll set, which lws sees as a single readable file.
 * Other threads reach the loop only through loop_mailbox().
 *
 * THREAD: all confined to the thread that calls loop_run, but loop_stop and loop_mailbox: any. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/status.h"

struct loop;
struct lws_context;

enum status loop_new(struct loop **ret_loop, struct err *err) MUST_CHECK;
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free)

/* Runs until loop_stop; a stop that came before it lets it return at once. */
void loop_run(struct loop *loop);
/* Does what waits now, without waiting itself: for a start that takes long. */
void loop_turn(struct loop *loop);
void loop_stop(struct loop *loop);

struct mailbox *loop_mailbox(struct loop *loop);
/* For the files that speak lws themselves (WebSocket client and server). The context has no vhost
 * to be used by others: make your own with lws_create_vhost. */
struct lws_context *loop_lws(struct loop *loop);

struct loop_timer;
/* One shot; a timer may start itself again from its callback, or free itself. */
struct loop_timer *loop_timer_new(struct loop *loop, void (*on_time)(void *ctx), void *ctx)
    MUST_CHECK;
/* Starting a timer that runs moves it. */
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); /* before loop_free */

struct loop_watch;
/* Calls on_ready while fd is ready for what events asks (EPOLLIN, EPOLLOUT; 0: only EPOLLHUP and
 * EPOLLERR). fd stays the caller's, who frees the watch before closing it. */
struct loop_watch *loop_watch_new(struct loop *loop, int fd, uint32_t events,
                                  void (*on_ready)(void *ctx, uint32_t events), void *ctx)
    MUST_CHECK;
void loop_watch_set(struct loop_watch *watch, uint32_t events);
void loop_watch_free(struct loop_watch *watch);

/* Has loop_free call fn(ctx), after lws and all its sockets are gone; last added, first called. */
void loop_on_free(struct loop *loop, void (*fn)(void *ctx), void *ctx);

/* Around calls into lws that complain loudly about what is none of the operator's business. */
void loop_lws_quiet(bool quiet);

#endif
