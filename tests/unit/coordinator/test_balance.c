#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/xmem.h"
#include "coordinator/balance.h"
#include "coordinator/ewma.h"

enum { MOST_PODS = 16, MOST_MOVES = 20000 };
static const double even = 0.05, threshold = 0.15;

/* A cluster in small: guilds with weights, each on a pod. */
struct world {
    struct balance b;
    char names[MOST_PODS][8];
    struct balance_move moves[MOST_MOVES];
};

static struct world *world_new(size_t pods, size_t guilds)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->b.pods = xcalloc(MOST_PODS, sizeof(struct balance_pod));
    w->b.guilds = xcalloc(guilds + 1, sizeof(struct balance_guild));
    w->b.pod_count = pods;
    w->b.guild_count = guilds;
    for (size_t i = 0; i < MOST_PODS; i++) {
        (void)snprintf(w->names[i], sizeof(w->names[i]), "gw-%zu", i + 1);
        w->b.pods[i] = (struct balance_pod){
            .id = w->names[i], .capacity = 100000, .schema = 1, .takes = true
        };
    }
    for (size_t g = 0; g < guilds; g++)
        w->b.guilds[g] = (struct balance_guild){ .guild_id = g + 1,
                                                 .weight = 1,
                                                 .schema = 1,
                                                 .pod = (int)(g % pods),
                                                 .standbys = { -1, -1 },
                                                 .movable = true };
    return w;
}

static void world_free(struct world *w)
{
    free(w->b.pods);
    free(w->b.guilds);
    free(w);
}

static int by_pod(const void *a, const void *b)
{
    const struct balance_guild *x = a, *y = b;

    if (x->pod != y->pod)
        return x->pod < y->pod ? -1 : 1;
    return x->guild_id < y->guild_id ? -1 : 1;
}

/* Sums and order, as the caller of balance_plan sees to them. */
static void settle(struct world *w)
{
    qsort(w->b.guilds, w->b.guild_count, sizeof(w->b.guilds[0]), by_pod);
    for (size_t i = 0; i < w->b.pod_count; i++) {
        w->b.pods[i].weight = 0;
        w->b.pods[i].guilds = 0;
    }
    for (size_t g = 0; g < w->b.guild_count; g++) {
        w->b.pods[w->b.guilds[g].pod].weight += w->b.guilds[g].weight;
        w->b.pods[w->b.guilds[g].pod].guilds++;
    }
}

/* A plan; each move is checked when it is made. */
static size_t plan(struct world *w, size_t most)
{
    settle(w);
    size_t count = balance_plan(&w->b, even, w->moves, most);
    assert_true(count <= most);
    for (size_t i = 0; i < count; i++) {
        const struct balance_guild *g = &w->b.guilds[w->moves[i].guild];
        assert_true(w->moves[i].from != w->moves[i].to);
        assert_int_equal(g->pod, w->moves[i].to);
        assert_true(w->b.pods[g->pod].schema >= g->schema);
        for (size_t before = 0; before < i; before++)
            assert_true(count > 2000 || w->moves[before].guild != w->moves[i].guild);
    }
    return count;
}

static void free_all(struct world *w)
{
    for (size_t g = 0; g < w->b.guild_count; g++)
        w->b.guilds[g].movable = true;
}

static void zipf(struct world *w, double exponent)
{
    /* Ranks are strewn over the pods. */
    for (size_t g = 0; g < w->b.guild_count; g++) {
        size_t rank = (g * 7919) % w->b.guild_count + 1;
        w->b.guilds[g].weight = 1 + 500 / pow((double)rank, exponent);
    }
}

/* ---- tables ---- */

