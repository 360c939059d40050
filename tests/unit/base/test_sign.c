#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sign.h"
#include "base/xmem.h"

/* RFC 8032 §7.1. The message is split into timestamp and body where it has text for both. */
static const struct vector {
    const char *seed, *public_key, *message, *signature;
} vectors[] = {
    { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
      "d25bf5f0595bbe24655141438e7a100b" },
    { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
      "387b2eaeb4302aeeb00d291612bb0c00" },
    { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
      "4a7c15e9716ed28dc027beceea1ec40a" },
};

static void test_the_vectors_of_rfc_8032_hold(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        CLEANUP(sign_key_free) struct sign_key *private_key = NULL, *public_key = NULL;
        uint8_t seed[32], message[8];
        char hex[129], public_hex[65];
        size_t size = strlen(v->message) / 2;

        assert_true(sign_unhex(v->seed, seed, sizeof(seed)));
        assert_true(sign_unhex(v->message, message, size));
        assert_int_equal(sign_private_key_new(seed, &private_key, NULL), STATUS_OK);
        assert_int_equal(sign_public_key_new(v->public_key, &public_key, NULL), STATUS_OK);
        sign_public_hex(private_key, public_hex);
        assert_string_equal(public_hex, v->public_key);
        assert_int_equal(sign_make(private_key, "", message, size, hex, NULL), STATUS_OK);
        assert_string_equal(hex, v->signature);
        assert_true(sign_verify(public_key, v->signature, "", message, size));
        assert_int_equal(sign_make(public_key, "", message, size, hex, NULL), STATUS_INVALID);
    }
}

static const uint8_t test_seed[32] = { 1, 2, 3 };

static void test_timestamp_and_body_are_both_signed(void **state UNUSED)
{
    CLEANUP(sign_key_free) struct sign_key *key = NULL;
    CLEANUP(xfree) char *large = xcalloc(1, 100000);
    char hex[129];

    assert_int_equal(sign_private_key_new(test_seed, &key, NULL), STATUS_OK);
    assert_int_equal(sign_make(key, "1700000000", "{}", 2, hex, NULL), STATUS_OK);
    assert_true(sign_verify(key, hex, "1700000000", "{}", 2));
    assert_false(sign_verify(key, hex, "1700000001", "{}", 2));
    assert_false(sign_verify(key, hex, "1700000000", "{]", 2));
    assert_false(sign_verify(key, hex, "1700000000", "{} ", 3));
    assert_false(sign_verify(key, hex, NULL, "{}", 2));

    assert_int_equal(sign_make(key, "1", large, 100000, hex, NULL), STATUS_OK);
    assert_true(sign_verify(key, hex, "1", large, 100000));
    large[99999] = 1;
    assert_false(sign_verify(key, hex, "1", large, 100000));
}

static void test_signatures_of_another_form_are_refused(void **state UNUSED)
{
    CLEANUP(sign_key_free) struct sign_key *key = NULL;
    char hex[129], longer[132], other[129];

    assert_int_equal(sign_private_key_new(test_seed, &key, NULL), STATUS_OK);
    assert_int_equal(sign_make(key, "1", "x", 1, hex, NULL), STATUS_OK);
    assert_false(sign_verify(key, NULL, "1", "x", 1));
    assert_false(sign_verify(key, "", "1", "x", 1));
    (void)snprintf(longer, sizeof(longer), "%s0", hex);
    assert_false(sign_verify(key, longer, "1", "x", 1));
    (void)snprintf(longer, sizeof(longer), "%s00", hex);
    assert_false(sign_verify(key, longer, "1", "x", 1));
    for (size_t cut = 0; cut < 128; cut += 2) {
        memcpy(other, hex, sizeof(other));
        other[cut] = '\0';
        assert_false(sign_verify(key, other, "1", "x", 1));
        memcpy(other, hex, sizeof(other));
        other[cut] = 'g';
        assert_false(sign_verify(key, other, "1", "x", 1));
        memcpy(other, hex, sizeof(other));
        other[cut] = other[cut] == '0' ? '1' : '0';
        assert_false(sign_verify(key, other, "1", "x", 1));
    }
}

