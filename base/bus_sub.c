/* bus_sub.c - subscriptions of a bus, which outlive the connections that they are made on. */
#include <stdlib.h>
#include <string.h>

#include "base/bus_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stage.h"
#include "base/xmem.h"

/* References: the caller's handle, each attachment, each letter under way, an attach under way. */
struct bus_sub {
    _Atomic int refs;
    _Atomic bool closed;
    struct bus_subscription what; /* its texts are its own */
    /* guarded by subs_mu of the bus; NULL: the bus was closed */
    struct bus *bus;
    LIST_ENTRY(bus_sub) all;
    uint64_t conn; /* the connection that it is made on, or is just being made on */
    struct attachment *attachment;
};

/* One subscription of libnats. References: libnats' closure until it says complete, and bus_sub. */
struct attachment {
    _Atomic int refs;
    struct bus_sub *sub;
    natsSubscription *nats;
};

struct message_letter {
    struct letter letter;
    struct bus_sub *sub;
    natsMsg *msg;
    int64_t posted_us;
};

static _Atomic uint64_t dropped;

uint64_t bus_subs_dropped(void)
{
    return atomic_load(&dropped);
}

void bus_keep_for_ever(void *what)
{
    static struct kept {
        struct kept *next;
        void *what;
    } * _Atomic all;
    struct kept *one = xcalloc(1, sizeof(*one));

    one->what = what;
    one->next = atomic_load(&all);
    while (!atomic_compare_exchange_weak(&all, &one->next, one))
        ;
}

static void sub_unref(struct bus_sub *sub)
{
    if (atomic_fetch_sub(&sub->refs, 1) != 1)
        return;
    free(mutable_text(sub->what.subject));
    free(mutable_text(sub->what.queue));
    free(sub);
}

static void attachment_unref(struct attachment *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    natsSubscription_Destroy(a->nats);
    sub_unref(a->sub);
    free(a);
}

/* ---- messages ---- */

static void message_free(struct message_letter *m)
{
    bus_msg_free(m->msg);
    sub_unref(m->sub);
    free(m);
}

static void message_read(struct letter *l, void *owner UNUSED)
{
    struct message_letter *m = CONTAINER_OF(l, struct message_letter, letter);

    stage_ends(STAGE_QUEUE, m->posted_us);
    if (!atomic_load(&m->sub->closed)) {
        const struct bus_in in = bus_view(m->msg);
        m->sub->what.on_message(m->sub->what.ctx, m->sub->what.tag, &in);
    }
    message_free(m);
}

static void message_discard(struct letter *l)
{
    message_free(CONTAINER_OF(l, struct message_letter, letter));
}

/* THREAD: libnats' delivery. */
static void on_nats_message(natsConnection *nc UNUSED, natsSubscription *nats UNUSED, natsMsg *msg,
                            void *closure)
{
    struct bus_sub *sub = ((struct attachment *)closure)->sub;

    if (atomic_load(&sub->closed)) {
        natsMsg_Destroy(msg);
        return;
    }
    struct message_letter *m = xcalloc(1, sizeof(*m));
    m->letter = (struct letter){ .read = message_read, .discard = message_discard };
    m->sub = sub;
    m->msg = msg;
    m->posted_us = clock_now_us();
    atomic_fetch_add(&sub->refs, 1);
    struct letter *l = &m->letter;
    if (mailbox_post(sub->what.box, &l) != STATUS_OK) {
        atomic_fetch_add(&dropped, 1);
        message_free(m);
    }
}

/* THREAD: libnats' delivery; the last call for this attachment. */
static void on_nats_complete(void *closure)
{
    attachment_unref(closure);
}

/* ---- attaching ---- */

/* NATS_OK: *ret_attachment has libnats' reference and one for the caller, who has one of sub. */
static natsStatus attachment_new(struct bus_sub *sub, natsConnection *nc,
                                 struct attachment **ret_attachment)
{
    struct attachment *a = xcalloc(1, sizeof(*a));

    *a = (struct attachment){ .refs = 2, .sub = sub };
    natsStatus s =
        sub->what.queue
            ? natsConnection_QueueSubscribe(&a->nats, nc, sub->what.subject, sub->what.queue,
                                            on_nats_message, a)
            : natsConnection_Subscribe(&a->nats, nc, sub->what.subject, on_nats_message, a);
    if (s != NATS_OK) {
        free(a);
        return s;
    }
    atomic_fetch_add(&sub->refs, 1);
    /* It fails when the connection was just lost. */
    if (natsSubscription_SetOnCompleteCB(a->nats, on_nats_complete, a) != NATS_OK)
        bus_keep_for_ever(a);
    *ret_attachment = a;
    return NATS_OK;
}

static natsStatus attach(struct bus *bus, struct bus_sub *sub, struct bus_conn *conn)
{
    struct attachment *a = NULL, *leaves;
    natsStatus s = attachment_new(sub, conn->nc, &a);

    if (s != NATS_OK)
        return s;
    pthread_mutex_lock(&bus->subs_mu);
    if (sub->conn == conn->number && !atomic_load(&sub->closed)) {
        leaves = sub->attachment; /* of a connection that was lost */
        sub->attachment = TAKE(a);
    } else {
        leaves = a;
    }
    pthread_mutex_unlock(&bus->subs_mu);
    if (leaves) {
        (void)natsSubscription_Unsubscribe(leaves->nats);
        attachment_unref(leaves);
    }
    return NATS_OK;
}

