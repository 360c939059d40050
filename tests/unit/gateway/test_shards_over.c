/* Another number of shards, against a real nats-server and the simulated Discord: two sets of them
 * are held at once, and in EVENTS stands one after the other. */
#include "tests/unit/gateway/two_sets.h"

static void test_another_set_of_shards_takes_over_without_a_gap(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 12000, 1000);
    open_next(w, &w->a);
    keep_next(w, &w->a);
    open_next(w, &w->a); /* somewhere one was not ready: the former ones have published that */
    keep_next(w, &w->a);
    go_over(w, &w->a);
    finish_over(w, &w->a);
}

static void test_a_crash_amid_two_sets_of_shards_loses_nothing(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 12000, 1000);
    open_next(w, &w->a);
    keep_next(w, &w->a);
    pod_kill(&w->a);
    pod_start(&w->b, false);
    keep_next(w, &w->b);
    want_both(&w->b, SHARDS_RETIRING);
    pod_kill(&w->b);
    pod_start(&w->a, false);
    keep_next(w, &w->a);
    go_over(w, &w->a);
    finish_over(w, &w->a);
}

static void test_a_shard_that_lost_its_connection_catches_up_before_it_retires(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 12000, 1000);
    open_next(w, &w->a);
    keep_next(w, &w->a);
    sim_fault(w, "drop", 4000);
    go_over(w, &w->a);
    finish_over(w, &w->a);
}

static void test_who_takes_a_shard_over_to_retire_it_resumes_it_first(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 12000, 1000);
    pod_open(&w->b, false);
    w->whose = &w->b;
    want_one(&w->b, true, SHARDS_OPENING);
    wait_for(w, is_next_ready);
    pod_kill(&w->a);
    w->want = 10000; /* while nobody publishes */
    wait_for(w, is_half_sent);
    want_one(&w->b, true, SHARDS_KEEPING);
    wait_for(w, is_next_keeping);
    pod_open(&w->a, false);
    want_one(&w->a, false, SHARDS_RETIRING);
    w->whose = &w->a;
    wait_for(w, is_retired);
    w->count = NEXT_COUNT;
    shards_want(w->b.shards, &(struct shards_wish){
                                 .count = NEXT_COUNT, .ids = all_ids, .id_count = NEXT_COUNT });
    finish_over(w, &w->b);
}

static bool is_alone_again(struct world *w)
{
    return sim_count(w, "gateway", "live") == SHARD_COUNT;
}

static void test_a_next_set_that_is_given_up_leaves_nothing_behind(void **state)
{
    struct world *w = *state;
    struct shard_record record;

    start_live(w);
    half_way(w, 12000, 1000);
    open_next(w, &w->a);
    keep_next(w, &w->a);
    shards_want(w->a.shards, &(struct shards_wish){
                                 .count = SHARD_COUNT, .ids = all_ids, .id_count = SHARD_COUNT });
    wait_for(w, is_alone_again);
    finish(w, &w->a);
    for (uint32_t shard = 0; shard < NEXT_COUNT; shard++)
        assert_false(read_record(w->a.bus, NEXT_COUNT, shard, &record));
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT + NEXT_COUNT);
}

static bool keeps_nothing(struct world *w)
{
    uint32_t ids[NEXT_COUNT];
    return shards_next_keeping(w->whose->shards, ids, NEXT_COUNT) == 0;
}

static void test_next_shards_publish_when_nobody_says_how_it_goes_on(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 4000, 200);
    open_next(w, &w->a);
    keep_next(w, &w->a);
    want_both(&w->a, SHARDS_RETIRING);
    wait_for(w, is_retired);
    uint64_t before = stored_count(w->a.bus);
    wait_for(w, keeps_nothing);
    wait_for(w, is_traffic_over);
    assert_true(stored_count(w->a.bus) > before);
    w->count = NEXT_COUNT;
    wait_for(w, is_all_saved);
    check_nothing_lost(w, w->a.bus);
}

/* As heartbeats do it. */
static bool keeps_no_longer(struct world *w)
{
    want_one(&w->b, true, SHARDS_RETIRING);
    return keeps_nothing(w);
}

static void test_next_shards_do_not_wait_for_ever_for_others_to_retire(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 4000, 200);
    pod_open(&w->b, false);
    w->whose = &w->b;
    want_one(&w->b, true, SHARDS_OPENING);
    wait_for(w, is_next_ready);
    want_one(&w->b, true, SHARDS_KEEPING);
    wait_for(w, is_next_keeping);
    pod_kill(&w->a); /* and nobody takes its shards over */
    wait_for(w, keeps_no_longer);
    wait_for(w, is_traffic_over);
    w->count = NEXT_COUNT;
    wait_for(w, is_all_saved);
    check_nothing_lost(w, w->b.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_another_set_of_shards_takes_over_without_a_gap),
        LIVE(test_a_crash_amid_two_sets_of_shards_loses_nothing),
        LIVE(test_a_shard_that_lost_its_connection_catches_up_before_it_retires),
        LIVE(test_who_takes_a_shard_over_to_retire_it_resumes_it_first),
        LIVE(test_a_next_set_that_is_given_up_leaves_nothing_behind),
        LIVE(test_next_shards_publish_when_nobody_says_how_it_goes_on),
        LIVE(test_next_shards_do_not_wait_for_ever_for_others_to_retire),
    };
    return cmocka_run_group_tests_name("shards_over", tests, NULL, NULL);
}
