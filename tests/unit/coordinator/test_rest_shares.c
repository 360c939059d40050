#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/macros.h"
#include "coordinator/rest_shares.h"

enum { PODS = 6, LEASE_MS = 4000, BEAT_MS = 1000 };

/* A pod as gateway/rest_limits.c is: less is in force only after a window. */
struct pod {
    uint32_t calls, before, wants;
    int64_t changed_ms, until_ms, next_beat_ms;
    bool is_dead;
};
struct world {
    struct pod pods[PODS];
    struct rest_account accounts[PODS], *list[PODS];
    int64_t now_ms, leads_since_ms;
    uint64_t seed;
};

static uint32_t pick(struct world *w, uint32_t below)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->seed >> 33) % below;
}

static uint32_t in_force(const struct world *w, const struct pod *p)
{
    uint32_t calls = w->now_ms < p->until_ms + REST_WINDOW_MS ? p->calls : 0;

    return w->now_ms - p->changed_ms < REST_WINDOW_MS && p->before > calls ? p->before : calls;
}

static uint32_t all_in_force(const struct world *w)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < PODS; i++)
        sum += in_force(w, &w->pods[i]);
    return sum;
}

static void new_leader(struct world *w)
{
    memset(w->accounts, 0, sizeof(w->accounts));
    w->leads_since_ms = w->now_ms;
}

static void beat(struct world *w, size_t at, bool answer_is_lost)
{
    struct pod *p = &w->pods[at];
    int64_t sent_ms = w->now_ms;
    uint32_t force = in_force(w, p);

    w->now_ms += pick(w, 40);
    rest_account_hear(w->list[at], force, p->wants, 0, w->now_ms);
    for (size_t i = 0; i < PODS; i++)
        w->accounts[i].is_alive = i == at || w->now_ms < w->accounts[i].until_ms - REST_WINDOW_MS;
    rest_shares_divide(w->list, PODS);
    const struct rest_given given =
        rest_shares_give(w->list, PODS, w->list[at],
                         w->now_ms - w->leads_since_ms > LEASE_MS + REST_WINDOW_MS, w->now_ms);
    rest_account_told(w->list[at], given.calls, LEASE_MS, w->now_ms);
    if (answer_is_lost)
        return;
    if (given.calls != p->calls) {
        p->before = in_force(w, p);
        p->changed_ms = w->now_ms;
    }
    p->calls = given.calls;
    p->until_ms = sent_ms + LEASE_MS;
}

static void begin(struct world *w)
{
    *w = (struct world){ .now_ms = 1000000, .seed = 1 };
    for (size_t i = 0; i < PODS; i++)
        w->list[i] = &w->accounts[i];
    w->leads_since_ms = w->now_ms - 1000000;
}

static void settle(struct world *w, int beats)
{
    for (int n = 0; n < beats; n++) {
        for (size_t i = 0; i < PODS; i++) {
            if (!w->pods[i].is_dead)
                beat(w, i, false);
        }
        w->now_ms += BEAT_MS;
    }
}

static void test_whoever_wants_more_gets_it_and_nobody_starves(void **state UNUSED)
{
    struct world w;

    begin(&w);
    settle(&w, 8);
    for (size_t i = 0; i < PODS; i++)
        assert_in_range(w.pods[i].calls, REST_GIVEN / PODS, REST_GIVEN / PODS + 1);
    w.pods[2].wants = 50;
    settle(&w, 8);
    assert_int_equal(w.pods[2].calls, REST_GIVEN - 5);
    assert_int_equal(w.pods[0].calls, 1);
    w.pods[0].wants = 10;
    settle(&w, 8);
    assert_int_equal(w.pods[0].calls, 10);
    assert_int_equal(w.pods[2].calls, REST_GIVEN - 10 - 4);
    assert_int_equal(all_in_force(&w), REST_GIVEN);
}

