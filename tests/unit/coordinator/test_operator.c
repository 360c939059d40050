/* needs: nats
 *
 * What an operator asks for, with the real program: drains, rebalancing, history. */
#include "cluster.h"

static struct answered post(struct cluster *w, const char *path, const char *body)
{
    return cluster_call(w, 0, "POST", path, body, "Bearer sesame");
}

static void expect_code(struct cluster *w, const char *path, const char *body, int code)
{
    ANSWERED a = post(w, path, body);

    if (a.code != code) {
        CLEANUP(xfree) char *text = json_text(a.root);
        fail_msg("POST %s %s: %d %s", path, body, a.code, text);
    }
}

static size_t assigned(struct cluster *w, const char *pod)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/guild-assignments?pod=%s&limit=10000", pod);
    ANSWERED a = cluster_get(w, path);
    return json_array_size(json_object_get(a.root, "assignments"));
}

static void begin(struct cluster *w, int pods, uint64_t guilds)
{
    cluster_set(w, "REBALANCE_MS", "200");
    cluster_lead(w, 0);
    pods_start(w, pods);
    pod_see(&w->pods[0], 1, guilds);
    cluster_until(w, cluster_status(w, "guilds_owned") == (json_int_t)guilds);
}

/* ---- drains ---- */

static void test_a_pod_is_drained_while_its_process_stays(void **state)
{
    struct cluster *w = *state;

    begin(w, 3, 90);
    w->pods[0].recommended_shards = 3;
    cluster_until(w, w->pods[0].reply.n_shards == 1);
    expect_code(w, "/drain-pod", "{\"pod_id\":\"gw-1\"}", 202);
    cluster_until(w, assigned(w, "gw-1") == 0);
    cluster_until(w, w->pods[0].reply.n_shards == 0 && w->pods[0].reply.guilds_assigned == 0);
    cluster_until(w, cluster_status(w, "guilds_owned") == 90);
    assert_true(cluster_pod_is(w, "gw-1", "draining"));
    assert_int_equal(w->pods[0].refused_beats, 0);
    pod_see(&w->pods[1], 1000, 10); /* it gets no new ones */
    cluster_until(w, cluster_status(w, "guilds_owned") == 100);
    assert_int_equal(assigned(w, "gw-1"), 0);
    expect_code(w, "/undrain-pod", "{\"pod_id\":\"gw-1\"}", 202);
    cluster_until(w, cluster_pod_is(w, "gw-1", "active"));
    pod_see(&w->pods[1], 2000, 10);
    cluster_until(w, assigned(w, "gw-1") == 10);
}

static void test_a_drain_outlives_pod_and_coordinator(void **state)
{
    struct cluster *w = *state;

    begin(w, 2, 20);
    expect_code(w, "/drain-pod", "{\"pod_id\":\"gw-1\"}", 202);
    cluster_until(w, assigned(w, "gw-1") == 0);
    (void)cluster_stop(w, 0, SIGKILL);
    cluster_lead(w, 0);
    assert_true(cluster_pod_is(w, "gw-1", "draining"));
    pod_kill(&w->pods[0]);
    cluster_pod(w, 0);
    cluster_until(w, w->pods[0].reply.lease_ms != 0);
    assert_true(cluster_pod_is(w, "gw-1", "draining"));
    pod_see(&w->pods[1], 1000, 5);
    cluster_until(w, cluster_status(w, "guilds_owned") == 25);
    assert_int_equal(assigned(w, "gw-1"), 0);
    ANSWERED a = cluster_get(w, "/pod-health");
    assert_true(json_is_true(
        json_object_get(json_array_get(json_object_get(a.root, "pods"), 0), "drain_wished")));
}

