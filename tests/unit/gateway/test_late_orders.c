/* needs: nats
 *
 * Orders that come late, a log that is read late, and a coordinator that has not said yes: what each
 * may not do. docs/model.md has found these ways to go wrong. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "gateway/js.h"
#include "tests/unit/gateway/town_log.h"

/* ---- the test as the coordinator ---- */

static enum status order_status(struct town *t, int pod, const char *body)
{
    CLEANUP(json_decref) json_t *answer = ask(t, subject_control(t->pods[pod].name).text, body);
    const json_t *reply = json_object_get(answer, "controlReply");

    assert_non_null(reply);
    return (enum status)json_int(reply, "status", 0);
}

/* verb: take or yield; role: what the other pod is, source or target. */
static char *move_order(const struct town *t, const char *verb, uint64_t epoch, const char *role,
                        const char *other)
{
    return xasprintf("{\"control\":{\"%s\":{\"moveId\":\"7\",\"guildId\":\"%" PRIu64
                     "\",\"epoch\":\"%" PRIu64 "\",\"unsealEpoch\":\"%" PRIu64
                     "\",\"%s\":\"%s\"}}}",
                     verb, t->guild, epoch, epoch + 1, role, other);
}

static enum status take(struct town *t, int pod, uint64_t epoch, const char *source)
{
    CLEANUP(xfree) char *body = move_order(t, "take", epoch, "source", source);

    return order_status(t, pod, body);
}

static enum status yield_to(struct town *t, int pod, uint64_t epoch, const char *target)
{
    CLEANUP(xfree) char *body = move_order(t, "yield", epoch, "target", target);

    return order_status(t, pod, body);
}

/* Does not wait for the Claim. */
static void own_order(struct town *t, int pod, uint64_t epoch)
{
    order(t, pod,
          "{\"control\":{\"own\":{\"guildId\":\"%" PRIu64 "\",\"epoch\":\"%" PRIu64
          "\",\"reason\":1}}}",
          t->guild, epoch);
}

static void get_warm(struct town *t, int pod)
{
    t->step = 0;
    order(t, pod,
          "{\"control\":{\"warm\":{\"moveId\":\"7\",\"guildId\":\"%" PRIu64
          "\",\"source\":\"delta\"}}}",
          t->guild);
    WAIT_FOR(t, t->step == GUILDBUS__V1__MOVE_STEP__MOVE_WARM);
}

/* ---- the log, read from its beginning ---- */

struct read {
    bool here;
    enum status status;
    uint64_t seq;
    Guildbus__V1__LogRecord__KindCase kind;
    uint64_t epoch;
};

static void on_read(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct js_message m = { 0 };
    struct read *r = ctx;
    Guildbus__V1__Envelope *e;
    struct err err;

    r->here = true;
    assert_int_equal(status, STATUS_OK);
    r->status = js_parse_last(in, arena, &m, &err);
    if (r->status != STATUS_OK)
        return;
    assert_int_equal(codec_decode(m.data, m.size, arena, &e, &err), STATUS_OK);
    r->seq = m.seq;
    r->kind = e->record->kind_case;
    r->epoch = e->record->epoch;
}

static struct read read_behind(struct town *t, uint64_t seq)
{
    const struct subject stream = subject_log_stream(t->guild), log = subject_log(t->guild);
    struct read r = { 0 };

    js_find_next(t->bus, stream.text, log.text, seq + 1,
                 &(struct bus_waiter){ t->box, on_read, &r, 0, PATIENCE_MS });
    WAIT_FOR(t, r.here);
    assert_int_equal(r.status, STATUS_OK);
    return r;
}

/* The record that stands before the epoch's Claim. */
static struct read before_claim(struct town *t, uint64_t epoch)
{
    struct read last = { 0 }, r = { 0 };

    for (;;) {
        last = r;
        r = read_behind(t, last.seq);
        if (r.kind == GUILDBUS__V1__LOG_RECORD__KIND_CLAIM && r.epoch == epoch)
            return last;
    }
}

static uint64_t last_seq(struct town *t)
{
    CLEANUP(json_decref) json_t *info = log_stream_call(t, "INFO", "");

    return (uint64_t)json_int(json_object_get(info, "state"), "last_seq", 0);
}

