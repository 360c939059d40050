/* needs: nats
 *
 * The HTTP API and the bus endpoints of the real program, as a stranger would use them. */
#include "cluster.h"

static void test_changes_need_the_token(void **state)
{
    struct cluster *w = *state;
    static const char body[] = "{\"guild_id\":\"7\",\"pod_id\":\"gw-1\"}";
    static const struct {
        const char *authorization;
        int code;
    } table[] = {
        { NULL, 401 },
        { "Basic sesame", 401 },
        { "Bearer", 401 },
        { "Bearer ", 401 },
        { "Bearer sesam", 403 },
        { "Bearer wrong", 403 },
        { "Bearer sesamesame", 403 },
        { "Bearer sesame", 404 },
    };

    cluster_lead(w, 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ANSWERED a = cluster_call(w, 0, "POST", "/reassign-guild", body, table[i].authorization);
        if (a.code != table[i].code)
            fail_msg("%s was answered %d",
                     table[i].authorization ? table[i].authorization : "no header", a.code);
        assert_true(strlen(json_str(json_object_get(a.root, "error"), "text")) > 0);
        ANSWERED b = cluster_call(w, 0, "POST", "/unfreeze", NULL, table[i].authorization);
        assert_int_equal(b.code, table[i].code == 404 ? 200 : table[i].code);
    }
    assert_false(cluster_logged(w, 0, "sesame"));
}

static void test_paths_and_methods(void **state)
{
    struct cluster *w = *state;
    static const struct {
        const char *method, *path;
        int code;
    } table[] = {
        { "GET", "/", 404 },
        { "GET", "/guild-assignments/", 404 },
        { "GET", "/guild-assignments/1x", 400 },
        { "GET", "/guild-assignments/-1", 400 },
        { "GET", "/guild-assignments/1", 404 },
        { "GET", "/guild-assignments/18446744073709551615", 404 },
        { "GET", "/guild-assignments/18446744073709551616", 400 },
        { "GET", "/guild-assignments?limit=0", 400 },
        { "GET", "/guild-assignments?limit=10001", 400 },
        { "GET", "/guild-assignments?limit=x", 400 },
        { "GET", "/guild-assignments?after=x", 400 },
        { "GET", "/guild-assignments?pod=a%20b", 400 },
        { "GET", "/guild-assignments?pod=gw-1';--&after=", 400 },
        { "GET", "/guild-assignments?limit=10&after=0&pod=gw-1", 200 },
        { "GET", "/pod-health", 200 },
        { "GET", "/moves", 200 },
        { "GET", "/moves?limit=1", 200 },
        { "GET", "/moves/1", 404 },
        { "GET", "/status", 200 },
        { "GET", "/statusx", 404 },
        { "POST", "/status", 405 },
        { "DELETE", "/guild-assignments/1", 405 },
        { "GET", "/reassign-guild", 405 },
        { "GET", "/unfreeze", 405 },
        { "GET", "/rebalance", 405 },
        { "GET", "/drain-pod", 405 },
        { "POST", "/history", 405 },
        { "GET", "/history", 200 },
        { "GET", "/history?guild_id=x", 400 },
        { "GET", "/history?limit=0", 400 },
    };

    cluster_lead(w, 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ANSWERED a = cluster_call(w, 0, table[i].method, table[i].path, NULL, "Bearer sesame");
        if (a.code != table[i].code)
            fail_msg("%s %s was answered %d", table[i].method, table[i].path, a.code);
        assert_true(json_is_object(a.root));
    }
}

