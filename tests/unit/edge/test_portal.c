/* needs: nats
 *
 * The real guildbus-edge, visited as a browser visits it. */
#include "edge_world.h"

/* The visitor's browser: it keeps both cookies. */
struct browser {
    char session[2048], login[2048];
    const char *headers[8];
    char cookie[4200];
};

static const char **with_cookies(struct browser *b, const char *extra)
{
    size_t n = 0;

    snprintf(b->cookie, sizeof(b->cookie), "Cookie: %s%s%s", b->session,
             *b->session && *b->login ? "; " : "", b->login);
    b->headers[n++] = b->cookie;
    if (extra)
        b->headers[n++] = extra;
    b->headers[n] = NULL;
    return b->headers;
}

/* name=value of a Set-Cookie line; "" once it is cleared. */
static void keep_cookie(struct browser *b, const struct answer *a)
{
    const char *line = answer_header(a, "set-cookie");
    char *into = strncmp(line, "guildbus-login=", 15) == 0 ? b->login : b->session;

    if (!*line)
        return;
    if (strstr(line, "Max-Age=0"))
        into[0] = '\0';
    else
        snprintf(into, sizeof(b->session), "%.*s", (int)strcspn(line, ";"), line);
}

static void get(struct browser *b, struct answer *a, const char *path)
{
    fetch(a, "GET", path, with_cookies(b, NULL), NULL, 0);
    keep_cookie(b, a);
}

static void post_form(struct browser *b, struct answer *a, const char *path, const char *form)
{
    fetch(a, "POST", path, with_cookies(b, "Content-Type: application/x-www-form-urlencoded"), form,
          strlen(form));
    keep_cookie(b, a);
}

/* What stands between before and the next quote. */
static char *value_after(const char *text, const char *before)
{
    const char *at = strstr(text, before);

    if (!at)
        fail_msg("no %s in %.300s", before, text);
    at += strlen(before);
    return strndup(at, strcspn(at, "\"&"));
}

/* Goes to Discord and comes back with code; a is the callback's answer. */
static void log_in_with(struct browser *b, struct answer *a, const char *next, const char *code)
{
    CLEANUP(xfree) char *path = xasprintf("/login?next=%s", next);
    struct answer begun;

    get(b, &begun, path);
    assert_int_equal(begun.code, 303);
    CLEANUP(xfree) char *state = value_after(answer_header(&begun, "location"), "state=");
    CLEANUP(xfree) char *back = xasprintf("/oauth/callback?code=%s&state=%s", code, state);
    answer_release(&begun);
    get(b, a, back);
}

static void log_in(struct browser *b)
{
    struct answer a;

    log_in_with(b, &a, "/guilds", CODE);
    assert_int_equal(a.code, 303);
    assert_true(*b->session);
    answer_release(&a);
}

static void assert_contains(const struct answer *a, const char *what)
{
    if (!strstr(a->body, what))
        fail_msg("no \"%s\" in:\n%s", what, a->body);
}

static void assert_page(struct browser *b, const char *path, int code, const char *what)
{
    struct answer a;

    get(b, &a, path);
    if (a.code != code)
        fail_msg("%s: %d, not %d", path, a.code, code);
    assert_contains(&a, what);
    answer_release(&a);
}

static void assert_redirect(struct browser *b, const char *path, const char *location)
{
    struct answer a;

    get(b, &a, path);
    assert_int_equal(a.code, 303);
    assert_string_equal(answer_header(&a, "location"), location);
    answer_release(&a);
}

/* --- logging in --- */

static void test_strangers_are_sent_to_log_in_and_back(void **state UNUSED)
{
    struct browser b = { 0 };

    assert_redirect(&b, "/guilds", "/login?next=%2Fguilds");
    assert_redirect(&b, "/guilds/8138?days=7", "/login?next=%2Fguilds%2F8138%3Fdays%3D7");
    assert_redirect(&b, "/guilds/8138/settings", "/login?next=%2Fguilds%2F8138%2Fsettings");
    assert_redirect(&b, "/guilds/8138/activity.json",
                    "/login?next=%2Fguilds%2F8138%2Factivity.json");
    snprintf(b.session, sizeof(b.session), "guildbus=forged");
    assert_redirect(&b, "/guilds", "/login?next=%2Fguilds");
    world_lock();
    assert_int_equal(world.portals, 0);
    world_unlock();
}

