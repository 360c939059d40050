/* What the coordinator sends: each order is repeated until it had its effect, so any lost message
 * heals.
 *
 *   fresh ──Own──▶ claiming (again after 1, 2, 4, 5 s …) ──Claimed──▶ publish ──ack──▶ done
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "coordinator/state.h"
#include "messages/codec.h"
#include "messages/subjects.h"

enum {
    REPEAT_MS = 1000,
    REPEAT_MOST_MS = 5000,
    DROP_TRIES = 3,
    TRIES_BEFORE_LOG =
        2,          /* an order without effect: perhaps the log is ahead of what is stored here */
    REASON_NEW = 1, /* of Own, as guildbus.proto numbers them */
    REASON_FAILOVER = 3,
    REASON_UNSEAL = 4,
};

enum order_kind {
    ORDER_OWN,
    ORDER_PUBLISH,
    ORDER_MOVE,
    ORDER_DROP,
    ORDER_STANDBY,
    ORDER_READ_LOG,
    ORDER_READ_OWNER
};

/* One request under way. */
struct order {
    struct coordinator *c;
    enum order_kind kind;
    uint64_t guild_id, epoch, move_id;
    char pod[POD_ID_SIZE];
    int tries;
    bool stands; /* ORDER_STANDBY */
    uint32_t process;
};

static struct metric sent_total =
    METRIC_COUNTER("guildbus_coordinator_orders_total", "orders sent to pods");

static struct order *order_new(struct coordinator *c, enum order_kind kind, uint64_t guild_id,
                               const char *pod)
{
    struct order *o = xcalloc(1, sizeof(*o));

    o->c = c;
    o->kind = kind;
    o->guild_id = guild_id;
    text_copy(o->pod, sizeof(o->pod), pod);
    return o;
}

static void on_reply(void *ctx, uint64_t tag, enum status status, const struct bus_in *in);

/* Takes o. */
static void send(struct order *o, const char *subject, const void *data, size_t size)
{
    struct coordinator *c = o->c;
    const struct bus_out out = { .subject = subject, .data = data, .size = size };

    c->in_flight++;
    c->standby_in_flight += o->kind == ORDER_STANDBY;
    metric_add(&sent_total, 1);
    bus_request(c->bus, &out, &(struct bus_waiter){ c->box, on_reply, o, 0, ORDER_TIMEOUT_MS });
}

/* Takes o. */
static void send_envelope(struct order *o, const char *subject, const Guildbus__V1__Envelope *e)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct err err = { 0 };
    void *data = NULL;
    size_t size = 0;

    if (codec_encode(e, arena, &data, &size, &err) == STATUS_OK) {
        send(o, subject, data, size);
        return;
    }
    log_error("order_not_encoded", "guild=%" PRIu64 " text=%s", o->guild_id, LOG_QUOTE(err.text));
    free(o);
}

static void send_control(struct order *o, Guildbus__V1__Control *control)
{
    const struct subject subject = subject_control(o->pod);
    Guildbus__V1__Envelope e;

    guildbus__v1__envelope__init(&e);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CONTROL;
    e.control = control;
    send_envelope(o, subject.text, &e);
}

struct own {
    uint64_t epoch;
    uint32_t reason;
    int64_t unowned_ms;
    uint64_t unless_epoch;
};

static void send_own(struct order *o, const struct own *what)
{
    Guildbus__V1__Own own;
    Guildbus__V1__Control control;

    guildbus__v1__own__init(&own);
    guildbus__v1__control__init(&control);
    own.guild_id = o->guild_id;
    own.epoch = o->epoch = what->epoch;
    own.reason = what->reason;
    own.unowned_since_ms = what->unowned_ms;
    own.unless_epoch = what->unless_epoch;
    control.order_case = GUILDBUS__V1__CONTROL__ORDER_OWN;
    control.own = &own;
    send_control(o, &control);
    if (what->reason == REASON_FAILOVER)
        FAILPOINT("coordinator_f_own_sent");
}

/* ---- guilds ---- */

