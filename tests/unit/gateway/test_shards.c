/* Shards against a real nats-server and the simulated Discord: whatever breaks, what Discord sent
 * is in EVENTS once. */
#include "tests/unit/gateway/shards_world.h"

static void test_what_discord_sends_is_stored_once_and_in_order(void **state)
{
    struct world *w = *state;

    start_live(w);
    assert_int_equal(shards_recommended(w->a.shards), SHARD_COUNT);
    sim_traffic(w, 3000, 0);
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
    assert_int_equal(sim_count(w, "gateway", "closed_1000_by_client"), 0);
}

static void test_each_way_to_lose_a_connection_ends_in_a_resume(void **state)
{
    static const struct {
        const char *how;
        int code;
    } faults[] = { { "reconnect", 4000 },
                   { "drop", 4000 },
                   { "close", 4000 },
                   { "close", 4008 },
                   { "close", 4009 },

                   { "invalid_session_resumable", 4000 },
                   { "heartbeat", 4000 } };
    struct world *w = *state;

    start_live(w);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        half_way(w, 400, 1000);
        sim_fault(w, faults[i].how, faults[i].code);
        wait_for(w, is_traffic_over);
        wait_for(w, are_all_live);
    }
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
    assert_true(sim_count(w, "gateway", "resumes") >= INT64_C(6) * SHARD_COUNT);
    assert_int_equal(sim_count(w, "gateway", "closed_1000_by_client"), 0);
}

static bool has_identified_again(struct world *w)
{
    return sim_count(w, "gateway", "identifies") == INT64_C(2) * SHARD_COUNT && are_all_live(w);
}

static void test_an_invalid_session_begins_a_new_one(void **state)
{
    struct world *w = *state;

    start_live(w);
    sim_traffic(w, 200, 0);
    wait_for(w, is_traffic_over);
    w->whose = &w->a;
    wait_for(w, is_all_saved); /* what a session had not sent yet ends with it */
    sim_fault(w, "invalid_session", 4000);
    wait_for(w, has_identified_again);
    sim_traffic(w, 200, 0);
    finish(w, &w->a);
}

static void test_a_restart_resumes_where_it_stopped(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 1000, 1000);
    pod_stop(&w->a);
    pod_start(&w->a, false);
    wait_for(w, are_all_live);
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

static void test_a_crash_costs_nothing_but_a_replay(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 1000, 1000);
    pod_kill(&w->a);
    pod_start(&w->a, false);
    wait_for(w, are_all_live);
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

static void test_another_pod_takes_over_what_was_given_up(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 1000, 1000);
    shards_want(w->a.shards, &(struct shards_wish){ .count = SHARD_COUNT });
    pod_start(&w->b, false);
    w->whose = &w->b;
    wait_for(w, holds_all);
    wait_for(w, are_all_live);
    assert_true((w->whose = &w->a, holds_nothing(w)));
    finish(w, &w->b);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

static void test_a_holder_that_was_replaced_stops(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 4000, 1000);
    pod_start(&w->b, false); /* nobody told a: b waits for it, then takes the shards from it */
    w->whose = &w->b;
    wait_for(w, holds_all);
    w->whose = &w->a;
    wait_for(w, holds_nothing);
    shards_want(w->a.shards, &(struct shards_wish){ .count = SHARD_COUNT });
    finish(w, &w->b);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

static void test_a_spoilt_record_does_not_cost_the_session(void **state)
{
    struct world *w = *state;
    struct err err;

    start_live(w);
    half_way(w, 4000, 1000);
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        const struct subject key = subject_shard(shard);
        const struct bus_out garbage = { .subject = key.text, .data = "{\"pod\":", .size = 7 };
        assert_int_equal(bus_publish(w->a.bus, &garbage, &err), STATUS_OK);
    }
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

