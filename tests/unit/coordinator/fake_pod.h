/* fake_pod.h - a pod as the coordinator sees it: registers, beats, claims, warms, takes.
 *
 * It does what guildbus.proto asks for unless a test tells it not to. Every epoch that any pod is
 * given is remembered, and a second pod that gets the same one fails the test.
 *
 * THREAD: the test's. */
#ifndef TESTS_COORDINATOR_FAKE_POD_H
#define TESTS_COORDINATOR_FAKE_POD_H

/* Each test program uses a part of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/idmap.h"
#include "base/json.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "messages/codec.h"
#include "messages/subjects.h"

#define OK(call) assert_int_equal((call), STATUS_OK)

enum { BEAT_MS = 200 };

/* What all pods share. */
struct wire {
    struct bus *bus;
    struct mailbox *box;
    struct idmap *epoch_owners; /* hash of guild and epoch → pod process */
};

struct fake_pod {
    struct wire *wire;
    char id[16];
    const char *version;
    uint64_t incarnation;
    bool registered, beats, draining;
    /* what it does with orders */
    bool ignores_own, ignores_warm, ignores_take, fails_warm, hides_claims;
    int loses_owns;       /* that many are not answered */
    int refuses_standbys; /* that many Warms of standbys are answered BUSY; -1: all */
    uint64_t knows_epoch; /* refuses Owns below it, as a pod does whose log is ahead */
    struct bus_sub *sub;
    int64_t next_beat_ms;
    bool beat_in_flight;
    /* what it heard */
    uint32_t capacity, schema, load, recommended_shards;
    Guildbus__V1__HeartbeatReply reply; /* scalars of the last one */
    uint32_t shards[64], refused_beats;
    int owns, warms, takes, drops, claims_refused, standby_warms, standby_drops;
    int64_t last_unowned_ms;
    uint64_t last_move, last_take_epoch, last_unseal_epoch, last_own_epoch;
    uint32_t last_own_reason;
    struct idmap *epochs;   /* guild → highest epoch claimed here + 1 */
    struct idmap *followed; /* guilds that it stands by for */
    uint32_t says_followed; /* in place of their number; UINT32_MAX: their number */
    Guildbus__V1__GuildLoad busiest[4];
    size_t busiest_count;
    /* resharding: as told, unless it is too old for it, or slow */
    bool can_reshard, never_ready, never_keeps, never_retires;
    bool repeats; /* says what it said before, whatever it is told */
    int answers;
    uint32_t session_total, session_remaining;
    uint32_t next_shards[64];
};

/* ---- fake pods ---- */

static void pod_send(struct fake_pod *p, const char *subject, const Guildbus__V1__Envelope *e,
                     bus_on_reply on_reply)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    void *data;
    size_t size;

    OK(codec_encode(e, arena, &data, &size, NULL));
    const struct bus_out out = { .subject = subject, .data = data, .size = size };
    bus_request(p->wire->bus, &out, &(struct bus_waiter){ p->wire->box, on_reply, p, 0, 2000 });
}

static Guildbus__V1__Envelope *pod_reply(enum status status, const struct bus_in *in,
                                         struct arena *arena)
{
    Guildbus__V1__Envelope *e = NULL;

    if (status != STATUS_OK)
        return NULL;
    OK(codec_decode(in->data, in->size, arena, &e, NULL));
    return e;
}

static void pod_on_registered(void *ctx, uint64_t tag UNUSED, enum status status,
                              const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    const Guildbus__V1__Envelope *e = pod_reply(status, in, arena);

    if (e && e->body_case == GUILDBUS__V1__ENVELOPE__BODY_REGISTER_REPLY &&
        !e->register_reply->status)
        p->registered = true;
    p->beat_in_flight = false;
}

static void pod_register(struct fake_pod *p)
{
    const struct subject subject = subject_coordinator("register");
    Guildbus__V1__Envelope e;
    Guildbus__V1__Register r;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__register__init(&r);
    r.pod = p->id;
    r.incarnation = p->incarnation;
    r.capacity = p->capacity;
    r.schema = p->schema;
    r.version = mutable_text(p->version);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_REGISTER_POD;
    e.register_pod = &r;
    p->beat_in_flight = true;
    pod_send(p, subject.text, &e, pod_on_registered);
}

