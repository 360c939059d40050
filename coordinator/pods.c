#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "coordinator/state.h"

enum {
    MOST_CAPACITY = 10000000,
    MOST_BEATS = 65536,
    MOST_LOAD = 1000000, /* units a second; a pod that says more is not believed */
    MOST_BUSIEST = 64,   /* as guildbus.proto says */
    WARN_EACH_MS = 5000,
};

static struct metric renewed_total =
    METRIC_COUNTER("guildbus_coordinator_leases_renewed_total", "pod leases renewed");
static struct metric lost_total =
    METRIC_COUNTER("guildbus_coordinator_pods_lost_total", "pods whose lease ran out");

bool pod_is_alive(const struct coordinator *c, const struct mirror_pod *pod)
{
    return pod && pod->row.status != POD_OFFLINE && pod->row.lease_until_ms > db_now_ms(c);
}

bool pod_takes(const struct coordinator *c, const struct mirror_pod *pod)
{
    return pod_is_alive(c, pod) && pod->row.status == POD_ACTIVE;
}

int64_t lease_end_of(const struct coordinator *c, const char *name)
{
    const struct mirror_pod *pod = mirror_pod(c->mirror, name);

    return pod && pod->row.status == POD_OFFLINE ? pod->row.lease_until_ms : 0;
}

struct place place_of(const struct coordinator *c)
{
    struct place place = { .pods = xcalloc(c->mirror->pod_count, sizeof(struct place_pod)),
                           .count = c->mirror->pod_count };

    for (size_t i = 0; i < place.count; i++) {
        struct mirror_pod *pod = c->mirror->pods[i];
        pod->index = i;
        place.pods[i] = (struct place_pod){
            .id = pod->row.pod,
            .capacity = pod->row.capacity,
            .load = pod->row.load,
            .counted = pod->row.guild_count,
            .assigned = pod->assigned,
            .schema = pod->row.schema,
            .shards = pod->shards,
            .takes = pod_takes(c, pod),
            .user = pod,
        };
    }
    place_prepare(&place);
    return place;
}

/* ---- registration ---- */

static void answer_register(struct coordinator *c, struct caller *caller, const struct err *refused)
{
    Guildbus__V1__RegisterReply reply;
    Guildbus__V1__Envelope e;
    struct err copy = *refused;

    guildbus__v1__register_reply__init(&reply);
    guildbus__v1__envelope__init(&e);
    reply.status = (uint32_t)refused->code;
    reply.text = copy.text;
    reply.lease_ms = refused->code == STATUS_OK ? (uint32_t)c->config->lease_ms : 0;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_REGISTER_REPLY;
    e.register_reply = &reply;
    answer(c, caller, &e);
}

static uint32_t sane_capacity(uint32_t capacity)
{
    return !capacity ? DEFAULT_CAPACITY : capacity > MOST_CAPACITY ? MOST_CAPACITY : capacity;
}

/* What is wrong with it, whoever asks. */
static enum status check_identity(const char *pod, uint64_t incarnation, struct err *err)
{
    if (!pod_id_is_valid(pod))
        return err_set(err, STATUS_INVALID, "pod must be 1 to 64 of A-Z a-z 0-9 _ -");
    if (!incarnation)
        return err_set(err, STATUS_INVALID, "incarnation must not be 0");
    return STATUS_OK;
}

static struct pod_row row_of_register(const Guildbus__V1__Register *r)
{
    struct pod_row row = {
        .status = POD_ACTIVE,
        .incarnation = r->incarnation,
        .capacity = sane_capacity(r->capacity),
        .schema = r->schema,
    };

    text_copy(row.pod, sizeof(row.pod), r->pod);
    text_copy_clean(row.version, sizeof(row.version), r->version);
    return row;
}

