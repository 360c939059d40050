/* The settings of a guild: their form, and saving it. */
#include "edge/settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "edge/login.h"
#include "edge/portal.h"
#include "edge/query.h"

/* --- values --- */

bool settings_check(struct settings_page *page)
{
    bool good = true;
    uint64_t id;

    for (int i = 0; i < SETTINGS_COUNT; i++) {
        page->wrong[i] = page->values[i] && *page->values[i] && !id_parse(page->values[i], &id);
        good = good && !page->wrong[i];
    }
    return good;
}

char *settings_patch(const struct settings_page *page, struct arena *a)
{
    CLEANUP(json_decref) json_t *patch = json_object();

    for (int i = 0; i < SETTINGS_COUNT; i++)
        if (page->values[i])
            json_object_set_new(patch, settings_list[i].key,
                                *page->values[i] ? json_string(page->values[i]) : json_null());
    char *text = json_text(patch);
    char *copy = arena_printf(a, "%s", text);
    free(text);
    return copy;
}

bool settings_read(const char *json, struct arena *a, struct settings_page *page)
{
    CLEANUP(json_decref) json_t *root = NULL;

    if (json_parse(json, strlen(json), &root, NULL) != STATUS_OK || !json_is_object(root))
        return false;
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        page->values[i] = arena_printf(a, "%s", json_str(root, settings_list[i].key));
        if (!page->values[i])
            return false;
    }
    return true;
}

bool settings_request_id_fits(const char *text)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t size = strlen(text);

    return size >= 16 && size <= 64 && strspn(text, allowed) == size;
}

/* --- the form --- */

static void show_form(struct visit *v, int code, struct settings_page *page)
{
    struct html h = { 0 };
    char csrf[CSRF_SIZE], request_id[33];
    uint8_t random[16];

    session_csrf(&v->edge->keys, &v->session, csrf);
    if (!page->request_id) {
        sign_random(random, sizeof(random));
        sign_hex(random, sizeof(random), request_id);
        page->request_id = request_id;
    }
    page->guild_id = v->guild->guild_id;
    page->name = v->guild->name;
    page_settings(&h, &(struct page_frame){ "Settings", v->session.name, csrf }, page);
    visit_respond_page(v, code, &h);
    page->request_id = NULL; /* it may have been ours */
}

static void on_settings(void *ctx, enum status status, const Guildbus__V1__PortalReply *reply)
{
    struct visit *v = ctx;
    struct settings_page page = { .is_saved = http_query(v->x, "saved") != NULL };

    if (status != STATUS_OK)
        visit_fail(v, status);
    else if (!settings_read(reply->settings->settings_json, v->arena, &page))
        visit_fail(v, STATUS_CORRUPT);
    else
        show_form(v, 200, &page);
}

void portal_settings(struct visit *v)
{
    Guildbus__V1__SettingsQuery settings;
    Guildbus__V1__PortalRequest request;
    const struct query q = { .guild_id = v->guild->guild_id,
                             .ask = &request,
                             .want = GUILDBUS__V1__PORTAL_REPLY__REPLY_SETTINGS,
                             .timeout_ms = QUERY_TIMEOUT_MS,
                             .on_done = on_settings,
                             .ctx = v };

    guildbus__v1__settings_query__init(&settings);
    guildbus__v1__portal_request__init(&request);
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_SETTINGS;
    request.settings = &settings;
    if (!query_start(v, &q))
        visit_fail(v, STATUS_INTERNAL);
}

/* --- saving --- */

static void on_saved(void *ctx, enum status status, const Guildbus__V1__PortalReply *reply UNUSED)
{
    struct visit *v = ctx;
    char *location =
        arena_printf(v->arena, "/guilds/%" PRIu64 "/settings?saved=1", v->guild->guild_id);

    log_set_trace(v->traceparent);
    log_info("settings_saved", "guild=%" PRIu64 " actor=%" PRIu64 " status=%s", v->guild->guild_id,
             v->session.user_id, status_name(status));
    log_set_trace(NULL);
    if (status != STATUS_OK)
        visit_fail(v, status);
    else
        visit_redirect(v, location ? location : "/guilds");
}

static void start_saving(struct visit *v, const struct settings_page *page)
{
    Guildbus__V1__SettingsChange change;
    Guildbus__V1__PortalRequest request;
    const struct query q = { .guild_id = v->guild->guild_id,
                             .ask = &request,
                             .want = GUILDBUS__V1__PORTAL_REPLY__REPLY_SETTINGS,
                             .timeout_ms = QUERY_TIMEOUT_MS,
                             .on_done = on_saved,
                             .ctx = v };

    guildbus__v1__settings_change__init(&change);
    guildbus__v1__portal_request__init(&request);
    change.patch_json = settings_patch(page, v->arena);
    request.request_id = mutable_text(page->request_id);
    request.query_case = GUILDBUS__V1__PORTAL_REQUEST__QUERY_CHANGE_SETTINGS;
    request.change_settings = &change;
    if (!change.patch_json || !query_start(v, &q))
        visit_fail(v, STATUS_INTERNAL);
}

void portal_save_settings(struct visit *v)
{
    struct settings_page page = { .request_id = http_form(v->x, "request_id") };

    for (int i = 0; i < SETTINGS_COUNT; i++)
        page.values[i] = http_form(v->x, settings_list[i].key);
    if (!login_is_own_form(v))
        visit_problem(
            v, 403, "Nothing was saved",
            "The form was not sent by our page, or you logged in anew since. Please open the "
            "settings again.");
    else if (!page.request_id || !settings_request_id_fits(page.request_id))
        visit_fail(v, STATUS_INVALID);
    else if (!settings_check(&page))
        show_form(v, 400, &page);
    else
        start_saving(v, &page);
}
