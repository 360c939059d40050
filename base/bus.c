#include "base/bus.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <nats/nats.h>

#include "base/bus_options.h"
#include "base/bus_url.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/turns.h"
#include "base/xmem.h"

enum {
    WHEEL_SLOTS = 512,
    SLOT_MS = 10,
    RETRY_MS = 1000, /* between first connection attempts */
    TURNS_AT_ONCE = 64,
};

struct pending {
    struct turn turn;
    bool takes_turns;
    struct bus_out held; /* while it waits for its turn: a copy of what is sent */
    uint64_t token;
    int64_t deadline_ms;
    struct pending *prev, *next; /* in its wheel slot */
    struct bus_waiter waiter;
};

struct bus {
    /* fixed once open */
    natsConnection *nc;
    natsSubscription *inbox_sub;
    char inbox[128]; /* "<prefix>.<unique>." */
    pthread_t ticker;
    _Atomic bool closing;
    /* While libnats looks for a server it holds its lock for up to two seconds a try: who publishes
     * then would wait for it. So nothing is asked of it, and nothing is buffered to be sent late. */
    _Atomic bool away;

    /* guarded by mu */
    pthread_mutex_t mu;
    uint64_t last_token;
    struct idmap *requests;
    struct pending *wheel[WHEEL_SLOTS];
    struct turns turns;
    int64_t ticked_ms;
    int ended; /* of libnats' two last callbacks: connection closed, inbox complete */
    pthread_cond_t end;
};

/* Of all connections: libnats' threads may outlive theirs by a moment. */
static _Atomic uint64_t dropped;

/* References: the caller's handle, libnats' closure until it says complete, each letter under way.
 */
struct bus_sub {
    _Atomic int refs;
    _Atomic bool closed;
    natsSubscription *nats;
    struct bus_subscription what;
};

struct message_letter {
    struct letter letter;
    struct bus_sub *sub;
    natsMsg *msg;
};

struct reply_letter {
    struct letter letter;
    struct pending *pending;
    enum status status;
    natsMsg *msg;
};

static enum status nats_failed(natsStatus s, const char *doing, struct err *err)
{
    enum status code = s == NATS_TIMEOUT           ? STATUS_TIMEOUT
                       : s == NATS_INVALID_ARG     ? STATUS_INVALID
                       : s == NATS_INVALID_SUBJECT ? STATUS_INVALID
                       : s == NATS_MAX_PAYLOAD     ? STATUS_INVALID
                                                   : STATUS_UNAVAILABLE;
    return err_set(err, code, "%s: NATS: %s", doing, natsStatus_GetText(s));
}

/* ---- subscriptions ---- */

static void sub_unref(struct bus_sub *sub)
{
    if (atomic_fetch_sub(&sub->refs, 1) == 1)
        free(sub);
}

static struct bus_in view(natsMsg *msg)
{
    return (struct bus_in){
        .subject = natsMsg_GetSubject(msg),
        .reply = natsMsg_GetReply(msg),
        .data = natsMsg_GetData(msg),
        .size = (size_t)natsMsg_GetDataLength(msg),
        .msg = msg,
    };
}

static void message_free(struct message_letter *m)
{
    natsMsg_Destroy(m->msg);
    sub_unref(m->sub);
    free(m);
}