static void test_counts_even_out_and_stop(void **state UNUSED)
{
    static const struct {
        const char *what;
        unsigned has[4];
        size_t moves;
    } table[] = {
        { "nothing to do", { 5, 5, 5, 5 }, 0 },
        { "one more is as even as it can be", { 4, 3, 3, 3 }, 0 },
        { "one less, too", { 3, 3, 3, 2 }, 0 },
        { "two apart", { 5, 3, 4, 4 }, 1 },
        { "one has all", { 12, 0, 0, 0 }, 9 },
        { "one has none", { 4, 4, 4, 0 }, 3 },
        { "nobody has any", { 0, 0, 0, 0 }, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        size_t guilds = 0;
        for (size_t p = 0; p < 4; p++)
            guilds += table[i].has[p];
        struct world *w = world_new(4, guilds);
        for (size_t p = 0, g = 0; p < 4; p++) {
            for (unsigned n = 0; n < table[i].has[p]; n++)
                w->b.guilds[g++].pod = (int)p;
        }
        size_t moves = plan(w, MOST_MOVES);
        if (moves != table[i].moves)
            fail_msg("%s: %zu moves, not %zu", table[i].what, moves, table[i].moves);
        free_all(w);
        if (plan(w, MOST_MOVES))
            fail_msg("%s: a second plan moves more", table[i].what);
        world_free(w);
    }
}

static void test_a_pod_of_twice_the_capacity_gets_twice(void **state UNUSED)
{
    struct world *w = world_new(3, 400);

    w->b.pods[2].capacity *= 2;
    (void)plan(w, MOST_MOVES);
    assert_in_range(w->b.pods[2].guilds, 190, 210);
    assert_in_range(w->b.pods[0].guilds, 95, 105);
    world_free(w);
}

static void test_a_whale_stays_and_the_others_move_away(void **state UNUSED)
{
    struct world *w = world_new(2, 18);

    for (size_t g = 0; g < 18; g++)
        w->b.guilds[g].pod = 0;
    w->b.guilds[0].weight = 25; /* of 42; without the rule it would go first */
    size_t moves = plan(w, MOST_MOVES);
    assert_in_range(moves, 16, 17);
    for (size_t i = 0; i < moves; i++)
        assert_true(w->b.guilds[w->moves[i].guild].weight < 2);
    world_free(w);
}

static void test_a_full_pod_gets_no_more(void **state UNUSED)
{
    struct world *w = world_new(3, 25);

    for (size_t g = 0; g < 25; g++) { /* ten heavy ones, ten light ones, five light ones */
        w->b.guilds[g].pod = g < 10 ? 0 : g < 20 ? 1 : 2;
        w->b.guilds[g].weight = g < 10 ? 10 : 1;
    }
    w->b.pods[0].capacity = w->b.pods[1].capacity = w->b.pods[2].capacity = 10;
    size_t moves = plan(w, MOST_MOVES);
    assert_in_range(moves, 3, 5);
    for (size_t i = 0; i < moves; i++)
        assert_int_equal(w->moves[i].to, 2);
    world_free(w);
}

static void test_a_standby_is_preferred(void **state UNUSED)
{
    struct world *w = world_new(3, 90);

    for (size_t g = 0; g < 90; g++) {
        w->b.guilds[g].pod = g < 60 ? 0 : 1 + (int)(g % 2);
        w->b.guilds[g].standbys[0] = g % 3 ? 1 : 2;
    }
    size_t moves = plan(w, MOST_MOVES);
    assert_in_range(moves, 28, 32);
    for (size_t i = 0; i < moves; i++) {
        assert_int_equal(w->moves[i].from, 0);
        assert_true(w->moves[i].to_standby);
    }
    world_free(w);
}

static void test_what_may_not_be_is_not_planned(void **state UNUSED)
{
    struct world *w = world_new(4, 40);

    for (size_t g = 0; g < 40; g++) {
        w->b.guilds[g].pod = 0;
        w->b.guilds[g].schema = 2;
        w->b.guilds[g].movable = g % 4 == 0;
    }
    w->b.pods[0].schema = 2; /* and no other */
    assert_int_equal(plan(w, MOST_MOVES), 0);
    w->b.pods[1].schema = w->b.pods[2].schema = w->b.pods[3].schema = 2;
    w->b.pods[1].takes = false;
    w->b.pods[2].capacity = 3;
    w->b.pods[3].capacity = 100;
    w->b.pods[0].capacity = 100;
    size_t moves = plan(w, MOST_MOVES);
    assert_int_equal(moves, 10); /* those that may */
    assert_int_equal(w->b.pods[1].guilds, 0);
    assert_true(w->b.pods[2].guilds <= 3);
    world_free(w);
}

/* Pods of the usual capacity of 100 with 250 guilds each: it cannot be kept, but it can be even. */
static void test_capacity_only_weighs_when_all_are_overfull(void **state UNUSED)
{
    struct world *w = world_new(3, 750);

    for (size_t g = 0; g < 750; g++)
        w->b.guilds[g].pod = (int)(g % 2);
    for (size_t p = 0; p < 3; p++)
        w->b.pods[p].capacity = 100;
    assert_in_range(plan(w, MOST_MOVES), 235, 250);
    assert_in_range(w->b.pods[2].guilds, 235, 250);
    world_free(w);
}

static void test_no_more_than_the_limit_and_the_most_useful_first(void **state UNUSED)
{
    struct world *w = world_new(2, 100);

    for (size_t g = 0; g < 100; g++) {
        w->b.guilds[g].pod = 0;
        w->b.guilds[g].weight = 1 + (double)(g % 5);
    }
    assert_int_equal(plan(w, 5), 5);
    for (size_t i = 0; i < 5; i++)
        assert_true(w->b.guilds[w->moves[i].guild].weight > 4.5);
    world_free(w);
}

/* ---- whole clusters ---- */

/* Weight on pods above the mean that has to go, at least. */
static double excess(const struct world *w)
{
    double sum = 0, over = 0;

    for (size_t i = 0; i < w->b.pod_count; i++)
        sum += w->b.pods[i].weight;
    for (size_t i = 0; i < w->b.pod_count; i++) {
        double mean = sum / (double)w->b.pod_count;
        over += w->b.pods[i].weight > mean ? w->b.pods[i].weight - mean : 0;
    }
    return over;
}

static double moved(const struct world *w, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += w->b.guilds[w->moves[i].guild].weight;
    return sum;
}

static void test_a_new_pod_gets_its_part_and_no_more_moves(void **state UNUSED)
{
    struct world *w = world_new(10, 10000);

    zipf(w, 1.1);
    (void)plan(w, MOST_MOVES);
    free_all(w);
    w->b.pod_count = 11;
    settle(w);
    double least = excess(w);
    size_t count = plan(w, MOST_MOVES);
    assert_true(count > 0);
    assert_true(moved(w, count) <= least * 1.2);
    assert_true(balance_skew(&w->b).most <= 1 + even && balance_skew(&w->b).least >= 1 - even);
    free_all(w);
    assert_int_equal(plan(w, MOST_MOVES), 0);
    world_free(w);
}

static void test_after_a_failover_little_moves(void **state UNUSED)
{
    struct world *w = world_new(10, 10000);

    zipf(w, 1.1);
    (void)plan(w, MOST_MOVES);
    free_all(w);
    for (size_t g = 0; g < w->b.guild_count; g++) { /* to the standbys, spread by hash */
        if (w->b.guilds[g].pod == 9)
            w->b.guilds[g].pod = (int)(w->b.guilds[g].guild_id * 2654435761U % 9);
    }
    w->b.pod_count = 9;
    settle(w);
    double least = excess(w);
    size_t count = plan(w, MOST_MOVES);
    assert_true(moved(w, count) <= least * 1.2 + 1);
    free_all(w);
    assert_int_equal(plan(w, MOST_MOVES), 0);
    world_free(w);
}

/* Small steps with a fresh plan each, as it is done, end where one large plan does. */
static void test_small_steps_converge_without_turning_back(void **state UNUSED)
{
    struct world *w = world_new(5, 3000);
    CLEANUP(xfree) int *home = xcalloc(3001, sizeof(int));
    size_t rounds = 0, count;

    zipf(w, 1.0);
    for (size_t g = 0; g < 3000; g++) {
        w->b.guilds[g].pod = (int)(g % 3); /* two are empty */
        home[w->b.guilds[g].guild_id] = (int)(g % 3);
    }
    while ((count = plan(w, 25)) > 0) {
        free_all(w); /* without any cool-down */
        assert_true(++rounds < 200);
        for (size_t i = 0; i < count; i++) {
            const struct balance_guild *g = &w->b.guilds[w->moves[i].guild];
            assert_int_equal(home[g->guild_id], w->moves[i].from); /* nobody moves twice */
        }
    }
    assert_true(balance_skew(&w->b).most <= 1 + even);
    world_free(w);
}

static void test_large_clusters_are_planned_in_a_moment(void **state UNUSED)
{
    struct world *w = world_new(10, 100000);

    zipf(w, 1.1);
    for (size_t g = 0; g < w->b.guild_count; g++)
        w->b.guilds[g].pod = (int)(g % 9);
    assert_int_equal(plan(w, 100), 100);
    world_free(w);
}

/* Day and night of five minutes: each pod's load swings by half of it, one after the other. */
/* Where the guilds of a plan come from, and which pods were asked for theirs. */
struct source {
    const struct balance_guild *guilds;
    size_t count;
    unsigned asked[MOST_PODS];
};

static void fill(void *ctx, int pod, struct balance_guild *into)
{
    struct source *s = ctx;

    s->asked[pod]++;
    for (size_t g = 0; g < s->count; g++) {
        if (s->guilds[g].pod == pod)
            *into++ = s->guilds[g];
    }
}

static void test_only_pods_that_give_are_asked_for_their_guilds(void **state UNUSED)
{
    struct world *w = world_new(10, 10000), *lazy = world_new(10, 10000);
    struct source source = { .count = 10000 };

    zipf(w, 1.1);
    for (size_t g = 0; g < 10000; g++)
        w->b.guilds[g].pod = g % 100 ? (int)(g % 10) : 4; /* it has some more */
    settle(w);
    CLEANUP(xfree)
    struct balance_guild *guilds = xmemdup(w->b.guilds, 10000 * sizeof(struct balance_guild));
    source.guilds = guilds;
    memcpy(lazy->b.pods, w->b.pods, MOST_PODS * sizeof(struct balance_pod));
    memset(lazy->b.guilds, 0, 10000 * sizeof(struct balance_guild));
    lazy->b.fill = fill;
    lazy->b.ctx = &source;
    size_t count = plan(w, 50);
    assert_true(count > 0);
    assert_int_equal(balance_plan(&lazy->b, even, lazy->moves, 50), count);
    unsigned asked = 0;
    for (size_t i = 0; i < MOST_PODS; i++) {
        assert_true(source.asked[i] <= 1);
        asked += source.asked[i];
    }
    assert_in_range(asked, 1, 5); /* of ten */
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(lazy->moves[i].to, w->moves[i].to);
        assert_int_equal(lazy->b.guilds[lazy->moves[i].guild].guild_id,
                         w->b.guilds[w->moves[i].guild].guild_id);
    }
    world_free(w);
    world_free(lazy);
}

