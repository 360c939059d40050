/* execute.c - units: one event, one request or one REST result, applied as a whole or not at all.
 *
 *     begin ─▶ handlers ─▶ keep: rows to the newest batch, actions and the reply as its gates
 *                      └─▶ undo: an event counts as applied all the same (it would fail for ever);
 *                          a request gets an error */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/stage.h"
#include "gateway/dispatch.h"
#include "gateway/guild.h"
#include "messages/codec.h"

enum {
    UNITS_PER_COMMIT = 512,             /* bounds how long the first unit of a group waits */
    ANSWERED_KEPT_MS = 15 * 60 * 1000,  /* an interaction's token lives as long */
    REACTIONS_KEPT_MS = 60 * 60 * 1000, /* far longer than two sessions overlap */
    RECORD_BYTES =
        768 * 1024, /* NATS takes 1 MB; the rest is for headers and what one batch already has */
    RESULT_ARENA = 8 * 1024 * 1024,
    REQUEST_ID_SIZE = 96,
};

static struct metric events_applied =
    METRIC_COUNTER("guildbus_events_applied_total", "events applied to their guild");
static struct metric events_failed =
    METRIC_COUNTER("guildbus_events_failed_total", "events whose handler failed");
static struct metric events_copies =
    METRIC_COUNTER("guildbus_events_copies_total", "events stored twice, applied once");
static struct metric interactions =
    METRIC_COUNTER("guildbus_interactions_total", "interactions executed");
static struct metric repeated =
    METRIC_COUNTER("guildbus_requests_repeated_total", "requests answered from memory");

static struct unit begin(struct guild *g, struct arena *arena)
{
    const struct owner_config *c = &g->owner->config;

    g->owner->unit_began_us = clock_now_us();
    store_unit_begin(g->owner->store, g->id);
    return (struct unit){ .guild_id = g->id,
                          .now_ms = clock_wall_ms(),
                          .arena = arena,
                          .store = g->owner->store,
                          .application_id = c->application_id,
                          .portal_url = c->portal_url };
}

static void count_unit(struct guild *g)
{
    struct owner *o = g->owner;

    stage_ends(STAGE_EXECUTE, o->unit_began_us);
    bus_send_due();
    g->units++;
    atomic_fetch_add(&o->units, 1);
    if (++o->units_in_transaction >= UNITS_PER_COMMIT)
        owner_flush(o);
}

/* Ends the unit: its rows and actions go to the returned batch. */
static enum status keep(struct guild *g, struct batch **ret_batch, struct err *err)
{
    struct store *s = g->owner->store;
    const struct bytes *rows = store_unit_rows(s);
    size_t count;

    if (rows->size > RECORD_BYTES) {
        store_unit_undo(s);
        return err_set(err, STATUS_INVALID, "one unit wrote %zu bytes of rows, a record takes %d",
                       rows->size, RECORD_BYTES);
    }
    TRY(store_unit_keep(s, err));
    struct batch *b = guild_batch(g, BATCH_CHANGE);
    bytes_append(&b->rows, rows->data, rows->size);
    const int64_t *actions = store_unit_actions(s, &count);
    for (size_t i = 0; i < count; i++)
        batch_gate_action(b, actions[i]);
    *ret_batch = b;
    return STATUS_OK;
}

/* ---- remembered answers: rows of the guild, so they move with it ---- */

