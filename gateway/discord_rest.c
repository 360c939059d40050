/* One thread owns lanes, calls and limits. A call is one allocation that travels as a letter: to
 * the thread, and back to its caller as the answer. http_client's answers come to the thread's
 * mailbox too. */
#include "gateway/discord_rest.h"

#include <ctype.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/rest_facts.h"
#include "gateway/rest_limits.h"
#include "gateway/rest_repeat.h"

enum {
    WAITING_MAX = 10000, /* calls; beyond, the caller is told at once */
    ROOM = WAITING_MAX - WAITING_MAX / 10,
    LIMITED_MAX = 20, /* 429s for one call */
    UNKNOWN_MAX = 4,  /* 404s of an interaction's webhook, which Discord may not know yet */
    UNKNOWN_MS = 250,
    SWEEP_MS = 30000,
    USAGE_MS = 500,
    REASON_MAX = 512, /* Discord: characters of an audit log reason */
    URL_MAX = 2048,
};

static struct metric calls_total =
    METRIC_COUNTER("guildbus_rest_calls_total", "REST calls sent to Discord");
static struct metric limited_total =
    METRIC_COUNTER("guildbus_rest_limited_total", "REST calls answered 429");
static struct metric repeated_total =
    METRIC_COUNTER("guildbus_rest_repeated_total", "REST calls repeated");
static struct metric waiting_now =
    METRIC_GAUGE("guildbus_rest_waiting", "REST calls not answered yet");
static struct metric took =
    METRIC_HISTOGRAM("guildbus_rest_seconds", "one REST call, without its waiting");

struct call {
    struct letter letter;
    struct rest_item item;    /* in its lane */
    struct call *prev, *next; /* of all calls of the thread */
    struct discord_rest *rest;
    char *method, *path, *body, *reason;
    struct mailbox *box;
    void (*on_done)(void *ctx, uint64_t tag, const struct discord_answer *answer);
    void *ctx;
    uint64_t tag, group;
    struct rest_key key;
    struct rest_lane *lane;
    bool queued; /* in its lane */
    struct rest_tries tries;
    int64_t sent_us;
    /* the answer */
    int code;
    char *answer;
    size_t answer_size;
};

struct discord_rest {
    /* fixed once made */
    char *api_url, *authorization;
    struct http_client *http;
    struct mailbox *box;
    pthread_t thread;
    /* any thread */
    _Atomic int64_t waiting;
    _Atomic bool stopping;
    _Atomic uint32_t in_force, wanted, invalid; /* of discord_rest_usage */
    /* confined to the thread */
    struct rest_limits *limits;
    struct rest_lane *active, **active_end; /* lanes with waiting calls; who was served is last */
    uint32_t held_back;                     /* lanes that wait for the global limit only */
    struct call *calls;
    bool refused; /* the token is wrong: no more calls with it */
    int64_t swept_ms;
};

/* ---- calls ---- */

static void call_free(struct call *c)
{
    free(c->method);
    free(c->path);
    free(c->body);
    free(c->reason);
    free(c->answer);
    free(c);
}

static void call_discard(struct letter *l)
{
    call_free(CONTAINER_OF(l, struct call, letter));
}

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static struct call *call_new(struct discord_rest *rest, const struct discord_call *from)
{
    struct call *c = xcalloc(1, sizeof(*c));

    c->rest = rest;
    c->method = xstrdup(from->method);
    c->path = xstrdup(from->path);
    c->body = copy(from->body_json);
    c->reason = copy(from->reason);
    c->box = from->box;
    c->on_done = from->on_done;
    c->ctx = from->ctx;
    c->tag = from->tag;
    c->group = from->group;
    rest_key_read(c->method, c->path, &c->key);
    c->tries.safety = rest_safety_of(c->method, c->body);
    c->tries.is_kept = c->group;
    return c;
}

static void answer_read(struct letter *l, void *owner UNUSED)
{
    struct call *c = CONTAINER_OF(l, struct call, letter);
    const struct discord_answer answer = { c->code, c->answer ? c->answer : "", c->answer_size };

    c->on_done(c->ctx, c->tag, &answer);
    call_free(c);
}

