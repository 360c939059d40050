/* needs: nats
 *
 * A guild's way from one owner to the next: what its log says, and what becomes of requests. */
#include "tests/unit/gateway/town.h"

/* ---- the source ---- */

/* As the target asks it: answered when the Seal is in the log. */
static void yield_to(struct town *t, int source, const char *target)
{
    order(t, source,
          "{\"control\":{\"yield\":{\"moveId\":\"5\",\"guildId\":\"%" PRIu64
          "\",\"epoch\":\"2\",\"unsealEpoch\":\"3\",\"target\":\"%s\"}}}",
          t->guild, target);
}

struct answers {
    int count, unanswered;
    enum status status;
    char body[64];
};

static void on_answered(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    struct answers *a = ctx;

    a->count++;
    a->unanswered += status != STATUS_OK;
    a->status = status;
    if (status == STATUS_OK)
        (void)snprintf(a->body, sizeof(a->body), "%.*s", (int)in->size, (const char *)in->data);
}

/* ---- the target, played by the test ---- */

struct target {
    struct town *town;
    const char *body;
    int forwards;
};

static void on_forward(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct target *target = ctx;
    Guildbus__V1__Envelope *e;
    struct err err;

    assert_int_equal(codec_decode(in->data, in->size, arena, &e, &err), STATUS_OK);
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_FORWARD);
    const Guildbus__V1__Forward *f = e->forward;
    assert_int_equal(f->guild_id, target->town->guild);
    assert_int_equal(f->hops, 1);
    assert_true(f->json && f->portal);
    assert_int_equal(f->body.len, strlen(target->body));
    assert_memory_equal(f->body.data, target->body, f->body.len);
    const struct bus_out out = { .subject = f->reply_to, .data = "by the target", .size = 13 };
    assert_int_equal(bus_publish(target->town->bus, &out, &err), STATUS_OK);
    target->forwards++;
}

/* ---- tests ---- */

static void test_a_sealed_guild_sends_on_what_it_gets(void **state)
{
    struct town *t = *state;
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    const struct subject portal = subject_portal(t->guild), forward = subject_forward("gamma");
    struct target gamma = { .town = t, .body = "{\"portal\":{\"overview\":{}}}" };
    const struct bus_subscription what = { forward.text, NULL, t->box, on_forward, &gamma, 0 };
    const struct bus_out out = { portal.text, NULL, gamma.body, strlen(gamma.body), &as_json, 1 };
    struct answers answers = { 0 };
    struct bus_sub *sub = NULL;
    struct err err;

    assert_int_equal(bus_subscribe(t->bus, &what, &sub, &err), STATUS_OK);
    own(t, 0, 1);
    yield_to(t, 0, "gamma");
    bus_request(t->bus, &out,
                &(struct bus_waiter){ t->box, on_answered, &answers, 0, PATIENCE_MS / 2 });
    WAIT_FOR(t, answers.count);
    assert_int_equal(answers.status, STATUS_OK);
    assert_string_equal(answers.body, "by the target");
    assert_int_equal(gamma.forwards, 1);
    bus_unsubscribe(&sub);
}

static void test_the_target_claims_behind_the_seal(void **state)
{
    struct town *t = *state;
    struct tail tail = { 0 };

    tail_open(t, &tail);
    own(t, 0, 1);
    move(t, 0, 1, 2);
    WAIT_FOR(t, tail_claim(&tail, 2));
    size_t claim = tail_claim(&tail, 2);
    assert_int_equal(tail.records[claim - 1].kind, GUILDBUS__V1__LOG_RECORD__KIND_SEAL);
    assert_int_equal(tail.records[claim - 1].epoch, 1);
    bus_unsubscribe(&tail.sub);
}

