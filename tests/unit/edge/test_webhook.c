/* needs: nats
 *
 * The real guildbus-edge, asked as Discord asks it. */
#include "edge_world.h"

static char now_text[24];

static const char *now(int64_t offset_s)
{
    snprintf(now_text, sizeof(now_text), "%" PRId64, clock_wall_ms() / 1000 + offset_s);
    return now_text;
}

/* Sends body with these signature headers; NULL leaves one out. */
static void post_with(struct answer *a, const char *signature, const char *timestamp,
                      const void *body, size_t size)
{
    CLEANUP(xfree) char *first = xasprintf("X-Signature-Ed25519: %s", signature ? signature : "");
    CLEANUP(xfree)
    char *second = xasprintf("X-Signature-Timestamp: %s", timestamp ? timestamp : "");
    const char *headers[4] = { "Content-Type: application/json" };
    size_t n = 1;

    if (signature)
        headers[n++] = first;
    if (timestamp)
        headers[n++] = second;
    fetch(a, "POST", "/webhooks/discord", headers, body, size);
}

static void post_signed(struct answer *a, const void *body, size_t size)
{
    char signature[129];
    const char *timestamp = now(0);

    assert_int_equal(sign_make(world.key, timestamp, body, size, signature, NULL), STATUS_OK);
    post_with(a, signature, timestamp, body, size);
}

static void post(struct answer *a, const char *body)
{
    post_signed(a, body, strlen(body));
}

/* An interaction with an id of its own. */
static char *interaction(int type, uint64_t guild_id, uint64_t *ret_id)
{
    static uint64_t last = 1189000000000000000;

    *ret_id = ++last;
    if (guild_id == 0)
        return xasprintf("{\"id\":\"%" PRIu64
                         "\",\"type\":%d,\"token\":\"tok\",\"data\":{\"name\":\"x\"}}",
                         *ret_id, type);
    return xasprintf("{\"id\":\"%" PRIu64 "\",\"type\":%d,\"token\":\"tok\",\"guild_id\":\"%" PRIu64
                     "\",\"data\":{\"name\":\"\xC3\xA4\"}}",
                     *ret_id, type, guild_id);
}

static json_t *answer_json(const struct answer *a)
{
    json_t *root = NULL;

    assert_int_equal(json_parse(a->body, strlen(a->body), &root, NULL), STATUS_OK);
    return root;
}

/* --- who may come in --- */

static void test_a_signed_ping_is_answered(void **state UNUSED)
{
    struct answer a;

    post(&a, "{\"type\":1}");
    assert_int_equal(a.code, 200);
    assert_string_equal(a.body, "{\"type\":1}");
    assert_non_null(strstr(answer_header(&a, "content-type"), "application/json"));
    answer_release(&a);
}

static void assert_unauthorised(const char *signature, const char *timestamp)
{
    struct answer a;

    post_with(&a, signature, timestamp, "{\"type\":1}", 10);
    assert_int_equal(a.code, 401);
    assert_string_equal(a.body, "");
    answer_release(&a);
}

static void test_bad_signatures_are_401(void **state UNUSED)
{
    char good[129], bad[160];
    const char *timestamp = now(0);

    assert_int_equal(sign_make(world.key, timestamp, "{\"type\":1}", 10, good, NULL), STATUS_OK);
    assert_unauthorised(NULL, timestamp);
    assert_unauthorised(good, NULL);
    memcpy(bad, good, sizeof(good));
    bad[0] = bad[0] == '0' ? '1' : '0';
    assert_unauthorised(bad, timestamp);
    memcpy(bad, good, sizeof(good));
    bad[126] = '\0';
    assert_unauthorised(bad, timestamp);
    snprintf(bad, sizeof(bad), "%s00", good);
    assert_unauthorised(bad, timestamp);
    memset(bad, 'z', 128);
    bad[128] = '\0';
    assert_unauthorised(bad, timestamp);
    assert_unauthorised("", timestamp);
}

