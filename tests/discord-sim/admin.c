#include "tests/discord-sim/admin.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/xmem.h"
#include "tests/discord-sim/arrivals.h"
#include "tests/discord-sim/calls.h"
#include "tests/discord-sim/faults.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/mischief.h"
#include "tests/discord-sim/traffic.h"

static const struct {
    enum http_method method;
    const char *path;
    void (*handler)(struct admin_call *c);
    const char *method_name, *help;
} endpoints[] = {
#define ADMIN(method, path, handler, help) { HTTP_##method, path, handler, #method, help },
#include "tests/discord-sim/admin.def"
#undef ADMIN
};

void admin_answer(struct admin_call *c, int status, const struct out *json)
{
    http_respond(c->x, status, "application/json", json->text, json->size);
}

void admin_refuse(struct admin_call *c, int status, const char *why)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_json(&o, "{'error':%S}", why);
    admin_answer(c, status, &o);
}

uint64_t admin_query(struct admin_call *c, const char *name, uint64_t otherwise)
{
    const char *text = http_query(c->x, name);
    uint64_t value = otherwise;

    if (text && strcmp(text, "0") != 0 && !id_parse(text, &value))
        return otherwise;
    return text && !strcmp(text, "0") ? 0 : value;
}

static bool read_body(struct admin_call *c)
{
    size_t size;
    const char *body = http_body(c->x, &size);

    if (!size)
        c->body = json_object();
    else if (json_parse(body, size, &c->body, NULL) != STATUS_OK)
        return false;
    return json_is_object(c->body);
}

void admin_serve(void *sim, struct http_exchange *x)
{
    struct admin_call c = { .s = sim, .x = x };
    bool is_known = false;

    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        if (strcmp(endpoints[i].path, http_path(x)) != 0)
            continue;
        is_known = true;
        if (endpoints[i].method != http_method(x))
            continue;
        if (read_body(&c))
            endpoints[i].handler(&c);
        else
            admin_refuse(&c, 400, "the body must be a JSON object");
        json_decref(c.body);
        return;
    }
    admin_refuse(&c, is_known ? 405 : 404, is_known ? "wrong method" : "no such endpoint");
}

void on_admin_help(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        out_text(&o, endpoints[i].method_name);
        out_text(&o, " ");
        out_text(&o, endpoints[i].path);
        out_text(&o, *endpoints[i].help ? "  " : "");
        out_text(&o, endpoints[i].help);
        out_text(&o, "\n");
    }
    http_respond_text(c->x, 200, o.text);
}

/* ---- the whole ---- */

static void add_gateway_counts(struct sim *s, struct out *o)
{
    struct gateway_counts n;

    gateway_count(s->gateway, &n, clock_now_ms());
    out_json(o,
             "{'connections':%d,'sessions':%d,'live':%d,'identifies':%u,'resumes':%u,"
             "'resumes_refused':%u,'invalid_sessions':%u,'dispatched':%u,'replayed':%u,"
             "'heartbeats':%u,'closed_1000_by_client':%u,'resume_url_connections':%u,"
             "'identify_remaining':%l,'covered':%b,'refused_connections':%u,'token_resets':%u,"
             "'member_chunks':%u,'closes':{",
             (int)n.connections, (int)n.sessions, (int)n.live, n.identifies, n.resumes,
             n.resumes_refused, n.invalid_sessions, n.dispatched, n.replayed, n.heartbeats,
             n.peer_closed_1000, s->ws.resume_url_connections, n.identify_remaining,
             gateway_is_covered(s->gateway), s->ws.refused, n.token_resets, n.member_chunks);
    for (size_t i = 0; i < ARRAY_LEN(n.closes); i++)
        if (n.closes[i])
            out_json(o, "'%d':%u,", (int)i + 4000, n.closes[i]);
    out_drop(o, ',');
    out_text(o, "}}");
}

static void add_ms(struct out *o, const char *name, int64_t us)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%.3f", (double)us / 1000);
    out_json(o, "'%r':%r,", name, text);
}

static void add_interaction_counts(struct sim *s, struct out *o)
{
    struct interaction_counts n;

    interactions_count(s->interactions, &n);
    out_json(o,
             "{'sent':%u,'answered':%u,'deferred':%u,'completed':%u,'failed':%u,'in_flight':%u,"
             "'by_gateway':%u,'probes':%u,'probes_passed':%u,'endpoints_removed':%u,",
             n.sent, n.answered, n.deferred, n.completed, n.failed, n.in_flight, n.by_gateway,
             n.probes, n.probes_passed, n.endpoints_removed);
    add_ms(o, "p50_ms", n.p50_us);
    add_ms(o, "p99_ms", n.p99_us);
    add_ms(o, "max_ms", n.max_us);
    add_ms(o, "complete_p50_ms", n.complete_p50_us);
    add_ms(o, "complete_p99_ms", n.complete_p99_us);
    out_text(o, "\"failures\":");
    interactions_failures(s->interactions, o);
    out_text(o, "}");
}

