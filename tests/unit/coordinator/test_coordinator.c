/* needs: nats
 *
 * Placement, leases, claims, failover, drain and shards: the real program, pods played by the test.
 */
#include "cluster.h"

static void test_new_guilds_are_spread_and_owned(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], 1000, 40);
    cluster_until(w, cluster_status(w, "guilds_owned") == 40);
    assert_int_equal(idmap_count(w->pods[0].epochs), 20);
    assert_int_equal(idmap_count(w->pods[1].epochs), 20);
    assert_int_equal(w->pods[0].last_own_reason, 1);
    assert_int_equal(cluster_epoch(w, 1000), 1);
    cluster_until(w, w->pods[0].reply.guilds_assigned == 20);
    assert_int_equal(w->pods[0].reply.lease_ms, LEASE_MS);
    pod_see(&w->pods[1], 1000, 41); /* one of them is new */
    cluster_until(w, cluster_status(w, "guilds_owned") == 41);
    assert_int_equal(cluster_stop(w, 0, SIGTERM), 0);
}

static void test_a_batch_of_five_thousand_guilds(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 3);
    pod_see(&w->pods[0], 1, 5000);
    cluster_until(w, cluster_status(w, "guilds_owned") == 5000);
    for (int i = 0; i < 3; i++)
        assert_in_range(idmap_count(w->pods[i].epochs), 1660, 1670);
}

static void test_guilds_wait_for_the_first_pod(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    w->pods[0].wire = &w->wire;
    pod_see(&w->pods[0], 1, 3);
    cluster_until(w, cluster_guild_is(w, 2, "", "unassigned"));
    pods_start(w, 1);
    cluster_until(w, cluster_status(w, "guilds_owned") == 3);
    assert_true(cluster_guild_is(w, 2, "gw-1", "owned"));
}

static void test_a_lost_order_is_repeated(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    w->pods[0].loses_owns = 1;
    pod_see(&w->pods[0], 7, 1);
    cluster_until(w, cluster_guild_is(w, 7, "gw-1", "owned"));
    assert_true(w->pods[0].owns >= 2);
    assert_int_equal(cluster_epoch(w, 7), 1);
}

static void test_a_lost_claim_is_repeated(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    w->pods[0].hides_claims = true;
    pod_see(&w->pods[0], 7, 1);
    cluster_until(w, w->pods[0].owns >= 1);
    assert_false(cluster_guild_is(w, 7, "gw-1", "owned"));
    w->pods[0].hides_claims = false;
    cluster_until(w, cluster_guild_is(w, 7, "gw-1", "owned"));
}

static void test_a_living_pod_cannot_be_doubled(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    struct fake_pod twin = w->pods[0];
    twin.incarnation++;
    twin.registered = false;
    for (int i = 0; i < 3; i++) {
        pod_register(&twin);
        cluster_until(w, !twin.beat_in_flight);
        assert_false(twin.registered);
    }
    assert_true(cluster_logged(w, 0, "event=pod_refused"));
    pod_kill(&w->pods[0]);
    while (!twin.registered) { /* until the lease has ended */
        pod_register(&twin);
        cluster_until(w, !twin.beat_in_flight);
    }
}

static void test_a_dead_pods_guilds_go_to_the_living(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], 1, 100);
    cluster_until(w, cluster_status(w, "guilds_owned") == 100);
    pod_kill(&w->pods[1]);
    cluster_until(w, cluster_pod_is(w, "gw-2", "offline"));
    cluster_until(w, idmap_count(w->pods[0].epochs) == 100);
    cluster_until(w, cluster_status(w, "guilds_owned") == 100);
    assert_int_equal(w->pods[0].last_own_reason, 3);
    assert_int_equal(w->pods[0].last_own_epoch, 2);
    /* The late claim of the dead one does not count. */
    uint64_t stolen = 0;
    for (uint64_t id = 1; id <= 100 && !stolen; id++)
        stolen = idmap_get(w->pods[1].epochs, id) ? id : 0;
    pod_claim(&w->pods[1], stolen, 1, 0);
    cluster_until(w, w->pods[1].claims_refused == 1);
    assert_true(cluster_guild_is(w, stolen, "gw-1", "owned"));
}