static void read_log(struct order *o)
{
    const struct subject stream = subject_log_stream(o->guild_id), log = subject_log(o->guild_id);
    char subject[64 + sizeof(stream.text)], body[32 + sizeof(log.text)];

    (void)snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", stream.text);
    int size = snprintf(body, sizeof(body), "{\"last_by_subj\":\"%s\"}", log.text);
    send(o, subject, body, (size_t)size);
}

static void order_own(struct coordinator *c, struct mirror_guild *g)
{
    int64_t wait_ms = (int64_t)REPEAT_MS << (g->own_tries < 3 ? g->own_tries : 3);

    g->own_in_flight = true;
    g->own_tries++;
    g->next_own_ms = clock_now_ms() + (wait_ms < REPEAT_MOST_MS ? wait_ms : REPEAT_MOST_MS);
    list_append(&c->mirror->claiming, &g->wait);
    if (g->own_tries > TRIES_BEFORE_LOG) {
        struct order *o = order_new(c, ORDER_READ_OWNER, g->row.guild_id, g->row.pod);
        o->epoch = g->row.epoch;
        read_log(o);
    }
    send_own(order_new(c, ORDER_OWN, g->row.guild_id, g->row.pod),
             &(struct own){ .epoch = g->row.epoch,
                            .reason = g->row.epoch == 1 ? REASON_NEW : REASON_FAILOVER,
                            .unowned_ms = g->row.unowned_ms });
}

static void order_publish(struct coordinator *c, struct mirror_guild *g)
{
    const struct subject subject = subject_assignment(g->row.guild_id);
    Guildbus__V1__Assignment a;
    Guildbus__V1__Envelope e;
    struct order *o = order_new(c, ORDER_PUBLISH, g->row.guild_id, g->row.pod);

    guildbus__v1__assignment__init(&a);
    guildbus__v1__envelope__init(&e);
    a.guild_id = g->row.guild_id;
    a.pod = g->row.pod;
    a.epoch = o->epoch = g->row.epoch;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_ASSIGNMENT;
    e.assignment = &a;
    g->publish_in_flight = true;
    send_envelope(o, subject.text, &e);
}

static bool has_room(const struct coordinator *c)
{
    return c->in_flight < ORDERS_IN_FLIGHT;
}

static void send_publishes(struct coordinator *c)
{
    struct link *list = &c->mirror->publish;
    int64_t now_ms = clock_now_ms();

    for (struct link *l = list->next; l != list && has_room(c); l = l->next) {
        struct mirror_guild *g = CONTAINER_OF(l, struct mirror_guild, publish);
        if (!g->publish_in_flight && now_ms >= g->next_publish_ms)
            order_publish(c, g);
    }
}

void orders_send(struct coordinator *c, bool whole_turn)
{
    struct link *fresh = &c->mirror->fresh, *claiming = &c->mirror->claiming;
    int64_t now_ms = clock_now_ms();

    while (!list_is_empty(fresh) && has_room(c))
        order_own(c, CONTAINER_OF(fresh->next, struct mirror_guild, wait));
    send_publishes(c);
    standbys_send(c);
    if (!whole_turn)
        return;
    struct link *last = claiming->prev; /* what is sent goes behind it */
    for (struct link *l = claiming->next, *next; l != claiming && has_room(c); l = next) {
        struct mirror_guild *g = CONTAINER_OF(l, struct mirror_guild, wait);
        bool is_last = l == last;
        next = l->next;
        if (!g->own_in_flight && now_ms >= g->next_own_ms)
            order_own(c, g);
        if (is_last)
            break;
    }
}

/* ---- moves ---- */

static void order_warm(struct coordinator *c, struct mirror_move *m)
{
    Guildbus__V1__Warm warm;
    Guildbus__V1__Control control;

    guildbus__v1__warm__init(&warm);
    guildbus__v1__control__init(&control);
    warm.move_id = m->row.id;
    warm.guild_id = m->row.guild_id;
    warm.source = m->row.source;
    control.order_case = GUILDBUS__V1__CONTROL__ORDER_WARM;
    control.warm = &warm;
    send_control(order_new(c, ORDER_MOVE, m->row.guild_id, m->row.target), &control);
}