static void registered(struct coordinator *c, const struct pod_row *row)
{
    const struct mirror_pod *before = mirror_pod(c->mirror, row->pod);
    bool is_again = before && before->row.incarnation == row->incarnation;

    log_info("pod_registered", "pod=%s version=%s schema=%u capacity=%u again=%d", row->pod,
             row->version, row->schema, row->capacity, is_again);
    struct pod_row now = *row;
    now.load = is_again ? before->row.load : 0;
    now.guild_count = is_again ? before->row.guild_count : 0;
    struct mirror_pod *pod = mirror_put_pod(c->mirror, &now);
    pod->gone_ms = 0;
    pod->registered_ms = clock_now_ms();
    if (!is_again) {
        pod->load = (struct ewma){ 0 };
        pod->rest = (struct rest_account){ 0 };
        pod->says_draining = pod->can_reshard = pod->is_too_old = false;
        pod->reshard_round = 0;
    }
    standbys_forgotten(c, pod);
    c->db_ahead_ms = row->heard_ms - clock_now_ms();
    c->shards_changed = true;
}

enum status pods_register(struct coordinator *c, const Guildbus__V1__Register *r,
                          struct caller *caller, struct err *err)
{
    struct err refused = { 0 };
    int64_t left_ms = 0;

    if (check_identity(r->pod, r->incarnation, &refused) == STATUS_OK &&
        c->mirror->pod_count >= MOST_PODS && !mirror_pod(c->mirror, r->pod))
        refused.code = err_set(&refused, STATUS_BUSY, "more than %d pods", MOST_PODS);
    if (refused.code != STATUS_OK) {
        answer_register(c, caller, &refused);
        return STATUS_OK;
    }
    struct pod_row row = row_of_register(r);
    enum status status = store_register(c->store, &row, c->config->lease_ms, &left_ms, err);
    if (status != STATUS_OK && status != STATUS_DENIED)
        return status;
    if (status == STATUS_DENIED) {
        const struct mirror_pod *rival = mirror_pod(c->mirror, row.pod);
        log_warn("pod_refused", "pod=%s why=lives_already lease_left_ms=%" PRId64, row.pod,
                 left_ms);
        refused.code =
            err_set(&refused, STATUS_CONFLICT,
                    "pod %s lives already: process %016" PRIx64 " has its lease for %" PRId64
                    " ms more; stop it or choose another POD_ID",
                    row.pod, rival ? rival->row.incarnation : 0, left_ms);
    } else {
        registered(c, &row);
    }
    answer_register(c, caller, &refused);
    return STATUS_OK;
}

static void gone(struct coordinator *c, struct mirror_pod *pod)
{
    pod->row.status = POD_OFFLINE;
    pod->row.load = 0;
    mirror_mark_stale(pod);
    c->shards_changed = true;
}

enum status pods_leave(struct coordinator *c, const Guildbus__V1__Leave *l, struct caller *caller,
                       struct err *err)
{
    struct mirror_pod *pod = mirror_pod(c->mirror, l->pod);
    struct err refused = { 0 };

    if (!pod || pod->row.incarnation != l->incarnation) {
        refused.code = err_set(&refused, STATUS_NOT_FOUND, "no such pod and incarnation");
        answer_err(c, caller, &refused);
        return STATUS_OK;
    }
    TRY(store_leave(c->store, l->pod, l->incarnation, err));
    log_info("pod_left", "pod=%s guilds=%u", pod->row.pod, pod->assigned);
    pod->row.lease_until_ms = db_now_ms(c);
    gone(c, pod);
    answer_ok(c, caller);
    return STATUS_OK;
}

/* ---- heartbeats ---- */

static void answer_beat(struct coordinator *c, struct caller *caller,
                        Guildbus__V1__HeartbeatReply *reply)
{
    Guildbus__V1__Envelope e;

    guildbus__v1__envelope__init(&e);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT_REPLY;
    e.heartbeat_reply = reply;
    answer(c, caller, &e);
}

static void refuse_beat(struct coordinator *c, struct caller *caller, enum status status,
                        const char *text)
{
    Guildbus__V1__HeartbeatReply reply;
    char copy[160];

    guildbus__v1__heartbeat_reply__init(&reply);
    text_copy(copy, sizeof(copy), text);
    reply.status = (uint32_t)status;
    reply.text = copy;
    answer_beat(c, caller, &reply);
}