static bool find_answer(struct unit *u, const char *request_id, const void **ret_data,
                        size_t *ret_size)
{
    struct err err;
    sqlite3_stmt *q = unit_sql(u, "SELECT reply FROM answered WHERE guild_id=?1 AND request_id=?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, request_id);
    if (unit_step(u, q, &err) != STATUS_OK)
        return false;
    *ret_size = (size_t)sqlite3_column_bytes(q, 0);
    *ret_data = arena_memdup(u->arena, sqlite3_column_blob(q, 0), *ret_size);
    sqlite3_reset(q);
    return *ret_data != NULL;
}

static enum status keep_answer(struct unit *u, const char *request_id, const void *data,
                               size_t size, struct err *err)
{
    sqlite3_stmt *q =
        unit_sql(u, "INSERT INTO answered(guild_id, request_id, reply, at_ms) VALUES(?1,?2,?3,?4)");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_text(q, 2, request_id);
    sqlite3_bind_blob(q, 3, data, (int)size, SQLITE_STATIC);
    unit_bind_int(q, 4, u->now_ms);
    return unit_run(u, q, err);
}

static enum status forget_older(struct unit *u, sqlite3_stmt *q, int64_t kept_ms, struct err *err)
{
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_int(q, 2, u->now_ms - kept_ms);
    return unit_run(u, q, err);
}

void guild_prune(struct guild *g)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct unit u = begin(g, arena);
    struct batch *b;
    struct err err = { 0 };
    sqlite3_stmt *answered = unit_sql(&u, "DELETE FROM answered WHERE guild_id=?1 AND at_ms<?2");
    sqlite3_stmt *seen =
        unit_sql(&u, "DELETE FROM reactions_seen WHERE (guild_id, message_id, user_id, emoji) IN"
                     " (SELECT guild_id, message_id, user_id, emoji FROM reactions_seen"
                     " WHERE guild_id=?1 AND at_ms<?2 LIMIT 5000)"); /* a record takes no more */

    if (forget_older(&u, answered, ANSWERED_KEPT_MS, &err) != STATUS_OK ||
        forget_older(&u, seen, REACTIONS_KEPT_MS, &err) != STATUS_OK ||
        !store_unit_rows(g->owner->store)->size) {
        store_unit_undo(g->owner->store);
        return;
    }
    if (keep(g, &b, &err) != STATUS_OK)
        log_warn("prune_failed", "guild=%" PRIu64 " text=\"%s\"", g->id, err.text);
}

void guild_run_gap(struct guild *g, int64_t from_ms, int64_t to_ms)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct unit u = begin(g, arena);
    struct batch *b;
    struct err err = { 0 };
    sqlite3_stmt *q = unit_sql(
        &u, "INSERT OR REPLACE INTO event_gaps(guild_id, from_ms, to_ms) VALUES(?1,?2,?3)");

    unit_bind_id(q, 1, g->id);
    unit_bind_int(q, 2, from_ms);
    unit_bind_int(q, 3, to_ms);
    enum status status = unit_run(&u, q, &err);
    if (status == STATUS_OK)
        status = keep(g, &b, &err);
    else
        store_unit_undo(g->owner->store);
    if (status != STATUS_OK)
        log_warn("gap_not_noted", "guild=%" PRIu64 " text=%s", g->id, LOG_QUOTE(err.text));
}

/* ---- interactions ---- */

static const char *error_callback(struct unit *u, const struct err *err)
{
    const char *text = err->code == STATUS_DENIED ? "You may not do this here."
                       : err->code == STATUS_NOT_FOUND
                           ? "This command or button is not known any more."
                           : "That did not work. It has been logged; please try again later.";
    const char *callback =
        arena_printf(u->arena, "{\"type\":4,\"data\":{\"flags\":64,\"content\":\"%s\"}}", text);

    return callback ? callback : "{\"type\":4,\"data\":{\"flags\":64,\"content\":\"Error.\"}}";
}

/* Runs it once; a repeat finds the first answer. Leaves the unit begun; *ret_fresh: rows are to be
 * kept. */
static const char *answer_once(struct unit *u, const json_t *root, struct interaction *in,
                               bool *ret_fresh)
{
    char request_id[REQUEST_ID_SIZE];
    const char *callback = NULL;
    const void *kept;
    size_t size;
    struct err err = { 0 };

    *ret_fresh = false;
    enum status status = dispatch_parse(root, in, &err);
    (void)snprintf(request_id, sizeof(request_id), "i:%" PRIu64, in->id);
    if (status == STATUS_OK && find_answer(u, request_id, &kept, &size)) {
        metric_add(&repeated, 1);
        return arena_printf(u->arena, "%.*s", (int)size, (const char *)kept);
    }
    if (status == STATUS_OK)
        status = dispatch_interaction(u, in, &callback, &err);
    if (status == STATUS_OK && callback)
        status = keep_answer(u, request_id, callback, strlen(callback), &err);
    *ret_fresh = status == STATUS_OK && callback;
    if (*ret_fresh) {
        metric_add(&interactions, 1);
        return callback;
    }
    log_warn("interaction_failed", "guild=%" PRIu64 " interaction=%" PRIu64 " name=%s text=%s",
             u->guild_id, in->id, LOG_QUOTE(in->name), LOG_QUOTE(err.text));
    return error_callback(u, &err);
}