static void test_assignments_are_read_in_pages(void **state)
{
    struct cluster *w = *state;
    char path[128] = "/guild-assignments?limit=40";
    size_t rows = 0, pages = 0;
    uint64_t last = 0;

    cluster_lead(w, 0);
    pods_start(w, 2);
    pod_see(&w->pods[0], UINT64_C(1100000000000000000), 100);
    cluster_until(w, cluster_status(w, "guilds_owned") == 100);
    for (bool more = true; more; pages++) {
        ANSWERED a = cluster_get(w, path);
        const json_t *list = json_object_get(a.root, "assignments");
        rows += json_array_size(list);
        uint64_t first = json_id(json_array_get(list, 0), "guild_id");
        assert_true(first > last);
        last = json_id(json_array_get(list, json_array_size(list) - 1), "guild_id");
        more = json_is_string(json_object_get(a.root, "next"));
        (void)snprintf(path, sizeof(path), "/guild-assignments?limit=40&after=%s",
                       json_str(a.root, "next"));
    }
    assert_int_equal(rows, 100);
    assert_int_equal(pages, 3);
    ANSWERED one = cluster_get(w, "/guild-assignments?pod=gw-2");
    const json_t *list = json_object_get(one.root, "assignments"), *row = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), 50);
    assert_string_equal(json_str(row, "pod_id"), "gw-2");
    assert_string_equal(json_str(row, "state"), "owned");
    assert_string_equal(json_str(row, "epoch"), "1");
    assert_int_equal(strlen(json_str(row, "assigned_at")), strlen("2026-11-23T10:26:00.123Z"));
    assert_int_equal(strlen(json_str(row, "last_heartbeat")), strlen("2026-11-23T10:26:00.123Z"));
}

static void test_pod_health_tells_what_an_operator_asks(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    w->pods[0].recommended_shards = 2;
    w->pods[0].load = 55;
    cluster_until(w, w->pods[0].reply.n_shards == 2);
    ANSWERED a = cluster_get(w, "/pod-health");
    const json_t *row = json_array_get(json_object_get(a.root, "pods"), 0);
    assert_string_equal(json_str(row, "pod_id"), "gw-1");
    assert_string_equal(json_str(row, "status"), "active");
    assert_string_equal(json_str(row, "version"), "0.0.0");
    assert_int_equal(json_int(row, "capacity", 0), 1000);
    assert_int_equal(json_int(row, "load", 0), 55);
    assert_int_equal(json_int(row, "schema", 0), 1);
    assert_in_range(json_int(row, "lease_ms_left", 0), 1, LEASE_MS);
    assert_int_equal(json_array_size(json_object_get(row, "shards")), 2);
}

/* ---- the bus ---- */

static const char *const verbs[] = { "register", "leave",    "guilds-seen", "claimed",
                                     "move",     "identify", "api" };

/* The answer's Envelope; every request gets one. */
static Guildbus__V1__Envelope *ask(struct cluster *w, const char *subject, const void *data,
                                   size_t size, struct arena *arena)
{
    const struct bus_out out = { .subject = subject, .data = data, .size = size };
    Guildbus__V1__Envelope *e = NULL;
    CLEANUP(xfree) char *reply = NULL;
    size_t reply_size;
    struct err err = { 0 };

    if (bus_request_wait(w->wire.bus, &out, 10000, &reply, &reply_size, &err) != STATUS_OK)
        fail_msg("%s with %zu bytes: %s", subject, size, err.text);
    OK(codec_decode(reply, reply_size, arena, &e, NULL));
    return e;
}

static size_t encode_register(char *into, size_t room)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope e;
    Guildbus__V1__Register r;
    void *data;
    size_t size;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__register__init(&r);
    r.pod = (char[]){ "gw-1" };
    r.incarnation = 99;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_REGISTER_POD;
    e.register_pod = &r;
    OK(codec_encode(&e, arena, &data, &size, NULL));
    assert_true(size <= room);
    memcpy(into, data, size);
    return size;
}