static void test_a_dead_pods_share_goes_to_others_after_its_lease(void **state UNUSED)
{
    struct world w;

    begin(&w);
    w.pods[1].wants = w.pods[2].wants = 50;
    settle(&w, 8);
    w.pods[1].is_dead = true;
    assert_int_equal(w.pods[2].calls, (REST_GIVEN - 4) / 2);
    settle(&w, 3);
    assert_int_equal(w.pods[2].calls, (REST_GIVEN - 4) / 2);
    settle(&w, 6);
    assert_int_equal(w.pods[2].calls, REST_GIVEN - 4 * 2); /* of five each has at least two */
}

/* Lost answers, deaths, silence, new leaders that know nothing: never more than there is. */
static void test_what_is_in_force_is_never_more_than_there_is(void **state UNUSED)
{
    struct world w;
    uint32_t most = 0;

    begin(&w);
    for (int turn = 0; turn < 200000; turn++) {
        size_t at = pick(&w, PODS);
        struct pod *p = &w.pods[at];
        w.now_ms += pick(&w, 60);
        if (pick(&w, 50) == 0)
            p->wants = pick(&w, 4) ? 0 : pick(&w, 60);
        if (pick(&w, 400) == 0)
            p->is_dead = !p->is_dead;
        if (pick(&w, 3000) == 0)
            new_leader(&w);
        if (!p->is_dead && w.now_ms >= p->next_beat_ms) {
            beat(&w, at, pick(&w, 10) == 0);
            p->next_beat_ms = w.now_ms + BEAT_MS;
        }
        uint32_t sum = all_in_force(&w);
        most = sum > most ? sum : most;
        assert_in_range(sum, 0, REST_GIVEN);
    }
    assert_int_equal(most, REST_GIVEN);
}

static void test_many_pods_drip_slower(void **state UNUSED)
{
    static struct rest_account accounts[100], *list[100];

    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        list[i] = &accounts[i];
        accounts[i].is_alive = true;
    }
    accounts[70].wanted = 50;
    rest_shares_divide(list, ARRAY_LEN(list));
    assert_int_equal(accounts[70].fair, REST_GIVEN);
    const struct rest_given given = rest_shares_give(list, ARRAY_LEN(list), list[0], true, 5000);
    assert_int_equal(given.calls, 0);
    assert_int_equal(given.drip_ms, REST_WINDOW_MS * 100 / REST_DRIPPED);
    assert_int_equal(rest_shares_give(list, REST_DRIPPED, list[0], true, 5000).drip_ms,
                     REST_WINDOW_MS);
    assert_int_equal(rest_shares_give(list, REST_DRIPPED + 1, list[0], true, 5000).drip_ms,
                     REST_WINDOW_MS * 2);
}

static void test_invalid_requests_are_summed_for_ten_minutes(void **state UNUSED)
{
    struct rest_account a = { 0 }, b = { 0 }, *list[] = { &a, &b };

    rest_account_hear(&a, 0, 0, 300, 1000);
    rest_account_hear(&b, 0, 0, 4000000000u, 1000);
    assert_int_equal(rest_shares_give(list, 2, &b, true, 2000).invalid_elsewhere, 300);
    assert_int_equal(rest_shares_give(list, 2, &a, true, 2000).invalid_elsewhere, REST_INVALID_MAX);
    assert_int_equal(rest_shares_give(list, 2, &b, true, 601000).invalid_elsewhere, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whoever_wants_more_gets_it_and_nobody_starves),
        cmocka_unit_test(test_a_dead_pods_share_goes_to_others_after_its_lease),
        cmocka_unit_test(test_what_is_in_force_is_never_more_than_there_is),
        cmocka_unit_test(test_many_pods_drip_slower),
        cmocka_unit_test(test_invalid_requests_are_summed_for_ten_minutes),
    };
    return cmocka_run_group_tests_name("rest_shares", tests, NULL, NULL);
}