/* ---- tests ---- */

/* beta has missed a handoff to gamma, which came to nothing. Now it is the target, and reads. */
static void test_the_seal_of_an_earlier_handoff_is_not_this_ones(void **state)
{
    struct town *t = *state;
    int64_t fenced = metric("guildbus_fenced_total");
    json_t *config = mute_log(t);

    own(t, 0, 1);
    get_warm(t, 1);
    assert_int_equal(yield_to(t, 0, 2, "gamma"), STATUS_OK);
    WAIT_FOR(t, t->claimed_epoch == 3); /* alpha has taken it back */
    assert_int_equal(take(t, 1, 4, "delta"), STATUS_OK);
    tell_tail(t, last_seq(t));
    WAIT_FOR(t, metric("guildbus_fenced_total") == fenced + 1);
    publish_message(t, 100);
    WAIT_FOR(t, applied(t) == 1);
    assert_string_equal(t->claimed_pod, "alpha");
    assert_int_equal(yield_to(t, 0, 4, "beta"), STATUS_OK);
    tell_tail(t, last_seq(t));
    WAIT_FOR(t, t->claimed_epoch == 4);
    const struct read before = before_claim(t, 4);
    assert_int_equal(before.kind, GUILDBUS__V1__LOG_RECORD__KIND_SEAL);
    assert_int_equal(before.epoch, 3);
    pod_stop(t, 0);
    pod_stop(t, 1);
    unmute_log(t, config);
}

static void test_a_take_of_long_ago_is_refused(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    move(t, 0, 1, 2);
    get_warm(t, 0);
    assert_int_equal(take(t, 0, 2, "beta"), STATUS_CONFLICT); /* the log has this epoch already */
    assert_int_equal(take(t, 0, 6, "delta"), STATUS_OK);
    assert_int_equal(take(t, 0, 4, "beta"), STATUS_CONFLICT); /* a later one is under way */
    assert_int_equal(yield_to(t, 1, 6, "alpha"), STATUS_OK);
    WAIT_FOR(t, t->claimed_epoch == 6);
    assert_string_equal(t->claimed_pod, "alpha");
}

static void test_a_claim_is_told_when_the_log_has_it(void **state)
{
    struct town *t = *state;

    own(t, 0, 1);
    hold_log(t, true);
    for (int i = 0; i < 4; i++) { /* each of them would have it told */
        own_order(t, 0, 2);
        owner_recheck(t->pods[0].owner);
    }
    own_order(t, 0, 2);
    mailbox_drain(t->box, NULL);
    assert_int_equal(t->claimed_epoch, 1);
    hold_log(t, false);
    WAIT_FOR(t, t->claimed_epoch == 2);
}

/* alpha's Claim of long ago, when it had the guild under the same epoch, and which it has not read. */
static void forge_claim(struct town *t, struct bus_out *out, struct arena *arena)
{
    Guildbus__V1__LogRecord record = GUILDBUS__V1__LOG_RECORD__INIT;
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    Guildbus__V1__Claim claim = GUILDBUS__V1__CLAIM__INIT;
    struct err err;
    void *data;

    claim.reason = 1;
    record.guild_id = t->guild;
    record.epoch = record.idx = 1;
    record.pod = mutable_text("alpha");
    record.incarnation = t->pods[0].incarnation;
    record.schema = 1;
    record.kind_case = GUILDBUS__V1__LOG_RECORD__KIND_CLAIM;
    record.claim = &claim;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_RECORD;
    e.record = &record;
    assert_int_equal(codec_encode(&e, arena, &data, &out->size, &err), STATUS_OK);
    out->data = data;
}

static void test_a_record_of_an_earlier_time_is_not_ours(void **state)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct town *t = *state;
    const struct subject log = subject_log(t->guild);
    struct bus_out out = { .subject = log.text };
    int64_t outdated = metric("guildbus_claims_outdated_total");
    struct err err;
    char *ack;
    size_t size;

    forge_claim(t, &out, arena);
    limit_log(t, (int)out.size); /* alpha's has headers besides */
    own_order(t, 0, 1);
    assert_int_equal(bus_request_wait(t->bus, &out, 5000, &ack, &size, &err), STATUS_OK);
    assert_non_null(strstr(ack, "\"seq\""));
    free(ack);
    WAIT_FOR(t, metric("guildbus_claims_outdated_total") == outdated + 1);
    assert_int_equal(t->claimed_epoch, 0);
    hold_log(t, false);
}

