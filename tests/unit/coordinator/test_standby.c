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
#include "coordinator/standby.h"

enum { MOST_PODS = 12, GUILDS = 12000 };

/* A cluster whose guilds have one standby each. */
struct world {
    char names[MOST_PODS][8];
    struct standby_pod pods[MOST_PODS];
    struct standby_pods all;
    int owner[GUILDS], standby[GUILDS]; /* -1: none */
};

static void add_pod(struct world *w, uint32_t capacity)
{
    size_t i = w->all.count++;

    (void)snprintf(w->names[i], sizeof(w->names[i]), "gw-%zu", i);
    w->pods[i] =
        (struct standby_pod){ .id = w->names[i], .capacity = capacity, .schema = 1, .takes = true };
    w->all.pods = w->pods;
}

static struct world *world_new(size_t pods)
{
    struct world *w = xcalloc(1, sizeof(*w));

    for (size_t i = 0; i < pods; i++)
        add_pod(w, 1000);
    for (size_t g = 0; g < GUILDS; g++) {
        w->owner[g] = (int)(g % pods);
        w->standby[g] = -1;
    }
    return w;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64 */
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static struct standby_ask ask_for(const struct world *w, size_t guild)
{
    return (struct standby_ask){ .guild_id = UINT64_C(613425648685547541) + guild * 4194304,
                                 .schema = 1,
                                 .except = { &w->pods[w->owner[guild]] } };
}

static void choose_missing(struct world *w)
{
    standby_prepare(&w->all, GUILDS);
    for (size_t g = 0; g < GUILDS; g++) {
        const struct standby_ask ask = ask_for(w, g);
        if (w->standby[g] >= 0)
            continue;
        const struct standby_pod *pod = standby_choose(&w->all, &ask);
        w->standby[g] = pod ? (int)(pod - w->pods) : -1;
    }
}

/* How many changed. */
static size_t even_out(struct world *w)
{
    size_t changed = 0;

    standby_prepare(&w->all, GUILDS);
    for (size_t g = 0; g < GUILDS; g++) {
        const struct standby_ask ask = ask_for(w, g);
        const struct standby_pod *pod = standby_better(&w->all, &ask, &w->pods[w->standby[g]]);
        if (!pod)
            continue;
        w->standby[g] = (int)(pod - w->pods);
        changed++;
    }
    return changed;
}

static void test_one_pods_load_lands_on_all_others(void **state UNUSED)
{
    struct world *w = world_new(10);
    size_t lands[MOST_PODS][MOST_PODS] = { 0 };

    choose_missing(w);
    for (size_t g = 0; g < GUILDS; g++) {
        assert_true(w->standby[g] >= 0 && w->standby[g] != w->owner[g]);
        lands[w->owner[g]][w->standby[g]]++;
    }
    for (int from = 0; from < 10; from++) {
        for (int to = 0; to < 10; to++) {
            if (from != to) /* 1,200 guilds over 9 pods */
                assert_in_range(lands[from][to], 95, 175);
        }
    }
    assert_false(standby_is_uneven(&w->all));
    free(w);
}

static void test_places_follow_capacity(void **state UNUSED)
{
    struct world *w = world_new(3);

    add_pod(w, 3000);
    choose_missing(w);
    /* Of the guilds of each of the others it has three parts in five. */
    assert_in_range(w->pods[3].standing, 7000, 7400);
    assert_in_range(w->pods[0].standing, 1500, 1700);
    free(w);
}

static void test_a_lost_pod_changes_only_what_it_had(void **state UNUSED)
{
    struct world *w = world_new(10);
    int before[GUILDS];
    size_t had = 0;

    choose_missing(w);
    memcpy(before, w->standby, sizeof(before));
    w->pods[4].takes = false;
    for (size_t g = 0; g < GUILDS; g++) {
        had += w->standby[g] == 4;
        if (w->standby[g] == 4)
            w->standby[g] = -1;
    }
    assert_int_equal(had, w->pods[4].standing);
    w->pods[4].standing = 0;
    choose_missing(w);
    for (size_t g = 0; g < GUILDS; g++) {
        if (before[g] != 4)
            assert_int_equal(w->standby[g], before[g]);
        else
            assert_true(w->standby[g] >= 0 && w->standby[g] != 4);
    }
    free(w);
}

static void test_a_new_pod_gets_its_share_and_then_it_is_quiet(void **state UNUSED)
{
    struct world *w = world_new(10);

    choose_missing(w);
    assert_int_equal(even_out(w), 0);
    add_pod(w, 1000);
    standby_prepare(&w->all, GUILDS);
    assert_true(standby_is_uneven(&w->all));
    size_t changed = even_out(w);
    assert_int_equal(changed, w->pods[10].standing); /* nobody else got one */
    assert_in_range(changed, GUILDS * 85 / 100 / 11 - 2, GUILDS / 11);
    assert_false(standby_is_uneven(&w->all));
    assert_int_equal(even_out(w), 0);
    free(w);
}

/* What standby.h says, without any short cut. */
static const struct standby_pod *best_by_definition(const struct world *w, size_t guild)
{
    const struct standby_pod *best = NULL;
    double best_score = 0;

    for (size_t i = 0; i < w->all.count; i++) {
        const struct standby_pod *pod = &w->pods[i];
        uint64_t x = pod->seed ^ mix(ask_for(w, guild).guild_id);
        double u = ((double)(mix(x) >> 11) + 0.5) * 0x1p-53;
        double score = -(double)pod->capacity / log(u);
        if (!pod->takes || (int)i == w->owner[guild] || (best && score <= best_score))
            continue;
        best = pod;
        best_score = score;
    }
    return best;
}

static void test_the_winner_is_who_has_the_highest_score(void **state UNUSED)
{
    struct world *w = world_new(8);

    add_pod(w, 3000);
    add_pod(w, 400);
    standby_prepare(&w->all, UINT64_C(100) * GUILDS); /* nobody has too much */
    for (size_t g = 0; g < GUILDS; g++) {
        const struct standby_ask ask = ask_for(w, g);
        assert_ptr_equal(standby_choose(&w->all, &ask), best_by_definition(w, g));
    }
    free(w);
}

/* A place moves to a pod with clearly less exactly when that pod is the winner. */
static void test_places_move_only_to_winners(void **state UNUSED)
{
    struct world *w = world_new(10);
    size_t moved = 0, kept = 0;

    choose_missing(w);
    add_pod(w, 1000);
    add_pod(w, 2500);
    standby_prepare(&w->all, GUILDS);
    for (size_t g = 0; g < GUILDS; g++) {
        const struct standby_ask ask = ask_for(w, g);
        struct standby_pod *at = &w->pods[w->standby[g]];
        const struct standby_pod *winner = best_by_definition(w, g);
        bool is_over = at->standing > at->share + 1;
        bool is_less = winner >= &w->pods[10] && winner->standing + 1 < winner->share * 0.85;
        const struct standby_pod *got = standby_better(&w->all, &ask, at);
        assert_ptr_equal(got, is_over && is_less ? winner : NULL);
        moved += got != NULL;
        kept += got == NULL;
    }
    assert_in_range(moved, 1500, 4000);
    assert_true(kept > 4000);
    free(w);
}

/* As after a pod came back empty, and all others stand by for its guilds. */
static void test_places_move_from_those_with_too_many(void **state UNUSED)
{
    struct world *w = world_new(3);
    size_t changed = 0, rounds = 0;

    w->pods[2].takes = false;
    for (size_t g = 0; g < GUILDS; g++)
        w->owner[g] = (int)(g % 2);
    choose_missing(w);
    w->pods[2].takes = true;
    standby_prepare(&w->all, GUILDS);
    assert_true(standby_is_uneven(&w->all));
    for (size_t n; (n = even_out(w)) > 0; rounds++)
        changed += n;
    assert_true(rounds <= 2);
    assert_in_range(changed, 3000, 4100);
    assert_false(standby_is_uneven(&w->all));
    assert_int_equal(w->pods[2].standing, changed);
    free(w);
}

static void test_the_second_standby_is_another_pod(void **state UNUSED)
{
    struct world *w = world_new(3);

    standby_prepare(&w->all, 2 * GUILDS);
    for (size_t g = 0; g < GUILDS; g++) {
        struct standby_ask ask = ask_for(w, g);
        const struct standby_pod *first = standby_choose(&w->all, &ask);
        ask.except[1] = first;
        const struct standby_pod *second = standby_choose(&w->all, &ask);
        assert_true(first && second && first != second && second != &w->pods[w->owner[g]]);
        ask.except[2] = second;
        assert_null(standby_choose(&w->all, &ask)); /* there are only three */
    }
    free(w);
}

static void test_who_cannot_read_the_rows_does_not_follow_them(void **state UNUSED)
{
    struct world *w = world_new(3);

    w->pods[1].schema = 2;
    standby_prepare(&w->all, GUILDS);
    for (size_t g = 0; g < 300; g++) {
        struct standby_ask ask = ask_for(w, g);
        ask.schema = 2;
        const struct standby_pod *pod = standby_choose(&w->all, &ask);
        if (w->owner[g] == 1)
            assert_null(pod);
        else
            assert_ptr_equal(pod, &w->pods[1]); /* whatever it has already */
    }
    free(w);
}

static void test_two_pods_stand_by_for_each_other(void **state UNUSED)
{
    struct world *w = world_new(2);

    choose_missing(w);
    for (size_t g = 0; g < GUILDS; g++)
        assert_int_equal(w->standby[g], 1 - w->owner[g]);
    assert_int_equal(even_out(w), 0);
    for (size_t g = 0; g < GUILDS; g++) { /* all on one: the other has all places */
        w->owner[g] = 0;
        w->standby[g] = -1;
    }
    w->pods[0].standing = w->pods[1].standing = 0;
    choose_missing(w);
    assert_int_equal(w->pods[1].standing, GUILDS);
    assert_int_equal(even_out(w), 0);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_pods_load_lands_on_all_others),
        cmocka_unit_test(test_places_follow_capacity),
        cmocka_unit_test(test_a_lost_pod_changes_only_what_it_had),
        cmocka_unit_test(test_a_new_pod_gets_its_share_and_then_it_is_quiet),
        cmocka_unit_test(test_the_winner_is_who_has_the_highest_score),
        cmocka_unit_test(test_places_move_only_to_winners),
        cmocka_unit_test(test_places_move_from_those_with_too_many),
        cmocka_unit_test(test_the_second_standby_is_another_pod),
        cmocka_unit_test(test_who_cannot_read_the_rows_does_not_follow_them),
        cmocka_unit_test(test_two_pods_stand_by_for_each_other),
    };
    return cmocka_run_group_tests_name("standby", tests, NULL, NULL);
}
