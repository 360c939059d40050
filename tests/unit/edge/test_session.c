#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/sign.h"
#include "edge/session.h"

static const char SECRET[] = "0123456789abcdef0123456789abcdef";
enum { NOW = 1900000000 };

static struct session example(void)
{
    return (struct session){ .id = "00112233445566778899aabbccddeeff",
                             .user_id = 8138,
                             .name = "<b>Ann \xC3\xA4\"</b>",
                             .token = "mfa.secret-token",
                             .issued_s = NOW,
                             .seen_s = NOW,
                             .expires_s = NOW + SESSION_LIFE_S };
}

/* The value of a Set-Cookie line, malloc'd. */
static char *value_of(const char *set_cookie)
{
    const char *value = strchr(set_cookie, '=') + 1;

    return strndup(value, strcspn(value, ";"));
}

static bool opens(const struct session_keys *keys, const char *value, int64_t now_s)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session s;

    return session_open(keys, value, now_s, a, &s);
}

static void test_a_session_comes_back_as_it_was(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session_keys keys;
    struct session in = example(), out;

    session_keys_init(&keys, SECRET, true);
    char *value = value_of(session_seal(&keys, &in, a));
    assert_true(session_open(&keys, value, NOW + 1, a, &out));
    assert_string_equal(out.id, in.id);
    assert_int_equal(out.user_id, in.user_id);
    assert_string_equal(out.name, in.name);
    assert_string_equal(out.token, in.token);
    assert_int_equal(out.expires_s, in.expires_s);
    free(value);
}

static void test_the_cookie_hides_the_token_and_is_locked_down(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session_keys keys;
    struct session s = example();

    session_keys_init(&keys, SECRET, true);
    const char *cookie = session_seal(&keys, &s, a);
    assert_null(strstr(cookie, "secret-token"));
    assert_int_equal(strncmp(cookie, "__Host-guildbus=", 16), 0);
    assert_non_null(strstr(cookie, "; Path=/"));
    assert_non_null(strstr(cookie, "; HttpOnly"));
    assert_non_null(strstr(cookie, "; SameSite=Lax"));
    assert_non_null(strstr(cookie, "; Secure"));
    assert_null(strstr(cookie, "Domain"));
    session_keys_init(&keys, SECRET, false);
    assert_null(strstr(session_seal(&keys, &s, a), "Secure"));
}

static void test_a_forged_or_damaged_cookie_opens_nothing(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session_keys keys;
    struct session s = example();

    session_keys_init(&keys, SECRET, true);
    char *value = value_of(session_seal(&keys, &s, a));
    assert_true(opens(&keys, value, NOW));
    size_t size = strlen(value);
    for (size_t i = 0; i < size; i++) {
        char was = value[i];
        value[i] = was == 'A' ? 'B' : 'A';
        /* the last character holds bits that base64 does not use; all others count */
        if (i + 1 < size)
            assert_false(opens(&keys, value, NOW));
        value[i] = was;
    }
    value[size - 5] = '\0';
    assert_false(opens(&keys, value, NOW));
    assert_false(opens(&keys, "", NOW));
    assert_false(opens(&keys, NULL, NOW));
    assert_false(opens(&keys, "not base64url!", NOW));
    free(value);
}

static void test_another_key_or_purpose_opens_nothing(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session_keys keys, others;
    struct session s = example();
    struct login l;

    session_keys_init(&keys, SECRET, true);
    session_keys_init(&others, "another secret that is long enough", true);
    char *value = value_of(session_seal(&keys, &s, a));
    assert_false(opens(&others, value, NOW));
    assert_false(login_open(&keys, value, NOW, a, &l));
    free(value);
}

static void test_a_session_ends(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session_keys keys;
    struct session s = example();

    session_keys_init(&keys, SECRET, true);
    char *value = value_of(session_seal(&keys, &s, a));
    assert_true(opens(&keys, value, NOW + SESSION_IDLE_S - 1));
    assert_false(opens(&keys, value, NOW + SESSION_IDLE_S));
    free(value);

    s.seen_s = NOW + SESSION_LIFE_S - 10; /* used all the time */
    value = value_of(session_seal(&keys, &s, a));
    assert_true(opens(&keys, value, NOW + SESSION_LIFE_S - 1));
    assert_false(opens(&keys, value, NOW + SESSION_LIFE_S));
    free(value);

    s = example();
    s.expires_s = NOW + 60; /* as long as Discord's token */
    value = value_of(session_seal(&keys, &s, a));
    assert_true(opens(&keys, value, NOW + 59));
    assert_false(opens(&keys, value, NOW + 60));
    free(value);
}

static void test_a_cookie_that_browsers_would_drop_is_not_made(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session_keys keys;
    struct session s = example();
    char name[4000];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    s.name = name;
    session_keys_init(&keys, SECRET, true);
    assert_null(session_seal(&keys, &s, a));
}

static void test_form_tokens_belong_to_their_session(void **state UNUSED)
{
    struct session_keys keys, others;
    struct session s = example(), other = example();
    char token[CSRF_SIZE];

    session_keys_init(&keys, SECRET, true);
    session_keys_init(&others, "another secret that is long enough", true);
    session_csrf(&keys, &s, token);
    assert_true(session_csrf_fits(&keys, &s, token));
    other.id[0] = 'f';
    assert_false(session_csrf_fits(&keys, &other, token));
    assert_false(session_csrf_fits(&others, &s, token));
    assert_false(session_csrf_fits(&keys, &s, NULL));
    assert_false(session_csrf_fits(&keys, &s, ""));
    token[3] ^= 1;
    assert_false(session_csrf_fits(&keys, &s, token));
}

static void test_a_login_lives_ten_minutes_and_leads_home(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct session_keys keys;
    struct login out, in = { .next = "/guilds/8138", .issued_s = NOW };

    memset(in.state, 'a', sizeof(in.state) - 1);
    memset(in.verifier, 'b', sizeof(in.verifier) - 1);
    session_keys_init(&keys, SECRET, false);
    char *value = value_of(login_seal(&keys, &in, a));
    assert_true(login_open(&keys, value, NOW + LOGIN_LIFE_S - 1, a, &out));
    assert_string_equal(out.state, in.state);
    assert_string_equal(out.verifier, in.verifier);
    assert_string_equal(out.next, in.next);
    assert_false(login_open(&keys, value, NOW + LOGIN_LIFE_S, a, &out));
    free(value);

    in.next = "//evil.example"; /* sealed or not, it is looked at again */
    value = value_of(login_seal(&keys, &in, a));
    assert_false(login_open(&keys, value, NOW, a, &out));
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_comes_back_as_it_was),
        cmocka_unit_test(test_the_cookie_hides_the_token_and_is_locked_down),
        cmocka_unit_test(test_a_forged_or_damaged_cookie_opens_nothing),
        cmocka_unit_test(test_another_key_or_purpose_opens_nothing),
        cmocka_unit_test(test_a_session_ends),
        cmocka_unit_test(test_a_cookie_that_browsers_would_drop_is_not_made),
        cmocka_unit_test(test_form_tokens_belong_to_their_session),
        cmocka_unit_test(test_a_login_lives_ten_minutes_and_leads_home),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
