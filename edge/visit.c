/* The answers to one request; every way out of the edge passes here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "edge/edge.h"
#include "edge/pages/pages.h"

#define ANSWERS(class)                                                                             \
    METRIC_COUNTER_L("guildbus_edge_http_answers_total", "HTTP answers by class",                  \
                     "class=\"" class "\"")
static struct metric good = ANSWERS("2xx"), moved = ANSWERS("3xx"), theirs = ANSWERS("4xx"),
                     ours = ANSWERS("5xx");
static struct metric page_time = METRIC_HISTOGRAM("guildbus_edge_portal_seconds",
                                                  "from a portal request's arrival to its answer");
static struct metric in_flight =
    METRIC_GAUGE("guildbus_edge_in_flight", "requests not yet answered");

int64_t edge_now_s(void)
{
    return clock_wall_ms() / 1000;
}

static void count_answer(const struct visit *v, int code)
{
    metric_add(code < 300 ? &good : code < 400 ? &moved : code < 500 ? &theirs : &ours, 1);
    if (!v->is_webhook)
        metric_observe_us(&page_time, clock_now_us() - v->arrived_us);
    metric_set(&in_flight, (int64_t)v->edge->visits);
}

void visit_respond(struct visit *v, int code, const char *type, const void *body, size_t size)
{
    v->edge->visits--;
    count_answer(v, code);
    http_answer_header(v->x, "x-content-type-options", "nosniff");
    if (!v->is_webhook) {
        /* The strictest that the pages can live with: own stylesheet, own icon, own forms, no
         * script. */
        http_answer_header(
            v->x, "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'");
        http_answer_header(v->x, "referrer-policy", "same-origin");
        http_answer_header(v->x, "cross-origin-opener-policy", "same-origin");
        http_answer_header(v->x, "cross-origin-resource-policy", "same-origin");
        http_answer_header(v->x, "permissions-policy", "camera=(), geolocation=(), microphone=()");
        if (v->edge->keys.https)
            http_answer_header(v->x, "strict-transport-security", "max-age=31536000");
    }
    http_respond(v->x, code, type, body, size);
}

void visit_respond_json(struct visit *v, int code, const char *json)
{
    if (!v->is_webhook)
        http_answer_header(v->x, "cache-control", "no-store");
    visit_respond(v, code, "application/json", json, strlen(json));
}

void visit_respond_page(struct visit *v, int code, struct html *page)
{
    if (!html_is_whole(page)) {
        log_warn("page_too_large", "route=%d", (int)v->match.route);
        code = 500;
    }
    http_answer_header(v->x, "cache-control", "no-store");
    visit_respond(v, code, "text/html; charset=utf-8", page->bytes.data, page->bytes.size);
    html_release(page);
}

void visit_redirect(struct visit *v, const char *location)
{
    http_answer_header(v->x, "location", location);
    http_answer_header(v->x, "cache-control", "no-store");
    visit_respond(v, 303, NULL, "", 0);
}

static void problem_as_json(struct visit *v, int code, const char *advice)
{
    const char *json = arena_printf(v->arena, "{\"error\":{\"text\":\"%s\"}}", advice);

    visit_respond_json(v, code, json ? json : "{}");
}

void visit_problem(struct visit *v, int code, const char *title, const char *advice)
{
    struct html h = { 0 };
    char csrf[CSRF_SIZE] = "";
    bool known = v->session.user_id != 0;

    if (v->match.route == ROUTE_ACTIVITY) {
        problem_as_json(v, code, advice);
        return;
    }
    if (known)
        session_csrf(&v->edge->keys, &v->session, csrf);
    page_problem(&h, &(struct page_frame){ title, known ? v->session.name : NULL, csrf }, advice);
    visit_respond_page(v, code, &h);
}

void visit_fail(struct visit *v, enum status status)
{
    switch (status) {
    case STATUS_OK:
    case STATUS_CORRUPT:
    case STATUS_INTERNAL:
        visit_problem(v, 500, "Something went wrong",
                      "This is our fault, not yours. Please try again in a minute.");
        return;
    case STATUS_INVALID:
        visit_problem(v, 400, "That did not make sense",
                      "Please go back and check what you entered.");
        return;
    case STATUS_DENIED:
        visit_problem(v, 403, "Not yours to see",
                      "You need to be a moderator of this server to open this page.");
        return;
    case STATUS_NOT_FOUND:
        visit_problem(v, 404, "Not found", "The bot knows nothing of this server.");
        return;
    case STATUS_CONFLICT:
        visit_problem(v, 409, "Somebody else was faster",
                      "Please look again and repeat the change.");
        return;
    case STATUS_BUSY:
        http_answer_header(v->x, "retry-after", "5");
        visit_problem(v, 429, "Too much at once", "Please try again in a few seconds.");
        return;
    case STATUS_TIMEOUT:
        visit_problem(
            v, 504, "No answer",
            "This server did not answer in time. If you were saving, it may or may not be done: "
            "go back and save again, which does no harm.");
        return;
    case STATUS_NOT_OWNER:
    case STATUS_UNAVAILABLE:
        visit_problem(
            v, 503, "This server cannot be reached",
            "The bot does not serve it at the moment. Please try again in a minute; if the bot is "
            "not on this server, invite it first.");
        return;
    }
}

void visit_ask_login(struct visit *v)
{
    const char *query = http_query_raw(v->x);
    char *here = arena_printf(v->arena, "%s%s%s", http_path(v->x), *query ? "?" : "", query);
    char *next = here && path_is_local(here) ? url_encode(v->arena, here) : NULL;
    char *location = next ? arena_printf(v->arena, "/login?next=%s", next) : NULL;

    visit_redirect(v, location ? location : "/login");
}