static void test_a_swinging_load_moves_nothing(void **state UNUSED)
{
    struct world *w = world_new(4, 400);
    struct balance_watch watch = { 0 };
    struct ewma loads[4] = { 0 };
    size_t moves = 0;

    settle(w);
    for (int64_t s = 1; s <= 3600; s++) {
        for (size_t p = 0; p < 4; p++) {
            double phase = (double)s / 300 + (double)p / 4;
            ewma_add(&loads[p], 300 * (1 + 0.5 * sin(phase * 2 * M_PI)), s * 1000);
            w->b.pods[p].weight = 100 + ewma_at(&loads[p], s * 1000);
        }
        if (s % 15 || s < 600) /* a leader waits, too, before it begins */
            continue;
        moves += balance_watch_step(&watch, balance_skew(&w->b), threshold, even);
    }
    assert_int_equal(moves, 0);
    world_free(w);
}

static void test_a_load_that_stays_is_seen_within_minutes(void **state UNUSED)
{
    struct ewma load = { 0 };
    int64_t s = 1;

    for (; s <= 3600; s++)
        ewma_add(&load, 100, s * 1000);
    for (; ewma_at(&load, s * 1000) < 190; s++)
        ewma_add(&load, 200, s * 1000);
    assert_in_range(s - 3600, 600, 1200);
    assert_true(ewma_at(&load, s * 1000 + EWMA_HALF_MS) < 100); /* and fades */
}

