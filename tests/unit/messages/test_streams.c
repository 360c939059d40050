#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/json.h"
#include "messages/streams.h"
#include "messages/subjects.h"
#include "tests/unit/messages/nats_process.h"

static const struct streams_config config = { .replicas = 1, .events_hours = 48 };

struct fixture {
    struct nats_process nats;
    struct bus *bus;
};

static int start(void **state, bool jetstream)
{
    struct fixture *f = calloc(1, sizeof(*f));

    nats_start(&f->nats, jetstream);
    struct bus_config c = { .url = f->nats.url, .name = "test" };
    assert_int_equal(bus_open(&c, &f->bus, NULL), STATUS_OK);
    *state = f;
    return 0;
}
static int start_with(void **state)
{
    return start(state, true);
}
static int start_without(void **state)
{
    return start(state, false);
}
static int stop(void **state)
{
    struct fixture *f = *state;

    bus_close(f->bus);
    nats_stop(&f->nats);
    free(f);
    return 0;
}

static json_t *request(struct bus *bus, const char *subject, const char *body)
{
    struct bus_out out = { .subject = subject, .data = body, .size = body ? strlen(body) : 0 };
    char *data;
    size_t size;
    json_t *answer;

    assert_int_equal(bus_request_wait(bus, &out, 5000, &data, &size, NULL), STATUS_OK);
    assert_int_equal(json_parse(data, size, &answer, NULL), STATUS_OK);
    free(data);
    return answer;
}

static json_t *info(struct bus *bus, const char *stream)
{
    char subject[64];

    (void)snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", stream);
    return request(bus, subject, NULL);
}

static void ensure(struct bus *bus)
{
    struct err err = { 0 };

    if (streams_ensure(bus, &config, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static const char *text_at(const json_t *answer, const char *object, const char *key)
{
    return json_str(json_object_get(json_object_get(answer, "config"), object), key);
}

static void test_all_streams_are_made(void **state)
{
    struct fixture *f = *state;

    ensure(f->bus);
    CLEANUP(json_decref) json_t *names = request(f->bus, "$JS.API.STREAM.NAMES", NULL);
    assert_int_equal(json_array_size(json_object_get(names, "streams")), 4 + SUBJECT_PARTITIONS);

    CLEANUP(json_decref) json_t *events = info(f->bus, STREAM_EVENTS);
    const json_t *c = json_object_get(events, "config");
    assert_string_equal(text_at(events, "republish", "src"), subject_wildcard(SUBJECT_EVENT));
    assert_string_equal(text_at(events, "republish", "dest"), subject_wildcard(SUBJECT_FEED));
    assert_true(json_int(c, "max_age", 0) == INT64_C(48) * 3600 * 1000000000);
    assert_true(json_int(c, "duplicate_window", 0) == INT64_C(120000000000));
    assert_true(json_bool(c, "allow_direct"));
    assert_string_equal(json_str(c, "discard"), "old");
    assert_string_equal(json_str(c, "storage"), "file");

    CLEANUP(json_decref) json_t *log = info(f->bus, "LOG_11");
    c = json_object_get(log, "config");
    assert_string_equal(text_at(log, "republish", "src"), subject_of_part(SUBJECT_LOG, 11).text);
    assert_string_equal(text_at(log, "republish", "dest"), subject_of_part(SUBJECT_TAIL, 11).text);
    assert_true(json_bool(c, "allow_rollup_hdrs"));
    assert_true(json_int(c, "max_age", -1) == 0);

    CLEANUP(json_decref) json_t *kv = info(f->bus, STREAM_SHARDS);
    c = json_object_get(kv, "config");
    assert_true(json_int(c, "max_msgs_per_subject", 0) == 1);
    assert_string_equal(json_str(c, "discard"), "new");
    assert_true(json_bool(c, "deny_delete"));

    CLEANUP(json_decref) json_t *assignments = info(f->bus, STREAM_ASSIGNMENTS);
    assert_true(json_int(json_object_get(assignments, "config"), "max_msgs_per_subject", 0) == 1);
}

static void test_doing_it_again_changes_nothing(void **state)
{
    struct fixture *f = *state;

    ensure(f->bus);
    json_decref(request(f->bus, subject_event(1).text, "kept"));
    CLEANUP(json_decref) json_t *before = info(f->bus, STREAM_EVENTS);
    struct streams_config other = { .replicas = 1, .events_hours = 1 };
    assert_int_equal(streams_ensure(f->bus, &other, NULL), STATUS_OK);
    CLEANUP(json_decref) json_t *after = info(f->bus, STREAM_EVENTS);
    assert_true(json_equal(json_object_get(before, "config"), json_object_get(after, "config")));
    assert_true(json_int(json_object_get(after, "state"), "messages", 0) == 1);
}

struct got {
    char subject[SUBJECT_SIZE];
    int count;
};

static void on_message(void *ctx, uint64_t tag, const struct bus_in *in)
{
    struct got *got = ctx;

    (void)tag;
    (void)snprintf(got->subject, sizeof(got->subject), "%s", in->subject);
    got->count++;
}

static void test_what_is_stored_arrives_where_its_guild_listens(void **state)
{
    static const struct timespec pause = { 0, 1000000 };
    static const uint64_t guild = UINT64_C(613425648685547541);
    struct fixture *f = *state;
    CLEANUP(mailbox_free) struct mailbox *box = NULL;
    struct got feed = { 0 }, tail = { 0 };
    struct bus_sub *feeds, *tails;

    ensure(f->bus);
    assert_int_equal(mailbox_new(16, &box, NULL), STATUS_OK);
    struct subject s = subject_feed(guild);
    struct bus_subscription what = {
        .subject = s.text, .box = box, .on_message = on_message, .ctx = &feed
    };
    assert_int_equal(bus_subscribe(f->bus, &what, &feeds, NULL), STATUS_OK);
    struct subject t = subject_tail(guild);
    what.subject = t.text;
    what.ctx = &tail;
    assert_int_equal(bus_subscribe(f->bus, &what, &tails, NULL), STATUS_OK);
    assert_int_equal(bus_flush(f->bus, 5000, NULL), STATUS_OK);

    json_decref(request(f->bus, subject_event(guild).text, "e"));
    CLEANUP(json_decref) json_t *ack = request(f->bus, subject_log(guild).text, "l");
    assert_string_equal(json_str(ack, "stream"), subject_log_stream(guild).text);
    while (feed.count + tail.count < 2) {
        mailbox_drain(box, NULL);
        (void)nanosleep(&pause, NULL);
    }
    assert_string_equal(feed.subject, subject_feed(guild).text);
    assert_string_equal(tail.subject, subject_tail(guild).text);
    bus_unsubscribe(&feeds);
    bus_unsubscribe(&tails);
}

static void test_a_stream_with_other_subjects_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };

    json_decref(request(f->bus, "$JS.API.STREAM.CREATE.EVENTS",
                        "{\"name\":\"EVENTS\",\"subjects\":[\"other.>\"],\"storage\":\"memory\"}"));
    assert_int_equal(streams_ensure(f->bus, &config, &err), STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "EVENTS exists with other subjects"));
    json_decref(request(f->bus, "$JS.API.STREAM.DELETE.EVENTS", NULL));

    char body[200]; /* the subjects are right, but nothing would reach the owners */
    (void)snprintf(body, sizeof(body),
                   "{\"name\":\"EVENTS\",\"subjects\":[\"%s\"],\"storage\":\"memory\"}",
                   subject_wildcard(SUBJECT_EVENT));
    json_decref(request(f->bus, "$JS.API.STREAM.CREATE.EVENTS", body));
    assert_int_equal(streams_ensure(f->bus, &config, &err), STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "republishes"));
    json_decref(request(f->bus, "$JS.API.STREAM.DELETE.EVENTS", NULL));

    /* a foreign stream takes what ours would */
    (void)snprintf(body, sizeof(body),
                   "{\"name\":\"X\",\"subjects\":[\"%s\"],\"storage\":\"memory\"}",
                   subject_wildcard(SUBJECT_LOG));
    json_decref(request(f->bus, "$JS.API.STREAM.CREATE.X", body));
    assert_int_equal(streams_ensure(f->bus, &config, &err), STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "stream LOG_0: subjects overlap"));
}

