/* needs: postgres
 *
 * Every test runs on SQLite and on a real PostgreSQL. */
#include "store_world.h"

/* ---- tests ---- */

TEST_ON_BOTH(test_a_guild_reads_back_as_it_was_planned)
{
    struct guild_row row = guild(UINT64_C(18000000000000000001), "gw-1", 5, GUILD_MOVING), got;
    int64_t now_ms = 0;

    row.incarnation = UINT64_MAX;
    row.schema = 4;
    row.unowned_ms = INT64_C(1763893560123);
    OK(commit_guild(w->store, &row));
    OK(store_guild(w->store, row.guild_id, &got, NULL));
    assert_string_equal(got.pod, "gw-1");
    assert_int_equal(got.epoch, 5);
    assert_int_equal(got.next_epoch, 6);
    assert_true(got.incarnation == UINT64_MAX);
    assert_int_equal(got.state, GUILD_MOVING);
    assert_int_equal(got.schema, 4);
    assert_int_equal(got.unowned_ms, INT64_C(1763893560123));
    OK(store_now(w->store, &now_ms, NULL));
    assert_in_range(got.assigned_ms, now_ms - 60000, now_ms);
    assert_int_equal(store_guild(w->store, 1, &got, NULL), STATUS_NOT_FOUND);
}

TEST_ON_BOTH(test_an_unassigned_guild_has_no_pod)
{
    struct guild_row row = guild(9, "", 0, GUILD_UNASSIGNED), got;

    OK(commit_guild(w->store, &row));
    OK(store_guild(w->store, 9, &got, NULL));
    assert_string_equal(got.pod, "");
    assert_int_equal(got.state, GUILD_UNASSIGNED);
    assert_int_equal(got.unowned_ms, 0);
}

TEST_ON_BOTH(test_an_epoch_is_never_given_twice)
{
    struct guild_row row = guild(9, "a", 5, GUILD_CLAIMING), got;

    OK(commit_guild(w->store, &row));
    row = guild(9, "b", 4, GUILD_CLAIMING);
    assert_int_equal(commit_guild(w->store, &row), STATUS_CONFLICT);
    row = guild(9, "b", 6, GUILD_CLAIMING);
    row.next_epoch = 5; /* not above its own epoch */
    assert_int_equal(commit_guild(w->store, &row), STATUS_CONFLICT);
    OK(store_guild(w->store, 9, &got, NULL));
    assert_string_equal(got.pod, "a");
    assert_int_equal(got.epoch, 5);
}

TEST_ON_BOTH(test_one_bad_row_undoes_the_whole_plan)
{
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct guild_row old = guild(1, "a", 9, GUILD_OWNED), got;
    struct guild_row good = guild(2, "a", 1, GUILD_OWNED), bad = guild(1, "b", 3, GUILD_OWNED);

    OK(commit_guild(w->store, &old));
    plan_guild(&plan, &good);
    plan_guild(&plan, &bad);
    assert_int_equal(store_commit(w->store, &plan, NULL), STATUS_CONFLICT);
    assert_int_equal(store_guild(w->store, 2, &got, NULL), STATUS_NOT_FOUND);
}

TEST_ON_BOTH(test_a_thousand_guilds_are_one_commit_and_read_in_pages)
{
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct counted n = { 0 };

    for (uint64_t i = 1; i <= PLAN_GUILDS; i++) {
        struct guild_row row = guild(i, i % 2 ? "a" : "b", 1, GUILD_CLAIMING);
        plan_guild(&plan, &row);
    }
    OK(store_commit(w->store, &plan, NULL));
    struct guild_query query = { .from_start = true, .pod = "", .limit = 600 };
    OK(store_guilds(w->store, &query, count_guild, &n, NULL));
    assert_int_equal(n.rows, 600);
    query = (struct guild_query){ .after = n.last_id, .pod = "", .limit = 600 };
    OK(store_guilds(w->store, &query, count_guild, &n, NULL));
    assert_int_equal(n.rows, PLAN_GUILDS);
    query = (struct guild_query){ .from_start = true, .pod = "b", .limit = 5000 };
    n = (struct counted){ 0 };
    OK(store_guilds(w->store, &query, count_guild, &n, NULL));
    assert_int_equal(n.rows, PLAN_GUILDS / 2);
}

