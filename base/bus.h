/* bus.h - one NATS connection: publish, subscribe, request; everything arrives as a letter.
 *
 *     NATS delivery thread ──letter──▶ mailbox ──▶ on_message(ctx, tag, in) on the mailbox's thread
 *
 * Callers need no NATS type. Delivery is one thread, so what one connection receives is posted in the order the server sent it. Each
 * publish is written at once (no flusher delay).
 *
 * A full mailbox drops what was subscribed (counted: bus_dropped); replies are never dropped,
 * because their number is bounded by the requests their receiver made.
 *
 * THREAD: any, but bus_open/bus_close: one thread, before start / after stop. */
#ifndef BASE_BUS_H
#define BASE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/status.h"

struct bus;
struct bus_auth;
struct bus_sub;

struct bus_config {
    const char *url;             /* nats://host:port[,…] */
    const char *name;            /* the connection's name in `nats server report connections` */
    const char *inbox_prefix;    /* NULL: _INBOX */
    const struct bus_auth *auth; /* NULL: NATS asks nobody who he is; lives as long as the bus */
    /* A connection that is silent for so long, or takes nothing for a third of it, is given up for
     * another one; 0: 15 s. Short for who must never wait in a publish, long for who keeps the
     * server busy: a PING waits its turn behind what was sent before it. */
    int patience_ms;
    /* Asked between tries while the first connection fails; true gives up. May be NULL. */
    bool (*give_up)(void *ctx);
    void *ctx;
};

/* Retries each second until it is connected, with a log line a try ("nats_unreachable").
 * UNAVAILABLE: gave up. Reconnects for ever afterwards. */
enum status bus_open(const struct bus_config *config, struct bus **ret_bus, struct err *err)
    MUST_CHECK;
/* Outstanding requests get on_reply(UNAVAILABLE) before it returns (as letters). */
void bus_close(struct bus *bus);
DEFINE_CLEANUP(struct bus *, bus_close)

bool bus_is_connected(const struct bus *bus);
/* While no bus is connected: that NATS is away, or that it refuses the program's key. */
const char *bus_why_away(void);
/* The connected server's version, e.g. 2.9.10, from the INFO line it greets with (libnats keeps it
 * to itself). Blocks up to 2 s: for start-up. */
enum status bus_server_version(struct bus *bus, int ret_version[3], struct err *err) MUST_CHECK;
enum status bus_connected_url(struct bus *bus, char *ret_url, size_t size, struct err *err)
    MUST_CHECK;
/* The server's limit for one body, bytes. */
size_t bus_max_payload(struct bus *bus);

struct bus_header {
    const char *key, *value;
};
/* A message to send. Everything is borrowed for the call. */
struct bus_out {
    const char *subject;
    const char *reply; /* NULL: none */
    const void *data;
    size_t size;
    const struct bus_header *headers; /* NULL: none */
    size_t header_count;
};

/* A message received; valid during the callback only. */
struct bus_in {
    const char *subject;
    const char *reply; /* NULL: nobody waits */
    const void *data;
    size_t size;
    void *msg; /* for bus_header_get */
};
/* NULL when it is not there. Valid during the callback. */
const char *bus_header_get(const struct bus_in *in, const char *key);

typedef void (*bus_on_message)(void *ctx, uint64_t tag, const struct bus_in *in);
/* status OK: in is the reply. UNAVAILABLE: no responders, or closing. TIMEOUT. in is NULL then. */
typedef void (*bus_on_reply)(void *ctx, uint64_t tag, enum status status, const struct bus_in *in);

enum status bus_publish(struct bus *bus, const struct bus_out *out, struct err *err) MUST_CHECK;
/* Answers in->reply; does nothing when nobody waits. */
enum status bus_respond(struct bus *bus, const struct bus_in *in, const void *data, size_t size,
                        bool json, struct err *err) MUST_CHECK;

struct bus_subscription {
    const char *subject;
    const char *queue; /* NULL: none */
    struct mailbox *box;
    bus_on_message on_message;
    void *ctx;
    uint64_t tag;
};
enum status bus_subscribe(struct bus *bus, const struct bus_subscription *what,
                          struct bus_sub **ret_sub, struct err *err) MUST_CHECK;
/* Nothing is delivered after it returns when called on the mailbox's thread. Clears *slot. */
void bus_unsubscribe(struct bus_sub **slot);
/* Lets what the server already sent arrive, then ends. Clears *slot. */
void bus_drain(struct bus_sub **slot);

/* Who gets the answer: on_reply is called exactly once, on box's thread. */
struct bus_waiter {
    struct mailbox *box;
    bus_on_reply on_reply;
    void *ctx;
    uint64_t tag;
    int timeout_ms;
};
void bus_request(struct bus *bus, const struct bus_out *out, const struct bus_waiter *waiter);
/* The same without headers; it waits while 64 such requests are under way or there is no
 * connection, and its time-out begins when it is sent. For what thousands may ask at once and the
 * server is slow to find: more under way would only be answered too late. */
void bus_request_in_turn(struct bus *bus, const struct bus_out *out,
                         const struct bus_waiter *waiter);
/* Blocks. For start-up and tools, never on a loop. *ret_data is malloc'd, NUL added. */
enum status bus_request_wait(struct bus *bus, const struct bus_out *out, int timeout_ms,
                             char **ret_data, size_t *ret_size, struct err *err) MUST_CHECK;
/* A subject for answers that many come on, for one subscriber: unlike any other, and below the inbox prefix. */
enum { BUS_INBOX_SIZE = 128 };
void bus_inbox_new(const struct bus *bus, char ret_subject[BUS_INBOX_SIZE]);
/* What a thread publishes in a turn (epilogue.h) leaves at its end; by this, what has waited for a
 * millisecond leaves now. For turns with long pieces of work that publish nothing. */
void bus_send_due(void);
/* Waits until the server has seen all that was sent before. */
enum status bus_flush(struct bus *bus, int timeout_ms, struct err *err) MUST_CHECK;

/* Messages dropped because a mailbox was full, on all connections of the process. */
uint64_t bus_dropped(void);

#endif