/* Sends the call home. body is copied. */
static void deliver(struct call *c, int code, const char *body, size_t size)
{
    if (c->prev)
        c->prev->next = c->next;
    else if (c->rest->calls == c)
        c->rest->calls = c->next;
    if (c->next)
        c->next->prev = c->prev;
    metric_set(&waiting_now, atomic_fetch_sub(&c->rest->waiting, 1) - 1);
    c->code = code;
    c->answer = size ? xmemdup(body, size) : NULL;
    c->answer_size = size;
    c->letter = (struct letter){ .read = answer_read, .discard = call_discard };
    struct letter *l = &c->letter;
    mailbox_post_always(c->box, &l);
}

static void describe(const struct call *c, char *buf, size_t size)
{
    char path[200];
    rest_path_redact(c->path, path, sizeof(path));
    (void)snprintf(buf, size, "%s %s", c->method, path);
}

/* ---- what leaves ---- */

static void on_http(void *ctx, uint64_t tag, const struct http_result *r);

/* X-Audit-Log-Reason is percent-encoded UTF-8. */
static char *reason_header(const char *reason)
{
    static const char hex[] = "0123456789ABCDEF", name[] = "X-Audit-Log-Reason: ";
    struct bytes b = { .size = 0 };

    bytes_append(&b, name, sizeof(name) - 1);
    for (size_t i = 0; i < REASON_MAX && reason[i]; i++) {
        unsigned char c = (unsigned char)reason[i];
        const char encoded[] = { '%', hex[c >> 4], hex[c & 15] };
        if (c < 0x80 && (isalnum(c) || strchr("-_.~", c)))
            bytes_append(&b, &reason[i], 1);
        else
            bytes_append(&b, encoded, sizeof(encoded));
    }
    bytes_append(&b, "", 1);
    return (char *)b.data;
}

static void send_call(struct discord_rest *rest, struct call *c)
{
    char url[URL_MAX];
    CLEANUP(xfree) char *reason = c->reason ? reason_header(c->reason) : NULL;
    const char *headers[4];
    size_t n = 0;

    if (c->key.as_bot)
        headers[n++] = rest->authorization;
    if (c->body)
        headers[n++] = "Content-Type: application/json";
    if (reason)
        headers[n++] = reason;
    headers[n] = NULL;
    (void)snprintf(url, sizeof(url), "%s%s", rest->api_url, c->path);
    metric_add(&calls_total, 1);
    if (c->tries.tries++ > 0)
        metric_add(&repeated_total, 1);
    c->sent_us = clock_now_us();
    const struct http_call call = { .method = c->method,
                                    .url = url,
                                    .headers = headers,
                                    .body = c->body,
                                    .size = c->body ? strlen(c->body) : 0,
                                    .once = c->key.as_bot && c->tries.safety == REST_UNSAFE,
                                    .box = rest->box,
                                    .on_done = on_http,
                                    .ctx = c };
    http_client_send(rest->http, &call);
}

/* The token is wrong. What is in the outbox stays there. */
static void refuse(struct call *c)
{
    deliver(c, c->group ? DISCORD_TOKEN_REFUSED : 401, NULL, 0);
}

/* Sends what may leave; returns how long nothing more will. */
static int64_t pump_lane(struct discord_rest *rest, struct rest_lane *lane, int64_t now)
{
    int64_t wait = 0;

    while (lane->first) {
        struct call *c = CONTAINER_OF(lane->first, struct call, item);
        if (c->key.as_bot && rest->refused) {
            rest_lane_take(lane);
            c->queued = false;
            refuse(c);
            continue;
        }
        wait = rest_limits_wait(rest->limits, lane, now);
        if (wait > 0)
            return wait;
        rest_lane_take(lane);
        c->queued = false;
        rest_limits_sent(rest->limits, lane, now);
        send_call(rest, c);
    }
    return INT64_MAX;
}

static void append_active(struct discord_rest *rest, struct rest_lane *lane)
{
    lane->next_active = NULL;
    *rest->active_end = lane;
    rest->active_end = &lane->next_active;
}

static void activate(struct discord_rest *rest, struct rest_lane *lane)
{
    if (lane->active)
        return;
    lane->active = true;
    append_active(rest, lane);
}

/* Each lane once. Those that sent something go behind the others, so that nobody starves. */
static int64_t pump_lanes(struct discord_rest *rest, int64_t now)
{
    struct rest_lane *lane = rest->active, *kept = NULL, **kept_end = &kept, *next;
    int64_t least = SWEEP_MS;

    rest->active = NULL;
    rest->active_end = &rest->active;
    rest->held_back = 0;
    for (; lane; lane = next) {
        const struct rest_item *before = lane->first;
        int64_t wait = pump_lane(rest, lane, now);
        next = lane->next_active;
        if (wait < least)
            least = wait;
        lane->active = lane->first;
        if (!lane->first)
            continue;
        rest->held_back += rest_limits_waits_globally(rest->limits, lane, now);
        if (lane->first != before) {
            append_active(rest, lane);
            continue;
        }
        lane->next_active = NULL;
        *kept_end = lane;
        kept_end = &lane->next_active;
    }
    if (kept) {
        *kept_end = rest->active;
        if (!rest->active)
            rest->active_end = kept_end;
        rest->active = kept;
    }
    return least;
}