static void test_a_load_is_the_average_of_the_few_that_were_measured(void **state UNUSED)
{
    struct ewma load = { 0 };

    for (int64_t s = 1; s <= 10; s++)
        ewma_add(&load, s % 2 ? 0 : 100, s * 1000);
    assert_in_range(ewma_at(&load, 10000), 48, 52); /* not what the first one said */
    ewma_shift(&load, 30);                          /* a guild came that is known to cost so much */
    assert_in_range(ewma_at(&load, 10000), 78, 82);
    ewma_shift(&load, -500);
    assert_in_range(ewma_at(&load, 10000), 0, 0);
}

static void test_the_watch_acts_on_the_third_cycle_and_rests_when_even(void **state UNUSED)
{
    struct balance_watch watch = { 0 };
    const struct balance_skew skewed = { 1.2, 0.9 }, less = { 1.1, 0.92 }, rest = { 1.04, 0.96 },
                              empty = { 1.01, 0 };

    assert_false(balance_watch_step(&watch, skewed, threshold, even));
    assert_false(balance_watch_step(&watch, less, threshold, even)); /* begins anew */
    assert_false(balance_watch_step(&watch, skewed, threshold, even));
    assert_false(balance_watch_step(&watch, skewed, threshold, even));
    assert_true(balance_watch_step(&watch, skewed, threshold, even));
    assert_true(balance_watch_step(&watch, less, threshold, even)); /* goes on below it */
    assert_false(balance_watch_step(&watch, rest, threshold, even));
    assert_false(balance_watch_step(&watch, less, threshold, even));
    for (int i = 1; i <= BALANCE_CYCLES; i++) /* an empty pod among many */
        assert_int_equal(balance_watch_step(&watch, empty, threshold, even), i == BALANCE_CYCLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_even_out_and_stop),
        cmocka_unit_test(test_a_pod_of_twice_the_capacity_gets_twice),
        cmocka_unit_test(test_a_whale_stays_and_the_others_move_away),
        cmocka_unit_test(test_a_full_pod_gets_no_more),
        cmocka_unit_test(test_a_standby_is_preferred),
        cmocka_unit_test(test_what_may_not_be_is_not_planned),
        cmocka_unit_test(test_capacity_only_weighs_when_all_are_overfull),
        cmocka_unit_test(test_no_more_than_the_limit_and_the_most_useful_first),
        cmocka_unit_test(test_a_new_pod_gets_its_part_and_no_more_moves),
        cmocka_unit_test(test_after_a_failover_little_moves),
        cmocka_unit_test(test_small_steps_converge_without_turning_back),
        cmocka_unit_test(test_large_clusters_are_planned_in_a_moment),
        cmocka_unit_test(test_only_pods_that_give_are_asked_for_their_guilds),
        cmocka_unit_test(test_a_swinging_load_moves_nothing),
        cmocka_unit_test(test_a_load_that_stays_is_seen_within_minutes),
        cmocka_unit_test(test_a_load_is_the_average_of_the_few_that_were_measured),
        cmocka_unit_test(test_the_watch_acts_on_the_third_cycle_and_rests_when_even),
    };
    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
