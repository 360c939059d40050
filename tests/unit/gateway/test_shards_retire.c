/* Shards that leave for another set while something is wrong: the connection, the bus, the limit of
 * sends, a holder that slept, or more is kept than there is room for. */
#include "tests/unit/gateway/two_sets.h"

/* Nobody notices: the next heartbeat is far away. */
static void test_a_half_open_shard_is_resumed_before_it_retires(void **state)
{
    struct world *w = *state;

    sim_tell(w, "/gateway", "{\"hello_ms\":120000}");
    start_live(w);
    half_way(w, 4000, 500);
    sim_fault(w, "stall", 4000);
    w->want = 2500;
    wait_for(w, is_half_sent);
    open_next(w, &w->a);
    keep_next(w, &w->a);
    go_over(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "resumes"), SHARD_COUNT);
    finish_over(w, &w->a);
}

static bool is_unsettled(struct world *w)
{
    return shards_unsettled(w->whose->shards) == SHARD_COUNT;
}

/* As heartbeats do it. */
static bool is_told_so_long(struct world *w)
{
    want_both(&w->a, SHARDS_RETIRING);
    return clock_now_ms() >= w->until_ms;
}

/* The bus stands still, so they are not read; and what they have not read the next ones dropped. */
static void test_shards_that_are_not_read_wait_for_the_bus_and_retire_then(void **state)
{
    struct world *w = *state;

    start_live(w);
    open_next(w, &w->a);
    kill(w->nats.pid, SIGSTOP);
    sim_traffic(w, 30000, 0); /* more than the window takes */
    wait_for(w, is_unsettled);
    assert_int_equal(sim_count(w, "gateway", "live"), SHARD_COUNT + NEXT_COUNT);
    wait_for(w, is_traffic_over);
    want_both(&w->a, SHARDS_KEEPING);
    want_both(&w->a, SHARDS_RETIRING);
    w->until_ms = clock_now_ms() + 16000; /* who may be late for 15 s would be gone */
    wait_for(w, is_told_so_long);
    kill(w->nats.pid, SIGCONT);
    go_over(w, &w->a);
    finish_over(w, &w->a);
}

static bool has_heard_them(struct world *w)
{
    return sim_count(w, "gateway", "heartbeats") >= (int64_t)w->want;
}

/* Of each shard four more, until it may not send any more: 120, of which one was its IDENTIFY. A
 * heartbeat of their own counts, too. */
static void ask_for_heartbeats(struct world *w, int already)
{
    int each = already + 4 < 119 ? already + 4 : 119;

    w->want = (uint64_t)each * (SHARD_COUNT + NEXT_COUNT);
    for (int i = 0; i < 4; i++)
        sim_fault(w, "heartbeat", 4000);
    wait_for(w, has_heard_them);
}

/* A hundred and twenty sends a minute are allowed, and Discord has asked for as many heartbeats. */
static void test_a_shard_that_may_not_send_any_more_is_resumed(void **state)
{
    struct world *w = *state;

    sim_tell(w, "/gateway", "{\"hello_ms\":120000}");
    start_live(w);
    half_way(w, 4000, 200);
    open_next(w, &w->a);
    for (int i = 0; i < 120; i += 4)
        ask_for_heartbeats(w, i);
    keep_next(w, &w->a);
    go_over(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "resumes"), SHARD_COUNT);
    finish_over(w, &w->a);
}

/* As heartbeats do it. */
static bool is_one_told_so_long(struct world *w)
{
    want_one(&w->a, false, SHARDS_RETIRING);
    return clock_now_ms() >= w->until_ms;
}

static void test_the_time_to_retire_begins_when_the_shard_is_held(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 4000, 1000);
    pod_open(&w->b, false);
    w->whose = &w->b;
    want_one(&w->b, true, SHARDS_OPENING);
    wait_for(w, is_next_ready);
    pod_kill(&w->a); /* what comes now is dropped by the next ones, and waits for who resumes */
    wait_for(w, is_traffic_over);
    want_one(&w->b, true, SHARDS_KEEPING);
    wait_for(w, is_next_keeping);
    pod_open(&w->a, false);
    kill(w->nats.pid, SIGSTOP); /* the records cannot be read */
    w->until_ms = clock_now_ms() + 16000;
    wait_for(w, is_one_told_so_long);
    kill(w->nats.pid, SIGCONT);
    w->whose = &w->a;
    wait_for(w, is_retired);
    w->count = NEXT_COUNT;
    shards_want(w->b.shards, &(struct shards_wish){
                                 .count = NEXT_COUNT, .ids = all_ids, .id_count = NEXT_COUNT });
    finish_over(w, &w->b);
}

static void test_a_holder_that_slept_through_the_end_of_its_set_is_lost(void **state)
{
    struct world *w = *state;

    start_live(w);
    sim_traffic(w, 100, 0);
    wait_for(w, is_traffic_over);
    w->whose = &w->a;
    wait_for(w, is_all_saved);
    pod_open(&w->b, false);
    want_one(&w->b, false, SHARDS_RETIRING); /* nobody told a */
    w->whose = &w->b;
    wait_for(w, is_retired);
    sim_traffic(w, 100, 0); /* a resumes, and would say this */
    w->whose = &w->a;
    wait_for(w, holds_nothing);
}

static void test_what_is_kept_has_a_bound_and_then_discord_waits(void **state)
{
    struct world *w = *state;

    start_live(w);
    open_next(w, &w->a);
    keep_next(w, &w->a);
    half_way(w, 60000, 0); /* six thousand for each next shard, and 4096 are kept */
    go_over(w, &w->a);
    finish_over(w, &w->a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_a_half_open_shard_is_resumed_before_it_retires),
        LIVE(test_shards_that_are_not_read_wait_for_the_bus_and_retire_then),
        LIVE(test_a_shard_that_may_not_send_any_more_is_resumed),
        LIVE(test_the_time_to_retire_begins_when_the_shard_is_held),
        LIVE(test_a_holder_that_slept_through_the_end_of_its_set_is_lost),
        LIVE(test_what_is_kept_has_a_bound_and_then_discord_waits),
    };
    return cmocka_run_group_tests_name("shards_retire", tests, NULL, NULL);
}
