#include "edge/portal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "edge/pages/pages.h"
#include "edge/permission.h"
#include "edge/query.h"

enum {
    DEFAULT_DAYS = 30,
    MOST_DAYS = 366,
    REPORTS_SHOWN = 50,
    LIST_AT_ONCE = 32,     /* guilds of one list asked at the same time */
    LIST_TIMEOUT_MS = 500, /* a guild that nobody serves should not hold up the list */
};

void portal_open(struct edge *edge, struct arena *arena)
{
    const struct edge_config *c = edge->config;
    const char *url = c->portal_url;

    if (!edge_has_portal(c)) {
        log_info("portal_off", "why=%s",
                 LOG_QUOTE("DISCORD_CLIENT_SECRET and SESSION_SECRET are not set"));
        return;
    }
    if (!url)
        url = arena_printf(arena, "http://127.0.0.1:%d", http_server_port(edge->server));
    edge->has_portal = true;
    edge->portal_url = url_origin(url, arena);
    edge->portal_origin = url_browser_origin(url, arena);
    session_keys_init(&edge->keys, c->session_secret, strncmp(url, "https://", 8) == 0);
    edge->oauth =
        (struct oauth_client){ c->api_url, c->application_id, c->client_secret,
                               arena_printf(arena, "%s/oauth/callback", edge->portal_url) };
    edge->visitors = visitors_new(edge->loop, edge->http, c->api_url);
}

/* The frame of a page for whoever is logged in; csrf is the caller's. */
static struct page_frame frame_of(struct visit *v, const char *title, char csrf[CSRF_SIZE])
{
    if (!v->session.user_id)
        return (struct page_frame){ .title = title };
    session_csrf(&v->edge->keys, &v->session, csrf);
    return (struct page_frame){ title, v->session.name, csrf };
}

void portal_landing(struct visit *v)
{
    struct html h = { 0 };
    char csrf[CSRF_SIZE];
    struct page_frame frame = frame_of(v, "Moderation", csrf);

    page_landing(&h, &frame);
    visit_respond_page(v, 200, &h);
}

/* --- the list of guilds --- */

struct list {
    struct visit *v;
    struct guild_row *rows;
    size_t count, asked, answered;
};
struct list_item {
    struct list *list;
    struct guild_row *row;
};

static void show_list(struct list *l)
{
    struct html h = { 0 };
    char csrf[CSRF_SIZE];
    struct page_frame frame = frame_of(l->v, "Your servers", csrf);

    page_guilds(&h, &frame, l->rows, l->count);
    visit_respond_page(l->v, 200, &h);
}

static void list_go_on(struct list *l);

static void on_overview(void *ctx, enum status status, const Guildbus__V1__PortalReply *reply)
{
    struct list_item *item = ctx;
    struct list *l = item->list;

    item->row->overview = status == STATUS_OK ? reply->overview : NULL;
    l->answered++;
    list_go_on(l);
}

static void ask_overview(struct list *l, struct guild_row *row)
{
    Guildbus__V1__OverviewQuery overview;
    Guildbus__V1__PortalRequest request;
    struct list_item *item = arena_alloc(l->v->arena, sizeof(*item));

    guildbus__v1__overview_query__init(&overview);
    guildbus__v1__portal_request__init(&request);
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_OVERVIEW;
    request.overview = &overview;
    if (item)
        *item = (struct list_item){ l, row };
    const struct query q = { .guild_id = row->guild->guild_id,
                             .ask = &request,
                             .want = GUILDBUS__V1__PORTAL_REPLY__REPLY_OVERVIEW,
                             .timeout_ms = LIST_TIMEOUT_MS,
                             .on_done = on_overview,
                             .ctx = item };
    if (!item || !query_start(l->v, &q))
        l->answered++; /* shown as not served */
}

static void list_go_on(struct list *l)
{
    while (l->asked < l->count && l->asked - l->answered < LIST_AT_ONCE)
        ask_overview(l, &l->rows[l->asked++]);
    if (l->answered == l->count)
        show_list(l);
}

static bool list_fill(struct list *l, const struct membership *guilds, size_t count)
{
    struct arena *a = l->v->arena;
    struct membership *copies = arena_alloc(a, (count + 1) * sizeof(*copies));

    l->rows = arena_alloc(a, (count + 1) * sizeof(*l->rows));
    if (!copies || !l->rows)
        return false;
    for (size_t i = 0; i < count; i++) {
        copies[i] = guilds[i];
        copies[i].name = arena_printf(a, "%s", guilds[i].name);
        l->rows[i].guild = &copies[i];
        l->rows[i].manages = permission_manages(guilds[i].owner, guilds[i].permissions);
        if (!copies[i].name)
            return false;
    }
    l->count = count;
    return true;
}

static void on_guilds(void *ctx, enum status status, const struct membership *guilds, size_t count)
{
    struct list *l = ctx;

    if (status == STATUS_DENIED) {
        http_answer_header(l->v->x, "set-cookie", session_clear(&l->v->edge->keys));
        visit_ask_login(l->v);
    } else if (status != STATUS_OK) {
        visit_problem(l->v, 503, "Discord does not answer",
                      "We ask Discord for the list of your servers. Please try again in a minute.");
    } else if (!list_fill(l, guilds, count)) {
        visit_fail(l->v, STATUS_INTERNAL);
    } else {
        list_go_on(l);
    }
}

void portal_guilds(struct visit *v)
{
    struct list *l = arena_alloc(v->arena, sizeof(*l));

    if (!l) {
        visit_fail(v, STATUS_INTERNAL);
        return;
    }
    l->v = v;
    visitors_look(v->edge->visitors, &v->session, on_guilds, l);
}

