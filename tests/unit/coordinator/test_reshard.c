#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/macros.h"
#include "coordinator/reshard.h"

enum { BEGIN = 1000 };

static struct reshard_sight sight(uint32_t ready, uint32_t keeping, uint32_t retired)
{
    return (struct reshard_sight){
        .current = 2, .retired = retired, .next = 5, .ready = ready, .keeping = keeping
    };
}

static enum reshard_stage step_at(struct reshard *r, struct reshard_sight s, int64_t now_ms)
{
    enum reshard_stage stage = reshard_step(r, &s, now_ms);

    if (stage != r->stage)
        reshard_enter(r, stage, now_ms);
    return stage;
}

static void test_it_goes_over_when_all_are_ready_keep_and_have_retired(void **state UNUSED)
{
    struct reshard r;

    reshard_enter(&r, RESHARD_OPENING, BEGIN);
    assert_int_equal(step_at(&r, sight(4, 0, 0), BEGIN + 100000), RESHARD_OPENING);
    assert_int_equal(step_at(&r, sight(5, 0, 0), BEGIN + 200000), RESHARD_OPENING);
    assert_int_equal(step_at(&r, sight(5, 0, 0), BEGIN + 200000 + RESHARD_SETTLE_MS - 1),
                     RESHARD_OPENING);
    assert_int_equal(step_at(&r, sight(5, 0, 0), BEGIN + 200000 + RESHARD_SETTLE_MS),
                     RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 4, 0), BEGIN + 203100), RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 5, 0), BEGIN + 203200), RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 5, 0), BEGIN + 203199 + RESHARD_OVERLAP_MS),
                     RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 5, 0), BEGIN + 203200 + RESHARD_OVERLAP_MS),
                     RESHARD_RETIRING);
    assert_int_equal(step_at(&r, sight(5, 5, 1), BEGIN + 900000), RESHARD_RETIRING);
    /* A next one that fails now is resumed by another pod: the former ones are on their way out. */
    assert_int_equal(step_at(&r, sight(3, 3, 2), BEGIN + 900100), RESHARD_NONE);
}

static void test_a_moment_of_weakness_begins_the_wait_anew(void **state UNUSED)
{
    struct reshard_sight unsettled = sight(5, 0, 0);
    struct reshard r;

    unsettled.unsettled = 1; /* a former one is without its connection */
    reshard_enter(&r, RESHARD_OPENING, BEGIN);
    (void)step_at(&r, sight(5, 0, 0), BEGIN);
    (void)step_at(&r, sight(4, 0, 0), BEGIN + RESHARD_SETTLE_MS - 1);
    assert_int_equal(step_at(&r, sight(5, 0, 0), BEGIN + RESHARD_SETTLE_MS + 10), RESHARD_OPENING);
    assert_int_equal(step_at(&r, unsettled, BEGIN + 2 * RESHARD_SETTLE_MS), RESHARD_OPENING);
    assert_int_equal(step_at(&r, sight(5, 0, 0), BEGIN + 3 * RESHARD_SETTLE_MS), RESHARD_OPENING);
    assert_int_equal(step_at(&r, sight(5, 0, 0), BEGIN + 4 * RESHARD_SETTLE_MS), RESHARD_KEEPING);
}

static void test_what_does_not_keep_in_time_goes_back(void **state UNUSED)
{
    struct reshard_sight unsettled = sight(5, 5, 0);
    struct reshard r;

    unsettled.unsettled = 1;
    reshard_enter(&r, RESHARD_KEEPING, BEGIN);
    assert_int_equal(step_at(&r, sight(4, 5, 0), BEGIN + 10), RESHARD_KEEPING);
    assert_int_equal(step_at(&r, unsettled, BEGIN + 20), RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 5, 0), BEGIN + 30), RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 4, 0), BEGIN + 29 + RESHARD_OVERLAP_MS), RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 5, 0), BEGIN + 30 + RESHARD_OVERLAP_MS), RESHARD_KEEPING);
    assert_int_equal(step_at(&r, sight(5, 4, 0), BEGIN + RESHARD_KEEP_MAX_MS), RESHARD_OPENING);
    assert_int_equal(step_at(&r, sight(5, 5, 0), BEGIN + RESHARD_KEEP_MAX_MS), RESHARD_OPENING);
}