static void test_a_login_comes_back_to_where_it_began(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    log_in_with(&b, &a, "/guilds/8138", CODE);
    assert_int_equal(a.code, 303);
    assert_string_equal(answer_header(&a, "location"), "/guilds/8138");
    assert_null(strstr(b.session, TOKEN));
    world_lock();
    assert_non_null(strstr(world.token_form, "grant_type=authorization_code"));
    assert_non_null(strstr(world.token_form, "client_secret=client-secret"));
    assert_non_null(strstr(world.token_form, "code_verifier="));
    world_unlock();
    answer_release(&a);
}

static void test_a_login_never_leads_elsewhere(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    log_in_with(&b, &a, "%2F%2Fevil.example", CODE);
    assert_string_equal(answer_header(&a, "location"), "/guilds");
    answer_release(&a);
}

static void test_the_challenge_fits_the_verifier(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer begun, a;
    uint8_t hash[32];

    get(&b, &begun, "/login");
    const char *location = answer_header(&begun, "location");
    CLEANUP(xfree) char *challenge = value_after(location, "code_challenge=");
    CLEANUP(xfree) char *state_text = value_after(location, "state=");
    CLEANUP(xfree) char *back = xasprintf("/oauth/callback?code=%s&state=%s", CODE, state_text);
    assert_int_equal(strlen(state_text), 32);
    get(&b, &a, back);
    world_lock();
    CLEANUP(xfree) char *verifier = value_after(world.token_form, "code_verifier=");
    world_unlock();
    sign_sha256(verifier, strlen(verifier), hash);
    CLEANUP(xfree) char *expected = sign_base64url(hash, sizeof(hash));
    assert_string_equal(challenge, expected);
    answer_release(&begun);
    answer_release(&a);
}

static void test_a_callback_that_was_not_begun_here_logs_nobody_in(void **state UNUSED)
{
    struct browser b = { 0 }, other = { 0 };
    struct answer a;

    assert_page(&b, "/oauth/callback?code=the-code&state=0123456789abcdef0123456789abcdef", 400,
                "You are not logged in");
    get(&b, &a, "/login");
    answer_release(&a);
    assert_page(&b, "/oauth/callback?code=the-code&state=0123456789abcdef0123456789abcdef", 400,
                "You are not logged in");
    get(&other, &a, "/login");
    CLEANUP(xfree) char *theirs = value_after(answer_header(&a, "location"), "state=");
    CLEANUP(xfree) char *path = xasprintf("/oauth/callback?code=the-code&state=%s", theirs);
    answer_release(&a);
    get(&b, &a, "/login");
    answer_release(&a);
    assert_page(&b, path, 400, "You are not logged in");
    assert_string_equal(b.session, "");
}

static void test_a_state_is_taken_once(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    get(&b, &a, "/login");
    CLEANUP(xfree) char *text = value_after(answer_header(&a, "location"), "state=");
    CLEANUP(xfree) char *path = xasprintf("/oauth/callback?code=the-code&state=%s", text);
    answer_release(&a);
    struct browser replay = b;
    get(&b, &a, path);
    assert_int_equal(a.code, 303);
    answer_release(&a);
    assert_page(&replay, path, 400, "You are not logged in");
    assert_string_equal(replay.session, "");
}

static void test_a_refused_code_logs_nobody_in(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    log_in_with(&b, &a, "/guilds", "wrong");
    assert_int_equal(a.code, 400);
    assert_string_equal(b.session, "");
    assert_string_equal(b.login, "");
    answer_release(&a);
}

