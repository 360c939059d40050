#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "coordinator/move.h"

#define ALL_WELL                                                                                   \
    .slot_free = true, .source_alive = true, .source_owns = true, .target_alive = true,            \
    .target_takes = true

static const struct {
    const char *what;
    struct move_facts facts;
    enum move_event event;
    enum move_state next;
    unsigned orders;
    bool has_error;
} steps[] = {
    { "a wish begins when a slot is free",
      { .state = MOVE_STATE_WISHED, ALL_WELL },
      MOVE_EVENT_TICK,
      MOVE_STATE_WARMING,
      MOVE_ORDER_WARM,
      false },
    { "a wish waits for a slot",
      { .state = MOVE_STATE_WISHED,
        .source_alive = true,
        .source_owns = true,
        .target_alive = true,
        .target_takes = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_WISHED,
      0,
      false },
    { "warming repeats its order",
      { .state = MOVE_STATE_WARMING, .age_ms = 100, ALL_WELL },
      MOVE_EVENT_TICK,
      MOVE_STATE_WARMING,
      MOVE_ORDER_WARM,
      false },
    { "warm means ready",
      { .state = MOVE_STATE_WARMING, ALL_WELL },
      MOVE_EVENT_WARM,
      MOVE_STATE_READY,
      0,
      false },
    { "ready cuts over",
      { .state = MOVE_STATE_READY, ALL_WELL },
      MOVE_EVENT_TICK,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_TAKE,
      false },
    { "warming has a deadline",
      { .state = MOVE_STATE_WARMING, .age_ms = MOVE_WARMING_MS, ALL_WELL },
      MOVE_EVENT_TICK,
      MOVE_STATE_ABORTED,
      MOVE_ORDER_DROP,
      true },
    { "a warm report at the deadline still counts",
      { .state = MOVE_STATE_WARMING, .age_ms = MOVE_WARMING_MS, ALL_WELL },
      MOVE_EVENT_WARM,
      MOVE_STATE_READY,
      0,
      false },
    { "the target gives up",
      { .state = MOVE_STATE_WARMING, ALL_WELL },
      MOVE_EVENT_GAVE_UP,
      MOVE_STATE_ABORTED,
      MOVE_ORDER_DROP,
      true },
    { "the source dies while warming",
      { .state = MOVE_STATE_WARMING,
        .source_owns = true,
        .target_alive = true,
        .target_takes = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_ABORTED,
      MOVE_ORDER_DROP,
      true },
    { "the target dies while warming",
      { .state = MOVE_STATE_WARMING, .source_alive = true, .source_owns = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_ABORTED,
      MOVE_ORDER_DROP,
      true },
    { "the target drains",
      { .state = MOVE_STATE_WARMING,
        .source_alive = true,
        .source_owns = true,
        .target_alive = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_ABORTED,
      MOVE_ORDER_DROP,
      true },
    { "the guild went elsewhere",
      { .state = MOVE_STATE_WISHED, .target_alive = true, .target_takes = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_ABORTED,
      MOVE_ORDER_DROP,
      true },
    { "the source dies when ready",
      { .state = MOVE_STATE_READY,
        .source_owns = true,
        .target_alive = true,
        .target_takes = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_ABORTED,
      MOVE_ORDER_DROP,
      true },
    { "cut-over repeats its order",
      { .state = MOVE_STATE_CUTOVER, .age_ms = 100, ALL_WELL },
      MOVE_EVENT_TICK,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_TAKE,
      false },
    { "the target claims",
      { .state = MOVE_STATE_CUTOVER, ALL_WELL },
      MOVE_EVENT_TARGET_CLAIMED,
      MOVE_STATE_DONE,
      0,
      false },
    { "the target claimed and died",
      { .state = MOVE_STATE_CUTOVER, .source_alive = true, .source_owns = true },
      MOVE_EVENT_TARGET_CLAIMED,
      MOVE_STATE_DONE,
      0,
      false },
    { "the source un-seals",
      { .state = MOVE_STATE_CUTOVER, ALL_WELL },
      MOVE_EVENT_SOURCE_CLAIMED,
      MOVE_STATE_FAILED,
      MOVE_ORDER_DROP,
      true },
    { "silence reads the log",
      { .state = MOVE_STATE_CUTOVER, .age_ms = MOVE_SILENCE_MS, ALL_WELL },
      MOVE_EVENT_TICK,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_TAKE | MOVE_ORDER_READ_LOG,
      false },
    { "a longer silence asks the source to go on",
      { .state = MOVE_STATE_CUTOVER, .age_ms = MOVE_PATIENCE_MS, ALL_WELL },
      MOVE_EVENT_TICK,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_OWN_SOURCE | MOVE_ORDER_READ_LOG,
      false },
    { "the source dies in cut-over: the target claims",
      { .state = MOVE_STATE_CUTOVER, .target_alive = true, .target_takes = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_OWN_TARGET,
      false },
    { "the target dies in cut-over: the source goes on",
      { .state = MOVE_STATE_CUTOVER, .source_alive = true, .source_owns = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_OWN_SOURCE,
      false },
    { "the target gives up in cut-over: never called off, the source is told to go on",
      { .state = MOVE_STATE_CUTOVER, .target_gave_up = true, ALL_WELL },
      MOVE_EVENT_GAVE_UP,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_OWN_SOURCE,
      false },
    { "both die in cut-over",
      { .state = MOVE_STATE_CUTOVER, .source_owns = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_FAILED,
      0,
      true },
    { "a draining target still takes what was cut over",
      { .state = MOVE_STATE_CUTOVER,
        .source_alive = true,
        .source_owns = true,
        .target_alive = true },
      MOVE_EVENT_TICK,
      MOVE_STATE_CUTOVER,
      MOVE_ORDER_TAKE,
      false },
};

static void test_each_state_answers_each_event(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const struct move_step got = move_step(&steps[i].facts, steps[i].event);
        if (got.next != steps[i].next || got.orders != steps[i].orders ||
            !got.error == steps[i].has_error)
            fail_msg("%s: went to %s with orders %#x, error %s", steps[i].what,
                     move_state_text(got.next), got.orders, got.error ? got.error : "none");
    }
}

/* Whatever is known and whatever happens. */
static void each_combination(void (*check)(const struct move_facts *f, enum move_event e,
                                           const struct move_step *s))
{
    for (int bits = 0; bits < 1 << 6; bits++) {
        for (int at = MOVE_STATE_WISHED; at <= MOVE_STATE_FAILED; at++) {
            for (int event = MOVE_EVENT_TICK; event <= MOVE_EVENT_SOURCE_CLAIMED; event++) {
                const struct move_facts f = {
                    .state = (enum move_state)at,
                    .age_ms = bits & 1 ? MOVE_WARMING_MS : 0,
                    .slot_free = bits & 2,
                    .source_alive = bits & 4,
                    .source_owns = bits & 8,
                    .target_alive = bits & 16,
                    .target_takes = bits & 32,
                };
                const struct move_step s = move_step(&f, (enum move_event)event);
                check(&f, (enum move_event)event, &s);
            }
        }
    }
}

static void check_end(const struct move_facts *f, enum move_event e UNUSED,
                      const struct move_step *s)
{
    if (!move_state_is_open(f->state)) {
        assert_int_equal(s->next, f->state);
        assert_int_equal(s->orders, 0);
    }
}

static void check_cutover(const struct move_facts *f, enum move_event e, const struct move_step *s)
{
    bool both_dead = !f->source_alive && !f->target_alive;

    if (f->state != MOVE_STATE_CUTOVER)
        return;
    assert_int_not_equal(s->next, MOVE_STATE_ABORTED);
    if (e != MOVE_EVENT_TARGET_CLAIMED && e != MOVE_EVENT_SOURCE_CLAIMED && !both_dead) {
        assert_int_equal(s->next, MOVE_STATE_CUTOVER);
        assert_true(s->orders & (MOVE_ORDER_TAKE | MOVE_ORDER_OWN_SOURCE | MOVE_ORDER_OWN_TARGET));
    }
}

static void check_dead_get_no_orders(const struct move_facts *f, enum move_event e UNUSED,
                                     const struct move_step *s)
{
    if (!f->target_alive)
        assert_false(s->orders & (MOVE_ORDER_TAKE | MOVE_ORDER_WARM | MOVE_ORDER_OWN_TARGET));
    if (!f->source_alive)
        assert_false(s->orders & MOVE_ORDER_OWN_SOURCE);
}

/* Both at once would let them race for no reason. */
static void check_one_claimant(const struct move_facts *f UNUSED, enum move_event e UNUSED,
                               const struct move_step *s)
{
    unsigned claimants =
        s->orders & (MOVE_ORDER_TAKE | MOVE_ORDER_OWN_SOURCE | MOVE_ORDER_OWN_TARGET);

    assert_int_equal(claimants & (claimants - 1), 0);
}

static void test_an_ended_move_stays_ended(void **state UNUSED)
{
    each_combination(check_end);
}

static void test_a_cutover_is_never_called_off(void **state UNUSED)
{
    each_combination(check_cutover);
}

static void test_the_dead_get_no_orders(void **state UNUSED)
{
    each_combination(check_dead_get_no_orders);
}

static void test_at_most_one_pod_is_asked_to_claim(void **state UNUSED)
{
    each_combination(check_one_claimant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_state_answers_each_event),
        cmocka_unit_test(test_an_ended_move_stays_ended),
        cmocka_unit_test(test_a_cutover_is_never_called_off),
        cmocka_unit_test(test_the_dead_get_no_orders),
        cmocka_unit_test(test_at_most_one_pod_is_asked_to_claim),
    };
    return cmocka_run_group_tests_name("move", tests, NULL, NULL);
}
