/* needs: nats
 *
 * Planned moves with the real program: each way that a move can end, and who dies on the way. */
#include "cluster.h"

enum { GUILD = 7 };

/* One guild, owned by gw-1; two more pods without any. */
static void begin(struct cluster *w)
{
    cluster_lead(w, 0);
    pods_start(w, 1);
    pod_see(&w->pods[0], GUILD, 1);
    cluster_until(w, cluster_guild_is(w, GUILD, "gw-1", "owned"));
    cluster_pod(w, 1);
    cluster_pod(w, 2);
    cluster_until(w, w->pods[1].registered && w->pods[2].registered);
}

static void test_a_guild_moves(void **state)
{
    struct cluster *w = *state;

    begin(w);
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_true(cluster_guild_is(w, GUILD, "gw-2", "owned"));
    assert_int_equal(cluster_epoch(w, GUILD), 2);
    assert_int_equal(w->pods[1].last_take_epoch, 2);
    assert_int_equal(w->pods[1].last_unseal_epoch, 3);
    assert_int_equal(w->pods[1].drops, 0);
    assert_int_equal(w->pods[0].owns, 1); /* the source gets no orders: the target asks it */
    assert_int_equal(cluster_status(w, "pause_us_max"), 1500);

    char path[64];
    (void)snprintf(path, sizeof(path), "/moves/%" PRIu64, move);
    ANSWERED a = cluster_get(w, path);
    assert_string_equal(json_str(a.root, "source"), "gw-1");
    assert_string_equal(json_str(a.root, "target"), "gw-2");
    assert_int_equal(json_int(a.root, "pause_us", 0), 1500);
    assert_int_equal(strlen(json_str(a.root, "finished_at")), strlen("2026-11-23T10:26:00.123Z"));

    move = cluster_reassign(w, GUILD, "gw-1"); /* and back: with epochs that nobody had */
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_int_equal(cluster_epoch(w, GUILD), 4);
}

static void test_lost_orders_of_a_move_are_repeated(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_warm = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].warms == 2);
    w->pods[1].ignores_warm = false;
    w->pods[1].ignores_take = true;
    cluster_until(w, w->pods[1].takes == 2);
    w->pods[1].ignores_take = false;
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_int_equal(cluster_epoch(w, GUILD), 2);
}

static void test_a_target_that_cannot_load_is_left_alone(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].fails_warm = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, cluster_move_is(w, move, "aborted"));
    cluster_until(w, w->pods[1].drops == 1);
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "owned"));
    assert_int_equal(cluster_epoch(w, GUILD), 1);
    w->pods[1].fails_warm = false;
    move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, cluster_move_is(w, move, "done"));
}

static void test_a_target_that_dies_while_warming_aborts(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_warm = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].warms >= 1);
    pod_kill(&w->pods[1]);
    cluster_until(w, cluster_move_is(w, move, "aborted"));
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "owned"));
}

static void test_a_source_that_dies_while_warming_leaves_the_guild_to_the_warm_pod(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[2].load = 0;
    w->pods[1].load = 1000; /* not the one that placement would choose */
    w->pods[1].ignores_warm = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].warms >= 1);
    pod_kill(&w->pods[0]);
    cluster_until(w, cluster_move_is(w, move, "aborted"));
    cluster_until(w, cluster_guild_is(w, GUILD, "gw-2", "owned"));
    assert_int_equal(cluster_epoch(w, GUILD), 2);
    assert_int_equal(w->pods[2].owns, 0);
}

static void test_a_source_that_unseals_keeps_the_guild(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_take = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "moving"));
    pod_claim(&w->pods[0], GUILD, w->pods[1].last_unseal_epoch, move);
    cluster_until(w, cluster_move_is(w, move, "failed"));
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "owned"));
    assert_int_equal(cluster_epoch(w, GUILD), 3);
    cluster_until(w, w->pods[1].drops == 1);
    /* The target's claim comes too late. */
    pod_claim(&w->pods[1], GUILD, w->pods[1].last_take_epoch, move);
    cluster_until(w, w->pods[1].claims_refused == 1);
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "owned"));
}

static void test_a_source_that_dies_in_cutover_lets_the_target_claim(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_take = true; /* it waits for a Seal that never comes */
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    pod_kill(&w->pods[0]);
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_int_equal(w->pods[1].last_own_epoch, w->pods[1].last_take_epoch);
    assert_int_equal(w->pods[1].last_own_reason, 3);
    assert_true(cluster_guild_is(w, GUILD, "gw-2", "owned"));
}

static void test_a_target_that_dies_in_cutover_lets_the_source_go_on(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_take = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    pod_kill(&w->pods[1]);
    cluster_until(w, cluster_move_is(w, move, "failed"));
    assert_int_equal(w->pods[0].last_own_epoch, w->pods[1].last_unseal_epoch);
    assert_int_equal(w->pods[0].last_own_reason, 4);
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "owned"));
}

