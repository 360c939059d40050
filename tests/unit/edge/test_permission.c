#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "edge/permission.h"

static void test_who_moderates_and_who_manages(void **state UNUSED)
{
    static const struct {
        bool owner;
        uint64_t bits;
        bool moderates, manages;
    } cases[] = {
        { false, 0, false, false },
        { true, 0, true, true },
        { false, UINT64_C(1) << 3, true, true },    /* ADMINISTRATOR */
        { false, UINT64_C(1) << 5, true, true },    /* MANAGE_GUILD */
        { false, UINT64_C(1) << 13, true, false },  /* MANAGE_MESSAGES */
        { false, UINT64_C(1) << 1, true, false },   /* KICK_MEMBERS */
        { false, UINT64_C(1) << 2, true, false },   /* BAN_MEMBERS */
        { false, UINT64_C(1) << 40, true, false },  /* MODERATE_MEMBERS */
        { false, UINT64_C(1) << 0, false, false },  /* CREATE_INSTANT_INVITE */
        { false, UINT64_C(1) << 11, false, false }, /* SEND_MESSAGES */
        { false, UINT64_C(1) << 28, false, false }, /* MANAGE_ROLES */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(permission_moderates(cases[i].owner, cases[i].bits), cases[i].moderates);
        assert_int_equal(permission_manages(cases[i].owner, cases[i].bits), cases[i].manages);
    }
}

static void test_each_single_bit_but_the_named_is_denied(void **state UNUSED)
{
    const uint64_t named = PERMISSION_KICK_MEMBERS | PERMISSION_BAN_MEMBERS |
                           PERMISSION_ADMINISTRATOR | PERMISSION_MANAGE_GUILD |
                           PERMISSION_MANAGE_MESSAGES | PERMISSION_MODERATE_MEMBERS;

    for (int i = 0; i < 64; i++) {
        uint64_t bit = UINT64_C(1) << i;
        assert_int_equal(permission_moderates(false, bit), (bit & named) != 0);
    }
    assert_false(permission_moderates(false, ~named));
    assert_false(permission_manages(false, ~(PERMISSION_ADMINISTRATOR | PERMISSION_MANAGE_GUILD)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_moderates_and_who_manages),
        cmocka_unit_test(test_each_single_bit_but_the_named_is_denied),
    };
    return cmocka_run_group_tests_name("permission", tests, NULL, NULL);
}