static void test_a_dead_resume_host_does_not_cost_the_session(void **state)
{
    struct world *w = *state;

    start_live(w);
    sim_tell(w, "/gateway", "{\"resume_refused\":true}");
    half_way(w, 1000, 1000);
    sim_fault(w, "drop", 4000);
    wait_for(w, are_all_live);
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

static bool has_resumed(struct world *w)
{
    return sim_count(w, "gateway", "resumes") >= SHARD_COUNT;
}

static void test_a_silent_connection_is_left(void **state)
{
    struct world *w = *state;

    start_live(w);
    sim_tell(w, "/gateway", "{\"heartbeat_acks\":false}");
    wait_for(w, has_resumed);
    sim_tell(w, "/gateway", "{\"heartbeat_acks\":true}");
    wait_for(w, are_all_live);
    sim_traffic(w, 200, 0);
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

/* ---- NATS ---- */

static void test_a_bus_that_stands_still_holds_discord_back(void **state)
{
    struct world *w = *state;

    start_live(w);
    kill(w->nats.pid, SIGSTOP);
    half_way(w, 30000, 0); /* more than the window takes */
    kill(w->nats.pid, SIGCONT);
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

static void nats_restart(struct nats_process *n)
{
    const char *port = strrchr(n->url, ':') + 1;

    kill(n->pid, SIGTERM);
    waitpid(n->pid, NULL, 0);
    n->pid = fork();
    if (n->pid != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!freopen("/dev/null", "w", stderr))
        _exit(126);
    execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-sd", n->folder, "-js",
           NULL);
    _exit(127);
}

static void test_a_restart_of_nats_loses_nothing(void **state)
{
    struct world *w = *state;

    start_live(w);
    half_way(w, 2000, 1000);
    nats_restart(&w->nats);
    finish(w, &w->a);
    assert_int_equal(sim_count(w, "gateway", "identifies"), SHARD_COUNT);
}

/* ---- the coordinator ---- */

struct coordinator {
    struct bus *bus;
    int identifies, batches;
    json_t *guilds;
};

static void reply(struct coordinator *c, const struct bus_in *in, const Guildbus__V1__Envelope *e)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    void *data;
    size_t size;
    assert_int_equal(codec_encode(e, arena, &data, &size, NULL), STATUS_OK);
    assert_int_equal(bus_respond(c->bus, in, data, size, false, NULL), STATUS_OK);
}

/* Refuses each shard once, then grants. */
static void answer_identify(struct coordinator *c, const struct bus_in *in)
{
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    Guildbus__V1__IdentifyReply r;
    guildbus__v1__identify_reply__init(&r);
    r.granted = ++c->identifies > SHARD_COUNT;
    r.wait_ms = 20;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_IDENTIFY_REPLY;
    e.identify_reply = &r;
    reply(c, in, &e);
}

/* Refuses the first batch, then takes them. */
static void answer_guilds(struct coordinator *c, const struct bus_in *in,
                          const Guildbus__V1__GuildsSeen *seen)
{
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    Guildbus__V1__Ok ok = GUILDBUS__V1__OK__INIT;
    Guildbus__V1__Error error;
    char key[24];

    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_OK;
    e.ok = &ok;
    if (c->batches++ == 0) {
        guildbus__v1__error__init(&error);
        error.status = STATUS_UNAVAILABLE;
        e.body_case = GUILDBUS__V1__ENVELOPE__BODY_ERROR;
        e.error = &error;
    }
    for (size_t i = 0; c->batches > 1 && i < seen->n_guild_ids; i++) {
        (void)snprintf(key, sizeof(key), "%" PRIu64, seen->guild_ids[i]);
        json_object_set_new(c->guilds, key, json_true());
    }
    reply(c, in, &e);
}

static void on_coordinator(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    struct coordinator *c = ctx;
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *e;

    assert_int_equal(codec_decode(in->data, in->size, arena, &e, NULL), STATUS_OK);
    if (strcmp(in->subject, subject_coordinator("identify").text) == 0)
        answer_identify(c, in);
    else if (strcmp(in->subject, subject_coordinator("guilds-seen").text) == 0)
        answer_guilds(c, in, e->guilds_seen);
    else
        fail_msg("%s", in->subject);
}

static struct coordinator coordinator;

static bool all_guilds_are_told(struct world *w)
{
    return sim_count(w, "gateway", "live") == SHARD_COUNT &&
           json_object_size(coordinator.guilds) == 8 + 1; /* and guild 0 */
}

static void test_the_coordinator_grants_and_hears_of_the_guilds(void **state)
{
    struct world *w = *state;
    struct bus_sub *sub;
    const struct bus_config config = { .url = w->nats.url, .name = "coordinator" };

    coordinator = (struct coordinator){ .guilds = json_object() };
    assert_int_equal(bus_open(&config, &coordinator.bus, NULL), STATUS_OK);
    const struct bus_subscription all = { .subject = subject_wildcard(SUBJECT_COORDINATOR),
                                          .box = loop_mailbox(w->loop),
                                          .on_message = on_coordinator,
                                          .ctx = &coordinator };
    assert_int_equal(bus_subscribe(coordinator.bus, &all, &sub, NULL), STATUS_OK);
    pod_start(&w->a, true);
    wait_for(w, all_guilds_are_told);
    assert_true(coordinator.identifies >= INT64_C(2) * SHARD_COUNT);
    assert_true(coordinator.batches >= 2);
    bus_unsubscribe(&sub);
    bus_close(coordinator.bus);
    json_decref(coordinator.guilds);
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_what_discord_sends_is_stored_once_and_in_order),
        LIVE(test_each_way_to_lose_a_connection_ends_in_a_resume),
        LIVE(test_an_invalid_session_begins_a_new_one),
        LIVE(test_a_restart_resumes_where_it_stopped),
        LIVE(test_a_crash_costs_nothing_but_a_replay),
        LIVE(test_another_pod_takes_over_what_was_given_up),
        LIVE(test_a_holder_that_was_replaced_stops),
        LIVE(test_a_spoilt_record_does_not_cost_the_session),
        LIVE(test_a_dead_resume_host_does_not_cost_the_session),
        LIVE(test_a_silent_connection_is_left),
        LIVE(test_a_bus_that_stands_still_holds_discord_back),
        LIVE(test_a_restart_of_nats_loses_nothing),
        LIVE(test_the_coordinator_grants_and_hears_of_the_guilds),
    };
    return cmocka_run_group_tests_name("shards", tests, NULL, NULL);
}
