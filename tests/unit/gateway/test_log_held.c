/* needs: nats
 *
 * A guild's log takes nothing for a while: nothing leaves its pod, and what the log never took is not
 * kept. */
#include "gateway/discord_rest.h"
#include "tests/unit/gateway/town_log.h"

/* ---- answers that may be late ---- */

struct late {
    bool here;
};

static void on_late(void *ctx, uint64_t tag UNUSED, enum status status,
                    const struct bus_in *in UNUSED)
{
    struct late *late = ctx;

    assert_int_equal(status, STATUS_OK);
    late->here = true;
}

static void ask_later(struct town *t, const char *subject, const char *body, struct late *late)
{
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    const struct bus_out out = { subject, NULL, body, strlen(body), &as_json, 1 };

    bus_request(t->bus, &out, &(struct bus_waiter){ t->box, on_late, late, 0, PATIENCE_MS });
}

/* What makes no sense is refused at once, on the same ways: what was to be said before has been said
 * by then. The second time is a later turn of the owner, so the commit of the first one's is over. */
static void wait_for_refusal(struct town *t, const char *subject)
{
    for (int i = 0; i < 2; i++) {
        CLEANUP(json_decref) json_t *refusal = ask(t, subject, "{}");
        assert_non_null(json_object_get(refusal, "error"));
    }
    mailbox_drain(t->box, NULL);
}

/* ---- tests ---- */

static void test_no_answer_leaves_before_its_record(void **state)
{
    struct town *t = *state;
    const struct subject interaction = subject_interaction(t->guild),
                         portal = subject_portal(t->guild);
    CLEANUP(xfree) char *setup = setup_request(t, 77, "12345");
    struct late answer = { 0 }, read = { 0 };

    own(t, 0, 1);
    hold_log(t, true);
    ask_later(t, interaction.text, setup, &answer);
    wait_for_refusal(t, interaction.text);
    assert_false(answer.here);
    ask_later(t, portal.text, "{\"portal\":{\"settings\":{}}}",
              &read); /* it would show the change */
    wait_for_refusal(t, portal.text);
    assert_false(read.here);
    hold_log(t, false);
    WAIT_FOR(t, answer.here && read.here);
    assert_mod_log(t, "12345");
}

static void test_no_call_to_discord_leaves_before_its_record(void **state)
{
    struct town *t = *state;
    int64_t events = metric("guildbus_events_applied_total"),
            calls = metric("guildbus_actions_total");

    own(t, 0, 1);
    hold_log(t, true);
    publish_setup(t, 78);
    WAIT_FOR(t, metric("guildbus_events_applied_total") == events + 1);
    wait_for_refusal(t, subject_portal(t->guild).text);
    assert_int_equal(metric("guildbus_actions_total"), calls);
    hold_log(t, false);
    WAIT_FOR(t, metric("guildbus_actions_total") == calls + 1);
}

static void on_filler(void *ctx UNUSED, uint64_t tag UNUSED,
                      const struct discord_answer *answer UNUSED)
{
}

/* Calls of somebody else, to a Discord that is not there. */
static void fill(struct town *t)
{
    const struct discord_call call = { .method = "GET",
                                       .path = "/channels/1/messages",
                                       .box = t->box,
                                       .on_done = on_filler,
                                       .group = UINT64_MAX };

    while (discord_rest_has_room(t->rest))
        discord_rest_send(t->rest, &call);
}

static void test_a_call_that_finds_no_room_is_made_later(void **state)
{
    struct town *t = *state;
    int64_t records = metric("guildbus_log_records_total"),
            calls = metric("guildbus_actions_total");

    own(t, 0, 1);
    fill(t);
    WAIT_FOR(t, metric("guildbus_log_records_total") > records); /* the Claim */
    records = metric("guildbus_log_records_total");
    publish_setup(t, 78);
    WAIT_FOR(t, metric("guildbus_log_records_total") == records + 1);
    wait_for_refusal(t, subject_portal(t->guild).text);
    assert_int_equal(metric("guildbus_actions_total"), calls);
    discord_rest_withdraw(t->rest, UINT64_MAX);
    WAIT_FOR(t, metric("guildbus_actions_total") == calls + 1);
}

