#include "tests/discord-sim/interactions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/idmap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"
#include "tests/discord-sim/calls.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/publish.h"

enum { MAX_REASONS = 64, MAX_ANSWER = 1 << 20, MAX_KEPT = 4 * 1000 * 1000, SAYS_BYTES = 120 };

struct samples {
    uint32_t *us;
    size_t count, cap;
};
struct interactions {
    struct sim *sim;
    char *url;
    struct interaction **list;  /* by number - 1 */
    size_t count, cap, settled; /* settled: so many from the first on are */
    struct idmap *by_id;
    struct samples answer_us, complete_us;
    struct interaction_counts counts;
    struct {
        const char *reason; /* static, or a copy that lives as long as the process */
        uint64_t count;
    } failures[MAX_REASONS];
};

struct interactions *interactions_new(struct sim *s)
{
    struct interactions *all = xcalloc(1, sizeof(*all));

    all->sim = s;
    all->by_id = idmap_new();
    return all;
}

void interactions_free(struct interactions *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->count; i++) {
        free(all->list[i]->says);
        free(all->list[i]);
    }
    free(all->list);
    idmap_free(all->by_id);
    free(all->answer_us.us);
    free(all->complete_us.us);
    free(all->url);
    free(all);
}

const char *interactions_url(const struct interactions *all)
{
    return all->url;
}