static void pod_on_beat(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    const Guildbus__V1__Envelope *e = pod_reply(status, in, arena);

    p->beat_in_flight = false;
    if (!e || e->body_case != GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT_REPLY)
        return;
    p->answers++;
    if (p->repeats && !e->heartbeat_reply->status)
        return;
    p->reply = *e->heartbeat_reply;
    if (p->reply.status) {
        p->refused_beats++;
        p->registered = false; /* begins again */
        return;
    }
    assert_true(p->reply.n_shards <= ARRAY_LEN(p->shards));
    assert_true(p->reply.n_next_shards <= ARRAY_LEN(p->next_shards));
    if (p->reply.n_next_shards)
        memcpy(p->next_shards, e->heartbeat_reply->next_shards,
               p->reply.n_next_shards * sizeof(p->next_shards[0]));
    if (p->reply.n_shards)
        memcpy(p->shards, e->heartbeat_reply->shards, p->reply.n_shards * sizeof(p->shards[0]));
}

static void pod_say_shards(struct fake_pod *p, Guildbus__V1__Heartbeat *h)
{
    bool keeps = p->reply.reshard_stage >= GUILDBUS__V1__RESHARD_STAGE__RESHARD_KEEPING,
         retires = p->reply.reshard_stage == GUILDBUS__V1__RESHARD_STAGE__RESHARD_RETIRING;

    h->can_reshard = p->can_reshard;
    h->session_total = p->session_total;
    h->session_remaining = p->session_remaining;
    h->session_reset_after_ms = 3600000;
    h->reshard_round = p->reply.reshard_round;
    h->next_ready = h->next_keeping = p->next_shards;
    h->n_next_ready = p->never_ready ? 0 : p->reply.n_next_shards;
    h->n_next_keeping = keeps && !p->never_keeps ? h->n_next_ready : 0;
    h->retired = p->shards;
    h->n_retired = retires && !p->never_retires ? p->reply.n_shards : 0;
}

static void pod_beat(struct fake_pod *p)
{
    const struct subject subject = subject_heartbeat(p->id);
    Guildbus__V1__Envelope e;
    Guildbus__V1__Heartbeat h;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__heartbeat__init(&h);
    h.pod = p->id;
    h.incarnation = p->incarnation;
    h.version = mutable_text(p->version);
    h.capacity = p->capacity;
    h.schema = p->schema;
    h.units_per_s = p->load;
    h.guild_count = (uint32_t)idmap_count(p->epochs);
    h.draining = p->draining;
    h.recommended_shards = p->recommended_shards;
    h.standby_count =
        p->says_followed == UINT32_MAX ? (uint32_t)idmap_count(p->followed) : p->says_followed;
    Guildbus__V1__GuildLoad *busiest[ARRAY_LEN(p->busiest)];
    for (size_t i = 0; i < p->busiest_count; i++)
        busiest[i] = &p->busiest[i];
    h.busiest = busiest;
    h.n_busiest = p->busiest_count;
    pod_say_shards(p, &h);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT;
    e.heartbeat = &h;
    p->beat_in_flight = true;
    pod_send(p, subject.text, &e, pod_on_beat);
}

static void pod_on_claimed(void *ctx, uint64_t tag UNUSED, enum status status,
                           const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    const Guildbus__V1__Envelope *e = pod_reply(status, in, arena);

    p->claims_refused += e && e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR;
}

/* Says that its Claim is in the log. */
static void pod_claim(struct fake_pod *p, uint64_t guild_id, uint64_t epoch, uint64_t move_id)
{
    const struct subject subject = subject_coordinator("claimed");
    Guildbus__V1__Envelope e;
    Guildbus__V1__Claimed c;

    if ((uintptr_t)idmap_get(p->epochs, guild_id) < epoch + 1)
        idmap_put(p->epochs, guild_id, (void *)(uintptr_t)(epoch + 1));
    if (p->hides_claims)
        return;
    guildbus__v1__envelope__init(&e);
    guildbus__v1__claimed__init(&c);
    c.guild_id = guild_id;
    c.pod = p->id;
    c.incarnation = p->incarnation;
    c.epoch = epoch;
    c.idx = 1;
    c.move_id = move_id;
    c.pause_us = move_id ? 1500 : 0;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CLAIMED;
    e.claimed = &c;
    pod_send(p, subject.text, &e, pod_on_claimed);
}