/* The unit is on alpha's disk, and in no log. */
static void test_rows_that_the_log_never_took_go_with_the_process(void **state)
{
    struct town *t = *state;
    CLEANUP(xfree) char *setup = setup_request(t, 79, "12345");
    struct late answer = { 0 };

    own(t, 0, 1);
    hold_log(t, true);
    int64_t before = metric("guildbus_interactions_total");
    ask_later(t, subject_interaction(t->guild).text, setup, &answer);
    WAIT_FOR(t, metric("guildbus_interactions_total") == before + 1);
    pod_stop(t, 0); /* after its commit */
    assert_false(answer.here);
    hold_log(t, false);
    own(t, 1, 2);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    pod_stop(t, 1);
    pod_start(t, 0, "alpha");
    own(t, 0, 3);
    assert_mod_log(t, "");
    assert_int_equal(applied(t), 1);
}

static void on_answer(void *ctx, uint64_t tag UNUSED, const struct bus_in *in UNUSED)
{
    (*(int *)ctx)++;
}

/* To this pod, whoever the owner is: as the guild's former owner sends it on. */
static void forward_to(struct town *t, int pod, const char *body, bool portal)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const struct subject subject = subject_forward(t->pods[pod].name);
    Guildbus__V1__Forward f = GUILDBUS__V1__FORWARD__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    struct bus_out out = { .subject = subject.text };
    struct err err;
    void *data;

    f.guild_id = t->guild;
    f.hops = 1;
    f.json = true;
    f.portal = portal;
    f.reply_to = mutable_text(SUBJECT_INBOX_EDGE ".answer");
    f.body.data = arena_memdup(arena, body, strlen(body));
    f.body.len = strlen(body);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_FORWARD;
    e.forward = &f;
    assert_int_equal(codec_encode(&e, arena, &data, &out.size, &err), STATUS_OK);
    out.data = data;
    assert_int_equal(bus_publish(t->bus, &out, &err), STATUS_OK);
}

static void test_what_a_replaced_owner_did_is_neither_said_nor_kept(void **state)
{
    struct town *t = *state;
    CLEANUP(xfree) char *setup = setup_request(t, 80, "12345");
    int answers = 0;
    struct bus_sub *sub = NULL;
    struct err err;
    const struct bus_subscription what = {
        SUBJECT_INBOX_EDGE ".answer", NULL, t->box, on_answer, &answers, 0
    };

    assert_int_equal(bus_subscribe(t->bus, &what, &sub, &err), STATUS_OK);
    own(t, 0, 1);
    own(t, 1, 2); /* alpha does not know */
    forward_to(t, 0, setup, false);
    WAIT_FOR(t, owner_guild_count(t->pods[0].owner) == 0);
    wait_for_refusal(t, subject_control("alpha").text);
    assert_int_equal(answers, 0);
    pod_stop(t, 1);
    own(t, 0, 3); /* with what is on its disk, if that were of use */
    assert_mod_log(t, "");
    bus_unsubscribe(&sub);
}

/* Who has no lease asks the log before each read is answered. */
static void test_without_a_lease_no_read_is_answered_by_memory(void **state)
{
    struct town *t = *state;
    int answers = 0;
    struct bus_sub *sub = NULL;
    struct err err;
    const struct bus_subscription what = {
        SUBJECT_INBOX_EDGE ".answer", NULL, t->box, on_answer, &answers, 0
    };

    assert_int_equal(bus_subscribe(t->bus, &what, &sub, &err), STATUS_OK);
    own(t, 0, 1);
    own(t, 1, 2); /* alpha does not know */
    owner_set_lease(t->pods[0].owner, 0);
    owner_set_lease(t->pods[1].owner, 0);
    forward_to(t, 0, "{\"portal\":{\"overview\":{}}}", true);
    WAIT_FOR(t, owner_guild_count(t->pods[0].owner) == 0);
    wait_for_refusal(t, subject_control("alpha").text);
    assert_int_equal(answers, 0);
    forward_to(t, 1, "{\"portal\":{\"overview\":{}}}", true);
    WAIT_FOR(t, answers == 1);
    bus_unsubscribe(&sub);
}

/* ---- the town ---- */

#define TEST(name) cmocka_unit_test_setup_teardown(name, town_open, town_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_answer_leaves_before_its_record),
        cmocka_unit_test_setup_teardown(test_no_call_to_discord_leaves_before_its_record,
                                        open_with_rest, close_with_rest),
        cmocka_unit_test_setup_teardown(test_a_call_that_finds_no_room_is_made_later,
                                        open_with_rest, close_with_rest),
        TEST(test_rows_that_the_log_never_took_go_with_the_process),
        TEST(test_what_a_replaced_owner_did_is_neither_said_nor_kept),
        TEST(test_without_a_lease_no_read_is_answered_by_memory),
    };
    if (getenv("DEBUG"))
        log_set_level(LOG_LEVEL_DEBUG);
    return cmocka_run_group_tests_name("gateway/log_held", tests, NULL, NULL);
}