static void test_keys_of_another_form_are_refused(void **state UNUSED)
{
    struct sign_key *key = NULL;

    assert_int_equal(sign_public_key_new("", &key, NULL), STATUS_INVALID);
    assert_int_equal(sign_public_key_new("00", &key, NULL), STATUS_INVALID);
    assert_int_equal(
        sign_public_key_new("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511", &key,
                            NULL),
        STATUS_INVALID);
    assert_null(key);
}

static void test_hashes_are_what_their_standards_say(void **state UNUSED)
{
    uint8_t hash[32];
    char hex[65];

    sign_sha256("abc", 3, hash); /* FIPS 180-2 */
    sign_hex(hash, sizeof(hash), hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    /* RFC 4231 §4.3 */
    sign_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, hash);
    sign_hex(hash, sizeof(hash), hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_true(sign_equal("abc", "abc", 3));
    assert_false(sign_equal("abc", "abd", 3));
}

static void test_base64url_is_exact_both_ways(void **state UNUSED)
{
    static const char *const pairs[][2] = { { "", "" },           { "f", "Zg" },
                                            { "fo", "Zm8" },      { "foo", "Zm9v" },
                                            { "foob", "Zm9vYg" }, { "\xff\xfe\xfd", "__79" } };
    static const char *const bad[] = { "Z", "Zg==", "Zh", "Zm9", "Z g", "Zm+v", "Zm9v\n" };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        CLEANUP(xfree) char *text = sign_base64url(pairs[i][0], strlen(pairs[i][0]));
        size_t size = 99;
        CLEANUP(xfree) char *back = sign_unbase64url(text, &size);
        assert_string_equal(text, pairs[i][1]);
        assert_int_equal(size, strlen(pairs[i][0]));
        assert_string_equal(back, pairs[i][0]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t size;
        if (sign_unbase64url(bad[i], &size))
            fail_msg("taken: %s", bad[i]);
    }
}

static void test_what_is_sealed_opens_with_its_key_and_purpose_only(void **state UNUSED)
{
    static const uint8_t key[32] = { 7 }, other_key[32] = { 8 };
    CLEANUP(xfree) char *sealed = sign_seal(key, "session", "hello", 5);
    CLEANUP(xfree) char *again = sign_seal(key, "session", "hello", 5);
    size_t size;
    CLEANUP(xfree) char *opened = sign_open(key, "session", sealed, &size);

    assert_non_null(opened);
    assert_int_equal(size, 5);
    assert_string_equal(opened, "hello");
    assert_string_not_equal(sealed, again);
    assert_null(sign_open(other_key, "session", sealed, &size));
    assert_null(sign_open(key, "login", sealed, &size));
    assert_null(sign_open(key, "session", "", &size));
    assert_null(sign_open(key, "session", "AAAA", &size));
    assert_null(sign_open(key, "session", "not base64url!", &size));
    for (size_t i = 0; sealed[i]; i++) {
        char was = sealed[i];
        sealed[i] = was == 'A' ? 'B' : 'A';
        assert_null(sign_open(key, "session", sealed, &size));
        sealed[i] = '\0';
        assert_null(sign_open(key, "session", sealed, &size));
        sealed[i] = was;
    }

    CLEANUP(xfree) char *nothing = sign_seal(key, "p", "", 0);
    CLEANUP(xfree) char *empty = sign_open(key, "p", nothing, &size);
    assert_non_null(empty);
    assert_int_equal(size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_vectors_of_rfc_8032_hold),
        cmocka_unit_test(test_timestamp_and_body_are_both_signed),
        cmocka_unit_test(test_signatures_of_another_form_are_refused),
        cmocka_unit_test(test_keys_of_another_form_are_refused),
        cmocka_unit_test(test_hashes_are_what_their_standards_say),
        cmocka_unit_test(test_base64url_is_exact_both_ways),
        cmocka_unit_test(test_what_is_sealed_opens_with_its_key_and_purpose_only),
    };
    return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
