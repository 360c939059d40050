/* needs: nats postgres
 *
 * Replicas on one real PostgreSQL: one leads, the others answer reads, each may die. */
#include "cluster.h"

#include "base/pg.h"

static int databases;

static struct pg *admin(void)
{
    return pg_new(getenv("DATABASE_URL_OF_TEST"));
}

/* A database of its own beside the one that DATABASE_URL names. */
static int setup(void **state)
{
    const char *url = getenv("DATABASE_URL");
    char sql[128];

    if (url)
        setenv("DATABASE_URL_OF_TEST", url, 1);
    if (!getenv("DATABASE_URL_OF_TEST")) {
        fprintf(stderr, "DATABASE_URL is not set: run it with tests/run_with_postgres.sh\n");
        exit(77);
    }
    if (cluster_setup(state))
        return 1;
    struct cluster *w = *state;
    CLEANUP(pg_free) struct pg *pg = admin();
    url = getenv("DATABASE_URL_OF_TEST");
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE leader_%d_%d", (int)getpid(), ++databases);
    OK(pg_script(pg, sql, NULL));
    (void)snprintf(w->database_url, sizeof(w->database_url), "%.*s/leader_%d_%d",
                   (int)(strrchr(url, '/') - url), url, (int)getpid(), databases);
    return 0;
}

static int teardown(void **state)
{
    CLEANUP(pg_free) struct pg *pg = admin();
    struct cluster *w = *state;
    char sql[128];

    for (int i = 0; i < COORDINATORS; i++)
        assert_int_equal(cluster_stop(w, i, SIGTERM), 0);
    (void)snprintf(sql, sizeof(sql), "DROP DATABASE leader_%d_%d WITH (FORCE)", (int)getpid(),
                   databases);
    OK(pg_script(pg, sql, NULL));
    return cluster_teardown(state);
}

static bool leads(struct cluster *w, int at)
{
    ANSWERED a = cluster_call(w, at, "GET", "/status", NULL, NULL);

    return json_is_true(json_object_get(a.root, "leader"));
}

static bool is_ready_to_read(struct cluster *w, int at)
{
    ANSWERED a = cluster_call(w, at, "GET", "/status", NULL, NULL);

    return a.code == 200;
}

static void start_two(struct cluster *w)
{
    cluster_lead(w, 0);
    cluster_start(w, 1);
    cluster_until(w, is_ready_to_read(w, 1));
    pods_start(w, 2);
    pod_see(&w->pods[0], 1, 20);
    cluster_until(w, cluster_status(w, "guilds_owned") == 20);
}

static void test_one_leads_and_the_other_answers_reads(void **state)
{
    struct cluster *w = *state;

    start_two(w);
    assert_true(leads(w, 0));
    assert_false(leads(w, 1));
    ANSWERED a = cluster_call(w, 1, "GET", "/guild-assignments/7", NULL, NULL);
    assert_int_equal(a.code, 200);
    assert_string_equal(json_str(a.root, "state"), "owned");
    ANSWERED c = cluster_get(w, "/status");
    assert_string_equal(json_str(c.root, "storage"), "postgresql");
}

static struct answered post_to_other(struct cluster *w, const char *path, const char *body)
{
    return cluster_call(w, 1, "POST", path, body, "Bearer sesame");
}

/* The leader does what was asked of the other one, and that one says what came of it. */
static void test_changes_work_at_any_replica(void **state)
{
    struct cluster *w = *state;
    char body[96], path[64];

    start_two(w);
    bool on_first = idmap_get(w->pods[0].epochs, 1) != NULL;
    (void)snprintf(body, sizeof(body), "{\"guild_id\":\"1\",\"pod_id\":\"gw-%d\"}",
                   on_first ? 2 : 1);
    ANSWERED a = post_to_other(w, "/reassign-guild", body);
    assert_int_equal(a.code, 202);
    (void)snprintf(path, sizeof(path), "/moves/%" PRIu64, json_id(a.root, "move_id"));
    for (bool done = false; !done;) {
        ANSWERED move = cluster_call(w, 1, "GET", path, NULL, NULL);
        done = !strcmp(json_str(move.root, "state"), "done");
        cluster_turn(w);
    }
    ANSWERED again = post_to_other(w, "/reassign-guild", body);
    assert_int_equal(again.code, 409);
    assert_true(strstr(json_str(json_object_get(again.root, "error"), "text"), "already"));
    ANSWERED unknown = post_to_other(w, "/drain-pod", "{\"pod_id\":\"gw-9\"}");
    assert_int_equal(unknown.code, 404);
    ANSWERED wrong = post_to_other(w, "/drain-pod", "{}");
    assert_int_equal(wrong.code, 400);
    ANSWERED dry = post_to_other(w, "/rebalance", "{\"dry_run\":true}");
    assert_int_equal(dry.code, 200);
    assert_true(json_is_array(json_object_get(dry.root, "moves")));
    ANSWERED unfreeze = post_to_other(w, "/unfreeze", NULL);
    assert_int_equal(unfreeze.code, 200);
    ANSWERED drain = post_to_other(w, "/drain-pod", "{\"pod_id\":\"gw-1\"}");
    assert_int_equal(drain.code, 202);
    cluster_until(w, w->pods[0].reply.guilds_assigned == 0);
    ANSWERED denied = cluster_call(w, 1, "POST", "/unfreeze", NULL, "Bearer wrong");
    assert_int_equal(denied.code, 403);
}