static void order_take(struct coordinator *c, struct mirror_move *m)
{
    Guildbus__V1__Take take;
    Guildbus__V1__Control control;

    guildbus__v1__take__init(&take);
    guildbus__v1__control__init(&control);
    take.move_id = m->row.id;
    take.guild_id = m->row.guild_id;
    take.epoch = m->row.epoch;
    take.unseal_epoch = m->row.unseal_epoch;
    take.source = m->row.source;
    control.order_case = GUILDBUS__V1__CONTROL__ORDER_TAKE;
    control.take = &take;
    send_control(order_new(c, ORDER_MOVE, m->row.guild_id, m->row.target), &control);
}

/* Nothing waits for its effect: tried a few times, then the target forgets by itself when it is
 * told otherwise. */
static void order_drop(struct coordinator *c, uint64_t move_id, uint64_t guild_id, const char *pod,
                       int tries)
{
    Guildbus__V1__Drop drop;
    Guildbus__V1__Control control;
    struct order *o = order_new(c, ORDER_DROP, guild_id, pod);

    guildbus__v1__drop__init(&drop);
    guildbus__v1__control__init(&control);
    drop.move_id = o->move_id = move_id;
    drop.guild_id = guild_id;
    o->tries = tries;
    control.order_case = GUILDBUS__V1__CONTROL__ORDER_DROP;
    control.drop = &drop;
    send_control(o, &control);
}

void order_standby(struct coordinator *c, const struct mirror_guild *g, const struct follower *f)
{
    Guildbus__V1__Control control;
    Guildbus__V1__Warm warm;
    Guildbus__V1__Drop drop;
    struct order *o = order_new(c, ORDER_STANDBY, g->row.guild_id, f->pod->row.pod);
    struct guild_row row = g->row;

    guildbus__v1__control__init(&control);
    guildbus__v1__warm__init(&warm);
    guildbus__v1__drop__init(&drop);
    o->stands = f->rank > STANDBY_DROP;
    o->process = f->pod->process;
    if (o->stands) {
        warm.guild_id = row.guild_id;
        warm.source = row.pod;
        warm.standby = true;
        control.order_case = GUILDBUS__V1__CONTROL__ORDER_WARM;
        control.warm = &warm;
    } else {
        drop.guild_id = row.guild_id;
        control.order_case = GUILDBUS__V1__CONTROL__ORDER_DROP;
        control.drop = &drop;
    }
    send_control(o, &control);
}

static void order_read_log(struct coordinator *c, struct mirror_move *m)
{
    if (m->reading_log)
        return;
    struct order *o = order_new(c, ORDER_READ_LOG, m->row.guild_id, m->row.target);
    o->move_id = m->row.id;
    m->reading_log = true;
    read_log(o);
}

void order_move(struct coordinator *c, struct mirror_move *m, enum move_order what)
{
    switch (what) {
    case MOVE_ORDER_WARM:
        order_warm(c, m);
        FAILPOINT("coordinator_1_warm_sent");
        break;
    case MOVE_ORDER_TAKE:
        order_take(c, m);
        FAILPOINT("coordinator_4_take_sent");
        break;
    case MOVE_ORDER_DROP:
        order_drop(c, m->row.id, m->row.guild_id, m->row.target, 1);
        break;
    case MOVE_ORDER_OWN_TARGET:
        send_own(order_new(c, ORDER_MOVE, m->row.guild_id, m->row.target),
                 &(struct own){ .epoch = m->row.epoch,
                                .reason = REASON_FAILOVER,
                                .unowned_ms = lease_end_of(c, m->row.source) });
        break;
    case MOVE_ORDER_OWN_SOURCE:
        send_own(order_new(c, ORDER_MOVE, m->row.guild_id, m->row.source),
                 &(struct own){ .epoch = m->row.unseal_epoch,
                                .reason = REASON_UNSEAL,
                                .unless_epoch = m->row.epoch });
        break;
    case MOVE_ORDER_READ_LOG:
        order_read_log(c, m);
        break;
    }
}

