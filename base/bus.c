#include "base/bus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bus_parts.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/sign.h"
#include "base/xmem.h"

enum {
    SLOT_MS = 10,
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

struct reply_letter {
    struct letter letter;
    struct pending *pending;
    enum status status;
    natsMsg *msg;
};

enum status bus_failed(natsStatus s, const char *doing, struct err *err)
{
    enum status code = s == NATS_TIMEOUT           ? STATUS_TIMEOUT
                       : s == NATS_INVALID_ARG     ? STATUS_INVALID
                       : s == NATS_INVALID_SUBJECT ? STATUS_INVALID
                       : s == NATS_MAX_PAYLOAD     ? STATUS_INVALID
                                                   : STATUS_UNAVAILABLE;
    return err_set(err, code, "%s: NATS: %s", doing, natsStatus_GetText(s));
}

struct bus_in bus_view(natsMsg *msg)
{
    return (struct bus_in){
        .subject = natsMsg_GetSubject(msg),
        .reply = natsMsg_GetReply(msg),
        .data = natsMsg_GetData(msg),
        .size = (size_t)natsMsg_GetDataLength(msg),
        .msg = msg,
    };
}

/* ---- requests ---- */

static void wheel_add(struct bus *bus, struct pending *p)
{
    struct pending **slot = &bus->wheel[(p->deadline_ms / SLOT_MS) % BUS_WHEEL_SLOTS];

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
        bus->wheel[(p->deadline_ms / SLOT_MS) % BUS_WHEEL_SLOTS] = p->next;
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
    bus_msg_free(r->msg);
    held_free(&r->pending->held);
    free(r->pending);
    free(r);
}

static void reply_read(struct letter *l, void *owner UNUSED)
{
    struct reply_letter *r = CONTAINER_OF(l, struct reply_letter, letter);
    const struct bus_waiter *w = &r->pending->waiter;

    if (r->status == STATUS_OK) {
        const struct bus_in in = bus_view(r->msg);
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
    for (struct pending *p = bus->wheel[(slot_ms / SLOT_MS) % BUS_WHEEL_SLOTS], *next; p;
         p = next) {
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
        if (now_ms - from > (int64_t)BUS_WHEEL_SLOTS * SLOT_MS)
            from = now_ms - (int64_t)BUS_WHEEL_SLOTS * SLOT_MS;
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

/* To libnats' buffer. */
static natsStatus put_out(struct bus_conn *conn, const struct bus_out *out, const char *reply)
{
    natsMsg *msg = NULL;

    if (!out->header_count)
        return reply ? natsConnection_PublishRequest(conn->nc, out->subject, reply, out->data,
                                                     (int)out->size)
                     : natsConnection_Publish(conn->nc, out->subject, out->data, (int)out->size);
    natsStatus s = make_message(out, reply, &msg);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(conn->nc, msg);
    bus_msg_free(msg);
    return s;
}

static natsStatus send_out(struct bus_conn *conn, const struct bus_out *out, const char *reply)
{
    if (!conn)
        return NATS_CONNECTION_DISCONNECTED;
    if (out->size > INT32_MAX)
        return NATS_MAX_PAYLOAD;
    bus_io_gather(true);
    natsStatus s = put_out(conn, out, reply);
    bus_io_gather(false);
    bus_turn_sent(conn, out->size);
    return s;
}

enum status bus_publish(struct bus *bus, const struct bus_out *out, struct err *err)
{
    struct bus_conn *conn = bus_link_get(bus->link);
    natsStatus s = send_out(conn, out, out->reply);

    bus_conn_put(conn);
    return s == NATS_OK ? STATUS_OK : bus_failed(s, out->subject, err);
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
    struct bus_conn *conn = bus_link_get(bus->link);
    natsStatus s = send_out(conn, out, reply);
    bus_conn_put(conn);
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
        bool may_start = !atomic_load(&bus->closing) && bus_link_is_up(bus->link);
        struct turn *turn = may_start ? turns_next(&bus->turns) : NULL;
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
    bool now = bus_link_is_up(bus->link) && turns_enter(&bus->turns);
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
    struct bus_conn *conn = bus_link_get(bus->link);
    natsMsg *msg = NULL, *reply = NULL;
    natsStatus s = conn ? make_message(out, NULL, &msg) : NATS_CONNECTION_DISCONNECTED;

    bus_turn_flush();
    if (s == NATS_OK)
        s = natsConnection_RequestMsg(&reply, conn->nc, msg, timeout_ms);
    bus_conn_put(conn);
    natsMsg_Destroy(msg);
    if (s != NATS_OK)
        return bus_failed(s, out->subject, err);
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
    struct bus_conn *conn = bus_link_get(bus->link);

    bus_turn_flush();
    natsStatus s =
        conn ? natsConnection_FlushTimeout(conn->nc, timeout_ms) : NATS_CONNECTION_DISCONNECTED;

    bus_conn_put(conn);
    return s == NATS_OK ? STATUS_OK : bus_failed(s, "flush", err);
}

/* ---- the connection ---- */

/* THREAD: libnats'. Its last word on an inbox. */
static void on_inbox_complete(void *closure)
{
    struct bus *bus = closure;

    pthread_mutex_lock(&bus->mu);
    bus->inboxes--;
    pthread_cond_broadcast(&bus->end);
    pthread_mutex_unlock(&bus->mu);
}

static void name_inbox(struct bus *bus, const struct bus_config *config)
{
    uint8_t random[12];
    char unique[2 * sizeof(random) + 1];

    sign_random(random, sizeof(random));
    sign_hex(random, sizeof(random), unique);
    (void)snprintf(bus->inbox, sizeof(bus->inbox), "%.60s.%s.",
                   config->inbox_prefix ? config->inbox_prefix : "_INBOX", unique);
}

void bus_inbox_new(const struct bus *bus, char ret_subject[BUS_INBOX_SIZE])
{
    /* two tokens more than the prefix: open_inbox's subscription takes one */
    (void)snprintf(ret_subject, BUS_INBOX_SIZE, "%.100smany.%016" PRIx64, bus->inbox,
                   sign_random_u64());
}

/* THREAD: the link's. */
static natsStatus open_inbox(void *ctx, struct bus_conn *conn)
{
    struct bus *bus = ctx;
    char subject[160];

    (void)snprintf(subject, sizeof(subject), "%s*", bus->inbox);
    natsStatus s = natsConnection_Subscribe(&conn->inbox, conn->nc, subject, on_nats_reply, bus);
    if (s != NATS_OK)
        return s;
    (void)natsSubscription_SetPendingLimits(conn->inbox, -1, -1);
    pthread_mutex_lock(&bus->mu);
    bus->inboxes++;
    pthread_mutex_unlock(&bus->mu);
    s = natsSubscription_SetOnCompleteCB(conn->inbox, on_inbox_complete, bus);
    if (s != NATS_OK) { /* lost already */
        pthread_mutex_lock(&bus->mu);
        bus->inboxes--;
        if (!bus->is_kept)
            bus_keep_for_ever(bus);
        bus->is_kept = true;
        pthread_mutex_unlock(&bus->mu);
    }
    return s;
}

static void attach_subs(void *ctx, struct bus_conn *conn)
{
    bus_subs_attach(ctx, conn);
}

static void bus_free(struct bus *bus)
{
    pthread_mutex_lock(&bus->mu);
    idmap_free(bus->requests);
    bus->requests = bus->is_kept ? idmap_new() : NULL;
    pthread_mutex_unlock(&bus->mu);
    if (bus->is_kept)
        return; /* a late reply finds nobody who waits */
    pthread_cond_destroy(&bus->end);
    pthread_mutex_destroy(&bus->subs_mu);
    pthread_mutex_destroy(&bus->mu);
    free(bus);
}

static void close_link(struct bus *bus)
{
    bus_link_close(bus->link);
    pthread_mutex_lock(&bus->mu);
    while (bus->inboxes)
        pthread_cond_wait(&bus->end, &bus->mu);
    pthread_mutex_unlock(&bus->mu);
    bus_link_free(bus->link);
}

enum status bus_open(const struct bus_config *config, struct bus **ret_bus, struct err *err)
{
    struct bus *bus = xcalloc(1, sizeof(*bus));
    const struct bus_link_events events = { open_inbox, attach_subs, bus };

    pthread_mutex_init(&bus->mu, NULL);
    pthread_mutex_init(&bus->subs_mu, NULL);
    pthread_cond_init(&bus->end, NULL);
    bus->requests = idmap_new();
    turns_init(&bus->turns, TURNS_AT_ONCE);
    bus->ticked_ms = clock_now_ms();
    name_inbox(bus, config);
    enum status status = bus_link_open(config, &events, &bus->link, err);
    if (status == STATUS_OK && pthread_create(&bus->ticker, NULL, tick, bus)) {
        status = err_set(err, STATUS_UNAVAILABLE, "no thread for time-outs");
        close_link(bus);
    }
    if (status != STATUS_OK)
        bus_free(bus);
    else
        *ret_bus = bus;
    return status;
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
    close_link(bus);
    bus_subs_orphan(bus);
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
    bus_free(bus);
}

bool bus_is_connected(const struct bus *bus)
{
    return bus_link_is_up(bus->link);
}

size_t bus_max_payload(struct bus *bus)
{
    return bus_link_max_payload(bus->link);
}

enum status bus_connected_url(struct bus *bus, char *ret_url, size_t size, struct err *err)
{
    return bus_link_url(bus->link, ret_url, size, err);
}

uint64_t bus_dropped(void)
{
    return bus_subs_dropped() + bus_link_dropped();
}