/* Nobody leads for a moment: the other says so, and a second later it leads itself. */
static void test_a_change_without_a_leader_is_refused_and_works_later(void **state)
{
    struct cluster *w = *state;
    int code = 0;

    start_two(w);
    (void)cluster_stop(w, 0, SIGKILL);
    while (code != 200) {
        ANSWERED a = post_to_other(w, "/unfreeze", NULL);
        code = a.code;
        /* 504: it was sent to the one that had just died. */
        if (code != 200 && code != 503 && code != 504)
            fail_msg("answered %d", code);
        cluster_turn(w);
    }
    assert_true(leads(w, 1));
}

static void test_the_other_goes_on_when_the_leader_dies(void **state)
{
    struct cluster *w = *state;

    start_two(w);
    w->pods[1].ignores_take = true;
    bool on_first = idmap_get(w->pods[0].epochs, 1) != NULL;
    uint64_t guild = on_first ? 1 : 2;
    assert_non_null(idmap_get(w->pods[0].epochs, guild));
    uint64_t move = cluster_reassign(w, guild, "gw-2");
    cluster_until(w, w->pods[1].takes >= 1);
    (void)cluster_stop(w, 0, SIGKILL);
    w->pods[1].ignores_take = false;
    cluster_until(w, leads(w, 1));
    w->ports[0] = w->ports[1]; /* ask that one from now on */
    cluster_until(w, cluster_move_is(w, move, "done"));
    assert_int_equal(cluster_status(w, "guilds_owned"), 20);
    assert_int_equal(w->pods[0].refused_beats, 0);
}

/* As a machine that hangs: its session is open, and nothing comes. */
static void test_a_leader_that_hangs_is_replaced(void **state)
{
    struct cluster *w = *state;

    start_two(w);
    kill(w->pids[0], SIGSTOP);
    cluster_until(w, leads(w, 1));
    int hung = w->ports[0];
    w->ports[0] = w->ports[1];
    pod_see(&w->pods[0], 1000, 5);
    cluster_until(w, cluster_status(w, "guilds_owned") == 25);
    /* It swallows nothing that the pods send: leases are renewed, over and over. */
    int64_t end_ms = clock_now_ms() + (int64_t)4 * LEASE_MS;
    cluster_until(w, clock_now_ms() > end_ms);
    assert_int_equal(w->pods[0].refused_beats + w->pods[1].refused_beats, 0);
    assert_true(cluster_pod_is(w, "gw-1", "active") && cluster_pod_is(w, "gw-2", "active"));
    kill(w->pids[0], SIGCONT);
    w->ports[0] = hung;
    /* It finds out by itself, and answers what it is asked again. */
    cluster_until(w, cluster_logged(w, 0, "event=leadership_lost"));
    cluster_until(w, is_ready_to_read(w, 0) && !leads(w, 0));
    assert_true(leads(w, 1));
    assert_int_equal(cluster_status(w, "guilds_owned"), 25);
}

static void test_a_leader_that_stops_hands_over(void **state)
{
    struct cluster *w = *state;

    start_two(w);
    assert_int_equal(cluster_stop(w, 0, SIGTERM), 0);
    cluster_until(w, leads(w, 1));
    cluster_start(w, 0);
    cluster_until(w, is_ready_to_read(w, 0));
    assert_false(leads(w, 0));
}

/* What another coordinator does that leads meanwhile: it gives all of gw-1's guilds to gw-2. */
static void lead_elsewhere(struct cluster *w)
{
    CLEANUP(pg_free) struct pg *pg = pg_new(w->database_url);

    OK(pg_script(pg,
                 "UPDATE meta SET value = value + 1 WHERE key = 'fence';"
                 " UPDATE guild_assignments SET pod_id = 'gw-2', epoch = next_epoch,"
                 " next_epoch = next_epoch + 1, state = 'claiming', incarnation ="
                 " (SELECT incarnation FROM pod_health WHERE pod_id = 'gw-2')"
                 " WHERE pod_id = 'gw-1'",
                 NULL));
}