static void assert_stale(const char *timestamp, int code)
{
    struct answer a;
    char signature[129];

    assert_int_equal(sign_make(world.key, timestamp, "{\"type\":1}", 10, signature, NULL),
                     STATUS_OK);
    post_with(&a, signature, timestamp, "{\"type\":1}", 10);
    assert_int_equal(a.code, code);
    answer_release(&a);
}

static void test_old_future_and_odd_timestamps_are_401(void **state UNUSED)
{
    char text[32];

    assert_stale(now(-200), 200);
    assert_stale(now(-400), 401);
    assert_stale(now(30), 200);
    assert_stale(now(120), 401);
    snprintf(text, sizeof(text), "%s.0", now(0));
    assert_stale(text, 401);
    assert_stale("soon", 401);
    assert_stale("0x6565", 401);
}

static void test_a_signed_body_that_is_no_interaction_is_400(void **state UNUSED)
{
    static const char *const bodies[] = {
        "",
        "{}",
        "[]",
        "not json",
        "{\"type\":99,\"id\":\"1\",\"token\":\"t\"}",
        "{\"type\":2}",
        "{\"type\":2,\"id\":\"1\",\"token\":\"t\",\"guild_id\":\"x\"}"
    };

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct answer a;
        post(&a, bodies[i]);
        if (a.code != 400)
            fail_msg("%s: %d", bodies[i], a.code);
        answer_release(&a);
    }
}

static void test_an_unsigned_body_is_not_looked_at(void **state UNUSED)
{
    struct answer a;

    post_with(&a, NULL, NULL, "not json", 8);
    assert_int_equal(a.code, 401);
    answer_release(&a);
}

static void test_a_huge_body_is_413(void **state UNUSED)
{
    size_t size = 1048576 + 1;
    CLEANUP(xfree) char *body = xcalloc(1, size);
    struct answer a;

    memset(body, ' ', size);
    post_signed(&a, body, size);
    assert_int_equal(a.code, 413);
    answer_release(&a);
}

static void test_only_post_is_taken(void **state UNUSED)
{
    struct answer a;

    fetch(&a, "GET", "/webhooks/discord", NULL, NULL, 0);
    assert_int_equal(a.code, 405);
    assert_string_equal(answer_header(&a, "allow"), "POST");
    answer_release(&a);
}

/* --- the owner answers --- */

static void test_the_owners_reply_is_passed_through(void **state UNUSED)
{
    uint64_t id;
    CLEANUP(xfree) char *body = interaction(2, OWNED, &id);
    struct answer a;

    post(&a, body);
    assert_int_equal(a.code, 200);
    assert_string_equal(a.body, "{\"type\":4,\"data\":{\"content\":\"from the owner\"}}");
    world_lock();
    assert_string_equal(world.payload, body); /* the very bytes */
    assert_int_equal(strlen(world.traceparent), 55);
    assert_int_equal(strncmp(world.traceparent, "00-", 3), 0);
    assert_string_equal(world.traceparent + 52, "-01");
    world_unlock();
    answer_release(&a);
}

static void test_a_direct_message_goes_to_guild_0(void **state UNUSED)
{
    uint64_t id;
    CLEANUP(xfree) char *body = interaction(3, 0, &id);
    struct answer a;

    post(&a, body);
    assert_int_equal(a.code, 200);
    world_lock();
    assert_string_equal(world.payload, body);
    world_unlock();
    answer_release(&a);
}

static void test_an_owner_that_moved_is_asked_again(void **state UNUSED)
{
    static const enum status statuses[] = { STATUS_NOT_OWNER, STATUS_BUSY, STATUS_UNAVAILABLE,
                                            STATUS_TIMEOUT };

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        uint64_t id;
        CLEANUP(xfree) char *body = interaction(2, OWNED, &id);
        struct answer a;
        calm_world(NULL);
        world_lock();
        world.refuse = statuses[i];
        world.refuse_times = 2;
        world_unlock();
        post(&a, body);
        assert_non_null(strstr(a.body, "from the owner"));
        world_lock();
        assert_int_equal(world.interactions, 3);
        world_unlock();
        answer_release(&a);
    }
}