static void test_without_a_living_pod_nothing_moves(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    pod_see(&w->pods[0], 1, 10);
    cluster_until(w, cluster_status(w, "guilds_owned") == 10);
    pod_kill(&w->pods[0]);
    cluster_until(w, cluster_pod_is(w, "gw-1", "offline"));
    assert_true(cluster_guild_is(w, 1, "gw-1", "owned"));
    assert_int_equal(cluster_epoch(w, 1), 1);
    cluster_pod(w, 0);
    cluster_until(w, idmap_count(w->pods[0].epochs) == 10);
    assert_int_equal(w->pods[0].last_own_epoch, 2);
    assert_int_equal(w->pods[0].last_own_reason, 3);
}

/* As after an update in place: the pod has the rows on its disk. */
static void test_a_restarted_pod_gets_its_guilds_again(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], 1, 10);
    cluster_until(w, cluster_status(w, "guilds_owned") == 10);
    uint64_t old = w->pods[0].incarnation;
    cluster_pod(w, 0); /* the old process is still believed to live, until its lease ends */
    assert_true(w->pods[0].incarnation != old);
    cluster_until(w, w->pods[0].registered);
    cluster_until(w, cluster_status(w, "guilds_owned") == 10 &&
                         idmap_count(w->pods[0].epochs) + idmap_count(w->pods[1].epochs) >= 10);
    assert_int_equal(cluster_status(w, "guilds"), 10);
}

/* It was stopped for longer than its lease: it must not go on as if nothing had been. */
static void test_a_pod_that_slept_registers_again(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], 1, 10);
    cluster_until(w, cluster_status(w, "guilds_owned") == 10);
    w->pods[0].beats = false;
    cluster_until(w, cluster_pod_is(w, "gw-1", "offline"));
    w->pods[0].beats = true;
    cluster_until(w, w->pods[0].refused_beats == 1);
    assert_int_equal(w->pods[0].reply.status, STATUS_NOT_FOUND);
    cluster_until(w, cluster_pod_is(w, "gw-1", "active"));
    cluster_until(w, cluster_status(w, "guilds_owned") == 10);
}

static void test_most_pods_vanishing_together_is_a_network_fault(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 3);
    pod_see(&w->pods[0], 1, 30);
    cluster_until(w, cluster_status(w, "guilds_owned") == 30);
    w->pods[1].beats = w->pods[2].beats = false;
    cluster_until(w, cluster_status(w, "placement_held"));
    assert_int_equal(idmap_count(w->pods[0].epochs), 10);
    assert_true(cluster_pod_is(w, "gw-2", "active"));
    w->pods[1].beats = w->pods[2].beats = true; /* they return: nothing has happened */
    cluster_until(w, !cluster_status(w, "placement_held"));
    cluster_until(w, w->pods[1].reply.guilds_assigned == 10);
    assert_int_equal(cluster_status(w, "guilds_owned"), 30);
    assert_int_equal(w->pods[1].refused_beats, 0);

    pod_kill(&w->pods[1]);
    pod_kill(&w->pods[2]);
    cluster_until(w, cluster_status(w, "placement_held"));
    ANSWERED a = cluster_call(w, 0, "POST", "/unfreeze", NULL, "Bearer sesame");
    assert_int_equal(a.code, 200);
    assert_true(json_is_true(json_object_get(a.root, "was_held")));
    cluster_until(w, idmap_count(w->pods[0].epochs) == 30);
    cluster_until(w, cluster_status(w, "guilds_owned") == 30);
}

