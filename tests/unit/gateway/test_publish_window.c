#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/xmem.h"
#include "gateway/publish_window.h"

static void add(struct window *w, uint64_t guild, uint64_t seq)
{
    char *data = xstrdup("x");
    assert_true(window_add(w, guild, seq, &data, 1));
    assert_null(data);
}

static void add_unsent(struct window *w, uint64_t seq)
{
    char *none = NULL;
    assert_true(window_add(w, 0, seq, &none, 0));
}

static uint64_t next(struct window *w)
{
    struct window_entry *e = window_next(w);
    return e ? e->number : 0;
}

static void ack(struct window *w, uint64_t number)
{
    struct window_entry *e = window_find(w, number);
    assert_non_null(e);
    window_acked(w, e);
}

static void nack(struct window *w, uint64_t number)
{
    struct window_entry *e = window_find(w, number);
    assert_non_null(e);
    window_failed(w, e);
}

static void test_guilds_go_out_together_but_each_in_order(void **state UNUSED)
{
    struct window *w = window_new();
    add(w, 1, 10);
    add(w, 1, 11);
    add(w, 2, 12);
    assert_int_equal(next(w), 1);
    assert_int_equal(next(w), 3);
    assert_int_equal(next(w), 0);
    ack(w, 1);
    assert_int_equal(next(w), 2);
    window_free(w);
}

static void test_the_watermark_never_passes_what_is_not_acked(void **state UNUSED)
{
    struct window *w = window_new();
    window_begin_session(w, 9);
    assert_int_equal(window_watermark(w), 9);
    add(w, 1, 10);
    add(w, 2, 11);
    add_unsent(w, 12);
    while (next(w))
        ;
    ack(w, 2);
    assert_int_equal(window_watermark(w), 9);
    ack(w, 1);
    assert_int_equal(window_watermark(w), 12);
    assert_int_equal(window_waiting(w), 0);
    window_free(w);
}

static void test_a_failure_holds_its_guild_and_no_other(void **state UNUSED)
{
    struct window *w = window_new();
    add(w, 1, 1);
    add(w, 1, 2);
    add(w, 2, 3);
    add(w, 2, 4);
    assert_int_equal(next(w), 1);
    assert_int_equal(next(w), 3);
    nack(w, 1);
    assert_int_equal(next(w), 0);
    ack(w, 3);
    assert_int_equal(next(w), 4);
    window_retry(w);
    assert_int_equal(next(w), 1);
    assert_int_equal(window_find(w, 1)->tries, 2);
    assert_int_equal(next(w), 0);
    ack(w, 1);
    assert_int_equal(next(w), 2);
    window_free(w);
}

static void test_answers_for_what_is_not_out_are_ignored(void **state UNUSED)
{
    struct window *w = window_new();
    add(w, 1, 1);
    assert_null(window_find(w, 1)); /* not out yet */
    assert_int_equal(next(w), 1);
    ack(w, 1);
    assert_null(window_find(w, 1));
    assert_null(window_find(w, 2));
    assert_null(window_find(w, 0));
    window_free(w);
}

static void test_a_new_session_has_a_watermark_of_its_own(void **state UNUSED)
{
    struct window *w = window_new();
    window_begin_session(w, 0);
    add(w, 1, 500);
    assert_int_equal(next(w), 1);
    window_begin_session(w, 0);
    add(w, 1, 1);
    add_unsent(w, 2);
    ack(w, 1);
    assert_int_equal(window_watermark(w), 0); /* 500 belonged to the old one */
    assert_int_equal(next(w), 2);
    ack(w, 2);
    assert_int_equal(window_watermark(w), 2);
    window_free(w);
}

static void test_it_is_bounded(void **state UNUSED)
{
    struct window *w = window_new();
    for (uint64_t i = 0; i < WINDOW_RING; i++) {
        assert_int_equal(window_is_full(w), i >= WINDOW_FULL);
        add(w, i, i + 1);
    }
    char *more = xstrdup("x");
    assert_false(window_add(w, 1, 1, &more, 1));
    assert_non_null(more);
    free(more);
    while (next(w))
        ;
    for (uint64_t i = 1; i <= WINDOW_RING - WINDOW_FULL / 2; i++) {
        assert_false(window_is_half_empty(w));
        ack(w, i);
    }
    assert_true(window_is_half_empty(w));
    window_free(w);
}