/* ---- replies ---- */

static void on_own_reply(struct order *o, enum status status,
                         const Guildbus__V1__ControlReply *reply)
{
    struct coordinator *c = o->c;
    struct mirror_guild *g = mirror_guild(c->mirror, o->guild_id);
    struct err err = { 0 };

    if (!g || g->row.epoch != o->epoch || g->row.state != GUILD_CLAIMING)
        return;
    g->own_in_flight = false;
    if (status != STATUS_OK || !reply) {
        log_debug("own_unanswered", "guild=%" PRIu64 " pod=%s status=%s", o->guild_id, o->pod,
                  status_name(status));
        return;
    }
    if (reply->status == STATUS_OK)
        return;
    log_info("own_refused", "guild=%" PRIu64 " pod=%s epoch=%" PRIu64 " status=%s text=%s",
             o->guild_id, o->pod, o->epoch, status_name((enum status)reply->status),
             LOG_QUOTE(reply->text));
    if (reply->status == STATUS_CONFLICT && reply->epoch >= o->epoch &&
        guild_catch_up(c, g, reply->epoch, &err) != STATUS_OK)
        step_down(c, &err);
}

static bool is_stored(enum status status, const struct bus_in *in)
{
    CLEANUP(json_decref) json_t *ack = NULL;

    return status == STATUS_OK && json_parse(in->data, in->size, &ack, NULL) == STATUS_OK &&
           !json_object_get(ack, "error") && json_int(ack, "seq", 0) > 0;
}

static void on_publish_reply(struct order *o, enum status status, const struct bus_in *in)
{
    struct mirror_guild *g = mirror_guild(o->c->mirror, o->guild_id);
    bool stored = is_stored(status, in);

    if (!g)
        return;
    g->publish_in_flight = false;
    g->next_publish_ms = stored ? 0 : clock_now_ms() + REPEAT_MS;
    if (stored && g->row.epoch == o->epoch)
        link_remove(&g->publish);
    if (!stored)
        log_debug("assignment_not_stored", "guild=%" PRIu64 " status=%s", o->guild_id,
                  status_name(status));
}

/* The standard alphabet in place; false: not base64. */
static unsigned char *unbase64(const char *text, size_t *ret_size)
{
    CLEANUP(xfree) char *url = xstrdup(text);
    size_t n = strlen(url);

    for (; n && url[n - 1] == '='; n--)
        url[n - 1] = '\0';
    for (char *p = strpbrk(url, "+/"); p; p = strpbrk(p, "+/"))
        *p = (char)(*p == '+' ? '-' : '_');
    return sign_unbase64url(url, ret_size);
}

/* NULL: the answer holds no record. */
static const Guildbus__V1__LogRecord *record_of(const struct bus_in *in, struct arena *arena)
{
    CLEANUP(json_decref) json_t *root = NULL;
    Guildbus__V1__Envelope *e = NULL;
    size_t size = 0;

    if (json_parse(in->data, in->size, &root, NULL) != STATUS_OK)
        return NULL;
    CLEANUP(xfree)
    unsigned char *data = unbase64(json_str(json_object_get(root, "message"), "data"), &size);
    if (!data || codec_decode(data, size, arena, &e, NULL) != STATUS_OK)
        return NULL;
    return e->body_case == GUILDBUS__V1__ENVELOPE__BODY_RECORD ? e->record : NULL;
}

