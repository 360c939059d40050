/* needs: nats
 *
 * Resharding: the real program, pods played by the test. */
#include "cluster.h"

static const char *stage_of(struct cluster *w)
{
    static char text[160];
    ANSWERED a = cluster_get(w, "/status");

    (void)snprintf(text, sizeof(text), "%s", json_str(a.root, "reshard"));
    return text;
}

static bool is_stage(struct cluster *w, const char *stage)
{
    return strstr(stage_of(w), stage);
}

/* Pods that hold two shards, and tell of a thousand session starts. */
static void start_sharded(struct cluster *w, int pods)
{
    for (int i = 0; i < pods; i++) {
        struct fake_pod *p = cluster_pod(w, i);
        p->can_reshard = true;
        p->recommended_shards = 2;
        p->session_total = 1000;
        p->session_remaining = 200;
    }
    cluster_until(w, cluster_status(w, "shard_count") == 2);
    for (int i = 0; i < pods; i++)
        cluster_until(w, w->pods[i].registered && w->pods[i].reply.shard_count == 2);
}

static int reshard(struct cluster *w, const char *body)
{
    ANSWERED a = cluster_call(w, 0, "POST", "/reshard", body, "Bearer sesame");

    return a.code;
}

static size_t next_shards(const struct cluster *w)
{
    size_t n = 0;

    for (int i = 0; i < PODS; i++)
        n += w->pods[i].beats ? w->pods[i].reply.n_next_shards : 0;
    return n;
}

static bool has_history(struct cluster *w, const char *what, const char *why)
{
    ANSWERED a = cluster_get(w, "/history?limit=100");
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(a.root, "history"), i, row)
    {
        if (!strcmp(json_str(row, "what"), what) && !strcmp(json_str(row, "reason"), why))
            return true;
    }
    return false;
}

static void test_it_goes_from_two_to_five_shards(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 2);
    assert_int_equal(reshard(w, "{\"shard_count\":5,\"dry_run\":true}"), 200);
    assert_string_equal(stage_of(w), "");
    w->pods[1].never_ready = true;
    assert_int_equal(reshard(w, "{\"shard_count\":5}"), 202);
    cluster_until(w, next_shards(w) == 5);
    assert_in_range(w->pods[0].reply.n_next_shards, 2, 3);
    assert_int_equal(w->pods[0].reply.n_shards, 1);
    assert_int_equal(w->pods[0].reply.reshard_stage, GUILDBUS__V1__RESHARD_STAGE__RESHARD_OPENING);
    cluster_until(w, is_stage(w, "opening, 2 of 5") || is_stage(w, "opening, 3 of 5"));
    assert_int_equal(reshard(w, "{\"shard_count\":6}"), 409);
    w->pods[0].never_retires = true;
    w->pods[1].never_ready = false;
    cluster_until(w, is_stage(w, "retiring") && is_stage(w, "1 of 2 retired"));
    assert_int_equal(w->pods[0].reply.n_shards, 1);
    assert_int_equal(reshard(w, "{\"cancel\":true}"), 409);
    w->pods[0].never_retires = false;
    cluster_until(w, cluster_status(w, "shard_count") == 5);
    cluster_until(w, w->pods[0].reply.shard_count == 5 && w->pods[1].reply.shard_count == 5);
    assert_int_equal(w->pods[0].reply.n_shards + w->pods[1].reply.n_shards, 5);
    assert_int_equal(next_shards(w), 0);
    assert_true(has_history(w, "reshard_begins", "2 to 5: operator"));
    assert_true(has_history(w, "resharded", "2 to 5 shards"));
}

