/* two_sets.h - two sets of shards in the world of shards_world.h: each stage of a reshard, as a pod is
 * told of it. */
#ifndef TESTS_UNIT_GATEWAY_TWO_SETS_H
#define TESTS_UNIT_GATEWAY_TWO_SETS_H

#include "tests/unit/gateway/shards_world.h"

enum { NEXT_COUNT = 5 };
static const uint32_t all_ids[NEXT_COUNT] = { 0, 1, 2, 3, 4 };

static void want_both(struct pod *p, enum shards_stage stage)
{
    shards_want(p->shards, &(struct shards_wish){ .count = SHARD_COUNT,
                                                  .ids = all_ids,
                                                  .id_count = SHARD_COUNT,
                                                  .next_count = NEXT_COUNT,
                                                  .next_ids = all_ids,
                                                  .next_id_count = NEXT_COUNT,
                                                  .stage = stage });
}

static bool is_next_ready(struct world *w)
{
    uint32_t ids[NEXT_COUNT];
    return shards_next_ready(w->whose->shards, ids, NEXT_COUNT) == NEXT_COUNT &&
           shards_unsettled(w->whose->shards) == 0;
}

static bool is_next_keeping(struct world *w)
{
    uint32_t ids[NEXT_COUNT];
    return shards_next_keeping(w->whose->shards, ids, NEXT_COUNT) == NEXT_COUNT;
}

static bool is_retired(struct world *w)
{
    uint32_t ids[NEXT_COUNT];
    return shards_retired(w->whose->shards, ids, NEXT_COUNT) == SHARD_COUNT;
}

static void open_next(struct world *w, struct pod *p)
{
    w->whose = p;
    want_both(p, SHARDS_OPENING);
    wait_for(w, is_next_ready);
}

static void keep_next(struct world *w, struct pod *p)
{
    w->whose = p;
    want_both(p, SHARDS_KEEPING);
    wait_for(w, is_next_keeping);
}

/* The next set is the current one. */
static void go_over(struct world *w, struct pod *p)
{
    w->whose = p;
    want_both(p, SHARDS_RETIRING);
    wait_for(w, is_retired);
    w->count = NEXT_COUNT;
    shards_want(p->shards, &(struct shards_wish){
                               .count = NEXT_COUNT, .ids = all_ids, .id_count = NEXT_COUNT });
}

static void finish_over(struct world *w, struct pod *p)
{
    struct shard_record record;

    wait_for(w, is_traffic_over);
    w->whose = p;
    wait_for(w, is_all_saved);
    assert_int_equal(sim_count(w, "gateway", "live"), NEXT_COUNT);
    print_message("%zu events came twice\n", check_all_stored_over(w, p->bus));
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++)
        assert_false(read_record(p->bus, SHARD_COUNT, shard, &record));
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT + NEXT_COUNT);
    assert_int_equal(sim_count(w, "gateway", "closed_1000_by_client"), 0);
}

/* The one has the current set, the other the next one. */
static void want_one(struct pod *p, bool next, enum shards_stage stage)
{
    shards_want(p->shards, &(struct shards_wish){ .count = SHARD_COUNT,
                                                  .ids = all_ids,
                                                  .id_count = next ? 0 : SHARD_COUNT,
                                                  .next_count = NEXT_COUNT,
                                                  .next_ids = all_ids,
                                                  .next_id_count = next ? NEXT_COUNT : 0,
                                                  .stage = stage });
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

#endif