static void message_read(struct letter *l, void *owner UNUSED)
{
    struct message_letter *m = CONTAINER_OF(l, struct message_letter, letter);

    if (!atomic_load(&m->sub->closed)) {
        const struct bus_in in = view(m->msg);
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
    struct bus_sub *sub = closure;
    struct message_letter *m = xcalloc(1, sizeof(*m));

    m->letter = (struct letter){ .read = message_read, .discard = message_discard };
    m->sub = sub;
    m->msg = msg;
    atomic_fetch_add(&sub->refs, 1);
    struct letter *l = &m->letter;
    if (mailbox_post(sub->what.box, &l) != STATUS_OK) {
        atomic_fetch_add(&dropped, 1);
        message_free(m);
    }
}

/* THREAD: libnats' delivery; the last call for this subscription. */
static void on_nats_complete(void *closure)
{
    struct bus_sub *sub = closure;

    if (sub->nats)
        natsSubscription_Destroy(sub->nats);
    sub_unref(sub);
}

enum status bus_subscribe(struct bus *bus, const struct bus_subscription *what,
                          struct bus_sub **ret_sub, struct err *err)
{
    struct bus_sub *sub = xcalloc(1, sizeof(*sub));
    natsStatus s;

    *sub = (struct bus_sub){ .refs = 2, .what = *what };
    sub->what.subject = sub->what.queue = NULL; /* borrowed for the call only */
    s = what->queue
            ? natsConnection_QueueSubscribe(&sub->nats, bus->nc, what->subject, what->queue,
                                            on_nats_message, sub)
            : natsConnection_Subscribe(&sub->nats, bus->nc, what->subject, on_nats_message, sub);
    if (s != NATS_OK) {
        free(sub);
        return nats_failed(s, what->subject, err);
    }
    if (natsSubscription_SetOnCompleteCB(sub->nats, on_nats_complete, sub) != NATS_OK)
        atomic_fetch_sub(&sub->refs, 1); /* closed already */
    *ret_sub = sub;
    return STATUS_OK;
}

void bus_unsubscribe(struct bus_sub **slot)
{
    struct bus_sub *sub = TAKE(*slot);

    if (!sub)
        return;
    atomic_store(&sub->closed, true);
    (void)natsSubscription_Unsubscribe(sub->nats);
    sub_unref(sub);
}

void bus_drain(struct bus_sub **slot)
{
    struct bus_sub *sub = TAKE(*slot);

    if (!sub)
        return;
    if (natsSubscription_Drain(sub->nats) != NATS_OK)
        (void)natsSubscription_Unsubscribe(sub->nats);
    sub_unref(sub);
}

const char *bus_header_get(const struct bus_in *in, const char *key)
{
    const char *value = NULL;

    return natsMsgHeader_Get(in->msg, key, &value) == NATS_OK ? value : NULL;
}

/* ---- requests ---- */

static void wheel_add(struct bus *bus, struct pending *p)
{
    struct pending **slot = &bus->wheel[(p->deadline_ms / SLOT_MS) % WHEEL_SLOTS];

    p->prev = NULL;
    p->next = *slot;
    if (p->next)
        p->next->prev = p;
    *slot = p;
}

static void wheel_remove(struct bus *bus, struct pending *p)
{
    if (p->prev)
        p->prev->next = p->next;
    else
        bus->wheel[(p->deadline_ms / SLOT_MS) % WHEEL_SLOTS] = p->next;
    if (p->next)
        p->next->prev = p->prev;
}

static void held_free(const struct bus_out *out)
{
    free(mutable_text(out->subject));
    free(mutable_text(out->data));
}

static void reply_free(struct reply_letter *r)
{
    natsMsg_Destroy(r->msg);
    held_free(&r->pending->held);
    free(r->pending);
    free(r);
}

static void reply_read(struct letter *l, void *owner UNUSED)
{
    struct reply_letter *r = CONTAINER_OF(l, struct reply_letter, letter);
    const struct bus_waiter *w = &r->pending->waiter;

    if (r->status == STATUS_OK) {
        const struct bus_in in = view(r->msg);
        w->on_reply(w->ctx, w->tag, STATUS_OK, &in);
    } else {
        w->on_reply(w->ctx, w->tag, r->status, NULL);
    }
    reply_free(r);
}

static void reply_discard(struct letter *l)
{
    reply_free(CONTAINER_OF(l, struct reply_letter, letter));
}

/* Takes p, which is in no table any more, and msg. */
static void finish(struct bus *bus, struct pending *p, enum status status, natsMsg *msg)
{
    struct reply_letter *r = xcalloc(1, sizeof(*r));

    if (p->takes_turns) {
        pthread_mutex_lock(&bus->mu);
        turns_leave(&bus->turns);
        pthread_mutex_unlock(&bus->mu);
    }

    r->letter = (struct letter){ .read = reply_read, .discard = reply_discard };
    r->pending = p;
    r->status = status;
    r->msg = msg;
    struct letter *l = &r->letter;
    mailbox_post_always(p->waiter.box, &l);
}

static struct pending *take_pending(struct bus *bus, uint64_t token)
{
    pthread_mutex_lock(&bus->mu);
    struct pending *p = idmap_remove(bus->requests, token);
    if (p)
        wheel_remove(bus, p);
    pthread_mutex_unlock(&bus->mu);
    return p;
}

static void start_next(struct bus *bus);

/* THREAD: libnats' delivery. */
static void on_nats_reply(natsConnection *nc UNUSED, natsSubscription *nats UNUSED, natsMsg *msg,
                          void *closure)
{
    struct bus *bus = closure;
    const char *token = natsMsg_GetSubject(msg) + strlen(bus->inbox);
    struct pending *p = take_pending(bus, strtoull(token, NULL, 16));

    if (!p)
        natsMsg_Destroy(msg); /* came after its time-out */
    else if (natsMsg_IsNoResponders(msg)) {
        natsMsg_Destroy(msg);
        finish(bus, p, STATUS_UNAVAILABLE, NULL);
    } else {
        finish(bus, p, STATUS_OK, msg);
    }
    start_next(bus);
}

static void expire_slot(struct bus *bus, int64_t slot_ms, int64_t now_ms)
{
    struct pending *expired = NULL;

    pthread_mutex_lock(&bus->mu);
    for (struct pending *p = bus->wheel[(slot_ms / SLOT_MS) % WHEEL_SLOTS], *next; p; p = next) {
        next = p->next;
        if (p->deadline_ms > now_ms)
            continue;
        idmap_remove(bus->requests, p->token);
        wheel_remove(bus, p);
        p->next = expired;
        expired = p;
    }
    pthread_mutex_unlock(&bus->mu);
    for (struct pending *p = expired, *next; p; p = next) {
        next = p->next;
        finish(bus, p, STATUS_TIMEOUT, NULL);
    }
}

static void *tick(void *arg)
{
    struct bus *bus = arg;

    pthread_setname_np(pthread_self(), "bus-timeouts");
    while (!atomic_load(&bus->closing)) {
        int64_t now_ms = clock_now_ms();
        int64_t from = bus->ticked_ms;
        if (now_ms - from > (int64_t)WHEEL_SLOTS * SLOT_MS)
            from = now_ms - (int64_t)WHEEL_SLOTS * SLOT_MS;
        for (; from <= now_ms; from += SLOT_MS)
            expire_slot(bus, from, now_ms);
        bus->ticked_ms = now_ms - SLOT_MS; /* the slot of now may still be filled */
        start_next(bus);
        usleep(SLOT_MS * 1000);
    }
    return NULL;
}

static natsStatus make_message(const struct bus_out *out, const char *reply, natsMsg **ret_msg)
{
    natsStatus s = natsMsg_Create(ret_msg, out->subject, reply, out->data, (int)out->size);

    for (size_t i = 0; s == NATS_OK && i < out->header_count; i++)
        s = natsMsgHeader_Set(*ret_msg, out->headers[i].key, out->headers[i].value);
    return s;
}

static natsStatus send_out(struct bus *bus, const struct bus_out *out, const char *reply)
{
    natsMsg *msg = NULL;

    if (atomic_load(&bus->away))
        return NATS_CONNECTION_DISCONNECTED;
    if (out->size > INT32_MAX)
        return NATS_MAX_PAYLOAD;
    if (!out->header_count)
        return reply ? natsConnection_PublishRequest(bus->nc, out->subject, reply, out->data,
                                                     (int)out->size)
                     : natsConnection_Publish(bus->nc, out->subject, out->data, (int)out->size);
    natsStatus s = make_message(out, reply, &msg);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(bus->nc, msg);
    natsMsg_Destroy(msg);
    return s;
}

enum status bus_publish(struct bus *bus, const struct bus_out *out, struct err *err)
{
    natsStatus s = send_out(bus, out, out->reply);

    return s == NATS_OK ? STATUS_OK : nats_failed(s, out->subject, err);
}

enum status bus_respond(struct bus *bus, const struct bus_in *in, const void *data, size_t size,
                        bool json, struct err *err)
{
    static const struct bus_header as_json = { "Content-Type", "application/json" };

    if (!in->reply || !*in->reply)
        return STATUS_OK;
    const struct bus_out out = {
        in->reply, NULL, data, size, json ? &as_json : NULL, json ? 1 : 0
    };
    return bus_publish(bus, &out, err);
}

static void start(struct bus *bus, struct pending *p, const struct bus_out *out)
{
    char reply[160];

    pthread_mutex_lock(&bus->mu);
    p->deadline_ms = clock_now_ms() + p->waiter.timeout_ms;
    p->token = ++bus->last_token;
    uint64_t token = p->token;
    idmap_put(bus->requests, token, p);
    wheel_add(bus, p);
    pthread_mutex_unlock(&bus->mu);

    (void)snprintf(reply, sizeof(reply), "%s%" PRIx64, bus->inbox, token);
    natsStatus s = send_out(bus, out, reply);
    if (s == NATS_OK)
        return;
    p = take_pending(bus, token);
    if (p)
        finish(bus, p, s == NATS_MAX_PAYLOAD ? STATUS_INVALID : STATUS_UNAVAILABLE, NULL);
}

static void start_next(struct bus *bus)
{
    for (;;) {
        pthread_mutex_lock(&bus->mu);
        struct turn *turn =
            atomic_load(&bus->away) || atomic_load(&bus->closing) ? NULL : turns_next(&bus->turns);
        pthread_mutex_unlock(&bus->mu);
        if (!turn)
            return;
        struct pending *p = CONTAINER_OF(turn, struct pending, turn);
        const struct bus_out out = p->held; /* p may be gone before the send returns */
        p->held = (struct bus_out){ .subject = NULL };
        start(bus, p, &out);
        held_free(&out);
    }
}

static struct pending *pending_new(const struct bus_waiter *waiter)
{
    struct pending *p = xcalloc(1, sizeof(*p));

    p->waiter = *waiter;
    return p;
}

void bus_request(struct bus *bus, const struct bus_out *out, const struct bus_waiter *waiter)
{
    start(bus, pending_new(waiter), out);
}

void bus_request_in_turn(struct bus *bus, const struct bus_out *out,
                         const struct bus_waiter *waiter)
{
    struct pending *p = pending_new(waiter);

    must(!out->header_count);
    p->takes_turns = true;
    pthread_mutex_lock(&bus->mu);
    bool now = !atomic_load(&bus->away) && turns_enter(&bus->turns);
    if (!now) {
        p->held = (struct bus_out){ .subject = xstrdup(out->subject),
                                    .data = xmemdup(out->data, out->size),
                                    .size = out->size };
        turns_wait(&bus->turns, &p->turn);
    }
    pthread_mutex_unlock(&bus->mu);
    if (now)
        start(bus, p, out);
}

enum status bus_request_wait(struct bus *bus, const struct bus_out *out, int timeout_ms,
                             char **ret_data, size_t *ret_size, struct err *err)
{
    natsMsg *msg = NULL, *reply = NULL;
    natsStatus s = make_message(out, NULL, &msg);

    if (s == NATS_OK)
        s = natsConnection_RequestMsg(&reply, bus->nc, msg, timeout_ms);
    natsMsg_Destroy(msg);
    if (s != NATS_OK)
        return nats_failed(s, out->subject, err);
    size_t size = (size_t)natsMsg_GetDataLength(reply);
    char *data = xcalloc(1, size + 1);
    if (size)
        memcpy(data, natsMsg_GetData(reply), size);
    natsMsg_Destroy(reply);
    *ret_data = data;
    *ret_size = size;
    return STATUS_OK;
}

enum status bus_flush(struct bus *bus, int timeout_ms, struct err *err)
{
    natsStatus s = natsConnection_FlushTimeout(bus->nc, timeout_ms);

    return s == NATS_OK ? STATUS_OK : nats_failed(s, "flush", err);
}

/* ---- the connection ---- */

static void on_nats_disconnected(natsConnection *nc UNUSED, void *closure)
{
    struct bus *bus = closure;

    atomic_store(&bus->away, true);
    if (!atomic_load(&bus->closing))
        log_warn("nats_disconnected", "next=reconnecting wait_ms=%d", BUS_RECONNECT_WAIT_MS);
}

/* THREAD: libnats'. Its last word on this object. */
static void one_ended(struct bus *bus)
{
    pthread_mutex_lock(&bus->mu);
    bus->ended++;
    pthread_cond_broadcast(&bus->end);
    pthread_mutex_unlock(&bus->mu);
}

static void on_nats_closed(natsConnection *nc UNUSED, void *closure)
{
    one_ended(closure);
}

static void on_inbox_complete(void *closure)
{
    one_ended(closure);
}

static void on_nats_reconnected(natsConnection *nc, void *closure)
{
    struct bus *bus = closure;
    char url[256] = "", shown[256];

    atomic_store(&bus->away, false);
    (void)natsConnection_GetConnectedUrl(nc, url, sizeof(url));
    log_info("nats_reconnected", "url=%s", bus_url_show(url, shown, sizeof(shown)));
}

static void on_nats_error(natsConnection *nc UNUSED, natsSubscription *sub UNUSED, natsStatus s,
                          void *closure UNUSED)
{
    if (s == NATS_SLOW_CONSUMER)
        atomic_fetch_add(&dropped, 1);
    log_warn("nats_error", "text=\"%s\"", natsStatus_GetText(s));
}

/* NATS_OK is 0, and they fail only for want of an argument. */
static bool set_callbacks(natsOptions *o, struct bus *bus)
{
    return !natsOptions_SetDisconnectedCB(o, on_nats_disconnected, bus) &&
           !natsOptions_SetClosedCB(o, on_nats_closed, bus) &&
           !natsOptions_SetReconnectedCB(o, on_nats_reconnected, bus) &&
           !natsOptions_SetErrorHandler(o, on_nats_error, bus);
}

static enum status connect_first(struct bus *bus, natsOptions *o, const struct bus_config *config,
                                 struct err *err)
{
    char shown[512];

    (void)bus_url_show(config->url, shown, sizeof(shown));
    for (;;) {
        natsStatus s = natsConnection_Connect(&bus->nc, o);
        if (s == NATS_OK)
            return STATUS_OK;
        log_warn("nats_unreachable", "url=%s text=\"%s\" retry_in_ms=%d", shown,
                 natsStatus_GetText(s), RETRY_MS);
        for (int waited = 0; waited < RETRY_MS; waited += 50) {
            if (config->give_up && config->give_up(config->ctx))
                return err_set(err, STATUS_UNAVAILABLE, "gave up connecting to NATS at %s", shown);
            usleep(50 * 1000);
        }
    }
}

static enum status open_inbox(struct bus *bus, const struct bus_config *config, struct err *err)
{
    natsInbox *unique = NULL;
    char subject[160];
    natsStatus s = natsInbox_Create(&unique);

    if (s != NATS_OK)
        return nats_failed(s, "inbox", err);
    const char *id = strrchr(unique, '.');
    (void)snprintf(bus->inbox, sizeof(bus->inbox), "%.60s.%s.",
                   config->inbox_prefix ? config->inbox_prefix : "_INBOX", id ? id + 1 : unique);
    natsInbox_Destroy(unique);
    (void)snprintf(subject, sizeof(subject), "%s*", bus->inbox);
    s = natsConnection_Subscribe(&bus->inbox_sub, bus->nc, subject, on_nats_reply, bus);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(bus->inbox_sub, -1, -1);
    if (s == NATS_OK)
        s = natsSubscription_SetOnCompleteCB(bus->inbox_sub, on_inbox_complete, bus);
    return s == NATS_OK ? STATUS_OK : nats_failed(s, subject, err);
}

enum status bus_open(const struct bus_config *config, struct bus **ret_bus, struct err *err)
{
    struct bus *bus = xcalloc(1, sizeof(*bus));
    natsOptions *o = NULL;

    pthread_mutex_init(&bus->mu, NULL);
    pthread_cond_init(&bus->end, NULL);
    bus->requests = idmap_new();
    turns_init(&bus->turns, TURNS_AT_ONCE);
    bus->ticked_ms = clock_now_ms();
    natsStatus s = natsOptions_Create(&o);
    if (s == NATS_OK)
        s = bus_options_set(o, config);
    if (s == NATS_OK && !set_callbacks(o, bus))
        s = NATS_INVALID_ARG;
    enum status status =
        s == NATS_OK ? connect_first(bus, o, config, err) : nats_failed(s, config->url, err);
    natsOptions_Destroy(o);
    if (status == STATUS_OK)
        status = open_inbox(bus, config, err);
    if (status != STATUS_OK || pthread_create(&bus->ticker, NULL, tick, bus)) {
        natsConnection_Destroy(bus->nc);
        idmap_free(bus->requests);
        free(bus);
        return status != STATUS_OK ? status
                                   : err_set(err, STATUS_UNAVAILABLE, "no thread for time-outs");
    }
    *ret_bus = bus;
    return STATUS_OK;
}

static void collect(void *ctx, uint64_t token UNUSED, void *value)
{
    struct pending **list = ctx, *p = value;

    p->next = *list;
    *list = p;
}

void bus_close(struct bus *bus)
{
    struct pending *left = NULL;

    if (!bus)
        return;
    atomic_store(&bus->closing, true);
    pthread_join(bus->ticker, NULL);
    (void)natsSubscription_Unsubscribe(bus->inbox_sub);
    natsConnection_Close(bus->nc);
    pthread_mutex_lock(&bus->mu);
    while (bus->ended < 2)
        pthread_cond_wait(&bus->end, &bus->mu);
    pthread_mutex_unlock(&bus->mu);
    natsSubscription_Destroy(bus->inbox_sub);
    natsConnection_Destroy(bus->nc);
    idmap_each(bus->requests, collect, &left);
    for (struct turn *turn; (turn = turns_give_up(&bus->turns));) {
        struct pending *p = CONTAINER_OF(turn, struct pending, turn);
        p->takes_turns = false;
        collect(&left, 0, p);
    }
    for (struct pending *next; left; left = next) {
        next = left->next;
        finish(bus, left, STATUS_UNAVAILABLE, NULL);
    }
    idmap_free(bus->requests);
    pthread_cond_destroy(&bus->end);
    pthread_mutex_destroy(&bus->mu);
    free(bus);
}

bool bus_is_connected(const struct bus *bus)
{
    return !atomic_load(&bus->away);
}

size_t bus_max_payload(struct bus *bus)
{
    return (size_t)natsConnection_GetMaxPayload(bus->nc);
}

enum status bus_connected_url(struct bus *bus, char *ret_url, size_t size, struct err *err)
{
    natsStatus s = natsConnection_GetConnectedUrl(bus->nc, ret_url, size);

    return s == NATS_OK ? STATUS_OK : nats_failed(s, "connected url", err);
}

uint64_t bus_dropped(void)
{
    return atomic_load(&dropped);
}
