/* loop.h - the process's event loop: sockets (lws), timers, and letters from other threads.
 *
 * HTTP servers, WebSocket clients and servers all live on one loop. Other threads reach it only through
 * loop_mailbox().
 *
 * THREAD: all confined to the thread that calls loop_run, but loop_stop and loop_mailbox: any. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

#include "base/mailbox.h"
#include "base/status.h"

struct loop;
struct lws_context;

enum status loop_new(struct loop **ret_loop, struct err *err) MUST_CHECK;
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free)

/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

struct mailbox *loop_mailbox(struct loop *loop);
/* For the files that speak lws themselves (WebSocket client and server). */
struct lws_context *loop_lws(struct loop *loop);

struct loop_timer;
/* One shot; a timer may start itself again from its callback. */
struct loop_timer *loop_timer_new(struct loop *loop, void (*on_time)(void *ctx), void *ctx) MUST_CHECK;
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

#endif