static void test_drains_that_cannot_be(void **state)
{
    struct cluster *w = *state;

    begin(w, 1, 3);
    expect_code(w, "/drain-pod", "{\"pod_id\":\"gw-9\"}", 404);
    expect_code(w, "/undrain-pod", "{\"pod_id\":\"gw-9\"}", 404);
    expect_code(w, "/drain-pod", "{\"pod_id\":\"gw 1\"}", 400);
    expect_code(w, "/drain-pod", "{}", 400);
    expect_code(w, "/drain-pod", "[]", 400);
    expect_code(w, "/drain-pod", "", 400);
    expect_code(w, "/drain-pod", "{\"pod_id\":\"gw-1\"}", 202); /* nobody else: it goes on */
    cluster_until(w, cluster_pod_is(w, "gw-1", "draining"));
    assert_int_equal(assigned(w, "gw-1"), 3);
    cluster_pod(w, 1);
    cluster_until(w, assigned(w, "gw-2") == 3);
    expect_code(w, "/undrain-pod", "{\"pod_id\":\"gw-1\"}", 202);
    w->pods[0].draining = true; /* and now by itself */
    cluster_until(w, w->pods[0].reply.may_leave);
    expect_code(w, "/undrain-pod", "{\"pod_id\":\"gw-1\"}", 202);
    assert_true(cluster_pod_is(w, "gw-1", "draining"));
}

/* ---- rebalancing ---- */

static json_t *outcome_of(struct cluster *w, const char *body, int code)
{
    ANSWERED a = post(w, "/rebalance", body);

    if (a.code != code) {
        CLEANUP(xfree) char *text = json_text(a.root);
        fail_msg("POST /rebalance %s: %d %s", body, a.code, text);
    }
    return json_incref(a.root);
}

static bool is_frozen(struct cluster *w)
{
    json_t *root = outcome_of(w, "{\"dry_run\":true}", 200);
    bool frozen = json_is_string(json_object_get(root, "frozen"));

    json_decref(root);
    return frozen;
}

static double skew(const json_t *root, const char *when, const char *what)
{
    return json_real_value(json_object_get(json_object_get(root, when), what));
}

static void test_a_dry_run_tells_and_does_nothing(void **state)
{
    struct cluster *w = *state;

    cluster_set(w, "GUILDBUS_REBALANCE", "off");
    begin(w, 2, 80);
    cluster_pod(w, 2);
    cluster_until(w, w->pods[2].registered);
    json_t *root = outcome_of(w, "{\"dry_run\":true,\"limit\":1000}", 200);
    const json_t *moves = json_object_get(root, "moves"), *first = json_array_get(moves, 0);
    assert_in_range(json_array_size(moves), 24, 27);
    assert_string_equal(json_str(first, "target"), "gw-3");
    assert_true(strstr(json_str(first, "reason"), "of the mean"));
    assert_true(json_is_null(json_object_get(first, "move_id")));
    assert_true(json_id(first, "guild_id") > 0);
    assert_true(skew(root, "skew_before", "most") > 1.4);
    assert_true(skew(root, "skew_before", "least") < 0.1);
    assert_true(skew(root, "skew_after", "most") < 1.1);
    assert_true(skew(root, "skew_after", "least") > 0.9);
    assert_false(json_is_true(json_object_get(root, "more")));
    json_decref(root);
    assert_int_equal(cluster_status(w, "moves_open") + cluster_status(w, "moves_done"), 0);
    ANSWERED a = cluster_get(w, "/status");
    assert_string_equal(json_str(a.root, "rebalance"), "off");
    expect_code(w, "/rebalance", "{\"dry_run\":1}", 400);
    expect_code(w, "/rebalance", "{\"limit\":0}", 400);
    expect_code(w, "/rebalance", "{\"limit\":1001}", 400);
    expect_code(w, "/rebalance", "7", 400);
}

