/* needs: nats
 *
 * Standbys with the real program: who gets them, who is told, what they are good for. */
#include "cluster.h"

enum { GUILD = 7 };

static size_t followed(const struct cluster *w)
{
    size_t n = 0;

    for (int i = 0; i < PODS; i++)
        n += w->pods[i].followed ? idmap_count(w->pods[i].followed) : 0;
    return n;
}

static bool follows(const struct cluster *w, int at, uint64_t guild_id)
{
    return idmap_get(w->pods[at].followed, guild_id) != NULL;
}

/* Guilds 1 … count, all owned, each with its standbys told. */
static void begin(struct cluster *w, int pods, uint64_t count, size_t standbys)
{
    cluster_lead(w, 0);
    pods_start(w, pods);
    pod_see(&w->pods[0], 1, count);
    cluster_until(w, cluster_status(w, "guilds_owned") == (json_int_t)count);
    cluster_until(w, followed(w) == count * standbys);
}

static void test_each_guild_gets_a_standby_beside_its_owner(void **state)
{
    struct cluster *w = *state;
    size_t lands[3][3] = { 0 };

    begin(w, 3, 300, 1);
    for (uint64_t id = 1; id <= 300; id++) {
        int owner = -1, standby = -1;
        for (int i = 0; i < 3; i++) {
            owner = idmap_get(w->pods[i].epochs, id) ? i : owner;
            standby = follows(w, i, id) ? i : standby;
        }
        assert_true(owner >= 0 && standby >= 0 && owner != standby);
        lands[owner][standby]++;
    }
    for (int from = 0; from < 3; from++) {
        for (int to = 0; to < 3; to++)
            assert_true(from == to ? !lands[from][to] : lands[from][to] >= 25);
    }
    for (int i = 0; i < 3; i++) /* each is told once */
        assert_int_equal(w->pods[i].standby_warms, idmap_count(w->pods[i].followed));
    ANSWERED a = cluster_get(w, "/pod-health");
    const json_t *row = json_array_get(json_object_get(a.root, "pods"), 0);
    assert_int_equal(json_int(row, "standbys", -1), idmap_count(w->pods[0].followed));
}

static void test_ten_thousand_guilds_get_theirs(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 3);
    for (int i = 0; i < 3; i++)
        w->pods[i].capacity = 20000;
    for (uint64_t first = 1; first < 10000; first += 2500)
        pod_see(&w->pods[0], first, 2500);
    cluster_until(w, cluster_status(w, "guilds_owned") == 10000);
    cluster_until(w, followed(w) == 10000);
    assert_int_equal(w->pods[0].refused_beats, 0); /* leases were renewed all the while */
}

static void test_a_refused_order_is_repeated(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    w->pods[0].refuses_standbys = w->pods[1].refuses_standbys = 3;
    pod_see(&w->pods[0], 1, 4);
    cluster_until(w, followed(w) == 4);
    assert_int_equal(w->pods[0].standby_warms + w->pods[1].standby_warms, 10);
}

static void test_failover_goes_to_the_standbys(void **state)
{
    struct cluster *w = *state;
    int followed_by[91];

    begin(w, 3, 90, 1);
    w->pods[1].load = 100000; /* not where placement would put them */
    for (uint64_t id = 1; id <= 90; id++)
        followed_by[id] = follows(w, 1, id) ? 1 : 2;
    struct idmap *had = w->pods[0].epochs;
    w->pods[0].epochs = idmap_new();
    pod_kill(&w->pods[0]);
    cluster_until(w, cluster_pod_is(w, "gw-1", "offline"));
    cluster_until(w, cluster_status(w, "guilds_owned") == 90);
    for (uint64_t id = 1; id <= 90; id++) {
        if (idmap_get(had, id))
            cluster_until(w, idmap_get(w->pods[followed_by[id]].epochs, id));
    }
    idmap_free(had);
    /* And get new ones, when the dead one does not return. */
    for (uint64_t id = 1; id <= 90; id++) {
        int owner = idmap_get(w->pods[1].epochs, id) ? 1 : 2;
        cluster_until(w, follows(w, 3 - owner, id));
    }
}

