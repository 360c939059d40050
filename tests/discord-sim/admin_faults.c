/* admin_faults.c - what is broken, and for how long: the gateway, REST, OAuth, the token, storms. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "tests/discord-sim/admin.h"
#include "tests/discord-sim/faults.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/mischief.h"
#include "tests/discord-sim/oauth.h"
#include "tests/discord-sim/storm.h"

/* ---- the gateway ---- */

void on_admin_disconnect(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    enum gateway_fault fault = gateway_fault_by_name(json_str(c->body, "how"));
    int64_t code = json_int(c->body, "code", 4000);

    if (fault == FAULT_COUNT || code < 1000 || code > 4999) {
        admin_refuse(c, 400,
                     "how: reconnect, close (with code), drop, stall, heartbeat, garbage, "
                     "unknown_op, invalid_session_resumable or invalid_session");
        return;
    }
    size_t met = gateway_fault(c->s->gateway, json_int(c->body, "shard", -1), fault, (int)code,
                               clock_now_ms());
    out_json(&o, "{'disconnected':%d}", (int)met);
    admin_answer(c, 200, &o);
}

static void set_bool(const json_t *body, const char *name, bool *value)
{
    if (json_object_get(body, name))
        *value = json_bool(body, name);
}

/* At least 0. */
static void set_number(const json_t *body, const char *name, int64_t *value)
{
    int64_t told = json_int(body, name, -1);

    if (told >= 0)
        *value = told;
}

static void set_count(const json_t *body, const char *name, int *value)
{
    int64_t told = json_int(body, name, -1);

    if (told >= 0 && told <= INT16_MAX)
        *value = (int)told;
}

void on_admin_gateway(struct admin_call *c)
{
    struct gateway_tricks *tricks = gateway_tricks(c->s->gateway);
    bool acks = !tricks->no_acks;

    set_bool(c->body, "heartbeat_acks", &acks);
    tricks->no_acks = !acks;
    set_bool(c->body, "shuffle_guilds", &tricks->shuffle_guilds);
    set_bool(c->body, "silent", &tricks->silent);
    set_count(c->body, "early_reconnects", &tricks->early_reconnects);
    set_count(c->body, "refused_resumes", &tricks->refused_resumes);
    set_number(c->body, "hello_ms", &tricks->hello_ms);
    set_bool(c->body, "resume_refused", &c->s->ws.resume_refused);
    set_number(c->body, "refuse", &c->s->ws.refuse);
    set_number(c->body, "bytes_per_s", &c->s->ws.bytes_per_s);
    set_number(c->body, "fragment", &c->s->ws.fragment);
    set_number(c->body, "split", &c->s->ws.split);
    if (json_int(c->body, "shards", 0) > 0)
        c->s->config.shards = json_int(c->body, "shards", 1);
    if (json_bool(c->body, "expire_sessions"))
        (void)gateway_expire(c->s->gateway, clock_now_ms());
    on_admin_sessions(c);
}

void on_admin_outage(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    size_t met = gateway_outage(c->s->gateway, json_int(c->body, "shard", -1), clock_now_ms());

    out_json(&o, "{'guilds':%d}", (int)met);
    admin_answer(c, 200, &o);
}

void on_admin_token(struct admin_call *c)
{
    const char *token = json_str(c->body, "token");

    gateway_set_token(c->s->gateway, *token ? token : c->s->config.token);
    http_respond_json(c->x, 200, "{}");
}

/* ---- REST ---- */

void on_admin_rates(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    int64_t invalid = json_int(c->body, "invalid", -1), now = clock_now_ms();

    if (json_object_get(c->body, "per_bucket") || json_object_get(c->body, "global"))
        rates_set(c->s->rates, json_int(c->body, "per_bucket", c->s->config.rate_per_bucket),
                  json_int(c->body, "global", c->s->config.rate_global));
    if (invalid >= 0)
        rates_set_invalid(c->s->rates, invalid);
    if (json_bool(c->body, "forgive"))
        rates_forgive(c->s->rates);
    out_json(&o, "{'invalid_10min':%l,'banned_ms':%l}", rates_invalid(c->s->rates, now),
             rates_banned_ms(c->s->rates, now));
    admin_answer(c, 200, &o);
}