static void test_a_draining_pod_empties_and_may_leave(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    w->pods[0].recommended_shards = 0;
    pods_start(w, 3);
    w->pods[0].recommended_shards = 3;
    pod_see(&w->pods[0], 1, 90);
    cluster_until(w, cluster_status(w, "guilds_owned") == 90);
    cluster_until(w, w->pods[0].reply.n_shards == 1);
    w->pods[0].draining = true;
    cluster_until(w, w->pods[0].reply.may_leave);
    assert_int_equal(w->pods[0].reply.guilds_assigned, 0);
    assert_int_equal(w->pods[0].reply.n_shards, 0);
    assert_int_equal(cluster_status(w, "moves_done"), 30);
    assert_int_equal(cluster_status(w, "guilds_owned"), 90);
    assert_true(cluster_pod_is(w, "gw-1", "draining"));
    cluster_until(w, w->pods[1].reply.n_shards + w->pods[2].reply.n_shards == 3);
    /* Its standbys have them, as far as that is even. */
    cluster_until(w, w->pods[1].reply.guilds_assigned + w->pods[2].reply.guilds_assigned == 90);
    assert_in_range(w->pods[1].reply.guilds_assigned, 38, 52);
}

static void test_the_last_pod_may_leave_with_its_guilds(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    pod_see(&w->pods[0], 1, 5);
    cluster_until(w, cluster_status(w, "guilds_owned") == 5);
    w->pods[0].draining = true;
    cluster_until(w, w->pods[0].reply.may_leave);
    assert_int_equal(cluster_status(w, "moves_open"), 0);
}

static void pod_leave(struct fake_pod *p)
{
    const struct subject subject = subject_coordinator("leave");
    Guildbus__V1__Envelope e;
    Guildbus__V1__Leave l;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__leave__init(&l);
    l.pod = p->id;
    l.incarnation = p->incarnation;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_LEAVE;
    e.leave = &l;
    p->beats = false;
    pod_send(p, subject.text, &e, pod_on_ignored);
}

static void test_a_pod_that_leaves_is_offline_at_once(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], 1, 10);
    cluster_until(w, cluster_status(w, "guilds_owned") == 10);
    pod_leave(&w->pods[0]);
    cluster_until(w, cluster_pod_is(w, "gw-1", "offline"));
    cluster_until(w,
                  idmap_count(w->pods[1].epochs) == 10); /* it left with guilds: they fail over */
    cluster_pod(w, 0);
    cluster_until(w, w->pods[0].registered);
}

static void test_shards_are_spread_and_follow_their_holder(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    assert_int_equal(w->pods[0].reply.shard_count, 0);
    w->pods[1].recommended_shards = 8;
    cluster_until(w, w->pods[0].reply.n_shards == 4 && w->pods[1].reply.n_shards == 4);
    assert_int_equal(w->pods[0].reply.shard_count, 8);
    assert_int_equal(cluster_status(w, "shard_count"), 8);
    cluster_pod(w, 2); /* nothing moves to a pod that comes later */
    cluster_until(w, w->pods[2].reply.lease_ms && !w->pods[2].reply.n_shards);
    pod_kill(&w->pods[1]);
    cluster_until(w, w->pods[0].reply.n_shards + w->pods[2].reply.n_shards == 8);
    assert_int_equal(w->pods[0].reply.n_shards, 4);
    /* Another recommendation later changes nothing. */
    w->pods[0].recommended_shards = 16;
    cluster_until(w, cluster_pod_is(w, "gw-2", "offline"));
    assert_int_equal(cluster_status(w, "shard_count"), 8);
}

struct identify_answer {
    bool here, granted;
    uint32_t wait_ms;
};

static void on_identify(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct identify_answer *a = ctx;
    const Guildbus__V1__Envelope *e = pod_reply(status, in, arena);

    assert_non_null(e);
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_IDENTIFY_REPLY);
    *a = (struct identify_answer){ true, e->identify_reply->granted, e->identify_reply->wait_ms };
}