static struct pod_row row_of_beat(const Guildbus__V1__Heartbeat *h)
{
    struct pod_row row = {
        .status = h->draining ? POD_DRAINING : POD_ACTIVE,
        .incarnation = h->incarnation,
        .guild_count = h->guild_count,
        .load = h->units_per_s,
        .capacity = sane_capacity(h->capacity),
        .schema = h->schema,
    };

    text_copy(row.pod, sizeof(row.pod), h->pod);
    text_copy_clean(row.version, sizeof(row.version), h->version);
    return row;
}

static const char *why_refused(const struct coordinator *c, const Guildbus__V1__Heartbeat *h,
                               enum status *ret_status)
{
    const struct mirror_pod *pod = mirror_pod(c->mirror, h->pod);

    *ret_status = STATUS_NOT_FOUND;
    if (!pod)
        return "unknown pod: register first";
    if (pod->row.status != POD_OFFLINE && pod->row.incarnation == h->incarnation)
        return NULL;
    if (pod->row.incarnation == h->incarnation)
        return "the lease has ended: register again, and give up what was owned before";
    *ret_status = STATUS_CONFLICT;
    return "another process is this pod now";
}

static struct beat *beat_slot(struct coordinator *c)
{
    if (c->beat_count == c->beat_room) {
        c->beat_room = c->beat_room ? c->beat_room * 2 : 64;
        c->beats = xrealloc(c->beats, c->beat_room * sizeof(c->beats[0]));
    }
    return &c->beats[c->beat_count++];
}

/* What is not stored: it is measured again every second. */
static void note_load(struct coordinator *c, const Guildbus__V1__Heartbeat *h)
{
    struct mirror_pod *pod = mirror_pod(c->mirror, h->pod);
    int64_t now_ms = clock_now_ms();
    size_t busiest = h->n_busiest < MOST_BUSIEST ? h->n_busiest : MOST_BUSIEST;

    pod->says_draining = h->draining;
    ewma_add(&pod->load, at_most_u32(h->units_per_s, MOST_LOAD) * 1000.0, now_ms);
    for (size_t i = 0; i < busiest; i++) {
        struct mirror_guild *g = mirror_guild(c->mirror, h->busiest[i]->guild_id);
        if (g && g->pod == pod)
            ewma_add(&g->load,
                     at_most_u32(h->busiest[i]->units_per_min, MOST_LOAD * 60) * 1000.0 / 60,
                     now_ms);
    }
    standbys_heard(c, pod, h->standby_count);
    reshards_heard(c, pod, h);
    rest_account_hear(&pod->rest, h->rest_in_force, h->rest_wanted, h->rest_invalid, now_ms);
}

void pods_heard(struct coordinator *c, const Guildbus__V1__Heartbeat *h, struct caller *caller)
{
    enum status status;
    const char *why = why_refused(c, h, &status);
    struct err err = { 0 };

    if (why) {
        refuse_beat(c, caller, status, why);
        return;
    }
    /* What is not the pod's fault is an Error: it keeps serving and beats again. */
    if (c->beat_count >= MOST_BEATS) {
        err.code = err_set(&err, STATUS_BUSY, "too many heartbeats");
        answer_err(c, caller, &err);
        return;
    }
    if (!c->mirror->shard_count && h->recommended_shards && h->recommended_shards <= MOST_SHARDS) {
        if (shards_recommended(c, h->recommended_shards, &err) != STATUS_OK) {
            answer_err(c, caller, &err);
            step_down(c, &err);
            return;
        }
    }
    note_load(c, h);
    *beat_slot(c) = (struct beat){ .caller = *caller, .row = row_of_beat(h) };
    caller->reply = NULL;
}