static void test_refusals_become_messages_for_their_sender(void **state UNUSED)
{
    static const enum status statuses[] = { STATUS_INVALID,  STATUS_DENIED,  STATUS_NOT_FOUND,
                                            STATUS_CONFLICT, STATUS_CORRUPT, STATUS_INTERNAL };

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        uint64_t id;
        CLEANUP(xfree) char *body = interaction(2, OWNED, &id);
        struct answer a;
        calm_world(NULL);
        world_lock();
        world.refuse = statuses[i];
        world_unlock();
        post(&a, body);
        CLEANUP(json_decref) json_t *root = answer_json(&a);
        assert_int_equal(a.code, 200);
        assert_int_equal(json_int(root, "type", 0), 4);
        assert_int_equal(json_int(json_object_get(root, "data"), "flags", 0), 64);
        world_lock();
        assert_int_equal(world.interactions, 1); /* not asked again */
        world_unlock();
        answer_release(&a);
    }
}

/* --- nobody answers --- */

/* JetStream's API speaks plain base64. */
static char *unbase64(const char *text, size_t *ret_size)
{
    CLEANUP(xfree) char *url = xstrdup(text);

    for (char *c = url; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    url[strcspn(url, "=")] = '\0';
    return sign_unbase64url(url, ret_size);
}

/* The newest event of the guild; NULL: none. */
static Guildbus__V1__Event *stored_event(uint64_t guild_id, struct arena *a, char *ret_message_id,
                                         size_t size)
{
    struct subject subject = subject_event(guild_id);
    CLEANUP(xfree) char *request = xasprintf("{\"last_by_subj\":\"%s\"}", subject.text);
    CLEANUP(xfree) char *answer_text = NULL;
    CLEANUP(json_decref) json_t *root = NULL;
    const struct bus_out out = { .subject = "$JS.API.STREAM.MSG.GET.EVENTS",
                                 .data = request,
                                 .size = strlen(request) };
    Guildbus__V1__Envelope *e;
    size_t answer_size, data_size = 0, headers_size = 0;

    assert_int_equal(bus_request_wait(world.bus, &out, WAIT_MS, &answer_text, &answer_size, NULL),
                     STATUS_OK);
    assert_int_equal(json_parse(answer_text, answer_size, &root, NULL), STATUS_OK);
    const json_t *message = json_object_get(root, "message");
    if (!message)
        return NULL;
    CLEANUP(xfree) char *headers = unbase64(json_str(message, "hdrs"), &headers_size);
    CLEANUP(xfree) char *data = unbase64(json_str(message, "data"), &data_size);
    const char *id = strstr(headers, "Nats-Msg-Id:");
    assert_non_null(id);
    id += strlen("Nats-Msg-Id:") + strspn(id + strlen("Nats-Msg-Id:"), " ");
    snprintf(ret_message_id, size, "%.*s", (int)strcspn(id, "\r"), id);
    assert_int_equal(codec_decode(data, data_size, a, &e, NULL), STATUS_OK);
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_EVENT);
    return e->event;
}

static void assert_stored(uint64_t guild_id, uint64_t id, const char *payload)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    char message_id[64], expected[64];
    Guildbus__V1__Event *event = stored_event(guild_id, arena, message_id, sizeof(message_id));

    assert_non_null(event);
    assert_string_equal(event->type, "INTERACTION_CREATE");
    assert_string_equal(event->session, "deferred");
    assert_string_equal(event->payload_json, payload);
    assert_int_equal(event->guild_id, guild_id);
    snprintf(expected, sizeof(expected), "interaction:%" PRIu64, id);
    assert_string_equal(message_id, expected);
}