/* The answer to an interaction that came as an event goes out by REST: to the callback endpoint
 * when it came over the gateway, to the original message when the edge has deferred it. */
static enum status act_on_answer(struct unit *u, const struct interaction *in, const char *callback,
                                 bool deferred, struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct action a = { .method = "POST", .body_json = callback };

    if (!deferred) {
        a.path = arena_printf(u->arena, "/interactions/%" PRIu64 "/%s/callback", in->id, in->token);
        return unit_act(u, &a, err);
    }
    TRY(json_parse(callback, strlen(callback), &root, err));
    char *data = json_text(json_object_get(root, "data"));
    a.method = "PATCH";
    a.body_json = data ? arena_strdup(u->arena, data) : "{}";
    free(data);
    a.path =
        arena_printf(u->arena, "/webhooks/%s/%s/messages/@original", u->application_id, in->token);
    return a.path && a.body_json ? unit_act(u, &a, err)
                                 : err_set(err, STATUS_BUSY, "interaction too large");
}

static enum status run_interaction_event(struct unit *u, const Guildbus__V1__Event *event,
                                         struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct interaction in;
    bool fresh;

    TRY(dispatch_select_interaction(event->payload_json, u->arena, &root, err));
    TRY(dispatch_parse(root, &in, err)); /* without a token nobody can be answered */
    const char *callback = answer_once(u, root, &in, &fresh);
    return act_on_answer(u, &in, callback, !strcmp(event->session, "deferred"), err);
}

/* ---- events ---- */

static enum status run_handlers(struct unit *u, const Guildbus__V1__Event *event, struct err *err)
{
    if (event->guild_id != u->guild_id)
        return err_set(err, STATUS_INVALID, "event of another guild");
    if (!strcmp(event->type, "INTERACTION_CREATE"))
        return run_interaction_event(u, event, err);
    return dispatch_event(u, event->type, event->payload_json, err);
}

/* Within a session a guild's events reach the stream in the order of their seq, so one that is not
 * above the last is a copy: JetStream's own window for copies is 2 minutes, a NATS outage can be
 * longer. */
static bool is_copy(struct guild *g, const Guildbus__V1__Event *event)
{
    if (!event || !event->seq || strlen(event->session) >= sizeof(g->source.session))
        return false;
    if (strcmp(g->source.session, event->session) != 0) {
        (void)snprintf(g->source.session, sizeof(g->source.session), "%s", event->session);
        g->source.seq = 0;
    }
    if (event->seq <= g->source.seq)
        return true;
    g->source.seq = event->seq;
    return false;
}

/* The stream's position moves on whatever became of the event. */
static void note_event(struct guild *g, struct batch *b, uint64_t seq)
{
    if (!b)
        b = guild_batch(g, BATCH_CHANGE);
    g->event_seq = b->event_seq = seq;
    b->events_applied = g->events_applied;
    b->source = g->source;
}

void guild_run_event(struct guild *g, const Guildbus__V1__Event *event, uint64_t seq,
                     struct arena *arena)
{
    struct err err = { 0 };
    struct batch *b = NULL;

    if (is_copy(g, event)) {
        metric_add(&events_copies, 1);
        note_event(g, NULL, seq);
        return;
    }
    struct unit u = begin(g, arena);
    if (event && event->received_ms)
        stage_took(STAGE_FEED, (u.now_ms - (int64_t)event->received_ms) * 1000);
    enum status status = event ? run_handlers(&u, event, &err) : STATUS_OK;
    if (status == STATUS_OK)
        status = keep(g, &b, &err);
    else
        store_unit_undo(g->owner->store);
    if (status != STATUS_OK) {
        metric_add(&events_failed, 1);
        log_warn("event_failed", "guild=%" PRIu64 " seq=%" PRIu64 " type=%s text=%s next=skipped",
                 g->id, seq, LOG_QUOTE(event ? event->type : ""), LOG_QUOTE(err.text));
    }
    g->events_applied++;
    note_event(g, b, seq);
    metric_add(&events_applied, 1);
    count_unit(g);
}

