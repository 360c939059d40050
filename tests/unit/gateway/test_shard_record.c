#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"
#include "gateway/shard_record.h"

static void test_a_record_survives_its_text(void **state UNUSED)
{
    const struct shard_record before = { .session = { "s1", "wss://r.example/", 9007199254740993 },
                                         .pod = "gw-1",
                                         .incarnation = UINT64_MAX,
                                         .released = true,
                                         .shard_count = 4,
                                         .at_ms = 1700000000000 };
    struct shard_record after;
    CLEANUP(xfree) char *text = shard_record_text(&before);
    assert_int_equal(shard_record_parse(text, strlen(text), &after, NULL), STATUS_OK);
    assert_string_equal(after.session.id, "s1");
    assert_string_equal(after.session.resume_url, "wss://r.example/");
    assert_true(after.session.seq == 9007199254740993u);
    assert_string_equal(after.pod, "gw-1");
    assert_true(after.incarnation == UINT64_MAX);
    assert_true(after.released);
    assert_int_equal(after.shard_count, 4);
    assert_true(after.at_ms == 1700000000000);
}

static void test_what_does_not_fit_is_no_record(void **state UNUSED)
{
    struct shard_record r;
    char text[400];
    char id[200];
    memset(id, 'x', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    (void)snprintf(text, sizeof(text), "{\"session_id\":\"%s\"}", id);
    assert_int_equal(shard_record_parse(text, strlen(text), &r, NULL), STATUS_INVALID);
    assert_int_equal(shard_record_parse("[]", 2, &r, NULL), STATUS_INVALID);
    assert_int_equal(shard_record_parse("", 0, &r, NULL), STATUS_INVALID);
    assert_int_equal(shard_record_parse("{}", 2, &r, NULL), STATUS_OK);
    assert_string_equal(r.session.id, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_survives_its_text),
        cmocka_unit_test(test_what_does_not_fit_is_no_record),
    };
    return cmocka_run_group_tests_name("shard_record", tests, NULL, NULL);
}