/* Whoever is held back could use more: how much more is seen when it has it. */
static void publish_usage(struct discord_rest *rest, const struct rest_usage *usage)
{
    uint32_t more = usage->sent > rest->held_back ? usage->sent : rest->held_back;
    uint32_t wanted = usage->sent + (rest->held_back ? more : 0);

    atomic_store(&rest->in_force, usage->in_force);
    atomic_store(&rest->wanted, wanted < REST_GLOBAL ? wanted : REST_GLOBAL);
    atomic_store(&rest->invalid, usage->invalid);
}

static int64_t pump(struct discord_rest *rest)
{
    int64_t now = clock_now_ms(), wait = pump_lanes(rest, now);
    struct rest_usage usage;

    rest_limits_usage(rest->limits, now, &usage);
    publish_usage(rest, &usage);
    if (now - rest->swept_ms >= SWEEP_MS) {
        rest->swept_ms = now;
        rest_limits_sweep(rest->limits, now);
    }
    return usage.sent && wait > USAGE_MS ? USAGE_MS : wait; /* until what was sent is old */
}

/* ---- what comes back ---- */

static void read_facts(const struct http_result *r, struct rest_facts *ret)
{
    bool came = r->status == STATUS_OK;
    const struct rest_headers headers = {
        .bucket = came ? http_result_header(r, "x-ratelimit-bucket") : NULL,
        .remaining = came ? http_result_header(r, "x-ratelimit-remaining") : NULL,
        .reset_after = came ? http_result_header(r, "x-ratelimit-reset-after") : NULL,
        .scope = came ? http_result_header(r, "x-ratelimit-scope") : NULL,
        .global = came ? http_result_header(r, "x-ratelimit-global") : NULL,
        .retry_after = came ? http_result_header(r, "retry-after") : NULL,
    };

    rest_facts_read(came ? r->code : 0, &headers, r->body, r->size, ret);
}

/* The first calls to an interaction's webhook can come before Discord knows it
 * (discord-api-docs#7220). */
static bool is_too_early(const struct call *c, const struct rest_facts *f)
{
    return f->code == 404 && strncmp(c->path, "/webhooks/", 10) == 0 && !c->key.as_bot &&
           c->tries.tries < UNKNOWN_MAX;
}

static void again(struct discord_rest *rest, struct call *c, int64_t wait_ms)
{
    rest_limits_block(c->lane, clock_now_ms() + wait_ms);
    rest_lane_prepend(c->lane, &c->item);
    c->queued = true;
    activate(rest, c->lane);
}

static void on_limited(struct discord_rest *rest, struct call *c, const struct rest_facts *f,
                       const struct http_result *r)
{
    char what[256];

    metric_add(&limited_total, 1);
    describe(c, what, sizeof(what));
    log_warn("discord_rate_limited", "call=%s scope=%s retry_after_ms=%" PRId64 " invalid_10min=%u",
             LOG_QUOTE(what),
             f->global   ? "global"
             : f->shared ? "shared"
                         : "bucket",
             f->retry_after_ms, rest_limits_invalid(rest->limits, clock_now_ms()));
    if (++c->tries.limited >= LIMITED_MAX)
        deliver(c, r->code, r->body, r->size);
    else
        again(rest, c, f->retry_after_ms);
}

static void on_failed(struct discord_rest *rest, struct call *c, const struct http_result *r,
                      int code)
{
    char what[256];
    int64_t wait = rest_repeat_wait(&c->tries, r->unsent, clock_now_ms());

    describe(c, what, sizeof(what));
    if (wait == REST_GIVE_UP) {
        log_warn("discord_call_failed", "call=%s code=%d tries=%u error=%s", LOG_QUOTE(what), code,
                 c->tries.tries, LOG_QUOTE(r->error));
        deliver(c, code, code ? r->body : NULL, code ? r->size : 0);
        return;
    }
    log_warn("discord_call_repeated", "call=%s code=%d wait_ms=%" PRId64 " error=%s",
             LOG_QUOTE(what), code, wait, LOG_QUOTE(r->error));
    again(rest, c, wait);
}