static void test_logging_out_ends_it_even_for_a_stolen_cookie(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    log_in(&b);
    get(&b, &a, "/guilds");
    CLEANUP(xfree) char *csrf = value_after(a.body, "name=\"csrf\" value=\"");
    CLEANUP(xfree) char *form = xasprintf("csrf=%s", csrf);
    answer_release(&a);
    struct browser thief = b;
    post_form(&b, &a, "/logout", "csrf=wrong");
    assert_int_equal(a.code, 403);
    answer_release(&a);
    post_form(&b, &a, "/logout", form);
    assert_int_equal(a.code, 303);
    assert_string_equal(b.session, "");
    answer_release(&a);
    /* the token is revoked at Discord in the background */
    for (bool done = false; !done;) {
        world_lock();
        done = world.revocations == 1;
        world_unlock();
        usleep(done ? 0 : 2000);
    }
    assert_redirect(&thief, "/guilds/8138", "/login?next=%2Fguilds%2F8138");
}

/* --- pages --- */

static void test_every_page_is_locked_down(void **state UNUSED)
{
    static const char *const paths[] = {
        "/", "/guilds", "/guilds/8138", "/guilds/8138/settings", "/nowhere", "/guilds/6666"
    };
    struct browser b = { 0 };

    log_in(&b);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct answer a;
        get(&b, &a, paths[i]);
        assert_string_equal(
            answer_header(&a, "content-security-policy"),
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'");
        assert_string_equal(answer_header(&a, "x-content-type-options"), "nosniff");
        assert_string_equal(answer_header(&a, "cache-control"), "no-store");
        assert_string_equal(answer_header(&a, "referrer-policy"), "same-origin");
        assert_string_equal(answer_header(&a, "cross-origin-opener-policy"), "same-origin");
        assert_null(strstr(a.body, "<script"));
        assert_null(strstr(a.body, " style="));
        assert_null(strstr(a.body, TOKEN));
        answer_release(&a);
    }
}

static void test_the_list_shows_where_the_bot_is(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    log_in(&b);
    get(&b, &a, "/guilds");
    assert_int_equal(a.code, 200);
    assert_contains(
        &a,
        "<a href=\"/guilds/8138\"><bdi>&lt;b&gt;Owned &amp; &quot;mine&quot;&lt;/b&gt;</bdi></a>");
    assert_contains(&a, "/guilds/8138/settings");
    assert_contains(&a, "/guilds/5555\"");
    assert_null(strstr(a.body, "/guilds/5555/settings"));
    assert_contains(&a, "<bdi>Unserved</bdi> <span class=\"note\">bot not here");
    assert_null(strstr(a.body, "Plain member"));
    assert_contains(&a, "4242");
    answer_release(&a);
}

static void test_a_guilds_page_plots_its_activity(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    log_in(&b);
    get(&b, &a, "/guilds/8138?days=7");
    assert_int_equal(a.code, 200);
    assert_contains(&a, "<svg class=\"plot\"");
    assert_contains(&a, "<rect class=\"bar\"");
    assert_contains(&a, "<strong data-total=\"42\">42</strong>");
    assert_contains(&a, "<th scope=\"row\">2026-11-23</th><td>30</td>");
    assert_contains(&a, "pod gw-0");
    assert_contains(&a, "&lt;/td&gt;&lt;script&gt;");
    world_lock();
    assert_int_equal(world.actor_id, 31);
    world_unlock();
    answer_release(&a);
}

static void test_activity_comes_as_json_too(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;
    CLEANUP(json_decref) json_t *root = NULL;

    log_in(&b);
    get(&b, &a, "/guilds/8138/activity.json?days=2");
    assert_int_equal(a.code, 200);
    assert_non_null(strstr(answer_header(&a, "content-type"), "application/json"));
    assert_int_equal(json_parse(a.body, strlen(a.body), &root, NULL), STATUS_OK);
    assert_string_equal(json_str(root, "guild_id"), "8138");
    const json_t *days = json_object_get(root, "days");
    assert_int_equal(json_array_size(days), 2);
    assert_int_equal(json_int(json_array_get(days, 1), "messages", 0), 30);
    answer_release(&a);
}