static void test_an_order_does_not_make_reads_sure(void **state)
{
    struct town *t = *state;

    t->refuse_claims = true; /* the order was an old one */
    own(t, 0, 1);
    WAIT_FOR(t, t->refused > 0);
    int64_t records = metric("guildbus_log_records_total");
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(applied(t), 0);
        assert_int_equal(metric("guildbus_log_records_total"), records + i);
    }
}

struct yielded {
    int count;
    enum status status;
};

static void on_yielded(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct yielded *y = ctx;
    struct err err;

    assert_int_equal(status, STATUS_OK);
    assert_int_equal(json_parse(in->data, in->size, &root, &err), STATUS_OK);
    y->status = (enum status)json_int(json_object_get(root, "controlReply"), "status", 0);
    y->count++;
}

static void test_a_source_that_is_told_to_go_on_does_not_seal(void **state)
{
    struct town *t = *state;
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    const struct subject control = subject_control("alpha");
    CLEANUP(xfree) char *body = move_order(t, "yield", 2, "target", "gamma");
    const struct bus_out out = { control.text, NULL, body, strlen(body), &as_json, 1 };
    int64_t calls = metric("guildbus_actions_total"), sent = metric("guildbus_rest_calls_total");
    struct yielded yielded = { 0 };
    struct tail tail = { 0 };

    own(t, 0, 1);
    tail_open(t, &tail);
    publish_setup(t, 78);
    WAIT_FOR(t, metric("guildbus_actions_total") == calls + 1);
    WAIT_FOR(t, metric("guildbus_rest_calls_total") > sent); /* it will not be withdrawn */
    bus_request(t->bus, &out, &(struct bus_waiter){ t->box, on_yielded, &yielded, 0, PATIENCE_MS });
    publish_setup(t, 79); /* its call is held: the target is to make it */
    WAIT_FOR(t, metric("guildbus_events_applied_total") >= 2);
    own_order(t, 0, 3); /* the coordinator has given up on gamma */
    WAIT_FOR(t, yielded.count);
    assert_int_equal(yielded.status, STATUS_NOT_OWNER);
    WAIT_FOR(t, metric("guildbus_actions_total") == calls + 2);
    WAIT_FOR(t, tail_claim(&tail, 3));
    for (size_t i = 0; i < tail.count; i++)
        assert_int_not_equal(tail.records[i].kind, GUILDBUS__V1__LOG_RECORD__KIND_SEAL);
    bus_unsubscribe(&tail.sub);
}

/* A Discord that takes calls and says nothing. */
static int silent = -1;

static int open_with_silence(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(silent, 16), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&address, &size), 0);
    return open_with_rest_at(state, ntohs(address.sin_port));
}

static int close_with_silence(void **state)
{
    int failed = close_with_rest(state);

    (void)close(silent);
    return failed;
}

/* Long enough for a claim to come first. */
static int open_slow(void **state)
{
    return town_open_as(state, &(struct town){ .snapshot_records = 128, .unseal_ms = 5000 });
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, town_open, town_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_seal_of_an_earlier_handoff_is_not_this_ones,
                                        open_slow, town_close),
        TEST(test_a_take_of_long_ago_is_refused),
        TEST(test_a_claim_is_told_when_the_log_has_it),
        TEST(test_a_record_of_an_earlier_time_is_not_ours),
        TEST(test_an_order_does_not_make_reads_sure),
        cmocka_unit_test_setup_teardown(test_a_source_that_is_told_to_go_on_does_not_seal,
                                        open_with_silence, close_with_silence),
    };
    if (getenv("DEBUG"))
        log_set_level(LOG_LEVEL_DEBUG);
    return cmocka_run_group_tests_name("gateway/late_orders", tests, NULL, NULL);
}
