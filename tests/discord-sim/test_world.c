/* The world by its seed, the texts, the rates, and what counts as an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/xmem.h"
#include "tests/discord-sim/arrivals.h"
#include "tests/discord-sim/calls.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/rates.h"
#include "tests/discord-sim/record.h"
#include "tests/discord-sim/store.h"
#include "tests/discord-sim/world.h"

static struct world *make(uint64_t seed, size_t guilds)
{
    struct world_config config = {
        .seed = seed, .application_id = 1000000000000000001, .guilds = guilds, .members = 12
    };

    return world_new(&config);
}

static void the_same_seed_makes_the_same_world_and_another_another(void **state)
{
    CLEANUP(world_free) struct world *a = make(3, 20);
    CLEANUP(world_free) struct world *b = make(3, 20);
    CLEANUP(world_free) struct world *c = make(4, 20);

    (void)state;
    for (size_t i = 0; i < 20; i++) {
        CLEANUP(out_release) struct out x = OUT_EMPTY;
        CLEANUP(out_release) struct out y = OUT_EMPTY;
        object_guild_create(&x, a->guilds[i], 50);
        object_guild_create(&y, b->guilds[i], 50);
        assert_string_equal(x.text, y.text);
        assert_int_not_equal(a->guilds[i]->id, c->guilds[i]->id);
    }
}

static void each_guild_has_its_people_and_small_worlds_use_all_shards(void **state)
{
    CLEANUP(world_free) struct world *w = make(1, 10);
    size_t shards[5] = { 0 };

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        const struct guild *g = w->guilds[i];
        const struct member *moderator = guild_first_moderator(g), *plain = guild_first_plain(g);
        assert_non_null(moderator);
        assert_non_null(plain);
        assert_int_equal(member_permissions(g, guild_member(g, g->owner_id)), PERM_ALL);
        assert_true(member_permissions(g, moderator) & PERM_MANAGE_MESSAGES);
        assert_false(member_permissions(g, plain) & (PERM_MANAGE_MESSAGES | PERM_MANAGE_GUILD));
        assert_true(member_is_here(guild_member(g, w->bot.id)));
        assert_ptr_equal(world_channel(w, g->mod_log->id), g->mod_log);
        shards[(g->id >> 22) % 5]++;
    }
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(shards[i], 2);
}

static void guilds_and_messages_are_valid_json_whatever_people_call_themselves(void **state)
{
    CLEANUP(world_free) struct world *w = make(9, 30);
    CLEANUP(store_free) struct store *s = store_new(100);
    struct rng r = { .state = 5 };

    (void)state;
    for (size_t i = 0; i < 30; i++) {
        const struct guild *g = w->guilds[i];
        struct channel *c = g->channels[1];
        CLEANUP(out_release) struct out o = OUT_EMPTY;
        CLEANUP(json_decref) json_t *root = NULL;
        CLEANUP(xfree) char *content = content_make(&r);
        struct message *m = message_new(world_new_id(w), c, g->members[i % 12].user, content);
        m = store_add(s, c, &m);
        assert_true(message_react(m, g->owner_id, "blob:412345678901234567"));
        out_text(&o, "[");
        object_guild_create(&o, g, 250);
        out_text(&o, ",");
        object_message(&o, w, m, MESSAGE_EVENT);
        out_text(&o, "]");
        assert_int_equal(json_parse(o.text, o.size, &root, NULL), STATUS_OK);
        assert_int_equal(json_id(json_array_get(root, 0), "id"), g->id);
        assert_string_equal(json_str(json_array_get(root, 1), "content"), content);
    }
}

static void content_is_blanked_for_people_and_not_for_the_bot(void **state)
{
    CLEANUP(world_free) struct world *w = make(1, 1);
    struct channel *c = w->guilds[0]->channels[1];
    CLEANUP(message_free)
    struct message *by_person = message_new(1, c, w->guilds[0]->members[0].user, "secret words");
    CLEANUP(message_free) struct message *by_bot = message_new(2, c, &w->bot, "secret words");
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    (void)state;
    object_message(&o, w, by_person, MESSAGE_EVENT_BLANKED);
    assert_null(strstr(o.text, "secret words"));
    object_message(&o, w, by_bot, MESSAGE_EVENT_BLANKED);
    assert_non_null(strstr(o.text, "secret words"));
}

static void the_store_forgets_its_oldest_message(void **state)
{
    CLEANUP(world_free) struct world *w = make(1, 1);
    CLEANUP(store_free) struct store *s = store_new(2);
    struct channel *c = w->guilds[0]->channels[1];

    (void)state;
    for (uint64_t id = 1; id <= 3; id++) {
        struct message *m = message_new(id, c, &w->bot, "");
        (void)store_add(s, c, &m);
    }
    assert_null(store_get(s, 1));
    assert_non_null(store_get(s, 2));
    assert_int_equal(store_count(s), 2);
}

static void calls_are_kept_in_order_with_the_hash_of_their_body(void **state)
{
    struct calls *all = calls_new(2, false);

    (void)state;
    calls_add(all, "POST", "/channels/7/messages", "foobar", 6);
    calls_add(all, "DELETE", "/channels/7/messages/8", "", 0);
    calls_add(all, "PUT", "/beyond/the/bound", "", 0);
    assert_string_equal(calls_get(all, 1)->path, "/channels/7/messages");
    assert_true(calls_get(all, 1)->body_hash ==
                UINT64_C(0x85944171f73967e8)); /* by FNV's own test vectors */
    assert_string_equal(calls_get(all, 2)->method, "DELETE");
    assert_null(calls_get(all, 3));
    assert_null(calls_get(all, 1)->body);
    calls_free(all);
}