static void test_truncated_bodies_are_answered_with_an_error(void **state)
{
    struct cluster *w = *state;
    const struct subject heartbeat = subject_heartbeat("gw-1");
    char body[256];
    size_t size = encode_register(body, sizeof(body));

    cluster_lead(w, 0);
    for (size_t v = 0; v <= ARRAY_LEN(verbs); v++) {
        const struct subject subject =
            v < ARRAY_LEN(verbs) ? subject_coordinator(verbs[v]) : heartbeat;
        for (size_t cut = 0; cut < size; cut++) {
            CLEANUP(arena_free) struct arena *arena = arena_new(0);
            const Guildbus__V1__Envelope *e = ask(w, subject.text, body, cut, arena);
            assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_ERROR);
            assert_int_equal(e->error->status, STATUS_INVALID);
            assert_true(strlen(e->error->text) > 0);
        }
        if (v == 0)
            continue;
        /* A whole body of another kind. */
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        const Guildbus__V1__Envelope *e = ask(w, subject.text, body, size, arena);
        assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_ERROR);
        assert_int_equal(e->error->status, STATUS_INVALID);
    }
    assert_int_equal(cluster_status(w, "pods_active"), 0);
    pods_start(w, 1); /* and it still works */
    pod_see(&w->pods[0], 1, 1);
    cluster_until(w, cluster_status(w, "guilds_owned") == 1);
}

/* Any bit of a good body may be another: there is an answer, and the program lives. */
static void test_flipped_bits_harm_nothing(void **state)
{
    struct cluster *w = *state;
    const struct subject subject = subject_coordinator("register");
    char body[256];
    size_t size = encode_register(body, sizeof(body));

    cluster_lead(w, 0);
    for (size_t bit = 0; bit < size * 8; bit++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        body[bit / 8] ^= (char)(1 << bit % 8);
        const Guildbus__V1__Envelope *e = ask(w, subject.text, body, size, arena);
        assert_true(e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR ||
                    e->body_case == GUILDBUS__V1__ENVELOPE__BODY_REGISTER_REPLY);
        body[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_int_equal(cluster_stop(w, 0, SIGTERM), 0);
}

static void test_pods_that_are_no_pods_are_refused(void **state)
{
    struct cluster *w = *state;
    static const char *const bodies[][2] = {
        { "register", "{\"registerPod\":{\"pod\":\"a.b\",\"incarnation\":\"1\"}}" },
        { "register", "{\"registerPod\":{\"pod\":\"\",\"incarnation\":\"1\"}}" },
        { "register", "{\"registerPod\":{\"pod\":\"a\",\"incarnation\":\"0\"}}" },
        { "register", "{\"registerPod\":{\"pod\":\"*\",\"incarnation\":\"1\"}}" },
        { "claimed", "{\"claimed\":{\"pod\":\"a b\",\"guildId\":\"1\",\"epoch\":\"1\"}}" },
        { "claimed", "{\"claimed\":{\"pod\":\"a\",\"guildId\":\"1\",\"epoch\":\"1\"}}" },
        { "leave", "{\"leave\":{\"pod\":\"a\",\"incarnation\":\"1\"}}" },
        { "move", "{\"moveReport\":{\"pod\":\"a\"}}" },
        { "identify", "{\"identify\":{\"pod\":\"\",\"shard\":0}}" },
    };
    static const struct bus_header as_json = { "Content-Type", "application/json" };

    cluster_lead(w, 0);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        const struct subject subject = subject_coordinator(bodies[i][0]);
        const struct bus_out out = { .subject = subject.text,
                                     .data = bodies[i][1],
                                     .size = strlen(bodies[i][1]),
                                     .headers = &as_json,
                                     .header_count = 1 };
        CLEANUP(xfree) char *reply = NULL;
        size_t size;
        OK(bus_request_wait(w->wire.bus, &out, 10000, &reply, &size, NULL));
        json_t *root = json_loads(reply, 0, NULL); /* in kind: JSON for JSON */
        const json_t *body = json_object_get(root, "error");
        if (!body)
            body = json_object_get(root, "registerReply");
        if (!body || json_int(body, "status", 0) == 0)
            fail_msg("%s was answered %s", bodies[i][1], reply);
        json_decref(root);
    }
    assert_int_equal(cluster_status(w, "pods_active"), 0);
}

/* Who can reach NATS and does not have the token changes nothing. */
static void test_a_change_over_the_bus_needs_a_proof(void **state)
{
    struct cluster *w = *state;
    static const char *const bodies[] = {
        "{\"apiRequest\":{\"path\":\"/unfreeze\"}}",
        "{\"apiRequest\":{\"path\":\"/unfreeze\",\"proof\":\"AAAA\"}}",
        ("{\"apiRequest\":{\"path\":\"/unfreeze\",\"sentMs\":\"1\",\"proof\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}}"),
    };
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    const struct subject subject = subject_coordinator("api");

    cluster_lead(w, 0);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        const struct bus_out out = { .subject = subject.text,
                                     .data = bodies[i],
                                     .size = strlen(bodies[i]),
                                     .headers = &as_json,
                                     .header_count = 1 };
        CLEANUP(xfree) char *reply = NULL;
        size_t size;
        OK(bus_request_wait(w->wire.bus, &out, 10000, &reply, &size, NULL));
        if (!strstr(reply, "\"code\":403"))
            fail_msg("%s was answered %s", bodies[i], reply);
    }
    assert_false(cluster_logged(w, 0, "placement_unfrozen"));
}