static struct identify_answer ask_identify(struct cluster *w, struct fake_pod *p, uint32_t shard,
                                           uint32_t concurrency)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const struct subject subject = subject_coordinator("identify");
    struct identify_answer a = { 0 };
    Guildbus__V1__Envelope e;
    Guildbus__V1__IdentifyRequest r;
    void *data;
    size_t size;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__identify_request__init(&r);
    r.pod = p->id;
    r.shard = shard;
    r.max_concurrency = concurrency;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_IDENTIFY;
    e.identify = &r;
    OK(codec_encode(&e, arena, &data, &size, NULL));
    const struct bus_out out = { .subject = subject.text, .data = data, .size = size };
    bus_request(w->wire.bus, &out, &(struct bus_waiter){ w->wire.box, on_identify, &a, 0, 5000 });
    cluster_until(w, a.here);
    return a;
}

static void test_identifies_are_granted_one_a_bucket(void **state)
{
    struct cluster *w = *state;
    struct identify_answer a;

    cluster_lead(w, 0);
    pods_start(w, 2);
    a = ask_identify(w, &w->pods[0], 0, 2);
    assert_true(a.granted);
    a = ask_identify(w, &w->pods[1], 2, 2); /* the same bucket */
    assert_false(a.granted);
    assert_in_range(a.wait_ms, 1, 5000);
    a = ask_identify(w, &w->pods[1], 1, 2);
    assert_true(a.granted);
    w->pods[0].recommended_shards = 4;
    cluster_until(w, w->pods[0].reply.n_shards == 2);
    a = ask_identify(w, &w->pods[1], 5003, 4000); /* no such shard: it is nobody's */
    assert_true(a.granted);
    a = ask_identify(w, &w->pods[1], w->pods[0].shards[0], 4); /* the other one's */
    assert_false(a.granted);
}

/* A new database beside an old log, or a fixed list before: the pod knows higher epochs. */
static void test_epochs_catch_up_with_the_log(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    w->pods[0].knows_epoch = 41;
    pod_see(&w->pods[0], 7, 1);
    cluster_until(w, cluster_guild_is(w, 7, "gw-1", "owned"));
    assert_int_equal(cluster_epoch(w, 7), 42);
}

/* The same, and the pod is silent about it: the log is asked. */
static void test_epochs_catch_up_with_the_log_unasked(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    append_claim(&w->pods[1], 7, 56);
    w->pods[0].ignores_own = true; /* as one that finds itself outdated when it has loaded */
    pod_see(&w->pods[0], 7, 1);
    cluster_until(w, w->pods[0].last_own_epoch == 57);
    w->pods[0].ignores_own = false;
    cluster_until(w, cluster_guild_is(w, 7, "gw-1", "owned"));
    assert_int_equal(cluster_epoch(w, 7), 57);
}

static void test_a_claim_that_nobody_authorised_is_refused(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], 1, 2);
    cluster_until(w, cluster_status(w, "guilds_owned") == 2);
    pod_claim(&w->pods[0], 1, 9, 0);
    cluster_until(w, w->pods[0].claims_refused == 1);
    pod_claim(&w->pods[0], 12345, 1, 0);
    cluster_until(w, w->pods[0].claims_refused == 2);
    assert_int_equal(cluster_epoch(w, 1), 1);
}

static void test_the_owner_is_published_for_the_edges(void **state)
{
    struct cluster *w = *state;
    static const char subject[] = "$JS.API.STREAM.MSG.GET.ASSIGNMENTS";
    const struct subject of_guild = subject_assignment(7);
    char body[SUBJECT_SIZE + 32], *data = NULL;
    size_t size;

    cluster_lead(w, 0);
    pods_start(w, 1);
    pod_see(&w->pods[0], 7, 1);
    (void)snprintf(body, sizeof(body), "{\"last_by_subj\":\"%s\"}", of_guild.text);
    for (bool found = false; !found;) {
        cluster_turn(w);
        OK(bus_request_wait(
            w->wire.bus,
            &(struct bus_out){ .subject = subject, .data = body, .size = strlen(body) }, 5000,
            &data, &size, NULL));
        found = !strstr(data, "\"error\"");
        if (found)
            assert_non_null(strstr(data, of_guild.text));
        free(TAKE(data));
    }
}