static void calls_keep_their_bodies_on_demand(void **state)
{
    struct calls *all = calls_new(2, true);

    (void)state;
    calls_add(all, "POST", "/channels/7/messages", "{\"a\":1}", 7);
    assert_string_equal(calls_get(all, 1)->body, "{\"a\":1}");
    calls_free(all);
}

static void arrivals_are_kept_in_order_and_say_what_was_refused(void **state)
{
    struct arrivals *all = arrivals_new(2);
    struct arrival a = { .method = "POST", .path = "/channels/{}/messages", .major = 7 };
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    (void)state;
    assert_int_equal(arrivals_add(all, a), 1);
    a.in_global = true;
    assert_int_equal(arrivals_add(all, a), 2);
    assert_int_equal(arrivals_add(all, a), 3); /* beyond the bound */
    arrivals_refused(all, 2, "global");
    arrivals_refused(all, 3, "user");
    assert_null(arrivals_get(all, 1)->refused);
    assert_true(arrivals_get(all, 2)->at_us >= arrivals_get(all, 1)->at_us);
    assert_null(arrivals_get(all, 3));
    arrival_line(arrivals_get(all, 2), &o);
    assert_non_null(strstr(o.text, "\"route\":\"/channels/{}/messages\",\"major\":\"7\","
                                   "\"global\":true,\"refused\":\"global\"}\n"));
    arrivals_free(all);
}

static void the_record_says_what_must_be_there_in_the_end(void **state)
{
    CLEANUP(world_free) struct world *w = make(1, 2);
    CLEANUP(record_free) struct record *r = record_new(w, 100);
    const struct guild *g = w->guilds[1];
    const struct channel *c = g->channels[1];
    CLEANUP(message_free) struct message *kept = message_new(1, c, g->members[0].user, "words");
    CLEANUP(message_free) struct message *empty = message_new(2, c, g->members[0].user, "");
    CLEANUP(message_free) struct message *gone = message_new(3, c, g->members[0].user, "words");
    struct record_event e = { .guild_id = g->id, .type = EVENT_MESSAGE_CREATE };

    (void)state;
    record_add(r, e, kept);
    record_add(r, e, empty);
    record_add(r, e, gone);
    e.type = EVENT_MESSAGE_REACTION_ADD;
    e.delta = 1;
    assert_true(message_react(kept, 7, "a"));
    record_add(r, e, kept);
    assert_true(message_react(gone, 7, "a"));
    record_add(r, e, gone);
    e.type = EVENT_MESSAGE_DELETE;
    e.delta = 0;
    record_add(r, e, gone);

    const struct record_guild *told = record_of(r, g);
    assert_int_equal(told->events, 6);
    assert_int_equal(told->messages, 2);
    assert_int_equal(told->messages_with_content, 1);
    assert_int_equal(told->reactions, 1);
    assert_int_equal(record_of(r, w->guilds[0])->events, 0);
    assert_int_equal(record_get(r, 6)->message_id, 3);
    assert_null(record_get(r, 7));
}

static void a_bucket_refuses_what_is_beyond_its_window_and_no_other_bucket(void **state)
{
    CLEANUP(rates_free) struct rates *r = rates_new(2, 0, 0);

    (void)state;
    assert_false(rates_take(r, 1, 10, true, 100).limited);
    assert_int_equal(rates_take(r, 1, 10, true, 200).remaining, 0);
    struct rate_answer a = rates_take(r, 1, 10, true, 300);
    assert_true(a.limited && a.scope == RATE_USER);
    assert_int_equal(a.reset_after_ms, 800);
    assert_false(rates_take(r, 1, 11, true, 300).limited);
    assert_false(rates_take(r, 1, 10, true, 1100).limited);
}