static void pod_on_ignored(void *ctx UNUSED, uint64_t tag UNUSED, enum status status UNUSED,
                           const struct bus_in *in UNUSED)
{
}

static void pod_report(struct fake_pod *p, uint64_t guild_id, uint64_t move_id,
                       Guildbus__V1__MoveStep step)
{
    const struct subject subject = subject_coordinator("move");
    Guildbus__V1__Envelope e;
    Guildbus__V1__MoveReport r;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__move_report__init(&r);
    r.move_id = move_id;
    r.guild_id = guild_id;
    r.pod = p->id;
    r.step = step;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_MOVE_REPORT;
    e.move_report = &r;
    pod_send(p, subject.text, &e, pod_on_ignored);
}

static void pod_respond(struct fake_pod *p, const struct bus_in *in, enum status status,
                        uint64_t epoch)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope e;
    Guildbus__V1__ControlReply r;
    void *data;
    size_t size;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__control_reply__init(&r);
    r.status = (uint32_t)status;
    r.epoch = epoch;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CONTROL_REPLY;
    e.control_reply = &r;
    OK(codec_encode(&e, arena, &data, &size, NULL));
    OK(bus_respond(p->wire->bus, in, data, size, false, NULL));
}

/* Each epoch of a guild belongs to one pod process, for ever. */
static void pod_given(struct fake_pod *p, uint64_t guild_id, uint64_t epoch)
{
    uint64_t key = guild_id * 1000003 + epoch;
    void *owner = (void *)(uintptr_t)p->incarnation,
         *before = idmap_get(p->wire->epoch_owners, key);

    if (before && before != owner)
        fail_msg("epoch %" PRIu64 " of guild %" PRIu64 " was given to two", epoch, guild_id);
    idmap_put(p->wire->epoch_owners, key, owner);
}

static void pod_on_own(struct fake_pod *p, const Guildbus__V1__Own *own, const struct bus_in *in)
{
    p->owns++;
    p->last_own_epoch = own->epoch;
    p->last_own_reason = own->reason;
    p->last_unowned_ms = own->unowned_since_ms;
    pod_given(p, own->guild_id, own->epoch);
    if (p->loses_owns > 0) {
        p->loses_owns--;
        return;
    }
    bool behind = own->epoch <= p->knows_epoch;
    pod_respond(p, in, behind ? STATUS_CONFLICT : STATUS_OK, behind ? p->knows_epoch : own->epoch);
    if (!behind && !p->ignores_own)
        pod_claim(p, own->guild_id, own->epoch, 0);
}

/* Of a standby, not of a move. false: neither. */
static bool pod_on_standby(struct fake_pod *p, const Guildbus__V1__Control *c,
                           const struct bus_in *in)
{
    if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_WARM && c->warm->standby) {
        assert_int_equal(c->warm->move_id, 0);
        p->standby_warms++;
        bool refuses = p->refuses_standbys != 0;
        p->refuses_standbys -= p->refuses_standbys > 0;
        pod_respond(p, in, refuses ? STATUS_BUSY : STATUS_OK, 0);
        if (!refuses)
            idmap_put(p->followed, c->warm->guild_id, p);
        return true;
    }
    if (c->order_case != GUILDBUS__V1__CONTROL__ORDER_DROP || c->drop->move_id)
        return false;
    p->standby_drops++;
    (void)idmap_remove(p->followed, c->drop->guild_id);
    pod_respond(p, in, STATUS_OK, 0);
    return true;
}

