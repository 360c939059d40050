#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/nkey.h"
#include "base/xmem.h"

/* Made by the nats command's `nats auth nkey gen user` and `nats auth nkey show`; nobody uses it. */
static const char seed[] = "SUADQNRLQFAO3DTEII4FSI3EMNIRFTPIAIJGAYV5ENV7NWT5SI6335ZC3M";
static const char public_key[] = "UAHBOPPGKDI2Y7TJVTQIMDA4J3OJFRDNBTWSIWKBB57TTTVDY3QPN3CL";

static void test_the_public_key_is_what_others_make_of_a_seed(void **state UNUSED)
{
    char got[NKEY_PUBLIC_SIZE];

    assert_int_equal(nkey_public(seed, got, NULL), STATUS_OK);
    assert_string_equal(got, public_key);
}

static void test_a_new_key_is_one_of_a_user_and_no_other_one(void **state UNUSED)
{
    char first[NKEY_SEED_SIZE], second[NKEY_SEED_SIZE], got[NKEY_PUBLIC_SIZE];

    nkey_make(first);
    nkey_make(second);
    assert_int_equal(strlen(first), NKEY_SEED_SIZE - 1);
    assert_int_equal(strncmp(first, "SU", 2), 0);
    assert_string_not_equal(first, second);
    assert_int_equal(nkey_public(first, got, NULL), STATUS_OK);
    assert_int_equal(strlen(got), NKEY_PUBLIC_SIZE - 1);
    assert_int_equal(got[0], 'U');
}

/* Each letter matters, the last one's unused bits, too. */
static void test_a_seed_with_another_letter_is_none(void **state UNUSED)
{
    char wrong[sizeof(seed)], got[NKEY_PUBLIC_SIZE];

    for (size_t i = 0; i < sizeof(seed) - 1; i++) {
        for (const char *letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567=a1 "; *letter; letter++) {
            memcpy(wrong, seed, sizeof(seed));
            wrong[i] = *letter;
            assert_int_equal(nkey_public(wrong, got, NULL),
                             *letter == seed[i] ? STATUS_OK : STATUS_INVALID);
        }
    }
}

static void test_what_is_no_seed_is_refused_and_not_shown(void **state UNUSED)
{
    static const char *const wrong[] = {
        "",
        "S",
        public_key,
        "SUADQNRLQFAO3DTEII4FSI3EMNIRFTPIAIJGAYV5ENV7NWT5SI6335ZC3",
        "SUADQNRLQFAO3DTEII4FSI3EMNIRFTPIAIJGAYV5ENV7NWT5SI6335ZC3MA",
        " SUADQNRLQFAO3DTEII4FSI3EMNIRFTPIAIJGAYV5ENV7NWT5SI6335ZC3M",
        /* an account's, made as above */
        "SAALKTIDTIO2OUCEZWRESA2WPHALBUZYUMNXUHNTCSJAF7I2Q6AU64EUAA",
    };
    char got[NKEY_PUBLIC_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct err err = { 0 };
        assert_int_equal(nkey_public(wrong[i], got, &err), STATUS_INVALID);
        assert_null(strstr(err.text, "ADQNRLQ"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_public_key_is_what_others_make_of_a_seed),
        cmocka_unit_test(test_a_new_key_is_one_of_a_user_and_no_other_one),
        cmocka_unit_test(test_a_seed_with_another_letter_is_none),
        cmocka_unit_test(test_what_is_no_seed_is_refused_and_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