static void on_http(void *ctx, uint64_t tag UNUSED, const struct http_result *r)
{
    struct call *c = ctx;
    struct discord_rest *rest = c->rest;
    struct rest_facts facts;

    metric_observe_us(&took, clock_now_us() - c->sent_us);
    read_facts(r, &facts);
    rest_limits_answered(rest->limits, c->lane, &facts, clock_now_ms());
    if (facts.code == 401 && c->key.as_bot && !rest->refused) {
        rest->refused = true;
        log_error("discord_token_refused",
                  "text=\"Discord answered 401: no more REST calls until a restart with the right "
                  "DISCORD_TOKEN\"");
    }
    if (facts.code == 429)
        on_limited(rest, c, &facts, r);
    else if (facts.code == 0 || facts.code >= 500)
        on_failed(rest, c, r, facts.code);
    else if (is_too_early(c, &facts))
        again(rest, c, (int64_t)UNKNOWN_MS << c->tries.tries);
    else if (facts.code == 401 && c->key.as_bot)
        refuse(c);
    else
        deliver(c, facts.code, r->body, r->size);
}

/* ---- what comes in ---- */

static bool is_sendable(const struct discord_rest *rest, const struct call *c)
{
    size_t size = strlen(c->path);

    if (c->path[0] != '/' || strlen(rest->api_url) + size + 1 > URL_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)c->path[i] <= ' ' || c->path[i] == 0x7F)
            return false;
    return true;
}

static void accept_call(struct letter *l, void *owner)
{
    struct call *c = CONTAINER_OF(l, struct call, letter);
    struct discord_rest *rest = owner;

    c->next = rest->calls;
    if (c->next)
        c->next->prev = c;
    rest->calls = c;
    if (!is_sendable(rest, c)) {
        log_error("discord_call_impossible", "method=%s bytes=%zu", c->method, strlen(c->path));
        deliver(c, 0, NULL, 0);
        return;
    }
    c->lane = rest_limits_lane(rest->limits, &c->key);
    rest_lane_append(c->lane, &c->item);
    c->queued = true;
    activate(rest, c->lane);
}

void discord_rest_send(struct discord_rest *rest, const struct discord_call *call)
{
    struct call *c = call_new(rest, call);
    int64_t waiting = atomic_fetch_add(&rest->waiting, 1) + 1;

    metric_set(&waiting_now, waiting);
    if (waiting > WAITING_MAX) {
        log_error("discord_calls_full", "waiting=%" PRId64 " method=%s", waiting, c->method);
        c->letter = (struct letter){ .read = answer_read, .discard = call_discard };
        atomic_fetch_sub(&rest->waiting, 1);
        struct letter *home = &c->letter;
        mailbox_post_always(c->box, &home);
        return;
    }
    c->letter = (struct letter){ .read = accept_call, .discard = call_discard };
    struct letter *l = &c->letter;
    mailbox_post_always(rest->box, &l);
}

bool discord_rest_has_room(const struct discord_rest *rest)
{
    return atomic_load(&rest->waiting) < ROOM;
}

/* ---- the budget ---- */

struct budget_letter {
    struct letter letter;
    struct rest_share share;
};

static void budget_discard(struct letter *l)
{
    free(CONTAINER_OF(l, struct budget_letter, letter));
}

static void budget_read(struct letter *l, void *owner)
{
    struct discord_rest *rest = owner;

    rest_limits_set_share(rest->limits, &CONTAINER_OF(l, struct budget_letter, letter)->share,
                          clock_now_ms());
    budget_discard(l);
}

void discord_rest_set_budget(struct discord_rest *rest, const struct discord_budget *budget)
{
    struct budget_letter *b = xcalloc(1, sizeof(*b));

    b->letter = (struct letter){ .read = budget_read, .discard = budget_discard };
    b->share = (struct rest_share){ .calls = budget->calls,
                                    .until_ms = budget->until_ms,
                                    .drip_ms = budget->drip_ms,
                                    .invalid_elsewhere = budget->invalid_elsewhere };
    struct letter *l = &b->letter;
    mailbox_post_always(rest->box, &l);
}

void discord_rest_usage(const struct discord_rest *rest, struct discord_usage *ret_usage)
{
    *ret_usage = (struct discord_usage){ .in_force = atomic_load(&rest->in_force),
                                         .wanted = atomic_load(&rest->wanted),
                                         .invalid = atomic_load(&rest->invalid) };
}