TEST_ON_BOTH(test_a_guild_has_one_open_move)
{
    struct move_row first = move(1, 9, MOVE_STATE_WARMING), second = move(2, 9, MOVE_STATE_WISHED),
                    got;
    struct counted n = { 0 };

    OK(commit_move(w->store, &first));
    assert_int_equal(commit_move(w->store, &second), STATUS_CONFLICT);
    first.state = MOVE_STATE_DONE;
    first.epoch = 3;
    first.unseal_epoch = 4;
    first.pause_us = 1234;
    OK(commit_move(w->store, &first));
    OK(commit_move(w->store, &second));
    OK(store_move(w->store, 1, &got, NULL));
    assert_int_equal(got.state, MOVE_STATE_DONE);
    assert_int_equal(got.pause_us, 1234);
    assert_true(got.created_ms <= got.changed_ms);
    OK(store_open_moves(w->store, count_move, &n, NULL));
    assert_int_equal(n.rows, 1);
    assert_int_equal(n.last_id, 2);
    OK(store_move_of_epoch(w->store, 9, 3, "b", &got, NULL));
    OK(store_move_of_epoch(w->store, 9, 4, "a", &got, NULL));
    assert_int_equal(store_move_of_epoch(w->store, 9, 3, "a", &got, NULL), STATUS_NOT_FOUND);
    assert_int_equal(store_move(w->store, 77, &got, NULL), STATUS_NOT_FOUND);
    uint64_t last = 0;
    OK(store_last_move_id(w->store, &last, NULL));
    assert_int_equal(last, 2);
}

TEST_ON_BOTH(test_a_living_pod_keeps_its_name)
{
    struct pod_row mine = pod("gw", 1), rival = pod("gw", 2);
    int64_t left_ms = 0;

    OK(store_register(w->store, &mine, 60000, &left_ms, NULL));
    assert_int_equal(mine.lease_until_ms - mine.heard_ms > 59000, 1);
    assert_int_equal(store_register(w->store, &rival, 60000, &left_ms, NULL), STATUS_DENIED);
    assert_in_range(left_ms, 1, 60000);
    OK(store_register(w->store, &mine, 60000, &left_ms, NULL));
    assert_int_equal(store_leave(w->store, "gw", 2, NULL), STATUS_NOT_FOUND);
    OK(store_leave(w->store, "gw", 1, NULL));
    OK(store_register(w->store, &rival, 60000, &left_ms, NULL));
}

TEST_ON_BOTH(test_heartbeats_renew_the_known_and_only_them)
{
    struct pod_row rows[3] = { pod("a", 1), pod("b", 9), pod("c", 3) };
    struct pod_row registered[2] = { pod("a", 1), pod("b", 2) };
    struct counted n = { 0 };
    int64_t left_ms;

    OK(store_register(w->store, &registered[0], 1000, &left_ms, NULL));
    OK(store_register(w->store, &registered[1], 1000, &left_ms, NULL));
    rows[0].status = POD_DRAINING;
    rows[0].guild_count = 12;
    rows[0].load = 34;
    OK(store_heartbeats(w->store, &(struct store_beats){ rows, 3, 60000 }, count_pod, &n, NULL));
    assert_int_equal(n.rows, 1);
    assert_string_equal(n.last_pod, "a");
    assert_true(n.pod.lease_until_ms > registered[0].lease_until_ms + 50000);
    n = (struct counted){ 0 };
    OK(store_pods(w->store, count_pod, &n, NULL));
    assert_int_equal(n.rows, 2);
    assert_string_equal(n.pod.version, "1.2.3");
    assert_int_equal(n.pod.schema, 3);
}