/* NULL: *ret is complete; else what is wrong. */
static const char *read_fault(const json_t *body, struct rest_fault *ret)
{
    const char *method = json_str(body, "method"), *path = json_str(body, "path"),
               *scope = json_str(body, "scope"), *text = json_str(body, "body");

    *ret = (struct rest_fault){ .how = rest_fault_by_name(json_str(body, "how")),
                                .scope = *scope ? rate_scope_by_name(scope) : RATE_USER,
                                .code = (int)json_int(body, "code", 0),
                                .ms = json_int(body, "ms", 1000),
                                .skip = (uint64_t)json_int(body, "skip", 0),
                                .times = (uint64_t)json_int(body, "times", 1),
                                .percent = (unsigned)json_int(body, "percent", 100) };
    if (ret->how == REST_FAULT_COUNT)
        return "how: limit, status, cloudflare, garbage, cut, lose or delay";
    if (ret->scope == RATE_SCOPES)
        return "scope: user, global or shared";
    ret->status = (int)json_int(body, "status", ret->how == REST_FAULT_CLOUDFLARE ? 429 : 500);
    if (strlen(method) >= sizeof(ret->method) || strlen(path) >= sizeof(ret->path) ||
        strlen(text) >= sizeof(ret->body) || ret->status < 200 || ret->status > 599 ||
        ret->ms < 0 || ret->ms > INT32_MAX || json_int(body, "times", 1) < 0 ||
        json_int(body, "skip", 0) < 0)
        return "method, path, status, ms, times, skip or body: out of bounds";
    (void)snprintf(ret->method, sizeof(ret->method), "%s", method);
    (void)snprintf(ret->path, sizeof(ret->path), "%s", *path ? path : "*");
    (void)snprintf(ret->body, sizeof(ret->body), "%s", text);
    return NULL;
}

void on_admin_rest_faults(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    faults_describe(c->s->faults, &o);
    admin_answer(c, 200, &o);
}

void on_admin_add_rest_fault(struct admin_call *c)
{
    struct rest_fault fault;
    const char *why = read_fault(c->body, &fault);

    if (!why && !faults_add(c->s->faults, &fault))
        why = "too many: DELETE /rest-faults";
    if (why)
        admin_refuse(c, 400, why);
    else
        on_admin_rest_faults(c);
}

void on_admin_clear_rest_faults(struct admin_call *c)
{
    faults_clear(c->s->faults);
    on_admin_rest_faults(c);
}

/* ---- what Discord may do at any time ---- */

void on_admin_mischief(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    struct mischief_rates rates = mischief_rates(c->s->mischief);

    set_number(c->body, "repeat_permille", &rates.repeat_permille);
    set_number(c->body, "omit_permille", &rates.omit_permille);
    mischief_set(c->s->mischief, rates);
    if (json_object_get(c->body, "seed"))
        mischief_seed(c->s->mischief, (uint64_t)json_int(c->body, "seed", 0));
    if (!rates.repeat_permille)
        mischief_flush(c->s->mischief, c->s);
    struct mischief_counts n = mischief_count(c->s->mischief);
    out_json(&o, "{'repeat_permille':%l,'omit_permille':%l,'repeated':%u,'omitted':%u}",
             rates.repeat_permille, rates.omit_permille, n.repeated, n.omitted);
    admin_answer(c, 200, &o);
}

void on_admin_storm(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    storm_describe(c->s->storm, &o);
    admin_answer(c, 200, &o);
}

void on_admin_start_storm(struct admin_call *c)
{
    struct storm_order order = { .seed = (uint64_t)json_int(c->body, "seed", 1),
                                 .count = (uint64_t)json_int(c->body, "count", 20),
                                 .every_ms = json_int(c->body, "every_ms", 500) };
    const char *unknown = storm_read_kinds(json_object_get(c->body, "kinds"), order.kinds);
    char why[128];

    if (unknown || json_int(c->body, "count", 20) < 0 || order.every_ms < 1) {
        (void)snprintf(why, sizeof(why), "no such kind, or a wrong number: %.60s",
                       unknown ? unknown : "");
        admin_refuse(c, 400, why);
        return;
    }
    storm_start(c->s->storm, &order);
    on_admin_storm(c);
}

void on_admin_stop_storm(struct admin_call *c)
{
    storm_stop(c->s->storm);
    on_admin_storm(c);
}

/* ---- OAuth2 ---- */

void on_admin_oauth(struct admin_call *c)
{
    struct oauth_tricks *tricks = oauth_tricks(c->s->oauth);

    set_bool(c->body, "deny", &tricks->deny);
    set_number(c->body, "expires_in", &tricks->expires_s);
    set_number(c->body, "code_ms", &tricks->code_ms);
    set_bool(c->body, "drop_scope", &tricks->drop_scope);
    if (json_bool(c->body, "revoke_all"))
        oauth_revoke_all(c->s->oauth);
    http_respond_json(c->x, 200, "{}");
}