/* ---- what is taken back ---- */

struct withdrawal {
    struct letter letter;
    uint64_t group;
};

static void withdrawal_discard(struct letter *l)
{
    free(CONTAINER_OF(l, struct withdrawal, letter));
}

static void withdraw(struct letter *l, void *owner)
{
    struct withdrawal *w = CONTAINER_OF(l, struct withdrawal, letter);
    struct discord_rest *rest = owner;

    for (struct call *c = rest->calls, *next; c; c = next) {
        next = c->next;
        if (c->group != w->group || !c->queued || !rest_is_untouched(&c->tries))
            continue;
        rest_lane_remove(c->lane, &c->item);
        deliver(c, DISCORD_WITHDRAWN, NULL, 0);
    }
    withdrawal_discard(l);
}

void discord_rest_withdraw(struct discord_rest *rest, uint64_t group)
{
    struct withdrawal *w = xcalloc(1, sizeof(*w));

    w->letter = (struct letter){ .read = withdraw, .discard = withdrawal_discard };
    w->group = group;
    struct letter *l = &w->letter;
    mailbox_post_always(rest->box, &l);
}

/* ---- life ---- */

static void *run(void *arg)
{
    struct discord_rest *rest = arg;
    struct pollfd fd = { .fd = mailbox_fd(rest->box), .events = POLLIN };

    pthread_setname_np(pthread_self(), "discord-rest");
    while (!atomic_load(&rest->stopping)) {
        int64_t wait = pump(rest);
        (void)poll(&fd, 1, (int)wait);
        if (fd.revents)
            mailbox_drain(rest->box, rest);
    }
    return NULL;
}

static enum status check_config(const struct discord_rest_config *config, struct err *err)
{
    if (*config->token && !http_takes_token(config->token)) /* without one: no Discord */
        return err_set(err, STATUS_INVALID, "the bot token has a character that no token has");
    if (strlen(config->api_url) > URL_MAX / 2)
        return err_set(err, STATUS_INVALID, "Discord's API URL is too long");
    return STATUS_OK;
}

enum status discord_rest_new(const struct discord_rest_config *config,
                             struct discord_rest **ret_rest, struct err *err)
{
    TRY(check_config(config, err));
    CLEANUP(discord_rest_free) struct discord_rest *rest = xcalloc(1, sizeof(*rest));
    rest->api_url = xstrdup(config->api_url);
    for (size_t n = strlen(rest->api_url); n > 0 && rest->api_url[n - 1] == '/'; n--)
        rest->api_url[n - 1] = '\0';
    rest->authorization = xasprintf("Authorization: Bot %s", config->token);
    rest->limits = rest_limits_new();
    rest->active_end = &rest->active;
    if (config->has_budget)
        rest_limits_set_share(rest->limits, &(struct rest_share){ .drip_ms = REST_GLOBAL_MS },
                              clock_now_ms());
    TRY(mailbox_new((size_t)WAITING_MAX * 2, &rest->box, err));
    TRY(http_client_new("DiscordBot (https://github.com/guildbus/guildbus, " GUILDBUS_VERSION ")",
                        &rest->http, err));
    int failed = pthread_create(&rest->thread, NULL, run, rest);
    if (failed) {
        rest->thread = 0;
        return err_set(err, STATUS_UNAVAILABLE, "thread: error %d", failed);
    }
    *ret_rest = TAKE(rest);
    return STATUS_OK;
}

static void wake_read(struct letter *l, void *owner UNUSED)
{
    free(l);
}

static void wake_discard(struct letter *l)
{
    free(l);
}

static void stop_thread(struct discord_rest *rest)
{
    if (!rest->thread)
        return;
    struct letter *wake = xcalloc(1, sizeof(*wake));
    *wake = (struct letter){ .read = wake_read, .discard = wake_discard };
    atomic_store(&rest->stopping, true);
    mailbox_post_always(rest->box, &wake);
    pthread_join(rest->thread, NULL);
}

void discord_rest_free(struct discord_rest *rest)
{
    if (!rest)
        return;
    stop_thread(rest);
    http_client_free(rest->http);
    mailbox_free(rest->box);
    for (struct call *c = rest->calls, *next; c; c = next) {
        next = c->next;
        call_free(c);
    }
    rest_limits_free(rest->limits);
    free(rest->api_url);
    free(rest->authorization);
    free(rest);
}