TEST_ON_BOTH(test_only_ended_leases_expire_and_their_guilds_name_no_process)
{
    struct pod_row dead = pod("a", 7), alive = pod("b", 7);
    struct guild_row of_dead = guild(1, "a", 1, GUILD_OWNED),
                     of_alive = guild(2, "b", 1, GUILD_OWNED), got;
    struct counted n = { 0 };
    int64_t left_ms;

    OK(store_register(w->store, &dead, 0, &left_ms, NULL));
    OK(store_register(w->store, &alive, 60000, &left_ms, NULL));
    OK(commit_guild(w->store, &of_dead));
    OK(commit_guild(w->store, &of_alive));
    OK(store_expire(w->store, 60000, count_pod, &n, NULL));
    assert_int_equal(n.rows, 0);
    while (!n.rows) /* until its clock has passed the lease's millisecond */
        OK(store_expire(w->store, 0, count_pod, &n, NULL));
    assert_int_equal(n.rows, 1);
    assert_string_equal(n.last_pod, "a");
    OK(store_guild(w->store, 1, &got, NULL));
    assert_int_equal(got.incarnation, 0);
    OK(store_guild(w->store, 2, &got, NULL));
    assert_int_equal(got.incarnation, 7);
    /* A heartbeat does not bring it back. */
    n = (struct counted){ 0 };
    OK(store_heartbeats(w->store, &(struct store_beats){ &dead, 1, 60000 }, count_pod, &n, NULL));
    assert_int_equal(n.rows, 0);
}

TEST_ON_BOTH(test_pods_that_own_nothing_are_forgotten_after_a_day)
{
    struct pod_row row = pod("a", 7);
    struct counted n = { 0 };
    int64_t left_ms;

    OK(store_register(w->store, &row, -25 * 3600 * 1000, &left_ms, NULL));
    OK(store_leave(w->store, "a", 7, NULL)); /* its lease ends now, so it stays for a day */
    OK(store_forget(w->store, count_pod, &n, NULL));
    assert_int_equal(n.rows, 0);
    OK(store_register(w->store, &row, -25 * 3600 * 1000, &left_ms, NULL));
    OK(store_expire(w->store, 0, count_pod, &n, NULL));
    assert_int_equal(n.rows, 1);
    struct guild_row held = guild(1, "a", 1, GUILD_OWNED);
    OK(commit_guild(w->store, &held));
    n = (struct counted){ 0 };
    OK(store_forget(w->store, count_pod, &n, NULL));
    assert_int_equal(n.rows, 0);
    held = guild(1, "b", 2, GUILD_OWNED);
    OK(commit_guild(w->store, &held));
    OK(store_forget(w->store, count_pod, &n, NULL));
    assert_int_equal(n.rows, 1);
}

TEST_ON_BOTH(test_shards_are_kept_and_cut)
{
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct counted n = { 0 };
    uint64_t count = 0;

    for (uint32_t i = 0; i < 4; i++) {
        struct shard_row row = { .shard = i, .pod = "a" };
        plan_shard(&plan, &row);
    }
    plan_shard(&plan, &(struct shard_row){ .shard = 2 });
    assert_int_equal(plan.shard_count, 4);
    OK(store_commit(w->store, &plan, NULL));
    OK(store_cut_shards(w->store, 3, NULL));
    OK(store_shards(w->store, count_shard, &n, NULL));
    assert_int_equal(n.rows, 3);
    assert_string_equal(n.last_pod, "");
    OK(store_meta(w->store, "shard_count", &count, NULL));
    assert_int_equal(count, 0);
    OK(store_set_meta(w->store, "shard_count", 3, NULL));
    OK(store_meta(w->store, "shard_count", &count, NULL));
    assert_int_equal(count, 3);
}

static void count_next(void *ctx, const struct shard_row *row)
{
    struct counted *n = ctx;

    n->rows += row->is_next;
}

static void note_history(void *ctx, const struct history_row *row)
{
    struct history_row *last = ctx;

    if (!last->id)
        *last = *row;
}