/* Each move is of a guild that is where it was first: on the second pod. */
static void check_moves(const json_t *moves, const bool *first_on_second)
{
    for (size_t i = 0; i < json_array_size(moves); i++) {
        const json_t *move = json_array_get(moves, i);
        uint64_t guild_id = json_id(move, "guild_id");
        assert_string_equal(json_str(move, "source"), "gw-2");
        assert_in_range(guild_id, 1, 80);
        assert_true(first_on_second[guild_id]);
    }
}

static void test_a_run_moves_what_it_said_and_no_guild_twice(void **state)
{
    struct cluster *w = *state;
    bool first_on_second[81] = { false };

    cluster_set(w, "GUILDBUS_REBALANCE", "off");
    begin(w, 2, 80);
    for (uint64_t id = 1; id <= 80; id++)
        first_on_second[id] = idmap_get(w->pods[1].epochs, id);
    cluster_pod(w, 2);
    cluster_until(w, !is_frozen(w));
    json_t *root = outcome_of(w, "{\"limit\":5}", 202);
    assert_int_equal(json_array_size(json_object_get(root, "moves")), 5);
    assert_true(json_is_true(json_object_get(root, "more")));
    uint64_t move = json_id(json_array_get(json_object_get(root, "moves"), 4), "move_id");
    json_decref(root);
    cluster_until(w, cluster_move_is(w, move, "done"));
    cluster_until(w, assigned(w, "gw-3") == 5);
    json_decref(outcome_of(w, "{\"limit\":1000}", 202));
    cluster_until(w, assigned(w, "gw-3") >= 25);
    /* They have just come: none goes back, whatever there is to gain. */
    expect_code(w, "/drain-pod", "{\"pod_id\":\"gw-1\"}", 202);
    cluster_until(w, assigned(w, "gw-1") == 0);
    expect_code(w, "/undrain-pod", "{\"pod_id\":\"gw-1\"}", 202);
    size_t on_third = assigned(w, "gw-3"), on_second = assigned(w, "gw-2");
    cluster_until(w, !is_frozen(w));
    root = outcome_of(w, "{\"dry_run\":true,\"limit\":1000}", 200);
    check_moves(json_object_get(root, "moves"), first_on_second);
    json_decref(root);
    root = outcome_of(w, "{\"dry_run\":true,\"limit\":1000,\"force\":true}", 200);
    size_t many = json_array_size(json_object_get(root, "moves"));
    json_decref(root);
    assert_in_range(many, 24, 27);
    assert_int_equal(on_second + on_third, 80);
}

static void test_by_itself_a_new_pod_gets_its_part(void **state)
{
    struct cluster *w = *state;

    cluster_set(w, "REBALANCE_COOLDOWN_MS", "1000");
    begin(w, 2, 80);
    cluster_pod(w, 2);
    cluster_until(w, assigned(w, "gw-3") >= 26);
    cluster_until(w, cluster_status(w, "moves_open") == 0);
    json_int_t moves = cluster_status(w, "moves_done");
    assert_in_range(moves, 26, 27);
    ANSWERED a = cluster_get(w, "/moves?limit=1");
    assert_string_equal(json_str(json_array_get(json_object_get(a.root, "moves"), 0), "reason"),
                        "rebalance");
    /* And then it rests: through many cycles. */
    int64_t end_ms = clock_now_ms() + 3000;
    cluster_until(w, clock_now_ms() > end_ms);
    assert_int_equal(cluster_status(w, "moves_done"), moves);
}