static void test_it_is_refused_when_the_budget_does_not_suffice(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 2); /* 200 are left, 100 are the reserve */
    cluster_until(w, reshard(w, "{\"shard_count\":100,\"dry_run\":true}") == 200);
    ANSWERED a = cluster_call(w, 0, "POST", "/reshard", "{\"shard_count\":101}", "Bearer sesame");
    assert_int_equal(a.code, 429);
    assert_non_null(strstr(json_str(json_object_get(a.root, "error"), "text"), "only 100"));
    assert_int_equal(reshard(w, "{\"shard_count\":0}"), 400);
    assert_int_equal(reshard(w, "{\"shard_count\":\"many\"}"), 400);
    assert_int_equal(reshard(w, "{\"shard_count\":2}"), 409);
    assert_int_equal(reshard(w, "{\"cancel\":true}"), 409);
    assert_int_equal(reshard(w, "{\"cancel\":true,\"shard_count\":3}"), 400);
    struct fake_pod *old = cluster_pod(w, 2); /* of a version that cannot */
    cluster_until(w, old->reply.lease_ms);
    assert_int_equal(reshard(w, "{\"shard_count\":3}"), 503);
    assert_string_equal(stage_of(w), "");
}

static void test_it_can_be_given_up(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 2);
    w->pods[1].never_ready = true;
    assert_int_equal(reshard(w, "{\"shard_count\":5}"), 202);
    cluster_until(w, next_shards(w) == 5);
    assert_int_equal(reshard(w, "{\"cancel\":true}"), 202);
    cluster_until(w, next_shards(w) == 0);
    assert_int_equal(w->pods[0].reply.next_shard_count, 0);
    assert_int_equal(cluster_status(w, "shard_count"), 2);
    assert_string_equal(stage_of(w), "");
    assert_true(has_history(w, "reshard_cancelled", "2 to 5: operator"));
    /* And begun again. */
    w->pods[1].never_ready = false;
    assert_int_equal(reshard(w, "{\"shard_count\":3}"), 202);
    cluster_until(w, cluster_status(w, "shard_count") == 3);
}

static void kill_the_leader(struct cluster *w)
{
    (void)cluster_stop(w, 0, SIGKILL);
    cluster_lead(w, 0);
}

static void test_a_new_leader_goes_on_at_each_step(void **state)
{
    struct cluster *w = *state;

    /* A heartbeat that the killed leader had takes two seconds to be given up. */
    cluster_set(w, "LEASE_MS", "10000");
    cluster_lead(w, 0);
    start_sharded(w, 2);
    w->pods[1].never_ready = true;
    assert_int_equal(reshard(w, "{\"shard_count\":5}"), 202);
    cluster_until(w, next_shards(w) == 5);
    size_t first = w->pods[0].reply.n_next_shards;
    kill_the_leader(w);
    cluster_until(w, is_stage(w, "2 to 5 shards: opening"));
    w->pods[1].never_keeps = true;
    w->pods[1].never_ready = false;
    cluster_until(w, is_stage(w, "keeping"));
    kill_the_leader(w);
    w->pods[0].never_retires = true;
    w->pods[1].never_keeps = false;
    cluster_until(w, is_stage(w, "retiring"));
    kill_the_leader(w);
    cluster_until(w, is_stage(w, "1 of 2 retired"));
    assert_int_equal(w->pods[0].reply.n_next_shards, first);
    w->pods[0].never_retires = false;
    cluster_until(w, cluster_status(w, "shard_count") == 5);
    kill_the_leader(w);
    cluster_until(w, w->pods[0].reply.shard_count == 5 && w->pods[0].reply.n_shards == first);
}

static void test_who_does_not_keep_sends_it_back(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 2);
    w->pods[1].never_keeps = true;
    assert_int_equal(reshard(w, "{\"shard_count\":5}"), 202);
    cluster_until(w, is_stage(w, "keeping"));
    cluster_until(w, is_stage(w, "opening"));
    w->pods[1].never_keeps = false;
    cluster_until(w, cluster_status(w, "shard_count") == 5);
}

/* It has answers, so it is alive; but what it says is of a stage that is over. */
static void test_what_was_said_of_an_earlier_stage_does_not_count(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 2);
    w->pods[1].never_keeps = true;
    assert_int_equal(reshard(w, "{\"shard_count\":5}"), 202);
    cluster_until(w, is_stage(w, "keeping") && w->pods[0].reply.reshard_stage ==
                                                   GUILDBUS__V1__RESHARD_STAGE__RESHARD_KEEPING);
    int before = w->pods[0].answers;
    cluster_until(w, w->pods[0].answers > before); /* it has said that it keeps */
    w->pods[0].repeats = true;
    cluster_until(w, is_stage(w, "opening"));
    w->pods[1].never_keeps = false;
    before = w->pods[0].answers;
    cluster_until(w, w->pods[0].answers > before + 40);
    assert_true(is_stage(w, "opening"));
    w->pods[0].repeats = false;
    cluster_until(w, cluster_status(w, "shard_count") == 5);
}