/* ---- requests ---- */

static void reply_when_true(struct guild *g, const struct request *r,
                            const Guildbus__V1__Envelope *e, struct arena *arena)
{
    struct err err = { 0 };
    void *data;
    size_t size;

    if (!r->reply_to)
        return;
    if (codec_encode_as(r->json, e, arena, &data, &size, &err) != STATUS_OK) {
        owner_respond_error(g->owner, r->reply_to, r->json, STATUS_INTERNAL, err.text);
        return;
    }
    /* what was read may not be in the log yet; and when we cannot be sure to be the owner, only a
     * record that is yet to be sent can say so */
    if (!guild_is_sure(g))
        batch_gate_reply(guild_batch(g, BATCH_CHANGE), r->reply_to, r->json, data, size);
    else if (g->last)
        batch_gate_reply(g->last, r->reply_to, r->json, data, size);
    else
        owner_respond(g->owner, r->reply_to, r->json, data, size);
}

static void run_interaction(struct guild *g, const struct request *r,
                            const Guildbus__V1__Interaction *i, struct arena *arena)
{
    CLEANUP(json_decref) json_t *root = NULL;
    Guildbus__V1__InteractionReply reply = GUILDBUS__V1__INTERACTION_REPLY__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    struct err err = { 0 };
    struct batch *b;
    struct interaction in;
    bool fresh;

    enum status status = dispatch_select_interaction(i->payload_json, arena, &root, &err);
    if (status != STATUS_OK) {
        owner_respond_error(g->owner, r->reply_to, r->json, status, err.text);
        return;
    }
    struct unit u = begin(g, arena);
    const char *callback = answer_once(&u, root, &in, &fresh);
    if (!fresh) {
        store_unit_undo(g->owner->store);
    } else if (keep(g, &b, &err) != STATUS_OK) {
        owner_respond_error(g->owner, r->reply_to, r->json, err.code, err.text);
        return;
    }
    reply.id = in.id;
    reply.callback_json = callback ? arena_strdup(arena, callback) : NULL;
    if (!reply.callback_json) {
        owner_respond_error(g->owner, r->reply_to, r->json, STATUS_BUSY,
                            "answer over the unit's memory limit");
        return;
    }
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_INTERACTION_REPLY;
    e.interaction_reply = &reply;
    reply_when_true(g, r, &e, arena);
}

static void add_facts(struct guild *g, Guildbus__V1__PortalReply *reply, struct arena *arena)
{
    reply->epoch = g->epoch;
    reply->pod = arena_strdup(arena, g->owner->config.pod);
    if (reply->reply_case == GUILDBUS__V1__PORTAL_REPLY__REPLY_OVERVIEW) {
        reply->overview->events_applied = g->events_applied;
        reply->overview->event_seq = g->event_seq;
    }
}

/* A change is remembered under the visitor's request id: a repeat gets the first answer. */
static enum status run_query(struct guild *g, const Guildbus__V1__PortalRequest *request,
                             struct arena *arena, Guildbus__V1__Envelope *reply, struct err *err)
{
    bool writes = dispatch_query_writes(request);
    char id[REQUEST_ID_SIZE];
    const void *kept;
    void *data;
    size_t size;
    struct batch *b;

    if (writes && (!*request->request_id || strlen(request->request_id) > 64))
        return err_set(err, STATUS_INVALID, "a change needs a request_id of 1 to 64 bytes");
    (void)snprintf(id, sizeof(id), "p:%s", request->request_id);
    struct unit u = begin(g, arena);
    if (writes && find_answer(&u, id, &kept, &size)) {
        Guildbus__V1__Envelope *first = NULL;
        store_unit_undo(g->owner->store);
        metric_add(&repeated, 1);
        TRY(codec_decode(kept, size, arena, &first, err));
        *reply = *first;
        return STATUS_OK;
    }
    enum status status = dispatch_query(&u, request, reply->portal_reply, err);
    if (status == STATUS_OK)
        add_facts(g, reply->portal_reply, arena);
    if (status == STATUS_OK && writes)
        status = codec_encode(reply, arena, &data, &size, err);
    if (status == STATUS_OK && writes)
        status = keep_answer(&u, id, data, size, err);
    if (status == STATUS_OK && writes)
        return keep(g, &b, err);
    store_unit_undo(g->owner->store);
    return status;
}