static void pod_on_control(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    Guildbus__V1__Envelope *e = NULL;

    OK(codec_decode(in->data, in->size, arena, &e, NULL));
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_CONTROL);
    const Guildbus__V1__Control *c = e->control;
    if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_OWN) {
        pod_on_own(p, c->own, in);
        return;
    }
    if (pod_on_standby(p, c, in))
        return;
    pod_respond(p, in, STATUS_OK, 0);
    if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_DROP) {
        p->drops++;
    } else if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_WARM) {
        p->warms++;
        p->last_move = c->warm->move_id;
        if (!p->ignores_warm)
            pod_report(p, c->warm->guild_id, c->warm->move_id,
                       p->fails_warm ? GUILDBUS__V1__MOVE_STEP__MOVE_FAILED
                                     : GUILDBUS__V1__MOVE_STEP__MOVE_WARM);
    } else if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_TAKE) {
        p->takes++;
        p->last_take_epoch = c->take->epoch;
        p->last_unseal_epoch = c->take->unseal_epoch;
        pod_given(p, c->take->guild_id, c->take->epoch);
        if (!p->ignores_take)
            pod_claim(p, c->take->guild_id, c->take->epoch, c->take->move_id);
    }
}

/* Appends a record to the guild's log as its writer would. */
static void append_claim(struct fake_pod *p, uint64_t guild_id, uint64_t epoch)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    CLEANUP(xfree) char *ack = NULL;
    const struct subject subject = subject_log(guild_id);
    Guildbus__V1__Envelope e;
    Guildbus__V1__LogRecord r;
    Guildbus__V1__Claim c;
    void *data;
    size_t size;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__log_record__init(&r);
    guildbus__v1__claim__init(&c);
    r.guild_id = guild_id;
    r.epoch = epoch;
    r.idx = 1;
    r.pod = p->id;
    r.incarnation = p->incarnation;
    r.kind_case = GUILDBUS__V1__LOG_RECORD__KIND_CLAIM;
    r.claim = &c;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_RECORD;
    e.record = &r;
    OK(codec_encode(&e, arena, &data, &size, NULL));
    const struct bus_out out = { .subject = subject.text, .data = data, .size = size };
    OK(bus_request_wait(p->wire->bus, &out, 5000, &ack, &size, NULL));
    assert_null(strstr(ack, "\"error\""));
}

/* A new process of this pod: it knows nothing, and does as it is told. */
static struct fake_pod *pod_start(struct wire *w, struct fake_pod *p, int number)
{
    const struct bus_subscription what = {
        .queue = NULL, .box = w->box, .on_message = pod_on_control, .ctx = p
    };
    struct subject subject;

    bus_unsubscribe(&p->sub);
    idmap_free(p->epochs);
    idmap_free(p->followed);
    *p = (struct fake_pod){ .wire = w,
                            .incarnation = sign_random_u64() >> 1,
                            .beats = true,
                            .capacity = 1000,
                            .says_followed = UINT32_MAX,
                            .version = "0.0.0",
                            .schema = 1 };
    (void)snprintf(p->id, sizeof(p->id), "gw-%d", number);
    p->epochs = idmap_new();
    p->followed = idmap_new();
    subject = subject_control(p->id);
    struct bus_subscription sub = what;
    sub.subject = subject.text;
    OK(bus_subscribe(w->bus, &sub, &p->sub, NULL));
    OK(bus_flush(w->bus, 5000, NULL));
    return p;
}

/* As SIGKILL: no beats, no answers. */
static void pod_kill(struct fake_pod *p)
{
    p->beats = false;
    bus_unsubscribe(&p->sub);
}

static void pod_see(struct fake_pod *p, uint64_t first, size_t count)
{
    const struct subject subject = subject_coordinator("guilds-seen");
    CLEANUP(xfree) uint64_t *ids = xcalloc(count, sizeof(*ids));
    Guildbus__V1__Envelope e;
    Guildbus__V1__GuildsSeen s;

    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
    guildbus__v1__envelope__init(&e);
    guildbus__v1__guilds_seen__init(&s);
    s.pod = p->id;
    s.guild_ids = ids;
    s.n_guild_ids = count;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_GUILDS_SEEN;
    e.guilds_seen = &s;
    pod_send(p, subject.text, &e, pod_on_ignored);
}

static void pod_turn(struct fake_pod *p)
{
    if (!p->beats || p->beat_in_flight || clock_now_ms() < p->next_beat_ms)
        return;
    p->next_beat_ms = clock_now_ms() + BEAT_MS;
    if (p->registered)
        pod_beat(p);
    else
        pod_register(p);
}

#endif