static void test_a_pod_of_an_older_version_does_not_hold_it_up(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 2);
    w->pods[0].never_retires = true;
    assert_int_equal(reshard(w, "{\"shard_count\":3}"), 202);
    cluster_until(w, is_stage(w, "retiring"));
    w->pods[0].can_reshard = false; /* began anew, as what it was before an update */
    cluster_until(w, cluster_status(w, "shard_count") == 3);
    cluster_until(w, w->pods[0].reply.shard_count == 3 && w->pods[1].reply.shard_count == 3);
    assert_int_equal(w->pods[0].reply.n_shards + w->pods[1].reply.n_shards, 3);
}

static void test_the_shards_of_a_dead_pod_are_taken_over(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 3);
    w->pods[0].never_retires = true;
    assert_int_equal(reshard(w, "{\"shard_count\":6}"), 202);
    cluster_until(w, is_stage(w, "retiring"));
    pod_kill(&w->pods[0]);
    cluster_until(w, cluster_status(w, "shard_count") == 6);
    cluster_until(w, w->pods[1].reply.n_shards + w->pods[2].reply.n_shards == 6);
    assert_false(is_stage(w, "retiring"));
}

static void test_it_begins_by_itself_when_discord_recommends_clearly_more(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    start_sharded(w, 2);
    w->pods[0].recommended_shards = w->pods[1].recommended_shards = 3;
    cluster_until(w, cluster_status(w, "shard_count") == 3);
    assert_true(has_history(w, "reshard_begins", "2 to 3: recommended"));
    /* An operator's word stands until more is recommended. */
    assert_int_equal(reshard(w, "{\"shard_count\":1}"), 202);
    cluster_until(w, cluster_status(w, "shard_count") == 1);
    w->pods[0].recommended_shards = w->pods[1].recommended_shards = 4;
    cluster_until(w, cluster_status(w, "shard_count") == 4);
}

static void test_a_changed_setting_begins_one(void **state)
{
    struct cluster *w = *state;

    cluster_set(w, "SHARD_COUNT", "2");
    cluster_lead(w, 0);
    start_sharded(w, 2);
    assert_int_equal(reshard(w, "{\"shard_count\":4}"), 409); /* it would lead back */
    (void)cluster_stop(w, 0, SIGTERM);
    cluster_set(w, "SHARD_COUNT", "4");
    cluster_set(w, "GUILDBUS_RESHARD", "off");
    cluster_lead(w, 0);
    cluster_until(w, cluster_logged(w, 0, "event=reshard_is_due"));
    assert_int_equal(cluster_status(w, "shard_count"), 2);
    (void)cluster_stop(w, 0, SIGTERM);
    cluster_set(w, "GUILDBUS_RESHARD", "auto");
    cluster_lead(w, 0);
    cluster_until(w, cluster_status(w, "shard_count") == 4);
    assert_true(has_history(w, "reshard_begins", "2 to 4: SHARD_COUNT"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CLUSTER(test_it_goes_from_two_to_five_shards),
        ON_CLUSTER(test_it_is_refused_when_the_budget_does_not_suffice),
        ON_CLUSTER(test_it_can_be_given_up),
        ON_CLUSTER(test_a_new_leader_goes_on_at_each_step),
        ON_CLUSTER(test_who_does_not_keep_sends_it_back),
        ON_CLUSTER(test_what_was_said_of_an_earlier_stage_does_not_count),
        ON_CLUSTER(test_a_pod_of_an_older_version_does_not_hold_it_up),
        ON_CLUSTER(test_the_shards_of_a_dead_pod_are_taken_over),
        ON_CLUSTER(test_it_begins_by_itself_when_discord_recommends_clearly_more),
        ON_CLUSTER(test_a_changed_setting_begins_one),
    };
    return cmocka_run_group_tests_name("reshards", tests, NULL, NULL);
}