/* The former owner has the rows still: it stands by now, and nobody loads anything. */
static void test_a_move_to_the_standby_swaps_their_roles(void **state)
{
    struct cluster *w = *state;

    begin(w, 2, 1, 1);
    int owner = idmap_get(w->pods[0].epochs, 1) ? 0 : 1, other = 1 - owner;
    uint64_t move = cluster_reassign(w, 1, w->pods[other].id);
    cluster_until(w, cluster_move_is(w, move, "done"));
    cluster_until(w, follows(w, owner, 1));
    assert_int_equal(w->pods[owner].standby_warms, 1);
    assert_int_equal(w->pods[other].standby_drops, 0); /* the owner may become one again */
    move = cluster_reassign(w, 1, w->pods[owner].id);
    cluster_until(w, cluster_move_is(w, move, "done"));
    cluster_until(w, w->pods[other].standby_warms == 2);
    assert_int_equal(w->pods[owner].standby_drops + w->pods[other].standby_drops, 0);
}

/* With a third pod there is a choice; who is none any more is told. */
static void test_who_is_no_standby_any_more_is_told(void **state)
{
    struct cluster *w = *state;

    begin(w, 3, 1, 1);
    int owner = 0, standby = 0;
    for (int i = 0; i < 3; i++) {
        if (idmap_get(w->pods[i].epochs, 1))
            owner = i;
        else if (follows(w, i, 1))
            standby = i;
    }
    int third = 3 - owner - standby;
    /* To the one that is no standby: the standby stays. */
    uint64_t move = cluster_reassign(w, 1, w->pods[third].id);
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_true(follows(w, standby, 1));
    /* To the standby, and away from it: it was never told that it is none, but now it is. */
    move = cluster_reassign(w, 1, w->pods[standby].id);
    cluster_until(w, cluster_move_is(w, move, "done"));
    cluster_until(w, follows(w, third, 1));
    move = cluster_reassign(w, 1, w->pods[owner].id);
    cluster_until(w, cluster_move_is(w, move, "done"));
    cluster_until(w, w->pods[standby].standby_drops == 1);
    assert_true(follows(w, third, 1));
    assert_false(follows(w, standby, 1));
    assert_int_equal(w->pods[third].standby_drops, 0);
}

static void test_a_new_process_is_told_again(void **state)
{
    struct cluster *w = *state;

    begin(w, 2, 20, 1);
    size_t has = idmap_count(w->pods[1].followed);
    w->pods[1].beats = false;
    cluster_pod(w, 1);
    cluster_until(w, w->pods[1].registered);
    cluster_until(w, cluster_status(w, "guilds_owned") == 20);
    cluster_until(w, followed(w) == 20);
    assert_true(idmap_count(w->pods[1].followed) >= has);
    assert_int_equal(w->pods[1].standby_drops, 0);
}

static void test_a_process_that_forgot_is_told_again(void **state)
{
    struct cluster *w = *state;

    begin(w, 2, 4, 1);
    int told = w->pods[0].standby_warms;
    w->pods[0].says_followed = 0;
    cluster_until(w, cluster_logged(w, 0, "event=standbys_told_again"));
    w->pods[0].says_followed = UINT32_MAX;
    cluster_until(w, w->pods[0].standby_warms == told * 2);
    assert_int_equal(w->pods[1].standby_warms, 4 - told);
}

static void test_a_new_leader_knows_who_stands_by(void **state)
{
    struct cluster *w = *state;

    begin(w, 3, 30, 1);
    (void)cluster_stop(w, 0, SIGKILL);
    int before[3];
    for (int i = 0; i < 3; i++)
        before[i] = w->pods[i].standby_warms;
    cluster_lead(w, 0);
    for (int i = 0; i < 3; i++)
        cluster_until(w, w->pods[i].standby_warms == before[i] * 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(idmap_count(w->pods[i].followed), before[i]);
        assert_int_equal(w->pods[i].standby_drops, 0);
    }
}

/* Who drains keeps its places for five leases: most come back. */
static void test_a_draining_pod_is_replaced_after_a_while(void **state)
{
    struct cluster *w = *state;

    begin(w, 3, 30, 1);
    w->pods[2].draining = true;
    cluster_until(w, w->pods[2].reply.may_leave);
    for (uint64_t id = 1; id <= 30; id++) {
        int owner = idmap_get(w->pods[0].epochs, id) ? 0 : 1;
        cluster_until(w, follows(w, 1 - owner, id));
    }
    cluster_until(w, idmap_count(w->pods[2].followed) == 0); /* told so: it lives */
}