static void assert_deferred(int type, uint64_t guild_id, const char *expected)
{
    uint64_t id;
    CLEANUP(xfree) char *body = interaction(type, guild_id, &id);
    struct answer a;

    post(&a, body);
    assert_int_equal(a.code, 200);
    assert_string_equal(a.body, expected);
    assert_stored(guild_id, id, body);
    answer_release(&a);
}

static void test_without_an_owner_it_is_stored_and_deferred(void **state UNUSED)
{
    assert_deferred(2, UNOWNED, "{\"type\":5,\"data\":{\"flags\":64}}");
    assert_deferred(3, UNOWNED, "{\"type\":6}");
    assert_deferred(5, UNOWNED, "{\"type\":5,\"data\":{\"flags\":64}}");
}

static void test_a_silent_owner_is_deferred_too(void **state UNUSED)
{
    world_lock();
    world.is_silent = true;
    world_unlock();
    assert_deferred(2, OWNED, "{\"type\":5,\"data\":{\"flags\":64}}");
    world_lock();
    assert_true(world.interactions > 1); /* it was asked again meanwhile */
    world_unlock();
}

static void test_an_owner_that_always_declines_is_deferred_too(void **state UNUSED)
{
    world_lock();
    world.refuse = STATUS_NOT_OWNER;
    world_unlock();
    assert_deferred(2, OWNED, "{\"type\":5,\"data\":{\"flags\":64}}");
}

static void test_an_autocomplete_gets_an_empty_list_and_is_not_stored(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    const uint64_t fresh = UNOWNED + 1;
    uint64_t id;
    CLEANUP(xfree) char *body = interaction(4, fresh, &id);
    char message_id[64];
    struct answer a;

    post(&a, body);
    assert_int_equal(a.code, 200);
    assert_string_equal(a.body, "{\"type\":8,\"data\":{\"choices\":[]}}");
    assert_null(stored_event(fresh, arena, message_id, sizeof(message_id)));
    answer_release(&a);
}

static int64_t events_stored(void)
{
    static const struct bus_out out = { .subject = "$JS.API.STREAM.INFO.EVENTS" };
    CLEANUP(xfree) char *text = NULL;
    CLEANUP(json_decref) json_t *root = NULL;
    size_t size;

    assert_int_equal(bus_request_wait(world.bus, &out, WAIT_MS, &text, &size, NULL), STATUS_OK);
    assert_int_equal(json_parse(text, size, &root, NULL), STATUS_OK);
    return json_int(json_object_get(root, "state"), "messages", -1);
}

static void test_an_interaction_that_comes_twice_is_stored_once(void **state UNUSED)
{
    uint64_t id;
    CLEANUP(xfree) char *body = interaction(2, UNOWNED, &id);
    int64_t before = events_stored();

    for (int i = 0; i < 2; i++) {
        struct answer a;
        post(&a, body);
        assert_string_equal(a.body, "{\"type\":5,\"data\":{\"flags\":64}}");
        answer_release(&a);
    }
    assert_int_equal(events_stored(), before + 1);
}

static void test_what_the_bus_cannot_carry_is_refused_with_a_message(void **state UNUSED)
{
    size_t size = 1048576;
    CLEANUP(xfree) char *body = xcalloc(1, size + 1);
    struct answer a;

    /* as long as the edge takes, so longer than a NATS message once it is wrapped */
    int n = snprintf(
        body, size, "{\"id\":\"5\",\"type\":2,\"token\":\"t\",\"guild_id\":\"%d\",\"x\":\"", OWNED);
    memset(body + n, 'x', size - (size_t)n);
    memcpy(body + size - 2, "\"}", 2);
    post_signed(&a, body, size);
    CLEANUP(json_decref) json_t *root = answer_json(&a);
    assert_int_equal(a.code, 200);
    assert_int_equal(json_int(root, "type", 0), 4);
    answer_release(&a);
}