static void test_large_ones_fill_it_by_bytes(void **state UNUSED)
{
    struct window *w = window_new();
    char *data = xstrdup("x");
    assert_true(window_add(w, 1, 1, &data, WINDOW_FULL_BYTES));
    assert_true(window_is_full(w));
    assert_int_equal(next(w), 1);
    ack(w, 1);
    assert_true(window_is_half_empty(w));
    window_free(w);
}

/* A bus that loses, refuses and delays: what it stored must be each guild's events in order, each
 * at least once. */
enum { GUILDS = 7, EVENTS = 20000 };

static void test_any_failures_keep_each_guilds_order(void **state UNUSED)
{
    struct window *w = window_new();
    uint64_t dice = 42, stored[GUILDS] = { 0 }, out[GUILDS] = { 0 }, added = 0, acked = 0;
    window_begin_session(w, 0);
    while (acked < EVENTS) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        unsigned roll = (unsigned)(dice >> 40);
        if (roll % 3 == 0 && added < EVENTS && !window_is_full(w)) {
            added++;
            add(w, added % 11 % GUILDS, added);
        }
        if (roll % 5 == 0)
            window_retry(w);
        struct window_entry *e = window_next(w);
        if (e) {
            assert_int_equal(out[e->guild_id], 0);
            out[e->guild_id] = e->number;
        }
        uint64_t *slot = &out[roll / 8 % GUILDS];
        e = *slot ? window_find(w, *slot) : NULL;
        if (!e)
            continue;
        bool lost = roll % 16 == 1, unacked = roll % 16 == 2;
        if (!lost) {
            assert_true(e->seq >=
                        stored[e->guild_id]); /* equal: a copy of the last, which its id removes */
            stored[e->guild_id] = e->seq;
        }
        *slot = 0;
        if (lost || unacked) {
            window_failed(w, e);
        } else {
            window_acked(w, e);
            acked++;
        }
        assert_true(window_watermark(w) <= added);
    }
    assert_int_equal(window_watermark(w), EVENTS);
    assert_int_equal(window_waiting(w), 0);
    window_free(w);
}

static uint64_t hold(struct window *w, uint64_t guild, uint64_t seq)
{
    char *data = xstrdup("held");
    uint64_t number = window_hold(w, guild, seq, &data, 4);
    assert_null(data);
    return number;
}

static void test_what_is_held_keeps_its_place_and_nobody_else_waits(void **state UNUSED)
{
    struct window *w = window_new();
    window_begin_session(w, 0);
    add(w, 1, 10);
    uint64_t held = hold(w, 1, 11);
    assert_int_equal(held, 2);
    add(w, 1, 12);
    assert_int_equal(next(w), 1);
    ack(w, 1);
    assert_int_equal(next(w), 3); /* its guild goes on */
    ack(w, 3);
    assert_int_equal(window_watermark(w), 10); /* a RESUME must bring it again */
    assert_null(window_find(w, held));
    window_release(w, held);
    assert_int_equal(window_watermark(w), 12);
    assert_int_equal(window_waiting(w), 0);
    window_free(w);
}

static void test_what_is_held_may_go_out_later(void **state UNUSED)
{
    struct window *w = window_new();
    window_begin_session(w, 0);
    uint64_t first = hold(w, 1, 10), second = hold(w, 2, 11);
    add(w, 1, 12);
    assert_int_equal(next(w), 3);
    window_send(w, first);
    window_send(w, second);
    assert_int_equal(next(w), second);
    assert_int_equal(next(w), 0); /* guild 1 has one out */
    ack(w, 3);
    assert_int_equal(next(w), first);
    nack(w, first);
    window_retry(w);
    assert_int_equal(next(w), first);
    assert_int_equal(window_watermark(w), 0);
    ack(w, first);
    assert_int_equal(window_watermark(w), 10);
    ack(w, second);
    assert_int_equal(window_watermark(w), 12);
    window_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guilds_go_out_together_but_each_in_order),
        cmocka_unit_test(test_the_watermark_never_passes_what_is_not_acked),
        cmocka_unit_test(test_a_failure_holds_its_guild_and_no_other),
        cmocka_unit_test(test_answers_for_what_is_not_out_are_ignored),
        cmocka_unit_test(test_a_new_session_has_a_watermark_of_its_own),
        cmocka_unit_test(test_it_is_bounded),
        cmocka_unit_test(test_large_ones_fill_it_by_bytes),
        cmocka_unit_test(test_what_is_held_keeps_its_place_and_nobody_else_waits),
        cmocka_unit_test(test_what_is_held_may_go_out_later),
        cmocka_unit_test(test_any_failures_keep_each_guilds_order),
    };
    return cmocka_run_group_tests_name("publish_window", tests, NULL, NULL);
}