/* As `nats req` by hand. */
static void test_json_by_hand(void **state)
{
    struct cluster *w = *state;
    static const struct bus_header as_json = { "Content-Type", "application/json" };
    static const char seen[] = "{\"guildsSeen\":{\"pod\":\"gw-1\",\"guildIds\":[\"1\",\"2\",3]}}",
                      bad[] = "{\"x\":1}";
    const struct subject subject = subject_coordinator("guilds-seen");
    char *reply = NULL;
    size_t size;

    cluster_lead(w, 0);
    pods_start(w, 1);
    OK(bus_request_wait(w->wire.bus,
                        &(struct bus_out){ .subject = subject.text,
                                           .data = seen,
                                           .size = strlen(seen),
                                           .headers = &as_json,
                                           .header_count = 1 },
                        10000, &reply, &size, NULL));
    assert_string_equal(reply, "{\"ok\":{}}");
    free(TAKE(reply));
    cluster_until(w, cluster_status(w, "guilds_owned") == 3);
    OK(bus_request_wait(w->wire.bus,
                        &(struct bus_out){ .subject = subject.text,
                                           .data = bad,
                                           .size = strlen(bad),
                                           .headers = &as_json,
                                           .header_count = 1 },
                        10000, &reply, &size, NULL));
    assert_non_null(strstr(reply, "\"error\""));
    free(reply);
}

static void test_a_guild_without_an_id_is_a_guild_too(void **state)
{
    struct cluster *w = *state;

    cluster_lead(w, 0);
    pods_start(w, 1);
    pod_see(&w->pods[0], 0, 1); /* direct messages */
    cluster_until(w, cluster_guild_is(w, 0, "gw-1", "owned"));
    cluster_pod(w, 1);
    cluster_until(w, w->pods[1].registered);
    uint64_t move = cluster_reassign(w, 0, "gw-2");
    cluster_until(w, cluster_move_is(w, move, "done"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CLUSTER(test_changes_need_the_token),
        ON_CLUSTER(test_paths_and_methods),
        ON_CLUSTER(test_assignments_are_read_in_pages),
        ON_CLUSTER(test_pod_health_tells_what_an_operator_asks),
        ON_CLUSTER(test_truncated_bodies_are_answered_with_an_error),
        ON_CLUSTER(test_flipped_bits_harm_nothing),
        ON_CLUSTER(test_pods_that_are_no_pods_are_refused),
        ON_CLUSTER(test_a_change_over_the_bus_needs_a_proof),
        ON_CLUSTER(test_json_by_hand),
        ON_CLUSTER(test_a_guild_without_an_id_is_a_guild_too),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