static void add_rest_counts(struct sim *s, struct out *o)
{
    out_json(
        o,
        "{'requests':%u,'unauthorized':%u,'bad_agent':%u,'not_found':%u,'bad_request':%u,"
        "'limited':%u,'limited_again':%u,'limited_user':%u,'limited_global':%u,"
        "'limited_shared':%u,'cloudflare':%u,'invalid_10min':%l,'injected':%u,"
        "'nonce_repeats':%u}",
        s->rest.requests, s->rest.unauthorized, s->rest.bad_agent, s->rest.not_found,
        s->rest.bad_request, s->rest.limited, s->rest.limited_again, s->rest.limited_by[RATE_USER],
        s->rest.limited_by[RATE_GLOBAL], s->rest.limited_by[RATE_SHARED], s->rest.cloudflare,
        rates_invalid(s->rates, clock_now_ms()), faults_hits(s->faults), s->rest.nonce_repeats);
}

static void add_totals(struct sim *s, struct out *o)
{
    out_text(o, "\"gateway\":");
    add_gateway_counts(s, o);
    out_text(o, ",\"interactions\":");
    add_interaction_counts(s, o);
    out_text(o, ",\"rest\":");
    add_rest_counts(s, o);
    out_text(o, ",\"traffic\":");
    traffic_describe(s->traffic, o);
    struct mischief_counts mischief = mischief_count(s->mischief);
    out_json(o, ",'events':%u,'repeated':%u,'omitted':%u,'record_truncated':%b,'messages_kept':%d",
             record_count(s->record), mischief.repeated, mischief.omitted,
             record_is_truncated(s->record), (int)store_count(s->store));
}

void on_admin_state(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_json(&o, "{'guilds':%d,'users':%d,'interactions_url':%S,", (int)c->s->world->guild_count,
             (int)c->s->world->user_count, interactions_url(c->s->interactions));
    add_totals(c->s, &o);
    out_text(&o, "}");
    admin_answer(c, 200, &o);
}

void on_admin_report(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_text(&o, "{");
    add_totals(c->s, &o);
    out_text(&o, ",\"guilds\":[");
    for (size_t i = 0; i < c->s->world->guild_count; i++) {
        const struct record_guild *g = record_of(c->s->record, c->s->world->guilds[i]);
        out_json(
            &o,
            "{'guild_id':%I,'events':%u,'messages':%l,'messages_with_content':%l,"
            "'reactions':%l,'reactions_with_content':%l,'bot_messages':%l,'members_added':%l},",
            g->guild_id, g->events, g->messages, g->messages_with_content, g->reactions,
            g->reactions_with_content, g->bot_messages, g->members_added);
    }
    out_drop(&o, ',');
    out_text(&o, "]}");
    admin_answer(c, 200, &o);
}

/* ---- who is there ---- */

static void add_guild_channels(struct out *o, const struct guild *g)
{
    out_text(o, "\"channels\":[");
    for (size_t i = 0; i < g->channel_count; i++)
        out_json(o, "{'id':%I,'name':%S,'type':%d,'parent_id':%N},", g->channels[i]->id,
                 g->channels[i]->name, g->channels[i]->type, g->channels[i]->parent_id);
    out_drop(o, ',');
    out_text(o, "]");
}

static void add_guild_people(struct out *o, const struct guild *g)
{
    out_json(o, "'owner_id':%I,'moderator_ids':[", g->owner_id);
    for (size_t i = 0; i < g->member_count; i++)
        if (member_is_here(&g->members[i]) && member_has_role(&g->members[i], g->moderator_role_id))
            out_json(o, "%I,", g->members[i].user->id);
    out_drop(o, ',');
    out_text(o, "],\"member_ids\":[");
    for (size_t i = 0; i < g->member_count; i++)
        if (member_is_here(&g->members[i]) && !g->members[i].user->bot &&
            g->members[i].user->id != g->owner_id && !g->members[i].role_count)
            out_json(o, "%I,", g->members[i].user->id);
    out_drop(o, ',');
    out_text(o, "],");
}

static void add_guild(struct sim *s, struct out *o, const struct guild *g)
{
    const struct member *moderator = guild_first_moderator(g), *plain = guild_first_plain(g);
    const struct role *role = guild_role(g, g->moderator_role_id);

    out_json(o,
             "{'id':%I,'name':%S,'shard':%d,'mod_log_id':%N,'moderator_role_id':%I,"
             "'moderator_permissions':'%u','moderator_id':%N,'member_id':%N,",
             g->id, g->name, (int)((g->id >> 22) % (uint64_t)s->config.shards),
             g->mod_log ? g->mod_log->id : UINT64_C(0), g->moderator_role_id, role->permissions,
             moderator ? moderator->user->id : UINT64_C(0), plain ? plain->user->id : UINT64_C(0));
    add_guild_people(o, g);
    add_guild_channels(o, g);
    out_text(o, "},");
}

void on_admin_guilds(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    uint64_t only = admin_query(c, "guild", 0);

    out_text(&o, "[");
    for (size_t i = 0; i < c->s->world->guild_count; i++)
        if (!only || c->s->world->guilds[i]->id == only)
            add_guild(c->s, &o, c->s->world->guilds[i]);
    out_drop(&o, ',');
    out_text(&o, "]");
    admin_answer(c, 200, &o);
}