static void test_a_source_takes_nothing_back_behind_a_claim(void **state)
{
    struct town *t = *state;
    struct tail tail = { 0 };
    int64_t before = metric("guildbus_fenced_total");

    tail_open(t, &tail);
    own(t, 0, 1);
    yield_to(t, 0, "beta");
    own(t, 1, 2); /* alpha does not hear of it, and comes back for the guild */
    WAIT_FOR(t, metric("guildbus_fenced_total") == before + 1);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    assert_int_equal(tail_claim(&tail, 3), 0);
    assert_string_equal(t->claimed_pod, "beta");
    assert_int_equal(owner_guild_count(t->pods[1].owner), 1);
    bus_unsubscribe(&tail.sub);
}

/* The coordinator thinks that the target died before it claimed. */
static void test_nobody_is_sent_back_behind_a_claim(void **state)
{
    struct town *t = *state;
    struct tail tail = { 0 };
    int64_t before = metric("guildbus_claims_outdated_total");

    tail_open(t, &tail);
    own(t, 0, 1);
    move(t, 0, 1, 2);
    order(t, 0,
          "{\"control\":{\"own\":{\"guildId\":\"%" PRIu64
          "\",\"epoch\":\"3\",\"reason\":4,\"unlessEpoch\":\"2\"}}}",
          t->guild);
    WAIT_FOR(t, metric("guildbus_claims_outdated_total") == before + 1);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    assert_int_equal(tail_claim(&tail, 3), 0);
    assert_string_equal(t->claimed_pod, "beta");
    bus_unsubscribe(&tail.sub);
}

/* It is to follow the guild again while requests are on their way to it: each is answered, be it
 * with an error. */
static void test_who_takes_no_more_requests_answers_those_sent(void **state)
{
    enum { REQUESTS = 200 };
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    struct town *t = *state;
    const struct subject control = subject_control("alpha"), portal = subject_portal(t->guild);
    CLEANUP(xfree)
    char *warm = xasprintf("{\"control\":{\"warm\":{\"moveId\":\"9\",\"guildId\":\"%" PRIu64
                           "\",\"source\":\"beta\"}}}",
                           t->guild);
    CLEANUP(xfree)
    char *overview =
        xasprintf("{\"portal\":{\"guildId\":\"%" PRIu64 "\",\"overview\":{}}}", t->guild);
    struct answers answers = { 0 }, ordered = { 0 };

    own(t, 0, 1);
    move(t, 0, 1, 2);
    for (int i = 0; i <= REQUESTS; i++) {
        bool is_order = i == REQUESTS / 2;
        const char *body = is_order ? warm : overview;
        const struct bus_out out = {
            is_order ? control.text : portal.text, NULL, body, strlen(body), &as_json, 1
        };
        bus_request(
            t->bus, &out,
            &(struct bus_waiter){ t->box, on_answered, is_order ? &ordered : &answers, 0, 5000 });
    }
    WAIT_FOR(t, answers.count == REQUESTS && ordered.count == 1);
    assert_int_equal(ordered.status, STATUS_OK);
    assert_int_equal(answers.unanswered, 0);
}

/* ---- the town ---- */

static int open_patient(void **state)
{
    return town_open_as(state,
                        &(struct town){ .snapshot_records = 128, .unseal_ms = 10 * PATIENCE_MS });
}

/* Long enough for a claim to come first. */
static int open_slow(void **state)
{
    return town_open_as(state, &(struct town){ .snapshot_records = 128, .unseal_ms = 3000 });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_sealed_guild_sends_on_what_it_gets, open_patient,
                                        town_close),
        cmocka_unit_test_setup_teardown(test_the_target_claims_behind_the_seal, open_patient,
                                        town_close),
        cmocka_unit_test_setup_teardown(test_a_source_takes_nothing_back_behind_a_claim, open_slow,
                                        town_close),
        cmocka_unit_test_setup_teardown(test_nobody_is_sent_back_behind_a_claim, open_patient,
                                        town_close),
        cmocka_unit_test_setup_teardown(test_who_takes_no_more_requests_answers_those_sent,
                                        open_patient, town_close),
    };
    if (getenv("DEBUG"))
        log_set_level(LOG_LEVEL_DEBUG);
    return cmocka_run_group_tests_name("gateway/handoff", tests, NULL, NULL);
}
