/* needs: nats
 *
 * What a guild's next owner does with the calls to Discord that it finds in the outbox. */
#include "base/http_server.h"
#include "base/loop.h"
#include "gateway/discord_rest.h"
#include "gateway/thread_search.h"
#include "messages/snowflake.h"
#include "tests/unit/gateway/town_log.h"

enum { MOD_LOG = 300 };

/* ---- the test as Discord: a thread is made, and its maker is never told ---- */

static struct discord {
    struct loop *loop;
    uint64_t thread; /* 0: there is none */
    struct http_exchange *unanswered;
    int made, looked, posted;
} discord;

static void list_threads(struct http_exchange *x)
{
    char text[256];

    discord.looked++;
    (void)snprintf(
        text, sizeof(text),
        "{\"threads\":[{\"id\":\"1\",\"parent_id\":\"300\",\"name\":\"bob logs\"}%s"
        "{\"id\":\"%" PRIu64 "\",\"parent_id\":\"300\",\"name\":\"%s\"}],\"members\":[]}",
        ",", discord.thread ? discord.thread : 2, discord.thread ? "bob logs" : "another");
    http_respond_json(x, 200, text);
}

static void on_request(void *ctx UNUSED, struct http_exchange *x)
{
    char posts[80];
    const char *path = http_path(x);

    (void)snprintf(posts, sizeof(posts), "/channels/%" PRIu64 "/messages", discord.thread);
    if (!strcmp(path, "/channels/300/threads")) {
        discord.made++;
        discord.thread = snowflake_from_ms(clock_wall_ms());
        discord.unanswered = x;
        return;
    }
    if (strstr(path, "/threads/active")) {
        list_threads(x);
        return;
    }
    discord.posted += !strcmp(path, posts);
    http_respond_json(x, 200, "{\"id\":\"1001\"}");
}

static int open_with_discord(void **state)
{
    const struct http_server_config server = {
        .name = "discord", .bind = "127.0.0.1", .max_body = 65536, .on_request = on_request
    };
    struct town wanted = { .snapshot_records = 128 };
    struct http_server *listening;
    struct err err = { 0 };
    char url[64];

    discord = (struct discord){ .made = 0 };
    assert_int_equal(loop_new(&discord.loop, &err), STATUS_OK);
    assert_int_equal(http_server_listen(discord.loop, &server, &listening, &err), STATUS_OK);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", http_server_port(listening));
    const struct discord_rest_config config = { .api_url = url, .token = "token" };
    assert_int_equal(discord_rest_new(&config, &wanted.rest, &err), STATUS_OK);
    return town_open_as(state, &wanted);
}

static int close_with_discord(void **state)
{
    int failed = close_with_rest(state);

    loop_free(discord.loop);
    return failed;
}

/* Lets Discord answer while it waits. */
#define WAIT_FOR_CALL(t, what) WAIT_FOR(t, (loop_turn(discord.loop), what))

/* ---- tests ---- */

static char *track_request(struct town *t)
{
    return xasprintf(
        "{\"interaction\":{\"id\":\"78\",\"payload_json\":{\"id\":\"78\",\"token\":\"t\",\"type\":2,"
        "\"guild_id\":\"%" PRIu64 "\",\"channel_id\":\"500\",\"member\":{\"user\":{\"id\":\"9\","
        "\"username\":\"n\"},\"permissions\":\"8\"},\"data\":{\"id\":\"1\",\"name\":\"Track\","
        "\"type\":3,\"target_id\":\"600\",\"resolved\":{\"messages\":{\"600\":{\"id\":\"600\","
        "\"channel_id\":\"500\",\"content\":\"x\",\"author\":{\"id\":\"42\",\"username\":\"bob\"}"
        "}}}}}}}",
        t->guild);
}

/* alpha has Discord make a thread and does not learn of it. */
static void track(struct town *t)
{
    CLEANUP(xfree) char *mod_log = xasprintf("%d", MOD_LOG);
    CLEANUP(xfree) char *setup = setup_request(t, 77, mod_log);
    CLEANUP(xfree) char *request = track_request(t);
    const struct subject interaction = subject_interaction(t->guild);

    own(t, 0, 1);
    CLEANUP(json_decref) json_t *is_set = ask(t, interaction.text, setup);
    CLEANUP(json_decref) json_t *tracked = ask(t, interaction.text, request);
    assert_non_null(json_object_get(is_set, "interactionReply"));
    assert_non_null(json_object_get(tracked, "interactionReply"));
    WAIT_FOR_CALL(t, discord.made == 1);
}

static void test_a_thread_that_was_made_is_not_made_again(void **state)
{
    struct town *t = *state;

    track(t);
    own(t, 1, 2);
    WAIT_FOR_CALL(t, discord.posted > 0);
    assert_int_equal(discord.looked, 1);
    assert_int_equal(discord.made, 1);
}

static void test_a_thread_that_was_not_made_is(void **state)
{
    struct town *t = *state;

    track(t);
    discord.thread = 0; /* the call was lost on its way */
    own(t, 1, 2);
    http_respond_json(discord.unanswered, 500, "{}");
    WAIT_FOR_CALL(t, discord.made == 2);
    assert_int_equal(discord.looked, 1);
}

/* ---- the search alone ---- */

static void test_only_the_very_thread_is_taken(void **state UNUSED)
{
    enum { AT_MS = 1000000 };
    const int64_t wished = SNOWFLAKE_EPOCH_MS + 10 * AT_MS;
    const struct thread_wish wish = { "/channels/300/threads", "{\"name\":\"bob logs\"}", wished };
    const struct {
        const char *parent, *name;
        int64_t made_ms;
        bool fits;
    } rows[] = {
        { "300", "bob logs", wished, true },
        { "300", "bob logs", wished + AT_MS, true },
        { "300", "bob logs", wished - THREAD_SEARCH_SKEW_MS + 1, true },
        { "300", "bob logs", wished - AT_MS, false },
        { "301", "bob logs", wished, false },
        { "300", "bob log", wished, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char active[256];
        (void)snprintf(active, sizeof(active),
                       "{\"threads\":[{\"id\":\"%" PRIu64
                       "\",\"parent_id\":\"%s\",\"name\":\"%s\"}]}",
                       snowflake_from_ms(rows[i].made_ms), rows[i].parent, rows[i].name);
        CLEANUP(xfree) char *found = thread_search(&wish, active, strlen(active));
        assert_int_equal(found != NULL, rows[i].fits);
    }
    assert_null(thread_search(&wish, "<html>", 6));
    assert_null(thread_search(&wish, "{}", 2));
    assert_true(thread_search_fits("POST", "/channels/300/threads"));
    assert_false(thread_search_fits("GET", "/channels/300/threads"));
    assert_false(thread_search_fits("POST", "/channels/300/messages"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_thread_that_was_made_is_not_made_again,
                                        open_with_discord, close_with_discord),
        cmocka_unit_test_setup_teardown(test_a_thread_that_was_not_made_is, open_with_discord,
                                        close_with_discord),
        cmocka_unit_test(test_only_the_very_thread_is_taken),
    };
    if (getenv("DEBUG"))
        log_set_level(LOG_LEVEL_DEBUG);
    return cmocka_run_group_tests_name("gateway/outbox", tests, NULL, NULL);
}