static void test_only_moderators_get_in(void **state UNUSED)
{
    struct browser b = { 0 };

    log_in(&b);
    assert_page(&b, "/guilds/6666", 403, "moderator");
    assert_page(&b, "/guilds/6666/activity.json", 403, "moderator");
    assert_page(&b, "/guilds/6666/settings", 403, "moderator");
    assert_page(&b, "/guilds/7777", 403, "moderator");
    assert_page(&b, "/guilds/5555", 200, "Kicker");
    assert_page(&b, "/guilds/5555/settings", 403, "moderator");
    assert_page(&b, "/guilds/abc", 404, "Not found");
    assert_page(&b, "/guilds/0", 404, "Not found");
}

static void test_a_guild_that_nobody_serves_says_so(void **state UNUSED)
{
    struct browser b = { 0 };

    log_in(&b);
    assert_page(&b, "/guilds/9999", 503, "cannot be reached");
}

static void test_an_owners_refusal_becomes_its_page(void **state UNUSED)
{
    static const struct {
        enum status status;
        int code;
    } cases[] = {
        { STATUS_INVALID, 400 },  { STATUS_DENIED, 403 },  { STATUS_NOT_FOUND, 404 },
        { STATUS_CONFLICT, 409 }, { STATUS_CORRUPT, 500 }, { STATUS_INTERNAL, 500 },
    };
    struct browser b = { 0 };

    log_in(&b);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        world_lock();
        world.refuse = cases[i].status;
        world_unlock();
        assert_page(&b, "/guilds/8138", cases[i].code, "<h1>");
    }
}

static void test_the_guild_list_is_asked_of_discord_once(void **state UNUSED)
{
    struct browser b = { 0 };

    log_in(&b);
    world_lock();
    world.guild_reads = 0;
    world_unlock();
    for (int i = 0; i < 5; i++)
        assert_page(&b, "/guilds/8138", 200, "<svg");
    world_lock();
    assert_int_equal(world.guild_reads, 1);
    world_unlock();
}

/* --- settings --- */

static void test_settings_are_saved_and_shown(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    log_in(&b);
    get(&b, &a, "/guilds/8138/settings");
    assert_int_equal(a.code, 200);
    assert_contains(&a, "name=\"modLog\" value=\"4711\"");
    CLEANUP(xfree) char *csrf = value_after(a.body, "name=\"csrf\" value=\"");
    CLEANUP(xfree) char *request = value_after(a.body, "name=\"request_id\" value=\"");
    CLEANUP(xfree)
    char *form = xasprintf(
        "csrf=%s&request_id=%s&modLog=555&moderator=42&restricted=&deletionLog=", csrf, request);
    answer_release(&a);
    post_form(&b, &a, "/guilds/8138/settings", form);
    assert_int_equal(a.code, 303);
    assert_string_equal(answer_header(&a, "location"), "/guilds/8138/settings?saved=1");
    answer_release(&a);
    world_lock();
    assert_string_equal(world.request_id, request);
    CLEANUP(json_decref) json_t *patch = NULL;
    assert_int_equal(json_parse(world.patch, strlen(world.patch), &patch, NULL), STATUS_OK);
    world_unlock();
    assert_string_equal(json_str(patch, "modLog"), "555");
    assert_true(json_is_null(json_object_get(patch, "restricted")));
    assert_page(&b, "/guilds/8138/settings?saved=1", 200, "role=\"status\">Saved.");
}

/* Posts a form that must not reach the owner. */
static void assert_not_saved(struct browser *b, const char *extra_header, const char *form,
                             int code)
{
    struct answer a;
    const char **headers = with_cookies(b, "Content-Type: application/x-www-form-urlencoded");

    headers[2] = extra_header;
    headers[3] = NULL;
    fetch(&a, "POST", "/guilds/8138/settings", headers, form, strlen(form));
    assert_int_equal(a.code, code);
    world_lock();
    assert_string_equal(world.patch, "");
    world_unlock();
    answer_release(&a);
}