static void test_one_two_or_none(void **state)
{
    struct cluster *w = *state;

    cluster_set(w, "GUILDBUS_STANDBYS", "2");
    begin(w, 4, 40, 2);
    for (uint64_t id = 1; id <= 40; id++) {
        int n = 0;
        for (int i = 0; i < 4; i++)
            n += follows(w, i, id) && !idmap_get(w->pods[i].epochs, id);
        assert_int_equal(n, 2);
    }
    assert_int_equal(cluster_stop(w, 0, SIGTERM), 0);
    cluster_set(w, "GUILDBUS_STANDBYS", "1");
    cluster_lead(w, 0);
    cluster_until(w, followed(w) == 40);
    assert_int_equal(cluster_stop(w, 0, SIGTERM), 0);
    cluster_set(w, "GUILDBUS_STANDBYS", "0");
    cluster_lead(w, 0);
    cluster_until(w, followed(w) == 0);
}

static void test_an_older_pod_does_not_stand_by(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    w->pods[0].schema = 3; /* at its next heartbeat */
    cluster_until(w, cluster_pod_is(w, "gw-2", "active"));
    pod_see(&w->pods[0], 1, 2);
    cluster_until(w, cluster_status(w, "guilds_owned") == 2);
    /* What gw-1 owns has its schema: gw-2 may not follow it, gw-1 may follow gw-2's. */
    cluster_until(w, idmap_count(w->pods[0].followed) == 1);
    w->pods[1].schema = 3;
    cluster_until(w, idmap_count(w->pods[1].followed) == 1);
}

/* ---- how long a guild had no owner ---- */

static int64_t wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void test_a_failover_says_since_when_nobody_owned(void **state)
{
    struct cluster *w = *state;

    begin(w, 2, 2, 1);
    assert_int_equal(w->pods[0].last_unowned_ms, 0); /* a new guild's */
    int64_t killed_ms = wall_ms();
    pod_kill(&w->pods[1]);
    cluster_until(w, cluster_status(w, "guilds_owned") == 2 && idmap_count(w->pods[0].epochs) == 2);
    /* The lease ended after the last heartbeat, before anybody else was told. */
    assert_in_range(w->pods[0].last_unowned_ms, killed_ms, wall_ms());
    assert_true(w->pods[0].last_unowned_ms <= killed_ms + LEASE_MS);
}

static void test_a_guild_that_nobody_claimed_was_without_owner_since_the_first(void **state)
{
    struct cluster *w = *state;

    begin(w, 1, 1, 0);
    cluster_pod(w, 1);
    w->pods[1].ignores_own = true;
    cluster_until(w, w->pods[1].registered);
    pod_kill(&w->pods[0]);
    cluster_until(w, w->pods[1].owns > 0);
    int64_t since_ms = w->pods[1].last_unowned_ms;
    assert_true(since_ms > 0);
    (void)cluster_stop(w, 0, SIGKILL); /* it is stored */
    cluster_lead(w, 0);
    pod_kill(&w->pods[1]);
    cluster_pod(w, 2);
    cluster_until(w, idmap_count(w->pods[2].epochs) == 1);
    assert_true(w->pods[2].last_unowned_ms == since_ms);
}

static void test_a_restart_says_when_the_process_before_ended(void **state)
{
    struct cluster *w = *state;

    begin(w, 1, 1, 0);
    int64_t killed_ms = wall_ms();
    pod_kill(&w->pods[0]);
    cluster_pod(w, 0);
    cluster_until(w, w->pods[0].owns > 0);
    assert_in_range(w->pods[0].last_unowned_ms, killed_ms, wall_ms());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CLUSTER(test_each_guild_gets_a_standby_beside_its_owner),
        ON_CLUSTER(test_ten_thousand_guilds_get_theirs),
        ON_CLUSTER(test_a_refused_order_is_repeated),
        ON_CLUSTER(test_failover_goes_to_the_standbys),
        ON_CLUSTER(test_a_move_to_the_standby_swaps_their_roles),
        ON_CLUSTER(test_who_is_no_standby_any_more_is_told),
        ON_CLUSTER(test_a_new_process_is_told_again),
        ON_CLUSTER(test_a_process_that_forgot_is_told_again),
        ON_CLUSTER(test_a_new_leader_knows_who_stands_by),
        ON_CLUSTER(test_a_draining_pod_is_replaced_after_a_while),
        ON_CLUSTER(test_one_two_or_none),
        ON_CLUSTER(test_an_older_pod_does_not_stand_by),
        ON_CLUSTER(test_a_failover_says_since_when_nobody_owned),
        ON_CLUSTER(test_a_guild_that_nobody_claimed_was_without_owner_since_the_first),
        ON_CLUSTER(test_a_restart_says_when_the_process_before_ended),
    };
    return cmocka_run_group_tests_name("standbys", tests, NULL, NULL);
}