TEST_ON_BOTH(test_a_reshard_is_kept_and_done_or_given_up)
{
    const struct reshard_row begun = { 5, 1, "reshard_begins", "2 to 5: operator" },
                             none = { .what = "resharded", .why = "2 to 5 shards" },
                             off = { .to = 0 };
    const struct history_query all = { .limit = 10 };
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct history_row last = { 0 };
    struct counted n = { 0 };
    uint64_t count = 0;

    for (uint32_t i = 0; i < 2; i++)
        plan_shard(&plan, &(struct shard_row){ .shard = i, .pod = "a" });
    OK(store_reshard(w->store, &begun, NULL));
    for (uint32_t i = 0; i < 5; i++)
        plan_shard(&plan, &(struct shard_row){ .shard = i, .pod = "b", .is_next = true });
    assert_int_equal(plan.shard_count, 7);
    OK(store_commit(w->store, &plan, NULL));
    OK(store_shards(w->store, count_next, &n, NULL));
    assert_int_equal(n.rows, 5);
    OK(store_meta(w->store, "reshard_count", &count, NULL));
    assert_int_equal(count, 5);

    OK(store_reshard_commit(w->store, 5, &none, NULL));
    n = (struct counted){ 0 };
    OK(store_shards(w->store, count_shard, &n, NULL));
    assert_int_equal(n.rows, 5);
    assert_string_equal(n.last_pod, "b");
    OK(store_meta(w->store, "shard_count", &count, NULL));
    assert_int_equal(count, 5);
    OK(store_meta(w->store, "reshard_count", &count, NULL));
    assert_int_equal(count, 0);
    OK(store_history(w->store, &all, note_history, &last, NULL));
    assert_string_equal(last.what, "resharded");
    assert_string_equal(last.why, "2 to 5 shards");

    OK(store_commit(w->store, &plan, NULL)); /* next ones again */
    OK(store_reshard(w->store, &off, NULL));
    n = (struct counted){ 0 };
    OK(store_shards(w->store, count_next, &n, NULL));
    assert_int_equal(n.rows, 0);
}

TEST_ON_BOTH(test_one_identify_per_bucket_and_interval)
{
    int64_t wait_ms = -1;

    OK(store_identify(w->store, 0, 60000, &wait_ms, NULL));
    assert_int_equal(wait_ms, 0);
    OK(store_identify(w->store, 0, 60000, &wait_ms, NULL));
    assert_in_range(wait_ms, 1, 60000);
    OK(store_identify(w->store, 1, 60000, &wait_ms, NULL));
    assert_int_equal(wait_ms, 0);
    OK(store_identify(w->store, 0, 0, &wait_ms, NULL));
    assert_int_equal(wait_ms, 0);
}

TEST_ON_BOTH(test_counts_are_of_what_is_there)
{
    CLEANUP(plan_release) struct plan plan = { 0 };
    struct store_counts n;

    for (uint64_t i = 1; i <= 6; i++) {
        struct guild_row g = guild(i, "a", 1,
                                   i <= 3   ? GUILD_OWNED
                                   : i == 4 ? GUILD_MOVING
                                            : GUILD_CLAIMING);
        struct move_row m = move(i, i,
                                 i <= 3   ? MOVE_STATE_DONE
                                 : i == 4 ? MOVE_STATE_CUTOVER
                                          : MOVE_STATE_ABORTED);
        m.pause_us = i * 1000;
        plan_guild(&plan, &g);
        plan_move(&plan, &m);
    }
    OK(store_commit(w->store, &plan, NULL));
    OK(store_counts(w->store, &n, NULL));
    assert_int_equal(n.guilds, 6);
    assert_int_equal(n.guilds_owned, 4);
    assert_int_equal(n.moves_open, 1);
    assert_int_equal(n.moves_done, 3);
    assert_int_equal(n.moves_failed, 2);
    assert_int_equal(n.pause_us_p50, 2000);
    assert_int_equal(n.pause_us_max, 3000);
}

