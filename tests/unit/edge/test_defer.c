#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "edge/defer.h"

enum { END = -1 };

struct moment {
    int input; /* enum defer_input */
    int64_t at_ms;
    enum defer_action expected;
};

/* Arrives at 0, defers at 2200, last chance 2700. */
static const struct {
    const char *name;
    bool storable;
    struct moment moments[8];
} stories[] = {
    { "a reply in time is passed on",
      true,
      { { DEFER_ON_REPLY, 3, DEFER_ANSWER_REPLY }, { END, 0, 0 } } },
    { "a refusal is told", true, { { DEFER_ON_ERROR, 3, DEFER_ANSWER_ERROR }, { END, 0, 0 } } },
    { "silence is stored, then deferred",
      true,
      { { DEFER_ON_TIME, 2199, DEFER_WAIT },
        { DEFER_ON_TIME, 2200, DEFER_STORE },
        { DEFER_ON_STORED, 2202, DEFER_ANSWER_DEFERRAL },
        { END, 0, 0 } } },
    { "nothing is deferred that is not stored",
      true,
      { { DEFER_ON_TIME, 2200, DEFER_STORE },
        { DEFER_ON_TIME, 2699, DEFER_WAIT },
        { DEFER_ON_TIME, 2700, DEFER_ANSWER_FAILED },
        { END, 0, 0 } } },
    { "what cannot be stored fails at once",
      true,
      { { DEFER_ON_TIME, 2200, DEFER_STORE },
        { DEFER_ON_NOT_STORED, 2210, DEFER_ANSWER_FAILED },
        { END, 0, 0 } } },
    { "a late reply waits for the stream's word",
      true,
      { { DEFER_ON_TIME, 2200, DEFER_STORE },
        { DEFER_ON_REPLY, 2201, DEFER_WAIT },
        { DEFER_ON_STORED, 2203, DEFER_ANSWER_DEFERRAL },
        { END, 0, 0 } } },
    { "a late reply is used when storing fails",
      true,
      { { DEFER_ON_TIME, 2200, DEFER_STORE },
        { DEFER_ON_REPLY, 2201, DEFER_WAIT },
        { DEFER_ON_NOT_STORED, 2500, DEFER_ANSWER_REPLY },
        { END, 0, 0 } } },
    { "a late reply is used when the stream is silent",
      true,
      { { DEFER_ON_TIME, 2200, DEFER_STORE },
        { DEFER_ON_REPLY, 2201, DEFER_WAIT },
        { DEFER_ON_TIME, 2700, DEFER_ANSWER_REPLY },
        { END, 0, 0 } } },
    { "a late refusal changes nothing",
      true,
      { { DEFER_ON_TIME, 2200, DEFER_STORE },
        { DEFER_ON_ERROR, 2201, DEFER_WAIT },
        { DEFER_ON_STORED, 2203, DEFER_ANSWER_DEFERRAL },
        { END, 0, 0 } } },
    { "an autocomplete gets its empty list without the stream",
      false,
      { { DEFER_ON_TIME, 2200, DEFER_ANSWER_DEFERRAL }, { END, 0, 0 } } },
    { "an answer is given once",
      true,
      { { DEFER_ON_REPLY, 3, DEFER_ANSWER_REPLY },
        { DEFER_ON_REPLY, 4, DEFER_WAIT },
        { DEFER_ON_TIME, 2200, DEFER_WAIT },
        { DEFER_ON_STORED, 2300, DEFER_WAIT },
        { END, 0, 0 } } },
    { "a late wake-up still stores first",
      true,
      { { DEFER_ON_TIME, 5000, DEFER_STORE },
        { DEFER_ON_TIME, 5000, DEFER_ANSWER_FAILED },
        { END, 0, 0 } } },
};

static void test_stories(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        struct defer d = { .is_storable = stories[i].storable,
                           .defer_at_ms = 2200,
                           .last_ms = 2700 };
        for (const struct moment *m = stories[i].moments; m->input != END; m++) {
            enum defer_action got = defer_step(&d, (enum defer_input)m->input, m->at_ms);
            if (got != m->expected)
                fail_msg("%s: at %d ms action %d, not %d", stories[i].name, (int)m->at_ms, (int)got,
                         (int)m->expected);
        }
    }
}

static void test_every_way_ends_by_the_last_moment(void **state UNUSED)
{
    /* All sequences of four inputs, then the clock at last_ms twice: each must have answered, once.
     */
    for (int code = 0; code < 5 * 5 * 5 * 5; code++) {
        struct defer d = { .is_storable = true, .defer_at_ms = 2200, .last_ms = 2700 };
        int answers = 0, rest = code;
        for (int i = 0; i < 6; i++, rest /= 5) {
            enum defer_input input = i < 4 ? (enum defer_input)(rest % 5) : DEFER_ON_TIME;
            enum defer_action action = defer_step(&d, input, i < 4 ? 2200 : 2700);
            answers += action != DEFER_WAIT && action != DEFER_STORE;
        }
        assert_int_equal(answers, 1);
        assert_int_equal(d.phase, DEFER_ANSWERED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_every_way_ends_by_the_last_moment),
    };
    return cmocka_run_group_tests_name("defer", tests, NULL, NULL);
}