/* What a pod said in an earlier stage, or of other shards, must not count. */
static void test_each_stage_and_each_shard_that_moves_begins_a_round(void **state UNUSED)
{
    struct reshard r = { .round = 41 };

    reshard_enter(&r, RESHARD_OPENING, BEGIN);
    assert_int_equal(r.round, 42);
    reshard_turn_over(&r);
    assert_int_equal(r.round, 43);
    (void)step_at(&r, sight(5, 0, 0), BEGIN);
    assert_int_equal(r.round, 43);
    assert_int_equal(step_at(&r, sight(5, 0, 0), BEGIN + RESHARD_SETTLE_MS), RESHARD_KEEPING);
    assert_int_equal(r.round, 44);
}

/* ---- may it begin? ---- */

static const struct reshard_case good = { .current = 2,
                                          .to = 5,
                                          .most = 100,
                                          .guilds = 3000,
                                          .pods = 2,
                                          .sessions_total = 1000,
                                          .sessions = 5 };

static enum status judge(const struct reshard_case *c, const char *says)
{
    struct err err = { 0 };
    enum status status = reshard_judge(c, &err);

    if (!strstr(err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    return status;
}

static void test_what_speaks_against_it_is_said(void **state UNUSED)
{
    struct reshard_case c = good;

    assert_int_equal(judge(&good, ""), STATUS_OK);
    c.sessions = 4;
    assert_int_equal(judge(&c, "5 shards need as many session starts, and of today's 1000 only 4"),
                     STATUS_BUSY);
    c = good, c.sessions_total = 0;
    assert_int_equal(judge(&c, "no pod has said yet"), STATUS_UNAVAILABLE);
    c = good, c.to = 3000, c.most = 4000;
    assert_int_equal(judge(&c, "2 pods can hold 2048 shards"), STATUS_UNAVAILABLE);
    c = good, c.pods_unable = 1;
    assert_int_equal(judge(&c, "1 of 2 pods"), STATUS_UNAVAILABLE);
    c = good, c.pods = 0;
    assert_int_equal(judge(&c, "no pod could hold"), STATUS_UNAVAILABLE);
    c = good, c.under_way = 4;
    assert_int_equal(judge(&c, "to 4 shards is under way"), STATUS_CONFLICT);
    c = good, c.to = 2;
    assert_int_equal(judge(&c, "2 shards already"), STATUS_CONFLICT);
    c = good, c.to = 101;
    assert_int_equal(judge(&c, "1 … 100"), STATUS_INVALID);
    c = good, c.to = 1;
    assert_int_equal(judge(&c, "too few for 3000 guilds"), STATUS_INVALID);
    c = good, c.setting = 2;
    assert_int_equal(judge(&c, "SHARD_COUNT is 2"), STATUS_CONFLICT);
    c = good, c.current = 0;
    assert_int_equal(judge(&c, "not known yet"), STATUS_UNAVAILABLE);
    c = good, c.setting = 5;
    assert_int_equal(judge(&c, ""), STATUS_OK);
}

static void test_by_itself_it_follows_the_setting_or_a_clear_recommendation(void **state UNUSED)
{
    static const struct {
        struct reshard_reasons reasons; /* setting, current, recommended, decided, guilds */
        uint32_t wanted;
    } rows[] = {
        { { 0, 4, 4, 0, 100 }, 0 },   { { 0, 4, 5, 0, 100 }, 0 },  { { 0, 4, 6, 0, 100 }, 6 },
        { { 0, 4, 3, 0, 100 }, 0 },   { { 0, 4, 5, 0, 8000 }, 5 }, { { 0, 4, 5, 0, 7999 }, 0 },
        { { 0, 4, 9, 9, 100 }, 0 }, /* an operator saw that, and chose 4 */
        { { 0, 4, 10, 9, 100 }, 10 }, { { 0, 0, 9, 0, 100 }, 0 },  { { 8, 4, 4, 0, 100 }, 8 },
        { { 3, 4, 9, 0, 100 }, 3 },   { { 4, 4, 9, 0, 100 }, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(reshard_wanted(&rows[i].reasons), rows[i].wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_goes_over_when_all_are_ready_keep_and_have_retired),
        cmocka_unit_test(test_a_moment_of_weakness_begins_the_wait_anew),
        cmocka_unit_test(test_what_does_not_keep_in_time_goes_back),
        cmocka_unit_test(test_each_stage_and_each_shard_that_moves_begins_a_round),
        cmocka_unit_test(test_what_speaks_against_it_is_said),
        cmocka_unit_test(test_by_itself_it_follows_the_setting_or_a_clear_recommendation),
    };
    return cmocka_run_group_tests_name("reshard", tests, NULL, NULL);
}