static void on_renewed(void *ctx, const struct pod_row *times)
{
    struct coordinator *c = ctx;

    c->db_ahead_ms = times->heard_ms - clock_now_ms();
    for (size_t i = 0; i < c->beat_count; i++) {
        struct beat *b = &c->beats[i];
        if (strcmp(b->row.pod, times->pod) != 0)
            continue;
        b->renewed = true;
        b->row.heard_ms = times->heard_ms;
        b->row.lease_until_ms = times->lease_until_ms;
    }
}

/* Nobody can take what a draining pod still has. */
static bool nobody_takes_from(const struct coordinator *c, const struct mirror_pod *pod)
{
    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        const struct mirror_pod *other = c->mirror->pods[i];
        if (other != pod && pod_takes(c, other) && other->row.schema >= pod->row.schema)
            return false;
    }
    return true;
}

static bool may_leave(const struct coordinator *c, const struct mirror_pod *pod)
{
    return pod->row.status == POD_DRAINING && (!pod->assigned || nobody_takes_from(c, pod));
}

/* ---- Discord's global REST limit ---- */

/* Freed by the caller. */
static struct rest_account **rest_accounts(struct coordinator *c)
{
    struct rest_account **accounts =
        xcalloc(c->mirror->pod_count + 1, sizeof(struct rest_account *));

    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        accounts[i] = &c->mirror->pods[i]->rest;
        accounts[i]->is_alive = pod_is_alive(c, c->mirror->pods[i]);
    }
    rest_shares_divide(accounts, c->mirror->pod_count);
    return accounts;
}

static void put_rest_share(struct coordinator *c, struct rest_account *const *accounts,
                           struct mirror_pod *pod, Guildbus__V1__HeartbeatReply *reply)
{
    int64_t now_ms = clock_now_ms(), lease_ms = c->config->lease_ms;
    /* Before, the leader before us may have given to a pod that was not heard yet. */
    bool may_raise = now_ms - c->leads_since_ms > lease_ms + REST_WINDOW_MS;
    const struct rest_given given =
        rest_shares_give(accounts, c->mirror->pod_count, &pod->rest, may_raise, now_ms);

    rest_account_told(&pod->rest, given.calls, lease_ms, now_ms);
    reply->rest_calls = given.calls;
    reply->rest_drip_ms = given.drip_ms;
    reply->rest_invalid_elsewhere = given.invalid_elsewhere;
}

/* The arrays have room for as many as the pod has. */
static void put_shards(const struct coordinator *c, const struct mirror_pod *pod,
                       Guildbus__V1__HeartbeatReply *reply)
{
    const struct mirror *m = c->mirror;

    for (uint32_t i = 0; i < m->shard_count && reply->n_shards < pod->shards; i++) {
        if (!strcmp(m->shards[i], pod->row.pod))
            reply->shards[reply->n_shards++] = i;
    }
    for (uint32_t i = 0; i < m->next_count && reply->n_next_shards < pod->next_shards; i++) {
        if (!strcmp(m->next[i].pod, pod->row.pod))
            reply->next_shards[reply->n_next_shards++] = i;
    }
    reply->next_shard_count = m->next_count;
    reply->reshard_stage = (Guildbus__V1__ReshardStage)c->reshard.stage;
    reply->reshard_round = c->reshard.round;
}

static void answer_renewed(struct coordinator *c, struct rest_account *const *accounts,
                           struct beat *b)
{
    struct mirror_pod *pod = mirror_pod(c->mirror, b->row.pod);
    Guildbus__V1__HeartbeatReply reply;
    CLEANUP(xfree) uint32_t *shards = xcalloc(pod->shards + 1, sizeof(*shards));
    CLEANUP(xfree) uint32_t *next = xcalloc(pod->next_shards + 1, sizeof(*next));

    guildbus__v1__heartbeat_reply__init(&reply);
    reply.shards = shards;
    reply.next_shards = next;
    put_shards(c, pod, &reply);
    reply.lease_ms = (uint32_t)c->config->lease_ms;
    reply.shard_count = c->mirror->shard_count;
    reply.may_leave = may_leave(c, pod);
    reply.guilds_assigned = pod->assigned;
    put_rest_share(c, accounts, pod, &reply);
    answer_beat(c, &b->caller, &reply);
}