static void test_pods_of_different_versions_freeze_it(void **state)
{
    struct cluster *w = *state;

    begin(w, 2, 80);
    cluster_pod(w, 2)->version = "0.0.1";
    cluster_until(w, w->pods[2].registered);
    cluster_until(w, cluster_logged(w, 0, "different versions: gw-1 0.0.0, gw-3 0.0.1"));
    ANSWERED a = post(w, "/rebalance", "{}");
    assert_int_equal(a.code, 409);
    assert_true(strstr(json_str(json_object_get(a.root, "error"), "text"), "force"));
    assert_int_equal(cluster_status(w, "moves_done"), 0);
    json_t *root = outcome_of(w, "{\"dry_run\":true}", 200);
    assert_true(strstr(json_str(root, "frozen"), "different versions"));
    json_decref(root);
    root = outcome_of(w, "{\"force\":true,\"limit\":3}", 202);
    assert_int_equal(json_array_size(json_object_get(root, "moves")), 3);
    json_decref(root);
    cluster_until(w, cluster_status(w, "moves_done") == 3);
    /* A drain is not frozen, and when all are alike it goes on by itself. */
    w->pods[0].version = w->pods[1].version = "0.0.1";
    cluster_until(w, assigned(w, "gw-3") >= 24);
}

static void test_mixed_versions_freeze_it_for_a_while_only(void **state)
{
    struct cluster *w = *state;

    cluster_set(w, "REBALANCE_MIXED_MS", "2000");
    begin(w, 2, 40);
    cluster_pod(w, 2)->version = "0.0.1";
    cluster_until(w, cluster_logged(w, 0, "different versions"));
    cluster_until(w, assigned(w, "gw-3") >= 12);
}

/* Nobody overrules that pods are silent. */
static void test_silent_pods_freeze_it(void **state)
{
    struct cluster *w = *state;

    begin(w, 3, 30);
    w->pods[1].beats = w->pods[2].beats = false;
    cluster_until(w, cluster_status(w, "placement_held"));
    ANSWERED a = post(w, "/rebalance", "{\"force\":true}");
    assert_int_equal(a.code, 409);
    assert_false(strstr(json_str(json_object_get(a.root, "error"), "text"), "force"));
}

/* Two guilds do all the work of a pod: one of them goes. */
static void test_load_weighs_and_not_only_numbers(void **state)
{
    struct cluster *w = *state;

    cluster_set(w, "GUILDBUS_REBALANCE", "off");
    begin(w, 2, 20);
    uint64_t busy[2] = { 0 };
    for (uint64_t id = 1; id <= 20 && !busy[1]; id++) {
        if (idmap_get(w->pods[0].epochs, id))
            busy[busy[0] != 0] = id;
    }
    for (size_t i = 0; i < 2; i++) {
        guildbus__v1__guild_load__init(&w->pods[0].busiest[i]);
        w->pods[0].busiest[i].guild_id = busy[i];
        w->pods[0].busiest[i].units_per_min = 6000;
    }
    w->pods[0].busiest_count = 2;
    w->pods[0].load = 200;
    json_t *root = NULL;
    for (size_t moves = 0; !moves;) { /* until the load has been measured for long enough */
        cluster_turn(w);
        json_decref(root);
        root = outcome_of(w, "{\"dry_run\":true}", 200);
        moves = json_array_size(json_object_get(root, "moves"));
    }
    const json_t *first = json_array_get(json_object_get(root, "moves"), 0);
    assert_true(json_id(first, "guild_id") == busy[0] || json_id(first, "guild_id") == busy[1]);
    assert_string_equal(json_str(first, "source"), "gw-1");
    json_decref(root);
}

/* ---- history ---- */