static void all_wait(struct bus *bus)
{
    struct bus_sub *sub;

    pthread_mutex_lock(&bus->subs_mu);
    while ((sub = LIST_FIRST(&bus->subs))) {
        LIST_REMOVE(sub, all);
        LIST_INSERT_HEAD(&bus->waiting, sub, all);
    }
    pthread_mutex_unlock(&bus->subs_mu);
}

/* The next one that waits for the connection, with a reference; NULL: none does. */
static struct bus_sub *claim_next(struct bus *bus, const struct bus_conn *conn)
{
    struct bus_sub *sub;

    pthread_mutex_lock(&bus->subs_mu);
    while ((sub = LIST_FIRST(&bus->waiting))) {
        LIST_REMOVE(sub, all);
        LIST_INSERT_HEAD(&bus->subs, sub, all);
        if (sub->conn == conn->number)
            continue; /* its holder was faster */
        sub->conn = conn->number;
        atomic_fetch_add(&sub->refs, 1);
        break;
    }
    pthread_mutex_unlock(&bus->subs_mu);
    return sub;
}

void bus_subs_attach(struct bus *bus, struct bus_conn *conn)
{
    struct bus_sub *sub;

    all_wait(bus);
    while ((sub = claim_next(bus, conn))) {
        natsStatus s = attach(bus, sub, conn);
        if (s != NATS_OK && !natsConnection_IsClosed(conn->nc))
            log_warn("nats_subscribe", "subject=%s text=\"%s\"", sub->what.subject,
                     natsStatus_GetText(s));
        sub_unref(sub);
    }
}

void bus_subs_orphan(struct bus *bus)
{
    struct bus_sub *sub;

    all_wait(bus);
    pthread_mutex_lock(&bus->subs_mu);
    while ((sub = LIST_FIRST(&bus->waiting))) {
        LIST_REMOVE(sub, all);
        sub->bus = NULL;
    }
    pthread_mutex_unlock(&bus->subs_mu);
}

/* ---- for users ---- */

/* Takes it out of the list; returns what it is attached by. */
static struct attachment *leave(struct bus_sub *sub)
{
    struct bus *bus = sub->bus;

    if (!bus)
        return TAKE(sub->attachment);
    pthread_mutex_lock(&bus->subs_mu);
    LIST_REMOVE(sub, all);
    sub->bus = NULL;
    sub->conn = 0;
    struct attachment *a = TAKE(sub->attachment);
    pthread_mutex_unlock(&bus->subs_mu);
    return a;
}

enum status bus_subscribe(struct bus *bus, const struct bus_subscription *what,
                          struct bus_sub **ret_sub, struct err *err)
{
    struct bus_sub *sub = xcalloc(1, sizeof(*sub));
    bool mine = false;
    natsStatus s = NATS_OK;

    *sub = (struct bus_sub){ .refs = 1, .what = *what, .bus = bus };
    sub->what.subject = xstrdup(what->subject);
    sub->what.queue = what->queue ? xstrdup(what->queue) : NULL;
    pthread_mutex_lock(&bus->subs_mu);
    LIST_INSERT_HEAD(&bus->subs, sub, all);
    pthread_mutex_unlock(&bus->subs_mu);

    /* Who makes the next connection current looks at the list afterwards, so one of both sees it. */
    struct bus_conn *conn = bus_link_current(bus->link);
    if (conn) {
        pthread_mutex_lock(&bus->subs_mu);
        mine = sub->conn < conn->number;
        if (mine)
            sub->conn = conn->number;
        pthread_mutex_unlock(&bus->subs_mu);
    }
    if (mine)
        s = attach(bus, sub, conn);
    bool lost = s != NATS_OK && natsConnection_IsClosed(conn->nc); /* the next one will have it */
    bus_conn_put(conn);
    *ret_sub = sub;
    if (s == NATS_OK || lost)
        return STATUS_OK;
    bus_unsubscribe(ret_sub);
    return bus_failed(s, what->subject, err);
}

void bus_unsubscribe(struct bus_sub **slot)
{
    struct bus_sub *sub = TAKE(*slot);

    if (!sub)
        return;
    atomic_store(&sub->closed, true);
    struct attachment *a = leave(sub);
    if (a)
        (void)natsSubscription_Unsubscribe(a->nats);
    attachment_unref(a);
    sub_unref(sub);
}

void bus_drain(struct bus_sub **slot)
{
    struct bus_sub *sub = TAKE(*slot);

    if (!sub)
        return;
    struct attachment *a = leave(sub);
    if (a && natsSubscription_Drain(a->nats) != NATS_OK)
        (void)natsSubscription_Unsubscribe(a->nats);
    attachment_unref(a);
    sub_unref(sub);
}

const char *bus_header_get(const struct bus_in *in, const char *key)
{
    const char *value = NULL;

    return natsMsgHeader_Get(in->msg, key, &value) == NATS_OK ? value : NULL;
}