static void take_over(struct coordinator *c, struct beat *b)
{
    struct mirror_pod *pod = mirror_pod(c->mirror, b->row.pod);
    enum pod_status before = pod->row.status;

    if (before != b->row.status) {
        log_info("pod_status", "pod=%s status=%s guilds=%u", pod->row.pod,
                 pod_status_text(b->row.status), pod->assigned);
        c->shards_changed = true;
    }
    /* What only others than the pod itself know of it. */
    b->row.drain_wished = pod->row.drain_wished;
    b->row.lease_before_ms = pod->row.lease_before_ms;
    c->standbys_changed |= b->row.schema != pod->row.schema;
    pod->row = b->row;
}

static enum status renew(struct coordinator *c, struct err *err)
{
    CLEANUP(xfree) struct pod_row *rows = xcalloc(c->beat_count, sizeof(*rows));
    size_t count = 0;

    for (size_t i = 0; i < c->beat_count; i++) {
        const struct mirror_pod *pod = mirror_pod(c->mirror, c->beats[i].row.pod);
        if (pod && pod->row.drain_wished)
            c->beats[i].row.status = POD_DRAINING;
    }
    /* The latest of each pod: a row must stand in an UPDATE once. */
    for (size_t i = c->beat_count; i-- > 0;) {
        size_t at = 0;
        while (at < count && strcmp(rows[at].pod, c->beats[i].row.pod) != 0)
            at++;
        if (at == count)
            rows[count++] = c->beats[i].row;
    }
    const struct store_beats beats = { rows, count, c->config->lease_ms };
    TRY(store_heartbeats(c->store, &beats, on_renewed, c, err));
    metric_add(&renewed_total, (int64_t)count);
    return STATUS_OK;
}

enum status pods_renew(struct coordinator *c, struct err *err)
{
    if (!c->beat_count)
        return STATUS_OK;
    TRY(renew(c, err));
    for (size_t i = 0; i < c->beat_count; i++) {
        if (c->beats[i].renewed)
            take_over(c, &c->beats[i]);
    }
    /* Before the answers, so that they name the shards of a pod that has just begun to drain. */
    TRY(shards_place(c, err));
    CLEANUP(xfree) struct rest_account **accounts = rest_accounts(c);
    for (size_t i = 0; i < c->beat_count; i++) {
        struct beat *b = &c->beats[i];
        if (b->renewed)
            answer_renewed(c, accounts, b);
        else
            refuse_beat(c, &b->caller, STATUS_NOT_FOUND, "the lease has ended: register again");
    }
    c->beat_count = 0;
    return STATUS_OK;
}

/* ---- who is dead ---- */

struct silence {
    size_t total,
        silent; /* pods that were there within the last lease; of these, not heard for half of it */
    bool any_expired;
};

static struct silence listen(const struct coordinator *c)
{
    struct silence s = { 0 };
    int64_t now_ms = clock_now_ms(), db_ms = db_now_ms(c);

    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        const struct mirror_pod *pod = c->mirror->pods[i];
        bool is_off = pod->row.status == POD_OFFLINE;
        if (is_off && (!pod->gone_ms || now_ms - pod->gone_ms > c->config->lease_ms))
            continue;
        s.total++;
        s.silent += is_off || pod->row.lease_until_ms - db_ms < c->config->lease_ms / 2;
        s.any_expired |= !is_off && pod->row.lease_until_ms + GRACE_MS < db_ms;
    }
    return s;
}

bool pods_are_silent(const struct coordinator *c)
{
    int64_t now_ms = clock_now_ms(), db_ms = db_now_ms(c);

    for (size_t i = 0; i < c->mirror->pod_count; i++) {
        const struct mirror_pod *pod = c->mirror->pods[i];
        if (pod->row.status != POD_OFFLINE
                ? pod->row.lease_until_ms - db_ms < c->config->lease_ms / 4
                : pod->gone_ms && now_ms - pod->gone_ms < c->config->lease_ms)
            return true;
    }
    return false;
}