static void test_without_a_stream_it_is_deferred_and_stored_when_there_is_one(void **state UNUSED)
{
    static const struct bus_out out = { .subject = "$JS.API.STREAM.DELETE.EVENTS" };
    struct streams_config streams = { .replicas = 1, .events_hours = 1 };
    CLEANUP(xfree) char *text = NULL;
    uint64_t id;
    CLEANUP(xfree) char *body = interaction(2, UNOWNED, &id);
    size_t size;
    struct answer a;

    assert_int_equal(bus_request_wait(world.bus, &out, WAIT_MS, &text, &size, NULL), STATUS_OK);
    post(&a, body);
    assert_int_equal(a.code, 200);
    assert_string_equal(a.body, "{\"type\":5,\"data\":{\"flags\":64}}");
    assert_int_equal(streams_ensure(world.bus, &streams, NULL), STATUS_OK);
    for (int64_t end_ms = clock_now_ms() + (int64_t)3 * WAIT_MS; events_stored() < 1;
         usleep(20000)) {
        if (clock_now_ms() > end_ms)
            fail_msg("the interaction was deferred, and never stored");
    }
    assert_stored(UNOWNED, id, body);
    assert_int_equal(events_stored(), 1);
    answer_release(&a);
}

/* --- the end: the last test, for no request is taken afterwards --- */

static void test_a_stop_lets_what_is_under_way_be_answered(void **state UNUSED)
{
    uint64_t id;
    CLEANUP(xfree) char *body = interaction(2, OWNED, &id);
    char signature[129];
    const char *timestamp = now(0);
    struct answer a;

    assert_int_equal(sign_make(world.key, timestamp, body, strlen(body), signature, NULL),
                     STATUS_OK);
    CLEANUP(xfree) char *first = xasprintf("X-Signature-Ed25519: %s", signature);
    CLEANUP(xfree) char *second = xasprintf("X-Signature-Timestamp: %s", timestamp);
    const char *headers[] = { first, second, NULL };
    world_lock();
    world.is_silent = true;
    world_unlock();
    fetch_begin(&a, "POST", "/webhooks/discord", headers, body, strlen(body));
    for (bool asked = false; !asked;) {
        world_lock();
        asked = world.interactions > 0;
        world_unlock();
        usleep(asked ? 0 : 2000);
    }
    world.is_stopping = true;
    kill(world.edge, SIGTERM);
    wait_for(&a.is_done);
    assert_int_equal(a.status, STATUS_OK);
    assert_string_equal(a.body, "{\"type\":5,\"data\":{\"flags\":64}}");
    answer_release(&a);
}

#define EACH(test) cmocka_unit_test_setup(test, calm_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_a_signed_ping_is_answered),
        EACH(test_bad_signatures_are_401),
        EACH(test_old_future_and_odd_timestamps_are_401),
        EACH(test_a_signed_body_that_is_no_interaction_is_400),
        EACH(test_an_unsigned_body_is_not_looked_at),
        EACH(test_a_huge_body_is_413),
        EACH(test_only_post_is_taken),
        EACH(test_the_owners_reply_is_passed_through),
        EACH(test_a_direct_message_goes_to_guild_0),
        EACH(test_an_owner_that_moved_is_asked_again),
        EACH(test_refusals_become_messages_for_their_sender),
        EACH(test_without_an_owner_it_is_stored_and_deferred),
        EACH(test_a_silent_owner_is_deferred_too),
        EACH(test_an_owner_that_always_declines_is_deferred_too),
        EACH(test_an_autocomplete_gets_an_empty_list_and_is_not_stored),
        EACH(test_an_interaction_that_comes_twice_is_stored_once),
        EACH(test_what_the_bus_cannot_carry_is_refused_with_a_message),
        EACH(test_without_a_stream_it_is_deferred_and_stored_when_there_is_one),
        EACH(test_a_stop_lets_what_is_under_way_be_answered),
    };
    return cmocka_run_group_tests_name("webhook", tests, start_world, stop_world);
}
