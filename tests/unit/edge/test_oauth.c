#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "edge/oauth.h"

static const struct oauth_client client = { "https://discord.com/api/v10", "42", "s&cret",
                                            "https://portal.example/oauth/callback" };

static void test_the_visitor_agrees_at_discords_origin(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    /* RFC 7636, appendix B */
    const char *url =
        oauth_authorize_url(&client, "state1", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", a);

    assert_int_equal(strncmp(url, "https://discord.com/oauth2/authorize?", 37), 0);
    assert_non_null(strstr(url, "&client_id=42&scope=identify%20guilds&state=state1&"));
    assert_non_null(strstr(url, "redirect_uri=https%3A%2F%2Fportal.example%2Foauth%2Fcallback"));
    assert_non_null(strstr(url, "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
    assert_non_null(strstr(url, "code_challenge_method=S256"));
    assert_null(strstr(url, "cret"));
}

static void test_origins(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);

    assert_string_equal(url_origin("http://127.0.0.1:8123/api/v10", a), "http://127.0.0.1:8123");
    assert_string_equal(url_origin("https://discord.com", a), "https://discord.com");
    assert_string_equal(url_origin("https://h?x=/", a), "https://h");
    assert_string_equal(url_browser_origin("https://Portal.Example:443/", a),
                        "https://portal.example");
    assert_string_equal(url_browser_origin("http://portal.example:80", a), "http://portal.example");
    assert_string_equal(url_browser_origin("https://portal.example:80", a),
                        "https://portal.example:80");
    assert_string_equal(url_browser_origin("http://127.0.0.1:8080", a), "http://127.0.0.1:8080");
}

static void test_form_values_are_encoded(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    const char *form = oauth_token_form(&client, "a&code=b", "verifier", a);

    assert_non_null(strstr(form, "&code=a%26code%3Db&"));
    assert_non_null(strstr(form, "&client_secret=s%26cret&"));
    assert_non_null(strstr(form, "&code_verifier=verifier"));
}

static enum status read_token(const char *json, struct arena *a, struct oauth_token *token)
{
    return oauth_token_read(json, strlen(json), a, token, NULL);
}

static void test_only_a_bearer_token_is_taken(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct oauth_token t;

    assert_int_equal(
        read_token("{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_in\":604800}", a,
                   &t),
        STATUS_OK);
    assert_string_equal(t.token, "abc");
    assert_int_equal(t.life_s, 604800);
    assert_int_equal(
        read_token("{\"access_token\":\"a\\r\\nb\",\"token_type\":\"Bearer\",\"expires_in\":1}", a,
                   &t),
        STATUS_INVALID);
    assert_int_equal(
        read_token("{\"access_token\":\"\",\"token_type\":\"Bearer\",\"expires_in\":1}", a, &t),
        STATUS_INVALID);
    assert_int_equal(
        read_token("{\"access_token\":\"abc\",\"token_type\":\"Bot\",\"expires_in\":1}", a, &t),
        STATUS_INVALID);
    assert_int_equal(read_token("{\"access_token\":\"abc\",\"token_type\":\"Bearer\"}", a, &t),
                     STATUS_INVALID);
    assert_int_equal(read_token("[]", a, &t), STATUS_INVALID);
    assert_int_equal(read_token("", a, &t), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_visitor_agrees_at_discords_origin),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_form_values_are_encoded),
        cmocka_unit_test(test_only_a_bearer_token_is_taken),
    };
    return cmocka_run_group_tests_name("oauth", tests, NULL, NULL);
}