static void test_a_silent_target_lets_the_source_go_on(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_take = true; /* for ever, but it beats */
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, cluster_move_is(w, move, "failed"));
    assert_int_equal(w->pods[0].last_own_epoch, w->pods[1].last_unseal_epoch);
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "owned"));
}

static void test_both_dying_in_cutover_fails_over(void **state)
{
    struct cluster *w = *state;

    begin(w);
    cluster_pod(w, 3);
    cluster_pod(w, 4);
    cluster_until(w, w->pods[3].registered && w->pods[4].registered);
    w->pods[1].ignores_take = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    pod_kill(&w->pods[0]);
    pod_kill(&w->pods[1]);
    cluster_until(w, cluster_move_is(w, move, "failed"));
    cluster_until(w, cluster_guild_is(w, GUILD, "gw-3", "owned"));
    assert_int_equal(cluster_epoch(w, GUILD), 4);
}

/* As a pod is that was frozen: its process is the same, and it believes that it still owns. */
static void freeze(struct cluster *w, int pod)
{
    w->pods[pod].beats = false;
    cluster_until(w, cluster_pod_is(w, w->pods[pod].id, "offline"));
}

static void wake(struct cluster *w, int pod)
{
    w->pods[pod].registered = false;
    w->pods[pod].beats = true;
    cluster_until(w, w->pods[pod].registered);
}

/* Meanwhile the target may have claimed: what the source has in memory may be old. */
static void test_a_source_that_was_frozen_in_cutover_is_not_confirmed(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_take = w->pods[1].ignores_own = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    freeze(w, 0);
    cluster_until(w, w->pods[1].owns >= 1);
    wake(w, 0);
    pod_claim(&w->pods[0], GUILD, 1, 0);
    cluster_until(w, w->pods[0].claims_refused == 1);
    (void)cluster_stop(w, 0, SIGKILL);
    cluster_lead(w, 0); /* and one that was not there then */
    pod_claim(&w->pods[0], GUILD, 1, 0);
    cluster_until(w, w->pods[0].claims_refused == 2);
    pod_claim(&w->pods[1], GUILD, w->pods[1].last_take_epoch, move);
    cluster_until(w, cluster_move_is(w, move, "done"));
}

/* A late Claim of the target would fence it, and nobody would be told to own. */
static void test_a_source_that_comes_back_after_both_were_gone_gets_a_later_epoch(void **state)
{
    struct cluster *w = *state;

    begin(w);
    pod_kill(&w->pods[2]);
    w->pods[1].ignores_take = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    uint64_t target = w->pods[1].last_take_epoch;
    w->pods[1].beats = w->pods[0].beats = false;
    cluster_until(w, cluster_move_is(w, move, "failed"));
    (void)cluster_stop(w, 0, SIGKILL);
    cluster_lead(w, 0);
    wake(w, 0);
    cluster_until(w, cluster_epoch(w, GUILD) > target);
    cluster_until(w, cluster_guild_is(w, GUILD, "gw-1", "owned"));
}

static void test_a_claim_that_nobody_reported_is_found_in_the_log(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].hides_claims = true; /* it claims, and the coordinator never hears of it */
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    append_claim(&w->pods[1], GUILD, w->pods[1].last_take_epoch);
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_true(cluster_guild_is(w, GUILD, "gw-2", "owned"));
    assert_int_equal(w->pods[0].owns, 1);
}

static void test_an_unseal_that_nobody_reported_is_found_in_the_log(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_take = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    append_claim(&w->pods[0], GUILD, w->pods[1].last_unseal_epoch);
    cluster_until(w, cluster_move_is(w, move, "failed"));
    assert_true(cluster_guild_is(w, GUILD, "gw-1", "owned"));
    assert_int_equal(cluster_epoch(w, GUILD), w->pods[1].last_unseal_epoch);
}

/* The source went on at the coordinator's word, and then the target's older claim arrives after
 * all, or the other way round: the higher epoch has the guild. */
static void test_the_higher_of_two_claims_wins_in_any_order(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_take = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    pod_claim(&w->pods[1], GUILD, w->pods[1].last_take_epoch, move);
    cluster_until(w, cluster_move_is(w, move, "done"));
    pod_claim(&w->pods[0], GUILD, w->pods[1].last_unseal_epoch, move);
    cluster_until(w, cluster_guild_is(w, GUILD, "gw-1", "owned"));
    assert_int_equal(cluster_epoch(w, GUILD), w->pods[1].last_unseal_epoch);
}