/* --- one guild --- */

struct guild_view {
    struct visit *v;
    struct guild_page page;
    int waiting;
    enum status status; /* the first that was not OK */
};

static unsigned days_wanted(struct visit *v)
{
    const char *text = http_query(v->x, "days");
    uint64_t days;

    if (!text || strlen(text) > 4 || !id_parse(text, &days))
        return DEFAULT_DAYS;
    return days > MOST_DAYS ? MOST_DAYS : (unsigned)days;
}

static void show_guild(struct guild_view *g)
{
    struct html h = { 0 };
    char csrf[CSRF_SIZE];
    struct page_frame frame = frame_of(g->v, g->page.name, csrf);

    if (g->status != STATUS_OK) {
        visit_fail(g->v, g->status);
        return;
    }
    page_guild(&h, &frame, &g->page);
    visit_respond_page(g->v, 200, &h);
}

static void on_part(void *ctx, enum status status, const Guildbus__V1__PortalReply *reply)
{
    struct guild_view *g = ctx;

    if (status != STATUS_OK) {
        if (g->status == STATUS_OK)
            g->status = status;
    } else if (reply->reply_case == GUILDBUS__V1__PORTAL_REPLY__REPLY_OVERVIEW) {
        g->page.overview = reply->overview;
        g->page.pod = reply->pod;
        g->page.epoch = reply->epoch;
    } else if (reply->reply_case == GUILDBUS__V1__PORTAL_REPLY__REPLY_ACTIVITY) {
        g->page.activity = reply->activity;
    } else {
        g->page.reports = reply->reports;
    }
    if (--g->waiting == 0)
        show_guild(g);
}

static void ask_part(struct guild_view *g, const Guildbus__V1__PortalRequest *request,
                     Guildbus__V1__PortalReply__ReplyCase want)
{
    const struct query q = { .guild_id = g->v->guild->guild_id,
                             .ask = request,
                             .want = want,
                             .timeout_ms = QUERY_TIMEOUT_MS,
                             .on_done = on_part,
                             .ctx = g };

    if (query_start(g->v, &q))
        g->waiting++;
    else
        g->status = STATUS_INTERNAL;
}

void portal_guild(struct visit *v)
{
    Guildbus__V1__OverviewQuery overview;
    Guildbus__V1__ActivityQuery activity;
    Guildbus__V1__ReportsQuery reports;
    Guildbus__V1__PortalRequest request;
    struct guild_view *g = arena_alloc(v->arena, sizeof(*g));

    guildbus__v1__overview_query__init(&overview);
    guildbus__v1__activity_query__init(&activity);
    guildbus__v1__reports_query__init(&reports);
    guildbus__v1__portal_request__init(&request);
    if (!g) {
        visit_fail(v, STATUS_INTERNAL);
        return;
    }
    g->v = v;
    g->page =
        (struct guild_page){ .guild_id = v->guild->guild_id,
                             .name = v->guild->name,
                             .manages = permission_manages(v->guild->owner, v->guild->permissions),
                             .days = days_wanted(v) };
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_OVERVIEW;
    request.overview = &overview;
    ask_part(g, &request, GUILDBUS__V1__PORTAL_REPLY__REPLY_OVERVIEW);
    activity.days = g->page.days;
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_ACTIVITY;
    request.activity = &activity;
    ask_part(g, &request, GUILDBUS__V1__PORTAL_REPLY__REPLY_ACTIVITY);
    reports.limit = REPORTS_SHOWN;
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_REPORTS;
    request.reports = &reports;
    ask_part(g, &request, GUILDBUS__V1__PORTAL_REPLY__REPLY_REPORTS);
    if (g->waiting == 0)
        show_guild(g);
}

/* --- activity as JSON --- */

static json_t *day_json(const Guildbus__V1__ActivityDay *d)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "day", d->day, "messages",
                     (json_int_t)d->messages, "words", (json_int_t)d->words, "chars",
                     (json_int_t)d->chars, "authors", (json_int_t)d->authors, "reactions",
                     (json_int_t)d->reactions);
}

static void on_activity(void *ctx, enum status status, const Guildbus__V1__PortalReply *reply)
{
    struct visit *v = ctx;

    if (status != STATUS_OK) {
        visit_fail(v, status);
        return;
    }
    json_t *days = json_array();
    for (size_t i = 0; i < reply->activity->n_days; i++)
        json_array_append_new(days, day_json(reply->activity->days[i]));
    CLEANUP(json_decref)
    json_t *root =
        json_pack("{s:o, s:o}", "guild_id", json_from_id(v->guild->guild_id), "days", days);
    char *text = json_text(root);
    visit_respond_json(v, 200, text);
    free(text);
}

void portal_activity(struct visit *v)
{
    Guildbus__V1__ActivityQuery activity;
    Guildbus__V1__PortalRequest request;
    const struct query q = { .guild_id = v->guild->guild_id,
                             .ask = &request,
                             .want = GUILDBUS__V1__PORTAL_REPLY__REPLY_ACTIVITY,
                             .timeout_ms = QUERY_TIMEOUT_MS,
                             .on_done = on_activity,
                             .ctx = v };

    guildbus__v1__activity_query__init(&activity);
    guildbus__v1__portal_request__init(&request);
    activity.days = days_wanted(v);
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_ACTIVITY;
    request.activity = &activity;
    if (!query_start(v, &q))
        visit_fail(v, STATUS_INTERNAL);
}