static void the_global_limit_does_not_bind_interaction_webhooks(void **state)
{
    CLEANUP(rates_free) struct rates *r = rates_new(0, 1, 0);

    (void)state;
    assert_false(rates_take(r, 1, 10, true, 100).limited);
    assert_int_equal(rates_take(r, 2, 11, true, 100).scope, RATE_GLOBAL);
    assert_false(rates_take(r, 3, 12, false, 100).limited);
}

static void expect_judgement(enum interaction_type type, const char *text, enum fate fate,
                             const char *reason)
{
    CLEANUP(json_decref) json_t *callback = NULL;

    assert_int_equal(json_parse(text, strlen(text), &callback, NULL), STATUS_OK);
    struct judgement j = judge_callback(type, callback);
    assert_int_equal(j.fate, fate);
    if (reason)
        assert_string_equal(j.reason, reason);
    else
        assert_null(j.reason);
}

static void answers_must_fit_their_interaction(void **state)
{
    (void)state;
    expect_judgement(INTERACTION_PING, "{\"type\":1}", FATE_ANSWERED, NULL);
    expect_judgement(INTERACTION_PING, "{\"type\":4}", FATE_FAILED, "wrong_callback_type");
    expect_judgement(INTERACTION_COMMAND, "{\"type\":5}", FATE_DEFERRED, NULL);
    expect_judgement(INTERACTION_COMMAND, "{\"type\":6}", FATE_FAILED, "wrong_callback_type");
    expect_judgement(INTERACTION_COMMAND, "{\"type\":4,\"data\":{\"content\":\"x\"}}",
                     FATE_ANSWERED, NULL);
    expect_judgement(INTERACTION_COMMAND, "{\"type\":4,\"data\":{}}", FATE_FAILED, "empty_message");
    expect_judgement(INTERACTION_COMPONENT, "{\"type\":6}", FATE_DEFERRED, NULL);
    expect_judgement(INTERACTION_COMPONENT, "{\"type\":7,\"data\":{}}", FATE_ANSWERED, NULL);
    expect_judgement(INTERACTION_AUTOCOMPLETE, "{\"type\":8,\"data\":{\"choices\":[]}}",
                     FATE_ANSWERED, NULL);
    expect_judgement(INTERACTION_AUTOCOMPLETE, "{\"type\":5}", FATE_FAILED, "wrong_callback_type");
    expect_judgement(INTERACTION_MODAL, "{\"type\":9}", FATE_FAILED, "wrong_callback_type");
    expect_judgement(INTERACTION_COMMAND, "{\"type\":\"4\"}", FATE_FAILED, "not_a_callback");
}

static void text_is_escaped(void **state)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    (void)state;
    out_json(&o, "{'a':%S,'b':%I,'c':%N,'d':%b}", "x\"\\\n\x01", UINT64_MAX, UINT64_C(0), 1);
    assert_string_equal(o.text,
                        "{\"a\":\"x\\\"\\\\\\n\\u0001\",\"b\":\"18446744073709551615\",\"c\":null,"
                        "\"d\":true}");
    out_clear(&o);
    out_html(&o, "<a href='x'>&\"");
    assert_string_equal(o.text, "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_makes_the_same_world_and_another_another),
        cmocka_unit_test(each_guild_has_its_people_and_small_worlds_use_all_shards),
        cmocka_unit_test(guilds_and_messages_are_valid_json_whatever_people_call_themselves),
        cmocka_unit_test(content_is_blanked_for_people_and_not_for_the_bot),
        cmocka_unit_test(the_store_forgets_its_oldest_message),
        cmocka_unit_test(calls_are_kept_in_order_with_the_hash_of_their_body),
        cmocka_unit_test(calls_keep_their_bodies_on_demand),
        cmocka_unit_test(arrivals_are_kept_in_order_and_say_what_was_refused),
        cmocka_unit_test(the_record_says_what_must_be_there_in_the_end),
        cmocka_unit_test(a_bucket_refuses_what_is_beyond_its_window_and_no_other_bucket),
        cmocka_unit_test(the_global_limit_does_not_bind_interaction_webhooks),
        cmocka_unit_test(answers_must_fit_their_interaction),
        cmocka_unit_test(text_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