/* More than half went silent within one lease: rather a network fault than that many dead machines.
 */
static bool should_hold(struct coordinator *c, const struct silence *s)
{
    bool hold = place_should_hold(s->total, s->silent);

    if (!s->silent)
        c->unfrozen = false;
    if (hold && c->unfrozen)
        hold = false;
    if (c->held && !hold)
        log_info("placement_resumed", "silent=%zu pods=%zu", s->silent, s->total);
    c->held = hold && (c->held || s->any_expired);
    if (c->held && clock_now_ms() >= c->next_warning_ms) {
        log_warn("placement_held",
                 "silent=%zu pods=%zu next=\"waits until some return, or POST /unfreeze\"",
                 s->silent, s->total);
        c->next_warning_ms = clock_now_ms() + WARN_EACH_MS;
    }
    return c->held;
}

static void on_expired(void *ctx, const struct pod_row *row)
{
    struct coordinator *c = ctx;
    struct mirror_pod *pod = mirror_pod(c->mirror, row->pod);

    if (!pod || pod->row.status == POD_OFFLINE)
        return;
    log_warn("pod_lost", "pod=%s guilds=%u shards=%u next=%s", pod->row.pod, pod->assigned,
             pod->shards, pod->assigned || pod->shards ? "fail_over" : "nothing");
    metric_add(&lost_total, 1);
    pod->gone_ms = clock_now_ms();
    gone(c, pod);
}

enum status pods_expire(struct coordinator *c, struct err *err)
{
    /* Silence says something only to one who has listened for a lease's length. */
    if (clock_now_ms() - c->listening_since_ms < c->config->lease_ms + GRACE_MS)
        return STATUS_OK;
    const struct silence s = listen(c);
    if (should_hold(c, &s) || !s.any_expired)
        return STATUS_OK;
    TRY(store_expire(c->store, GRACE_MS, on_expired, c, err));
    FAILPOINT("coordinator_f_expired");
    return STATUS_OK;
}

void pods_unfreeze(struct coordinator *c)
{
    log_info("placement_unfrozen", "by=operator");
    c->unfrozen = true;
    c->held = false;
}

/* The process itself may drain, too. */
static enum pod_status status_without_wish(const struct mirror_pod *pod)
{
    return pod->says_draining ? POD_DRAINING : POD_ACTIVE;
}

enum status pods_wish_drain(struct coordinator *c, const char *name, bool drain,
                            struct err *refused, struct err *err)
{
    struct mirror_pod *pod = mirror_pod(c->mirror, name);
    enum pod_status status = drain ? POD_DRAINING : pod ? status_without_wish(pod) : POD_ACTIVE;
    struct err missing = { 0 };

    enum status stored = store_wish_drain(c->store, name, drain, status, &missing);
    if (stored == STATUS_NOT_FOUND || (stored == STATUS_OK && !pod)) {
        refused->code = err_set(refused, STATUS_NOT_FOUND, "there is no pod %s", name);
        return STATUS_OK;
    }
    if (stored != STATUS_OK)
        return err_set(err, stored, "%s", missing.text);
    log_info("pod_drain_wished", "pod=%s drain=%d guilds=%u", name, drain, pod->assigned);
    pod->row.drain_wished = drain;
    if (pod->row.status != POD_OFFLINE)
        pod->row.status = status;
    c->shards_changed = true;
    return STATUS_OK;
}

static void on_forgotten(void *ctx, const struct pod_row *row)
{
    struct coordinator *c = ctx;

    log_info("pod_forgotten", "pod=%s", row->pod);
    mirror_forget_pod(c->mirror, row->pod);
}

enum status pods_forget(struct coordinator *c, struct err *err)
{
    return store_forget(c->store, on_forgotten, c, err);
}