static void run_portal(struct guild *g, const struct request *r,
                       const Guildbus__V1__PortalRequest *request, struct arena *arena)
{
    Guildbus__V1__PortalReply reply = GUILDBUS__V1__PORTAL_REPLY__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    struct err err = { 0 };

    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_PORTAL_REPLY;
    e.portal_reply = &reply;
    reply.guild_id = g->id;
    enum status status = run_query(g, request, arena, &e, &err);
    if (status != STATUS_OK)
        owner_respond_error(g->owner, r->reply_to, r->json, status, err.text);
    else
        reply_when_true(g, r, &e, arena);
}

void guild_run_request(struct guild *g, const struct request *r, const Guildbus__V1__Envelope *e,
                       struct arena *arena)
{
    uint64_t guild_id = r->portal ? e->portal->guild_id : e->interaction->guild_id;

    if (guild_id != g->id && guild_id) { /* by hand it may be left out: the subject says it */
        owner_respond_error(g->owner, r->reply_to, r->json, STATUS_INVALID,
                            "guild_id differs from the subject's");
        return;
    }
    if (r->portal)
        run_portal(g, r, e->portal, arena);
    else
        run_interaction(g, r, e->interaction, arena);
    count_unit(g);
}

/* ---- REST results ---- */

struct done_action {
    const char *continuation, *state;
};

static enum status take_action(struct unit *u, int64_t action_id, struct done_action *ret,
                               struct err *err)
{
    sqlite3_stmt *q =
        unit_sql(u, "SELECT continuation, state FROM outbox WHERE guild_id=?1 AND action_id=?2");

    unit_bind_id(q, 1, u->guild_id);
    unit_bind_int(q, 2, action_id);
    TRY(unit_step(u, q, err));
    ret->continuation = unit_column_text(u, q, 0);
    ret->state = unit_column_text(u, q, 1);
    sqlite3_reset(q);
    q = unit_sql(u, "DELETE FROM outbox WHERE guild_id=?1 AND action_id=?2");
    unit_bind_id(q, 1, u->guild_id);
    unit_bind_int(q, 2, action_id);
    return unit_run(u, q, err);
}

/* How a call to Discord ended; body NULL: without JSON. */
struct action_end {
    int64_t action_id;
    int code;
    const json_t *body;
};

static enum status run_continuation(struct guild *g, const struct action_end *end, bool run_it,
                                    struct arena *arena, struct err *err)
{
    struct unit u = begin(g, arena);
    struct done_action done;
    struct batch *b;

    enum status status = take_action(&u, end->action_id, &done, err);
    const struct action_result result = { end->code, end->body,
                                          status == STATUS_OK ? done.state : "" };
    if (status == STATUS_OK && *done.continuation && run_it)
        status = dispatch_result(&u, done.continuation, &result, err);
    if (status == STATUS_OK)
        return keep(g, &b, err);
    store_unit_undo(g->owner->store);
    return status;
}

void guild_run_result(struct guild *g, int64_t action_id, int code, const char *body, size_t size)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(RESULT_ARENA);
    CLEANUP(json_decref) json_t *root = NULL;
    struct err err = { 0 };

    if (size && json_parse(body, size, &root, &err) != STATUS_OK)
        root = NULL; /* Cloudflare answers HTML */
    const struct action_end end = { action_id, code, root };
    if (run_continuation(g, &end, true, arena, &err) != STATUS_OK) {
        log_warn("result_failed", "guild=%" PRIu64 " code=%d text=%s next=dropped", g->id, code,
                 LOG_QUOTE(err.text));
        if (run_continuation(g, &end, false, arena, &err) != STATUS_OK)
            log_warn("result_lost", "guild=%" PRIu64 " text=%s", g->id, LOG_QUOTE(err.text));
    }
    count_unit(g);
}