static void test_a_killed_coordinator_goes_on_from_what_it_stored(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 2);
    w->pods[0].recommended_shards = 2;
    w->pods[1].ignores_own = true;
    pod_see(&w->pods[0], 1, 20);
    cluster_until(w, cluster_status(w, "guilds_owned") == 10);
    (void)cluster_stop(w, 0, SIGKILL);
    w->pods[1].ignores_own = false;
    cluster_lead(w, 0);
    cluster_until(w, cluster_status(w, "guilds_owned") == 20);
    assert_int_equal(w->pods[0].refused_beats, 0);
    cluster_until(w, w->pods[0].reply.shard_count == 2);
    assert_int_equal(cluster_epoch(w, 1), 1);
    /* Who died while nobody listened is found dead afterwards. */
    (void)cluster_stop(w, 0, SIGKILL);
    pod_kill(&w->pods[1]);
    cluster_lead(w, 0);
    cluster_until(w, idmap_count(w->pods[0].epochs) == 20);
}

static void test_an_older_pod_does_not_get_newer_rows(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    cluster_pod(w, 0)->schema = 5;
    cluster_pod(w, 1);
    cluster_until(w, w->pods[0].registered && w->pods[1].registered);
    pod_see(&w->pods[0], 1, 1);
    cluster_until(w, cluster_status(w, "guilds_owned") == 1);
    assert_true(cluster_guild_is(w, 1, "gw-1", "owned")); /* the first of two empty ones */
    pod_kill(&w->pods[0]);
    cluster_until(w, cluster_pod_is(w, "gw-1", "offline"));
    assert_true(cluster_guild_is(w, 1, "gw-1", "owned"));
    cluster_pod(w, 2)->schema = 5;
    cluster_until(w, cluster_guild_is(w, 1, "gw-3", "owned"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CLUSTER(test_new_guilds_are_spread_and_owned),
        ON_CLUSTER(test_a_batch_of_five_thousand_guilds),
        ON_CLUSTER(test_guilds_wait_for_the_first_pod),
        ON_CLUSTER(test_a_lost_order_is_repeated),
        ON_CLUSTER(test_a_lost_claim_is_repeated),
        ON_CLUSTER(test_a_living_pod_cannot_be_doubled),
        ON_CLUSTER(test_a_dead_pods_guilds_go_to_the_living),
        ON_CLUSTER(test_without_a_living_pod_nothing_moves),
        ON_CLUSTER(test_a_restarted_pod_gets_its_guilds_again),
        ON_CLUSTER(test_a_pod_that_slept_registers_again),
        ON_CLUSTER(test_most_pods_vanishing_together_is_a_network_fault),
        ON_CLUSTER(test_a_draining_pod_empties_and_may_leave),
        ON_CLUSTER(test_the_last_pod_may_leave_with_its_guilds),
        ON_CLUSTER(test_a_pod_that_leaves_is_offline_at_once),
        ON_CLUSTER(test_shards_are_spread_and_follow_their_holder),
        ON_CLUSTER(test_identifies_are_granted_one_a_bucket),
        ON_CLUSTER(test_epochs_catch_up_with_the_log),
        ON_CLUSTER(test_epochs_catch_up_with_the_log_unasked),
        ON_CLUSTER(test_a_claim_that_nobody_authorised_is_refused),
        ON_CLUSTER(test_the_owner_is_published_for_the_edges),
        ON_CLUSTER(test_a_killed_coordinator_goes_on_from_what_it_stored),
        ON_CLUSTER(test_an_older_pod_does_not_get_newer_rows),
    };
    return cmocka_run_group_tests_name("coordinator", tests, NULL, NULL);
}