static void on_claim_answered(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    int *oks = ctx;
    Guildbus__V1__Envelope *e;

    if (!in->size)
        return; /* NATS: nobody listens just now */
    OK(codec_decode(in->data, in->size, arena, &e, NULL));
    *oks += e->body_case == GUILDBUS__V1__ENVELOPE__BODY_OK;
}

/* gw-1 says once more what it has claimed, as after a lost lease. Who answers OK lets it serve reads. */
static void claim_again(struct cluster *w, uint64_t guild)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const struct subject subject = subject_coordinator("claimed");
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    Guildbus__V1__Claimed c = GUILDBUS__V1__CLAIMED__INIT;
    struct bus_out out = { .subject = subject.text, .reply = SUBJECT_INBOX_GATEWAY ".claims" };
    void *data;

    c.guild_id = guild;
    c.pod = w->pods[0].id;
    c.incarnation = w->pods[0].incarnation;
    c.epoch = 1;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CLAIMED;
    e.claimed = &c;
    OK(codec_encode(&e, arena, &data, &out.size, NULL));
    out.data = data;
    OK(bus_publish(w->wire.bus, &out, NULL));
}

static void test_a_claim_is_not_confirmed_by_a_memory_that_is_out_of_date(void **state)
{
    struct cluster *w = *state;
    struct bus_sub *sub = NULL;
    int oks = 0;
    const struct bus_subscription what = {
        SUBJECT_INBOX_GATEWAY ".claims", NULL, w->wire.box, on_claim_answered, &oks, 0
    };

    OK(bus_subscribe(w->wire.bus, &what, &sub, NULL));
    start_two(w);
    uint64_t guild = 1;
    while (!idmap_get(w->pods[0].epochs, guild))
        guild++;
    claim_again(w, guild);
    cluster_until(w, oks == 1); /* it is so */
    lead_elsewhere(w);
    for (int i = 0; i < 20; i++)
        claim_again(w, guild);
    cluster_until(w, cluster_logged(w, 0, "event=leadership_lost"));
    cluster_until(w, leads(w, 0) || leads(w, 1));
    cluster_until(w, cluster_status(w, "guilds_owned") == 20);
    assert_int_equal(oks, 1);
    assert_int_equal(idmap_count(w->pods[1].epochs), 20);
    bus_unsubscribe(&sub);
}

/* The leader's session is gone, and its lock with it: one of the two leads afterwards, and nothing
 * is lost. */
static void test_lost_database_connections_heal(void **state)
{
    struct cluster *w = *state;
    CLEANUP(pg_free) struct pg *pg = admin();
    struct pg_params name = { .count = 1, .values = { strrchr(w->database_url, '/') + 1 } };

    start_two(w);
    for (int i = 0; i < 3; i++) {
        OK(pg_exec(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                   &name, NULL, NULL));
        cluster_until(w, is_ready_to_read(w, 0) && is_ready_to_read(w, 1));
        cluster_until(w, leads(w, 0) || leads(w, 1));
        /* Asked until it is heard: nobody may be listening at the moment. */
        for (bool known = false; !known; known = cluster_status(w, "guilds") == 21 + i) {
            pod_see(&w->pods[0], 1000 + (uint64_t)i, 1);
            cluster_turn(w);
        }
    }
    cluster_until(w, cluster_status(w, "guilds_owned") == 23);
    assert_int_equal(w->pods[0].refused_beats + w->pods[1].refused_beats, 0);
    assert_true(cluster_pod_is(w, "gw-1", "active") && cluster_pod_is(w, "gw-2", "active"));
}

/* Rows that an operator reads with psql: moments are moments, and the columns of the plan are
 * there. */
static void test_the_tables_read_well_in_psql(void **state)
{
    struct cluster *w = *state;
    CLEANUP(pg_result_free) struct pg_result *r = NULL;

    start_two(w);
    CLEANUP(pg_free) struct pg *pg = pg_new(w->database_url);
    OK(pg_exec(pg,
               "SELECT count(*) FROM guild_assignments g JOIN pod_health p USING (pod_id)"
               " WHERE g.assigned_at > now() - interval '5 minutes' AND g.last_heartbeat <= now()"
               " AND p.status = 'active' AND p.capacity = 1000 AND p.guild_count >= 0"
               " AND p.last_heartbeat > now() - interval '1 minute'",
               NULL, &r, NULL));
    assert_int_equal(pg_int(r, 0, 0), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_leads_and_the_other_answers_reads, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_changes_work_at_any_replica, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_change_without_a_leader_is_refused_and_works_later,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_other_goes_on_when_the_leader_dies, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_leader_that_hangs_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_leader_that_stops_hands_over, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_claim_is_not_confirmed_by_a_memory_that_is_out_of_date, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_database_connections_heal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_tables_read_well_in_psql, setup, teardown),
    };
    return cmocka_run_group_tests_name("leader", tests, NULL, NULL);
}