static void samples_add(struct samples *s, int64_t us)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 1024;
        s->us = xrealloc(s->us, s->cap * sizeof(*s->us));
    }
    s->us[s->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int compare_us(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Sorts in place: the order of samples means nothing. */
static int64_t samples_quantile(struct samples *s, size_t percent)
{
    if (!s->count)
        return 0;
    qsort(s->us, s->count, sizeof(*s->us), compare_us);
    return s->us[(s->count - 1) * percent / 100];
}

static void count_failure(struct interactions *all, const char *reason)
{
    for (size_t i = 0; i < MAX_REASONS; i++) {
        if (!all->failures[i].reason)
            all->failures[i].reason = reason;
        if (!strcmp(all->failures[i].reason, reason)) {
            all->failures[i].count++;
            return;
        }
    }
}

/* ---- what becomes of one ---- */

static void tell(struct interaction *i, const char *body)
{
    void (*on_done)(void *, const struct interaction *, const char *) = i->on_done;

    i->on_done = NULL;
    if (on_done)
        on_done(i->ctx, i, body);
}

/* PINGs and probes are Discord's own business and no one's interactions. */
static bool is_counted(const struct interaction *i)
{
    return i->type != INTERACTION_PING && !i->is_probe;
}

static void settle(struct interactions *all, struct interaction *i, struct judgement j)
{
    i->fate = j.fate;
    i->callback = j.callback;
    i->reason = j.reason;
    i->answered_us = clock_now_us() - i->sent_us;
    if (is_counted(i))
        all->counts.in_flight--;
    if (j.fate == FATE_FAILED) {
        all->counts.failed += is_counted(i);
        if (is_counted(i))
            count_failure(all, j.reason);
        log_warn("interaction_failed", "id=%" PRIu64 " kind=%s reason=%s http=%d", i->id, i->kind,
                 j.reason, i->http_code);
        return;
    }
    if (!is_counted(i))
        return;
    all->counts.answered++;
    all->counts.deferred += j.fate == FATE_DEFERRED;
    samples_add(&all->answer_us, i->answered_us);
}

json_t *interactions_about(const struct sim *s, const struct interaction *i)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct user *by = world_user(s->world, i->user_id);
    json_t *about = NULL;

    out_json(&o, "{'id':%I,'type':%d,'authorizing_integration_owners':{'0':%I}", i->id,
             (int)i->type, i->guild_id ? i->guild_id : i->user_id);
    if (by) {
        out_text(&o, ",\"user\":");
        object_user(&o, by);
    }
    out_text(&o, "}");
    return json_parse(o.text, o.size, &about, NULL) == STATUS_OK ? about : json_object();
}

static json_t *answer_extra(const struct sim *s, const struct interaction *i, const json_t *data)
{
    json_t *extra = message_extra_of(data);

    if (!extra)
        extra = json_object();
    (void)json_object_set_new(extra, "interaction_metadata", interactions_about(s, i));
    (void)json_object_set_new(extra, "application_id", json_from_id(s->application_id));
    return extra;
}

static void show_message(struct interactions *all, struct interaction *i, const json_t *data)
{
    struct channel *c = world_channel(all->sim->world, i->channel_id);
    json_t *extra = answer_extra(all->sim, i, data);
    struct message *m = NULL;

    i->ephemeral = json_int(data, "flags", 0) & MESSAGE_FLAG_EPHEMERAL;
    if (!c) {
        json_decref(extra);
        return;
    }
    if (i->ephemeral)
        m = publish_hidden(all->sim, c, json_str(data, "content"), extra);
    else
        (void)publish_message(all->sim, c, &all->sim->world->bot, json_str(data, "content"), extra,
                              &m);
    i->original_id = m->id;
}

static void update_source(struct interactions *all, const struct interaction *i, const json_t *data)
{
    struct message *m = store_get(all->sim->store, i->source_message_id);
    CLEANUP(json_decref) json_t *patch = message_extra_of(data);

    if (m)
        (void)publish_edit(all->sim, m, json_string_value(json_object_get(data, "content")), patch);
}

static void apply_answer(struct interactions *all, struct interaction *i, const json_t *callback)
{
    const json_t *data = json_object_get(callback, "data");

    if (i->callback == CALLBACK_MESSAGE)
        show_message(all, i, data);
    else if (i->callback == CALLBACK_DEFERRED_MESSAGE)
        i->ephemeral = json_int(data, "flags", 0) & MESSAGE_FLAG_EPHEMERAL;
    else if (i->callback == CALLBACK_UPDATE)
        update_source(all, i, data);
    if (i->callback == CALLBACK_UPDATE || i->callback == CALLBACK_DEFERRED_UPDATE)
        i->original_id = i->source_message_id;
}

static void fail(struct interactions *all, struct interaction *i, const char *reason)
{
    settle(all, i, (struct judgement){ .fate = FATE_FAILED, .reason = reason });
}

static const char *http_reason(int code)
{
    switch (code) {
    case 400:
        return "http_400";
    case 401:
        return "http_401";
    case 404:
        return "http_404";
    case 429:
        return "http_429";
    case 500:
        return "http_500";
    case 502:
        return "http_502";
    case 503:
        return "http_503";
    case 504:
        return "http_504";
    default:
        return "http_other";
    }
}

/* Discord: an endpoint that takes a wrong signature for a right one is removed, and mail is sent. */
static void on_probe_answer(struct interactions *all, struct interaction *i, int code)
{
    if (code == 401) {
        all->counts.probes_passed++;
        settle(all, i, (struct judgement){ .fate = FATE_ANSWERED });
        return;
    }
    fail(all, i, "probe_not_refused");
    log_warn("endpoint_removed", "url=%s code=%d", all->url ? all->url : "", code);
    all->counts.endpoints_removed++;
    free(TAKE(all->url));
}

static void keep_answer(struct interaction *i, const json_t *callback)
{
    const char *text = json_str(json_object_get(callback, "data"), "content");

    free(i->says);
    i->says = *text ? strndup(text, SAYS_BYTES) : NULL;
}

static void on_ok_answer(struct interactions *all, struct interaction *i,
                         const struct http_result *r)
{
    CLEANUP(json_decref) json_t *callback = NULL;
    const char *kind = http_result_header(r, "content-type");

    if (!kind || strncmp(kind, "application/json", 16) != 0) {
        fail(all, i, "content_type");
        return;
    }
    if (json_parse(r->body, r->size, &callback, NULL) != STATUS_OK) {
        fail(all, i, "not_json");
        return;
    }
    struct judgement j = judge_callback(i->type, callback);
    keep_answer(i, callback);
    i->answer_hash = hash_bytes(r->body, r->size);
    settle(all, i, j);
    if (j.fate != FATE_FAILED)
        apply_answer(all, i, callback);
}

static void on_http_done(void *ctx, uint64_t number, const struct http_result *r)
{
    struct interactions *all = ctx;
    struct interaction *i = all->list[number - 1]; /* the call's tag, as post() made it */

    i->http_code = r->code;
    if (i->fate != FATE_PENDING) {
        /* answered by POST …/callback while the request was open */
    } else if (r->status == STATUS_TIMEOUT ||
               clock_now_us() - i->sent_us > INTERACTION_DEADLINE_MS * INT64_C(1000)) {
        fail(all, i, "timeout");
    } else if (r->status != STATUS_OK) {
        fail(all, i, "unreachable");
    } else if (i->is_probe) {
        on_probe_answer(all, i, r->code);
    } else if (r->code == 200) {
        on_ok_answer(all, i, r);
    } else if (r->code == 202) {
        return; /* the answer comes by POST …/callback, or interactions_tick gives up */
    } else {
        fail(all, i, http_reason(r->code));
    }
    tell(i, r->body ? r->body : "");
}

/* ---- sending ---- */

static struct interaction *add(struct interactions *all, const struct interaction_ask *ask)
{
    struct interaction *i = xcalloc(1, sizeof(*i));
    uint8_t secret[16];

    if (all->count == all->cap) {
        all->cap = all->cap ? all->cap * 2 : 256;
        all->list = xrealloc(all->list, all->cap * sizeof(struct interaction *));
    }
    all->list[all->count++] = i;
    i->number = all->count;
    i->id = world_new_id(all->sim->world);
    i->type = ask->type;
    i->kind = ask->kind;
    i->is_probe = ask->probe != NULL;
    i->on_done = ask->on_done;
    i->ctx = ask->ctx;
    i->guild_id = ask->guild ? ask->guild->id : 0;
    i->channel_id = ask->channel ? ask->channel->id : 0;
    i->user_id = ask->by ? ask->by->id : 0;
    i->target_id = ask->target ? ask->target->id : ask->target_user ? ask->target_user->id : 0;
    i->source_message_id = ask->message ? ask->message->id : 0;
    i->sent_ms = clock_wall_ms();
    sign_random(secret, sizeof(secret));
    sign_hex(secret, sizeof(secret), i->token);
    (void)snprintf(i->token + 32, sizeof(i->token) - 32, "%" PRIu64, i->id);
    (void)idmap_put(all->by_id, i->id, i);
    all->counts.sent += is_counted(i);
    all->counts.in_flight += is_counted(i);
    return i;
}

/* Spoils what a probe is about; true: the signature headers are to be left out. */
static bool spoil(const char *probe, char signature[129], char *timestamp, struct out *body)
{
    if (!probe)
        return false;
    if (!strcmp(probe, "timestamp"))
        timestamp[0] = timestamp[0] == '1' ? '2' : '1';
    else if (!strcmp(probe, "body"))
        out_text(body, " ");
    else if (!strcmp(probe, "other_key"))
        memset(signature + 64, '0', 64);
    else if (strcmp(probe, "missing") != 0)
        signature[0] = signature[0] == '0' ? '1' : '0';
    return !strcmp(probe, "missing");
}

static void post(struct interactions *all, const struct interaction *i, const char *probe,
                 struct out *body)
{
    char stamp[24], signature[129], signed_by[160], signed_at[64];
    struct err err = { 0 };

    (void)snprintf(stamp, sizeof(stamp), "%" PRId64, i->sent_ms / 1000);
    if (sign_make(all->sim->key, stamp, body->text, body->size, signature, &err) != STATUS_OK)
        service_fail("sign", &err);
    bool bare = spoil(probe, signature, stamp, body);
    (void)snprintf(signed_by, sizeof(signed_by), "X-Signature-Ed25519: %s", signature);
    (void)snprintf(signed_at, sizeof(signed_at), "X-Signature-Timestamp: %s", stamp);
    const char *const headers[] = { "Content-Type: application/json", bare ? NULL : signed_by,
                                    signed_at, NULL };
    struct http_call call = { .method = "POST",
                              .url = all->url,
                              .headers = headers,
                              .body = body->text,
                              .size = body->size,
                              .timeout_ms = INTERACTION_DEADLINE_MS,
                              .max_answer = MAX_ANSWER,
                              .box = loop_mailbox(all->sim->loop),
                              .on_done = on_http_done,
                              .ctx = all,
                              .tag = i->number };
    http_client_send(all->sim->client, &call);
}

/* To each session of the guild's shard, or of shard 0. False: there is none. */
static bool dispatch(struct interactions *all, struct interaction *i, const char *body)
{
    struct event *e = event_new(EVENT_INTERACTION_CREATE, NULL, body, NULL);

    i->by_gateway = true;
    all->counts.by_gateway += is_counted(i);
    return gateway_dispatch(all->sim->gateway, i->guild_id, &e) > 0;
}

struct interaction *interactions_send(struct interactions *all, const struct interaction_ask *ask)
{
    CLEANUP(out_release) struct out body = OUT_EMPTY;

    if (all->count >= MAX_KEPT)
        return NULL;
    struct interaction *i = add(all, ask);
    interaction_payload(all->sim, i, ask, &body);
    i->sent_us = clock_now_us();
    if (all->url) {
        post(all, i, ask->probe, &body);
        return i;
    }
    if (i->type == INTERACTION_PING || !dispatch(all, i, body.text)) {
        fail(all, i, "no_url");
        tell(i, "");
    }
    return i;
}

void interactions_probe(struct interactions *all, size_t way)
{
    static const char *const ways[] = { "signature", "timestamp", "body", "missing", "other_key" };
    struct interaction_ask ask = { .kind = "probe",
                                   .type = INTERACTION_PING,
                                   .probe = ways[way % ARRAY_LEN(ways)] };

    if (!all->url)
        return;
    all->counts.probes++;
    (void)interactions_send(all, &ask);
}

void interactions_set_url(struct interactions *all, const char *url,
                          void (*on_done)(void *ctx, const struct interaction *i, const char *body),
                          void *ctx)
{
    struct interaction_ask ask = {
        .kind = "ping", .type = INTERACTION_PING, .on_done = on_done, .ctx = ctx
    };

    free(TAKE(all->url));
    if (!url)
        return;
    all->url = xstrdup(url);
    (void)interactions_send(all, &ask);
}

/* ---- the bot's later calls ---- */

struct interaction *interactions_get(const struct interactions *all, uint64_t number)
{
    return number && number <= all->count ? all->list[number - 1] : NULL;
}

struct interaction *interactions_by_id(const struct interactions *all, uint64_t id)
{
    return idmap_get(all->by_id, id);
}

struct interaction *interactions_by_token(struct interactions *all, const char *token)
{
    uint64_t id = 0;

    if (strlen(token) < 33 || !id_parse(token + 32, &id))
        return NULL;
    struct interaction *i = interactions_by_id(all, id);
    if (!i || strcmp(i->token, token) != 0 || clock_wall_ms() - i->sent_ms > INTERACTION_TOKEN_MS)
        return NULL;
    return i;
}

void interactions_completed(struct interactions *all, struct interaction *i)
{
    i->completions++;
    if (i->fate != FATE_DEFERRED)
        return;
    i->fate = FATE_COMPLETED;
    i->completed_us = clock_now_us() - i->sent_us;
    all->counts.completed++;
    samples_add(&all->complete_us, i->completed_us);
}

const char *interactions_callback(struct interactions *all, struct interaction *i,
                                  const json_t *callback)
{
    struct judgement j = judge_callback(i->type, callback);

    if (j.fate == FATE_FAILED)
        return j.reason;
    keep_answer(i, callback);
    settle(all, i, j);
    apply_answer(all, i, callback);
    if (i->http_code == 202 || i->by_gateway) {
        CLEANUP(xfree) char *text = json_text(callback);
        tell(i, text);
    }
    return NULL;
}

static bool is_late(const struct interaction *i)
{
    return clock_now_us() - i->sent_us > INTERACTION_DEADLINE_MS * INT64_C(1000);
}

bool interactions_in_time(struct interactions *all, struct interaction *i)
{
    if (i->fate != FATE_PENDING || !is_late(i))
        return true;
    fail(all, i, "timeout");
    tell(i, "");
    return false;
}

void interactions_tick(struct interactions *all)
{
    while (all->settled < all->count && all->list[all->settled]->fate != FATE_PENDING)
        all->settled++;
    for (size_t n = all->settled; n < all->count; n++) {
        struct interaction *i = all->list[n];
        if (i->http_code == 202 || i->by_gateway)
            (void)interactions_in_time(all, i);
    }
}

/* ---- reading ---- */

void interactions_count(const struct interactions *all, struct interaction_counts *ret)
{
    struct samples answers = all->answer_us, completions = all->complete_us;

    *ret = all->counts;
    ret->p50_us = samples_quantile(&answers, 50);
    ret->p99_us = samples_quantile(&answers, 99);
    ret->max_us = samples_quantile(&answers, 100);
    ret->complete_p50_us = samples_quantile(&completions, 50);
    ret->complete_p99_us = samples_quantile(&completions, 99);
}

void interactions_failures(const struct interactions *all, struct out *o)
{
    out_text(o, "{");
    for (size_t i = 0; i < MAX_REASONS && all->failures[i].reason; i++)
        out_json(o, "%S:%u,", all->failures[i].reason, all->failures[i].count);
    out_drop(o, ',');
    out_text(o, "}");
}

void interaction_line(const struct interaction *i, struct out *o)
{
    static const char *const fates[] = { "pending", "answered", "deferred", "completed", "failed" };
    char hash[17];

    (void)snprintf(hash, sizeof(hash), "%016" PRIx64, i->answer_hash);
    out_json(o,
             "{'n':%u,'kind':'interaction','id':%I,'name':%S,'type':%d,'guild_id':%N,"
             "'channel_id':%N,'user_id':%N,'target_id':%N,'fate':%S,'reason':%S,'http':%d,"
             "'callback':%d,'ephemeral':%b,'original_id':%N,'sent_at_ms':%l,'answered_us':%l,"
             "'completed_us':%l,'completions':%d,'answer_hash':%S,'says':%S,'by_gateway':%b}\n",
             i->number, i->id, i->kind, (int)i->type, i->guild_id, i->channel_id, i->user_id,
             i->target_id, fates[i->fate], i->reason, i->http_code, i->callback, i->ephemeral,
             i->original_id, i->sent_ms, i->answered_us, i->completed_us, (int)i->completions, hash,
             i->says, i->by_gateway);
}