/* Who wrote last has claimed before: its epoch says how the cut-over went. */
static void on_log_read(struct order *o, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct coordinator *c = o->c;
    struct mirror_move *m = mirror_move(c->mirror, o->move_id);
    const Guildbus__V1__LogRecord *record = status == STATUS_OK ? record_of(in, arena) : NULL;
    struct err err = { 0 };

    if (!m)
        return;
    m->reading_log = false;
    if (!record || m->row.state != MOVE_STATE_CUTOVER)
        return;
    bool target = record->epoch == m->row.epoch, source = record->epoch == m->row.unseal_epoch;
    log_info("move_log_read", "move=%" PRIu64 " guild=%" PRIu64 " epoch=%" PRIu64 " idx=%" PRIu64,
             m->row.id, m->row.guild_id, record->epoch, record->idx);
    const struct claim_fact fact = { record->incarnation, 0 };
    if (target || source)
        handoff_step(c, m, target ? MOVE_EVENT_TARGET_CLAIMED : MOVE_EVENT_SOURCE_CLAIMED, &fact);
    if (commit(c, &err) != STATUS_OK)
        step_down(c, &err);
}

/* A database that was lost or restored, or a fixed list before: the log has epochs that were never
 * given out here. */
static void on_owner_read(struct order *o, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct coordinator *c = o->c;
    struct mirror_guild *g = mirror_guild(c->mirror, o->guild_id);
    const Guildbus__V1__LogRecord *record = status == STATUS_OK ? record_of(in, arena) : NULL;
    struct err err = { 0 };

    if (!record || !g || g->row.state != GUILD_CLAIMING || g->row.epoch != o->epoch ||
        record->epoch < o->epoch)
        return;
    if (record->epoch == o->epoch && record->incarnation == g->row.incarnation)
        return; /* it has claimed, and says so again at the next order */
    if (guild_catch_up(c, g, record->epoch, &err) != STATUS_OK)
        step_down(c, &err);
}

static const Guildbus__V1__ControlReply *control_reply_of(const struct bus_in *in,
                                                          struct arena *arena)
{
    Guildbus__V1__Envelope *e = NULL;

    if (codec_decode(in->data, in->size, arena, &e, NULL) != STATUS_OK)
        return NULL;
    return e->body_case == GUILDBUS__V1__ENVELOPE__BODY_CONTROL_REPLY ? e->control_reply : NULL;
}

/* CONFLICT and BUSY, too: it still deletes or forwards, and can follow a little later. */
static void on_standby_reply(struct order *o, enum status status,
                             const Guildbus__V1__ControlReply *reply)
{
    const struct standby_told told = { o->guild_id, o->pod, o->stands, o->process };

    if (status == STATUS_OK)
        status = reply ? (enum status)reply->status : STATUS_CORRUPT;
    if (status != STATUS_OK)
        log_debug("standby_not_told", "guild=%" PRIu64 " pod=%s stands=%d status=%s", o->guild_id,
                  o->pod, o->stands, status_name(status));
    standbys_answered(o->c, &told, status);
}

static void on_control_reply(struct order *o, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const Guildbus__V1__ControlReply *reply =
        status == STATUS_OK ? control_reply_of(in, arena) : NULL;

    if (o->kind == ORDER_OWN)
        on_own_reply(o, status, reply);
    else if (o->kind == ORDER_STANDBY)
        on_standby_reply(o, status, reply);
    else if (o->kind == ORDER_DROP && status != STATUS_OK && o->tries < DROP_TRIES)
        order_drop(o->c, o->move_id, o->guild_id, o->pod, o->tries + 1);
    else if (reply && reply->status != STATUS_OK)
        log_info("order_refused", "guild=%" PRIu64 " pod=%s status=%s text=%s", o->guild_id, o->pod,
                 status_name((enum status)reply->status), LOG_QUOTE(reply->text));
}

static void on_reply(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    struct order *o = ctx;
    struct coordinator *c = o->c;

    c->in_flight--;
    c->standby_in_flight -= o->kind == ORDER_STANDBY;
    if (!c->leads) {
        free(o);
        return;
    }
    if (o->kind == ORDER_PUBLISH)
        on_publish_reply(o, status, in);
    else if (o->kind == ORDER_READ_LOG)
        on_log_read(o, status, in);
    else if (o->kind == ORDER_READ_OWNER)
        on_owner_read(o, status, in);
    else
        on_control_reply(o, status, in);
    free(o);
}