TEST_ON_BOTH(test_one_process_leads_until_it_resigns)
{
    struct store *second = NULL;
    struct guild_row row = guild(1, "a", 1, GUILD_CLAIMING);
    bool leads = true;

    OK(store_open(w->url, w->data_dir, &second, NULL));
    OK(store_lead(second, &leads, NULL));
    assert_false(leads);
    assert_int_equal(commit_guild(second, &row), STATUS_CONFLICT); /* it does not lead */
    assert_int_equal(store_still_leads(second, NULL), STATUS_CONFLICT);
    OK(store_still_leads(w->store, NULL));
    OK(commit_guild(w->store, &row));

    store_resign(w->store);
    assert_int_equal(commit_guild(w->store, &row), STATUS_CONFLICT);
    lead(second);
    OK(commit_guild(second, &row));
    store_free(second);
}

/* As after a lost connection: both believe that they lead. */
TEST_ON_BOTH(test_a_leader_that_was_replaced_cannot_write)
{
    struct store *second = NULL;
    struct guild_row row = guild(1, "a", 1, GUILD_CLAIMING);
    int64_t left_ms, wait_ms;
    struct pod_row p = pod("a", 1);
    bool more;

    OK(store_open(w->url, w->data_dir, &second, NULL));
    store_unlock_for_test(w->store);
    lead(second);
    assert_int_equal(commit_guild(w->store, &row), STATUS_CONFLICT);
    assert_int_equal(store_register(w->store, &p, 1000, &left_ms, NULL), STATUS_CONFLICT);
    assert_int_equal(store_identify(w->store, 0, 1000, &wait_ms, NULL), STATUS_CONFLICT);
    assert_int_equal(store_set_meta(w->store, "shard_count", 3, NULL), STATUS_CONFLICT);
    assert_int_equal(store_wish_drain(w->store, "a", true, POD_DRAINING, NULL), STATUS_CONFLICT);
    assert_int_equal(store_prune(w->store, 1, 10, &more, NULL), STATUS_CONFLICT);
    OK(commit_guild(second, &row));
    store_free(second);
}

TEST_ON_BOTH(test_what_was_stored_is_there_after_opening_again)
{
    struct guild_row row = guild(1, "a", 8, GUILD_OWNED), got;

    OK(commit_guild(w->store, &row));
    store_free(w->store);
    OK(store_open(w->url, w->data_dir, &w->store, NULL));
    OK(store_guild(w->store, 1, &got, NULL));
    assert_int_equal(got.epoch, 8);
    lead(w->store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_a_guild_reads_back_as_it_was_planned),
        ON_BOTH(test_an_unassigned_guild_has_no_pod),
        ON_BOTH(test_an_epoch_is_never_given_twice),
        ON_BOTH(test_one_bad_row_undoes_the_whole_plan),
        ON_BOTH(test_a_thousand_guilds_are_one_commit_and_read_in_pages),
        ON_BOTH(test_a_guild_has_one_open_move),
        ON_BOTH(test_a_living_pod_keeps_its_name),
        ON_BOTH(test_heartbeats_renew_the_known_and_only_them),
        ON_BOTH(test_only_ended_leases_expire_and_their_guilds_name_no_process),
        ON_BOTH(test_pods_that_own_nothing_are_forgotten_after_a_day),
        ON_BOTH(test_shards_are_kept_and_cut),
        ON_BOTH(test_a_reshard_is_kept_and_done_or_given_up),
        ON_BOTH(test_one_identify_per_bucket_and_interval),
        ON_BOTH(test_counts_are_of_what_is_there),
        ON_BOTH(test_one_process_leads_until_it_resigns),
        ON_BOTH(test_a_leader_that_was_replaced_cannot_write),
        ON_BOTH(test_what_was_stored_is_there_after_opening_again),
    };

    if (!mkdtemp(dir))
        return 1;
    return cmocka_run_group_tests_name("store", tests, NULL, remove_dir);
}