void on_admin_users(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_text(&o, "[");
    for (size_t i = 0; i < c->s->world->user_count; i++)
        out_json(&o, "{'id':%I,'username':%S,'global_name':%S},", c->s->world->users[i].id,
                 c->s->world->users[i].username, c->s->world->users[i].global_name);
    out_drop(&o, ',');
    out_text(&o, "]");
    admin_answer(c, 200, &o);
}

/* ---- traffic ---- */

void on_admin_start_traffic(struct admin_call *c)
{
    struct traffic_order order = { 0 };
    int64_t events = json_int(c->body, "events", 0),
            interactions = json_int(c->body, "interactions", 0),
            guilds = json_int(c->body, "guilds", 0),
            in_flight = json_int(c->body, "interactions_in_flight", 0);

    order.events_per_s = json_int(c->body, "events_per_s", 0);
    order.interactions_per_s = json_int(c->body, "interactions_per_s", 0);
    if (events < 0 || interactions < 0 || guilds < 0 || in_flight < 0 || order.events_per_s < 0 ||
        order.interactions_per_s < 0) {
        admin_refuse(c, 400, "numbers must not be negative");
        return;
    }
    if (!traffic_read_mix(json_object_get(c->body, "mix"), order.weights)) {
        admin_refuse(c, 400, "mix: unknown kind, or a weight that is no number");
        return;
    }
    order.events = (uint64_t)events;
    order.interactions = (uint64_t)interactions;
    order.guilds = (size_t)guilds;
    order.in_flight = (uint64_t)in_flight;
    traffic_start(c->s->traffic, &order);
    on_admin_traffic(c);
}

void on_admin_traffic(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    traffic_describe(c->s->traffic, &o);
    admin_answer(c, 200, &o);
}

void on_admin_stop_traffic(struct admin_call *c)
{
    traffic_stop(c->s->traffic);
    on_admin_traffic(c);
}

/* ---- the record ---- */

static void add_event_lines(struct admin_call *c, struct out *o, uint64_t guild, const char *type)
{
    uint64_t after = admin_query(c, "after", 0), limit = admin_query(c, "limit", UINT64_MAX);
    const struct record_event *e;

    for (uint64_t n = after + 1; limit && (e = record_get(c->s->record, n)); n++) {
        const char *name = e->name ? e->name : event_type_name(e->type);
        if ((guild && e->guild_id != guild) || (type && strcmp(type, name) != 0))
            continue;
        record_line(e, o);
        limit--;
    }
}

static void add_interaction_lines(struct admin_call *c, struct out *o, uint64_t guild)
{
    uint64_t after = admin_query(c, "after", 0), limit = admin_query(c, "limit", UINT64_MAX);
    const struct interaction *i;

    for (uint64_t n = after + 1; limit && (i = interactions_get(c->s->interactions, n)); n++) {
        if (guild && i->guild_id != guild)
            continue;
        interaction_line(i, o);
        limit--;
    }
}

static void add_call_lines(struct admin_call *c, struct out *o)
{
    uint64_t after = admin_query(c, "after", 0), limit = admin_query(c, "limit", UINT64_MAX);
    const struct call *call;

    for (uint64_t n = after + 1; limit && (call = calls_get(c->s->calls, n)); n++, limit--)
        call_line(call, o);
}

static void add_arrival_lines(struct admin_call *c, struct out *o)
{
    uint64_t after = admin_query(c, "after", 0), limit = admin_query(c, "limit", UINT64_MAX);
    const struct arrival *a;

    for (uint64_t n = after + 1; limit && (a = arrivals_get(c->s->arrivals, n)); n++, limit--)
        arrival_line(a, o);
}

/* kind: event, interaction, call, arrival, or the type of an event; all events and interactions without. after and
 * limit count within a kind. */
void on_admin_record(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const char *kind = http_query(c->x, "kind");
    uint64_t guild = admin_query(c, "guild", 0);
    bool interactions = !kind || !strcmp(kind, "interaction");
    bool events = !kind || !strcmp(kind, "event");
    bool calls = kind && !strcmp(kind, "call"), arrivals = kind && !strcmp(kind, "arrival");

    out_text(&o, "");
    if (calls)
        add_call_lines(c, &o);
    else if (arrivals)
        add_arrival_lines(c, &o);
    else if (events || !interactions)
        add_event_lines(c, &o, guild, events ? NULL : kind);
    if (interactions)
        add_interaction_lines(c, &o, guild);
    http_respond(c->x, 200, "application/x-ndjson", o.text, o.size);
}

/* ---- the gateway ---- */

void on_admin_sessions(struct admin_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_text(&o, "{\"counts\":");
    add_gateway_counts(c->s, &o);
    out_text(&o, ",\"sessions\":");
    gateway_describe(c->s->gateway, &o);
    out_text(&o, "}");
    admin_answer(c, 200, &o);
}