static void test_forms_from_elsewhere_change_nothing(void **state UNUSED)
{
    struct browser b = { 0 }, nobody = { 0 }, other = { 0 };
    struct answer a;

    log_in(&b);
    log_in(&other);
    get(&other, &a, "/guilds/8138/settings");
    CLEANUP(xfree) char *theirs = value_after(a.body, "name=\"csrf\" value=\"");
    CLEANUP(xfree)
    char *borrowed = xasprintf("csrf=%s&request_id=0123456789abcdef&modLog=1", theirs);
    answer_release(&a);
    get(&b, &a, "/guilds/8138/settings");
    CLEANUP(xfree) char *csrf = value_after(a.body, "name=\"csrf\" value=\"");
    CLEANUP(xfree) char *form = xasprintf("csrf=%s&request_id=0123456789abcdef&modLog=1", csrf);
    CLEANUP(xfree)
    char *bad_value = xasprintf("csrf=%s&request_id=0123456789abcdef&modLog=general", csrf);
    CLEANUP(xfree) char *bad_request = xasprintf("csrf=%s&request_id=x&modLog=1", csrf);
    answer_release(&a);

    assert_not_saved(&b, NULL, "request_id=0123456789abcdef&modLog=1", 403);
    assert_not_saved(&b, NULL, borrowed, 403);
    assert_not_saved(&b, "Origin: https://evil.example", form, 403);
    assert_not_saved(&b, "Origin: null", form, 403);
    assert_not_saved(&b, "Sec-Fetch-Site: cross-site", form, 403);
    assert_not_saved(&b, NULL, bad_value, 400);
    assert_not_saved(&b, NULL, bad_request, 400);
    assert_not_saved(&nobody, NULL, form, 303);
}

/* --- files --- */

static void test_the_stylesheet_is_small_and_cached_for_ever(void **state UNUSED)
{
    struct browser b = { 0 };
    struct answer a;

    get(&b, &a, "/");
    CLEANUP(xfree) char *path = value_after(a.body, "rel=\"stylesheet\" href=\"");
    answer_release(&a);
    get(&b, &a, path);
    assert_int_equal(a.code, 200);
    assert_non_null(strstr(answer_header(&a, "content-type"), "text/css"));
    assert_non_null(strstr(answer_header(&a, "cache-control"), "immutable"));
    assert_in_range(strlen(a.body), 500, 10 * 1024);
    CLEANUP(xfree) char *known = xasprintf("If-None-Match: %s", answer_header(&a, "etag"));
    const char *headers[] = { known, NULL };
    answer_release(&a);
    fetch(&a, "GET", path, headers, NULL, 0);
    assert_int_equal(a.code, 304);
    assert_string_equal(a.body, "");
    answer_release(&a);
    assert_page(&b, "/assets/0000000000000000-style.css", 404, "Not found");
    assert_page(&b, "/assets/..%2Fmain.c", 404, "Not found");
}

#define EACH(test) cmocka_unit_test_setup(test, calm_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_strangers_are_sent_to_log_in_and_back),
        EACH(test_a_login_comes_back_to_where_it_began),
        EACH(test_a_login_never_leads_elsewhere),
        EACH(test_the_challenge_fits_the_verifier),
        EACH(test_a_callback_that_was_not_begun_here_logs_nobody_in),
        EACH(test_a_state_is_taken_once),
        EACH(test_a_refused_code_logs_nobody_in),
        EACH(test_logging_out_ends_it_even_for_a_stolen_cookie),
        EACH(test_every_page_is_locked_down),
        EACH(test_the_list_shows_where_the_bot_is),
        EACH(test_a_guilds_page_plots_its_activity),
        EACH(test_activity_comes_as_json_too),
        EACH(test_only_moderators_get_in),
        EACH(test_a_guild_that_nobody_serves_says_so),
        EACH(test_an_owners_refusal_becomes_its_page),
        EACH(test_the_guild_list_is_asked_of_discord_once),
        EACH(test_settings_are_saved_and_shown),
        EACH(test_forms_from_elsewhere_change_nothing),
        EACH(test_the_stylesheet_is_small_and_cached_for_ever),
    };
    return cmocka_run_group_tests_name("portal", tests, start_world, stop_world);
}
