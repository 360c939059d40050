/* bus_parts.h - what the files of the bus know of each other: base/bus*.c only. */
#ifndef BASE_BUS_PARTS_H
#define BASE_BUS_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <nats/nats.h>

#include "base/bus.h"
#include "base/bus_link.h"
#include "base/turns.h"

enum { BUS_WHEEL_SLOTS = 512 };

struct pending;
LIST_HEAD(bus_subs, bus_sub);

struct bus {
    /* fixed once open */
    struct bus_link *link;
    char inbox[128]; /* "<prefix>.<unique>." */
    pthread_t ticker;
    _Atomic bool closing;

    pthread_mutex_t subs_mu;
    struct bus_subs subs, waiting; /* for the connection that is being made */

    /* guarded by mu */
    pthread_mutex_t mu;
    uint64_t last_token;
    struct idmap *requests;
    struct pending *wheel[BUS_WHEEL_SLOTS];
    struct turns turns;
    int64_t ticked_ms;
    int inboxes;  /* subscribed, and libnats has not said that it is done with them */
    bool is_kept; /* it can never say so of one of them: this object must stay */
    pthread_cond_t end;
};

enum status bus_failed(natsStatus s, const char *doing, struct err *err);
struct bus_in bus_view(natsMsg *msg);
/* For what libnats may still use and never says when it is done with, because the connection was lost
 * while a subscription was made: a few hundred bytes each time. */
void bus_keep_for_ever(void *what);

/* bus_turn.c. Something was put into the connection's buffer: it leaves at the end of this thread's
 * turn, or now when there is none or it is much. */
void bus_turn_sent(struct bus_conn *conn, size_t size);
/* What this thread has put into buffers leaves now: it is about to wait for an answer. */
void bus_turn_flush(void);
/* Frees a message of libnats, or NULL, some time later. */
void bus_msg_free(natsMsg *msg);

/* Makes the subscriptions anew on a connection that is current. THREAD: the link's. */
void bus_subs_attach(struct bus *bus, struct bus_conn *conn);
/* They stay their holders', but have no bus any more. */
void bus_subs_orphan(struct bus *bus);
/* Messages dropped because a mailbox was full. */
uint64_t bus_subs_dropped(void);

#endif