static void test_history_tells_who_owned_what_and_why(void **state)
{
    struct cluster *w = *state;
    static const char *const whats[] = { "owned", "failover", "moved", "cutover", "owned", "new" };
    static const char *const whys[] = { "claimed",  "to a standby", "operator",
                                        "operator", "claimed",      "seen" };

    begin(w, 2, 1);
    int first = idmap_get(w->pods[0].epochs, 1) ? 0 : 1, second = 1 - first;
    cluster_until(w, idmap_count(w->pods[second].followed) == 1);
    uint64_t move = cluster_reassign(w, 1, w->pods[second].id);
    cluster_until(w, cluster_move_is(w, move, "done"));
    cluster_until(w, idmap_count(w->pods[first].followed) == 1);
    pod_kill(&w->pods[second]);
    cluster_until(w, cluster_pod_is(w, w->pods[second].id, "offline"));
    cluster_until(w, cluster_guild_is(w, 1, w->pods[first].id, "owned"));
    ANSWERED a = cluster_get(w, "/history?guild_id=1");
    const json_t *rows = json_object_get(a.root, "history");
    assert_int_equal(json_array_size(rows), ARRAY_LEN(whats));
    for (size_t i = 0; i < ARRAY_LEN(whats); i++) {
        const json_t *row = json_array_get(rows, i);
        if (strcmp(json_str(row, "what"), whats[i]) != 0 ||
            strcmp(json_str(row, "reason"), whys[i]) != 0)
            fail_msg("row %zu: %s, %s", i, json_str(row, "what"), json_str(row, "reason"));
        assert_int_equal(strlen(json_str(row, "at")), strlen("2026-11-23T10:26:00.123Z"));
    }
    assert_int_equal(json_id(json_array_get(rows, 2), "move_id"), move);
    assert_string_equal(json_str(json_array_get(rows, 2), "pod_id"), w->pods[second].id);
    assert_true(json_is_null(json_object_get(a.root, "next")));

    ANSWERED page = cluster_get(w, "/history?limit=4&guild_id=1");
    char path[96];
    (void)snprintf(path, sizeof(path), "/history?limit=4&guild_id=1&before=%s",
                   json_str(page.root, "next"));
    ANSWERED rest = cluster_get(w, path);
    rows = json_object_get(rest.root, "history");
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(json_str(json_array_get(rows, 1), "what"), "new");
    ANSWERED none = cluster_get(w, "/history?guild_id=2");
    assert_int_equal(json_array_size(json_object_get(none.root, "history")), 0);
    ANSWERED wrong = cluster_get(w, "/history?before=x");
    assert_int_equal(wrong.code, 400);
}

static void test_guilds_that_are_named_twice_count_once(void **state)
{
    struct cluster *w = *state;
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    static const char seen[] =
        "{\"guildsSeen\":{\"pod\":\"gw-1\",\"guildIds\":[\"1\",\"2\",\"1\",\"2\",\"1\"]}}";
    const struct subject subject = subject_coordinator("guilds-seen");
    CLEANUP(xfree) char *reply = NULL;
    size_t size;

    cluster_lead(w, 0);
    pods_start(w, 2);
    OK(bus_request_wait(w->wire.bus,
                        &(struct bus_out){ .subject = subject.text,
                                           .data = seen,
                                           .size = strlen(seen),
                                           .headers = &as_json,
                                           .header_count = 1 },
                        10000, &reply, &size, NULL));
    cluster_until(w, cluster_status(w, "guilds_owned") == 2);
    assert_true(cluster_logged(w, 0, "event=guilds_seen pod=gw-1 new=2 of=5"));
    assert_int_equal(assigned(w, "gw-1"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CLUSTER(test_a_pod_is_drained_while_its_process_stays),
        ON_CLUSTER(test_a_drain_outlives_pod_and_coordinator),
        ON_CLUSTER(test_drains_that_cannot_be),
        ON_CLUSTER(test_a_dry_run_tells_and_does_nothing),
        ON_CLUSTER(test_a_run_moves_what_it_said_and_no_guild_twice),
        ON_CLUSTER(test_by_itself_a_new_pod_gets_its_part),
        ON_CLUSTER(test_pods_of_different_versions_freeze_it),
        ON_CLUSTER(test_mixed_versions_freeze_it_for_a_while_only),
        ON_CLUSTER(test_silent_pods_freeze_it),
        ON_CLUSTER(test_load_weighs_and_not_only_numbers),
        ON_CLUSTER(test_history_tells_who_owned_what_and_why),
        ON_CLUSTER(test_guilds_that_are_named_twice_count_once),
    };
    return cmocka_run_group_tests_name("operator", tests, NULL, NULL);
}
