/* bus_link.h - the connection under a bus. When it is lost, a thread of its own makes the next one.
 *
 *     up ──lost──▶ away ──connected──▶ conn_opened ──▶ current ──▶ conn_current ──▶ up
 *
 * libnats could look for another server by itself. It would do so under the connection's lock, up to
 * two seconds a server that is silent, and whoever publishes then waits as long; its word that the
 * connection is lost comes from another thread, often later than the lock. So a connection is used
 * until it is lost and never again, and one that is not up yet is known to its maker alone: nobody
 * else can wait for its lock.
 *
 * THREAD: any, but open and close: one thread, before start / after stop. For base/bus*.c only. */
#ifndef BASE_BUS_LINK_H
#define BASE_BUS_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <nats/nats.h>

#include "base/bus.h"
#include "base/bus_io.h"

struct bus_link;

/* One connection; it goes with its last reference. */
struct bus_conn {
    _Atomic int refs;
    uint64_t number; /* 1, 2, … */
    natsConnection *nc;
    struct bus_io *io;
    natsSubscription *inbox; /* conn_opened's to set */
};

/* Called on the thread that connects. */
struct bus_link_events {
    /* Nobody else has it yet. Anything but NATS_OK: it is closed, and the next one is made. */
    natsStatus (*conn_opened)(void *ctx, struct bus_conn *conn);
    /* bus_link_current gives it out, bus_link_get does not yet. */
    void (*conn_current)(void *ctx, struct bus_conn *conn);
    void *ctx;
};

enum status bus_link_open(const struct bus_config *config, const struct bus_link_events *events,
                          struct bus_link **ret_link, struct err *err) MUST_CHECK;
/* Ends the thread and closes the connection; libnats' last callback for it has come then. */
void bus_link_close(struct bus_link *link);
void bus_link_free(struct bus_link *link);

/* The connection to send on, or NULL: there is none. bus_conn_put gives it back. */
struct bus_conn *bus_link_get(struct bus_link *link) MUST_CHECK;
/* The same, also while its subscriptions are still made. */
struct bus_conn *bus_link_current(struct bus_link *link) MUST_CHECK;
void bus_conn_put(struct bus_conn *conn);

bool bus_link_is_up(const struct bus_link *link);
size_t bus_link_max_payload(const struct bus_link *link);
enum status bus_link_url(struct bus_link *link, char *ret_url, size_t size, struct err *err);

/* Messages that libnats dropped because their reader was slow, on all connections. */
uint64_t bus_link_dropped(void);

#endif