struct other_program {
    const char *url;
    enum status status;
    struct err err;
};

static void *ensure_too(void *arg)
{
    struct other_program *o = arg;
    struct bus_config c = { .url = o->url, .name = "other" };
    CLEANUP(bus_close) struct bus *bus = NULL;
    /* it may run with another setting: whose stream stands does not matter */
    struct streams_config other = { .replicas = 1, .events_hours = 47 };

    o->status = bus_open(&c, &bus, &o->err);
    if (o->status == STATUS_OK)
        o->status = streams_ensure(bus, &other, &o->err);
    return NULL;
}

static void test_several_at_once_agree(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    struct other_program others[4] = { 0 };

    for (int i = 0; i < 4; i++) {
        others[i].url = f->nats.url;
        assert_int_equal(pthread_create(&threads[i], NULL, ensure_too, &others[i]), 0);
    }
    ensure(f->bus);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) {
        if (others[i].status != STATUS_OK)
            fail_msg("%s", others[i].err.text);
    }
}

static void test_replicas_need_a_server_that_keeps_its_word(void **state)
{
    struct fixture *f = *state;
    struct streams_config three = { .replicas = 3, .events_hours = 1 };
    struct err err = { 0 };
    int v[3];

    assert_int_equal(bus_server_version(f->bus, v, NULL), STATUS_OK);
    bool is_new = v[0] * 1000000 + v[1] * 1000 + v[2] >= 2010023;
    enum status status = streams_ensure(f->bus, &three, &err);
    if (is_new) { /* a single server cannot have them */
        assert_int_not_equal(status, STATUS_OK);
    } else {
        assert_int_equal(status, STATUS_INVALID);
        assert_non_null(strstr(err.text, "2.10.23"));
    }
    three.replicas = 0;
    assert_int_equal(streams_ensure(f->bus, &three, &err), STATUS_INVALID);
    three = (struct streams_config){ .replicas = 1, .events_hours = 0 };
    assert_int_equal(streams_ensure(f->bus, &three, &err), STATUS_INVALID);
}

static void test_a_server_without_jetstream_is_unavailable(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };

    assert_int_equal(streams_ensure(f->bus, &config, &err), STATUS_UNAVAILABLE);
    assert_non_null(strstr(err.text, "JetStream"));
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, start_with, stop)
    const struct CMUnitTest tests[] = {
        WITH(test_all_streams_are_made),
        WITH(test_doing_it_again_changes_nothing),
        WITH(test_what_is_stored_arrives_where_its_guild_listens),
        WITH(test_a_stream_with_other_subjects_is_a_conflict),
        WITH(test_several_at_once_agree),
        WITH(test_replicas_need_a_server_that_keeps_its_word),
        cmocka_unit_test_setup_teardown(test_a_server_without_jetstream_is_unavailable,
                                        start_without, stop),
    };
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