static void test_a_restarted_coordinator_continues_each_open_move(void **state)
{
    struct cluster *w = *state;

    begin(w);
    w->pods[1].ignores_warm = true;
    uint64_t move = cluster_reassign(w, GUILD, "gw-2");
    cluster_until(w, w->pods[1].warms >= 1);
    (void)cluster_stop(w, 0, SIGKILL);
    w->pods[1].ignores_warm = false;
    w->pods[1].ignores_take = true;
    cluster_lead(w, 0);
    cluster_until(w, w->pods[1].takes >= 1);
    uint64_t epoch = w->pods[1].last_take_epoch;
    (void)cluster_stop(w, 0, SIGKILL);
    w->pods[1].ignores_take = false;
    cluster_lead(w, 0);
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_int_equal(w->pods[1].last_take_epoch, epoch);
    assert_int_equal(cluster_epoch(w, GUILD), epoch);
    /* The next move's number is a new one. */
    assert_true(cluster_reassign(w, GUILD, "gw-3") > move);
}

static void test_wishes_that_cannot_be_are_refused(void **state)
{
    struct cluster *w = *state;
    static const struct {
        const char *body;
        int code;
    } table[] = {
        { "{\"guild_id\":\"7\",\"pod_id\":\"gw-1\"}", 409 },
        { "{\"guild_id\":\"7\",\"pod_id\":\"gw-9\"}", 404 },
        { "{\"guild_id\":\"8\",\"pod_id\":\"gw-2\"}", 404 },
        { "{\"guild_id\":\"7\",\"pod_id\":\"gw 2\"}", 400 },
        { "{\"guild_id\":\"x\",\"pod_id\":\"gw-2\"}", 400 },
        { "{\"guild_id\":\"-7\",\"pod_id\":\"gw-2\"}", 400 },
        { "{\"guild_id\":7.5,\"pod_id\":\"gw-2\"}", 400 },
        { "{\"pod_id\":\"gw-2\"}", 400 },
        { "{\"guild_id\":\"7\"}", 400 },
        { "[]", 400 },
        { "{", 400 },
        { "", 400 },
        { "{\"guild_id\":\"99999999999999999999\",\"pod_id\":\"gw-2\"}", 400 },
    };

    begin(w);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ANSWERED a = cluster_call(w, 0, "POST", "/reassign-guild", table[i].body, "Bearer sesame");
        if (a.code != table[i].code)
            fail_msg("%s was answered %d", table[i].body, a.code);
        assert_true(strlen(json_str(json_object_get(a.root, "error"), "text")) > 0);
    }
    w->pods[1].ignores_warm = true;
    (void)cluster_reassign(w, GUILD, "gw-2");
    ANSWERED second = cluster_call(w, 0, "POST", "/reassign-guild",
                                   "{\"guild_id\":\"7\",\"pod_id\":\"gw-3\"}", "Bearer sesame");
    assert_int_equal(second.code, 409);
    w->pods[2].draining = true;
    cluster_until(w, cluster_pod_is(w, "gw-3", "draining"));
}

/* Many at once: never more than MAX_MOVES under way, and each ends. */
static void test_five_hundred_moves_at_once(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], 1, 500);
    cluster_until(w, cluster_status(w, "guilds_owned") == 500);
    for (uint64_t id = 1; id <= 500; id++) {
        bool on_first = idmap_get(w->pods[0].epochs, id);
        (void)cluster_reassign(w, id, on_first ? "gw-2" : "gw-1");
        cluster_turn(w); /* the pods go on beating */
    }
    cluster_until(w, cluster_status(w, "moves_done") == 500);
    assert_int_equal(cluster_status(w, "moves_open"), 0);
    assert_int_equal(cluster_status(w, "guilds_owned"), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CLUSTER(test_a_guild_moves),
        ON_CLUSTER(test_lost_orders_of_a_move_are_repeated),
        ON_CLUSTER(test_a_target_that_cannot_load_is_left_alone),
        ON_CLUSTER(test_a_target_that_dies_while_warming_aborts),
        ON_CLUSTER(test_a_source_that_dies_while_warming_leaves_the_guild_to_the_warm_pod),
        ON_CLUSTER(test_a_source_that_unseals_keeps_the_guild),
        ON_CLUSTER(test_a_source_that_dies_in_cutover_lets_the_target_claim),
        ON_CLUSTER(test_a_target_that_dies_in_cutover_lets_the_source_go_on),
        ON_CLUSTER(test_a_silent_target_lets_the_source_go_on),
        ON_CLUSTER(test_both_dying_in_cutover_fails_over),
        ON_CLUSTER(test_a_source_that_was_frozen_in_cutover_is_not_confirmed),
        ON_CLUSTER(test_a_source_that_comes_back_after_both_were_gone_gets_a_later_epoch),
        ON_CLUSTER(test_a_claim_that_nobody_reported_is_found_in_the_log),
        ON_CLUSTER(test_an_unseal_that_nobody_reported_is_found_in_the_log),
        ON_CLUSTER(test_the_higher_of_two_claims_wins_in_any_order),
        ON_CLUSTER(test_a_restarted_coordinator_continues_each_open_move),
        ON_CLUSTER(test_wishes_that_cannot_be_are_refused),
        ON_CLUSTER(test_five_hundred_moves_at_once),
    };
    return cmocka_run_group_tests_name("handoffs", tests, NULL, NULL);
}
