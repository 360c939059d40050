#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>

#include "tests/unit/messages/samples.h"

static Guildbus__V1__Envelope *read(const char *text, struct arena *arena)
{
    Guildbus__V1__Envelope *e = NULL;
    struct err err = { 0 };

    if (codec_from_json(text, strlen(text), arena, &e, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return e;
}

static const char *write(const Guildbus__V1__Envelope *e, bool pretty, struct arena *arena)
{
    char *text = NULL;

    assert_int_equal(codec_to_json(e, pretty, arena, &text, NULL), STATUS_OK);
    return text;
}

/* "" and NULL are the same string to protobuf, so the encoded bytes are compared; *_json texts may
 * differ in blanks, so the JSON of both is, too. */
static void test_each_kind_comes_back_as_it_was(void **state UNUSED)
{
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++) {
        for (unsigned turn = 0; turn < SAMPLE_TURNS; turn++) {
            CLEANUP(arena_free) struct arena *arena = arena_new(0);
            Guildbus__V1__Envelope *sent = sample_envelope(arena, kind, turn);
            const char *compact = write(sent, false, arena), *pretty = write(sent, true, arena);
            Guildbus__V1__Envelope *one = read(compact, arena), *two = read(pretty, arena);
            void *a, *b;
            size_t a_size, b_size;
            assert_string_equal(write(one, false, arena), compact);
            assert_int_equal(codec_encode(one, arena, &a, &a_size, NULL), STATUS_OK);
            assert_int_equal(codec_encode(two, arena, &b, &b_size, NULL), STATUS_OK);
            assert_int_equal(a_size, b_size);
            assert_memory_equal(a, b, a_size);
            assert_null(strchr(compact, '\n'));
        }
    }
}

static void test_what_is_written_is_strict_json(void **state UNUSED)
{
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        const char *text = write(sample_envelope(arena, kind, kind), true, arena);
        json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(value);
        assert_int_equal(json_object_size(value), 1);
        json_decref(value);
    }
}

static void test_an_event_looks_as_documented(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    Guildbus__V1__Event event = GUILDBUS__V1__EVENT__INIT;
    char type[] = "MESSAGE_CREATE", payload[] = "{ \"id\" : 9223372036854775807,\n\t\"x\": 1.10 }";

    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_EVENT;
    e.event = &event;
    event.guild_id = UINT64_C(9007199254740993); /* 2^53 + 1 */
    event.type = type;
    event.payload_json = payload;
    event.received_ms = -1;
    assert_string_equal(
        write(&e, false, arena),
        "{\"event\":{\"guildId\":\"9007199254740993\",\"type\":\"MESSAGE_CREATE\","
        "\"payloadJson\":{\"id\":9223372036854775807,\"x\":1.10},\"session\":\"\",\"seq\":\"0\","
        "\"shard\":0,\"receivedMs\":\"-1\"}}");
    assert_string_equal(write(&e, true, arena), "{\n"
                                                "  \"event\": {\n"
                                                "    \"guildId\": \"9007199254740993\",\n"
                                                "    \"type\": \"MESSAGE_CREATE\",\n"
                                                "    \"payloadJson\": {\n"
                                                "      \"id\": 9223372036854775807,\n"
                                                "      \"x\": 1.10\n"
                                                "    },\n"
                                                "    \"session\": \"\",\n"
                                                "    \"seq\": \"0\",\n"
                                                "    \"shard\": 0,\n"
                                                "    \"receivedMs\": \"-1\"\n"
                                                "  }\n"
                                                "}");
}

static void test_json_text_that_is_no_json_is_written_as_a_string(void **state UNUSED)
{
    static const struct {
        const char *stored, *written;
    } cases[] = {
        { "{\"a\":", "\"{\\\"a\\\":\"" },
        { "\"s\"", "\"\\\"s\\\"\"" },
        { "", "\"\"" },
        { "  ", "\"  \"" },
        { "[1,]", "\"[1,]\"" },
        { "nul", "\"nul\"" },
        { " null ", "null" },
        { "-0.5e3", "-0.5e3" },
        { "[ ]", "[]" },
        { "1 2", "\"1 2\"" },
        { "NaN", "\"NaN\"" },
        { "18446744073709551615", "\"18446744073709551615\"" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        Guildbus__V1__Envelope *e = read("{\"interactionReply\":{\"id\":1}}", arena);
        char expected[100];
        e->interaction_reply->callback_json = arena_printf(arena, "%s", cases[i].stored);
        (void)snprintf(expected, sizeof(expected),
                       "{\"interactionReply\":{\"id\":\"1\",\"callbackJson\":%s}}",
                       cases[i].written);
        assert_string_equal(write(e, false, arena), expected);
    }
}

static void test_json_fields_take_a_value_or_its_text(void **state UNUSED)
{
    static const struct {
        const char *given, *stored;
    } cases[] = {
        { "{ \"prefix\": \"\\u0021\", \"n\": 9223372036854775807 }",
          "{\"prefix\":\"!\",\"n\":9223372036854775807}" },
        { "[1, 2]", "[1,2]" },
        { "null", "null" },
        { "true", "true" },
        { "-12", "-12" },
        { "\"{ \\\"a\\\": 1.50 }\"", "{ \"a\": 1.50 }" },
        { "\"\\\"text\\\"\"", "\"text\"" },
        { "\"\"", "" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        const char *text = arena_printf(
            arena, "{\"portal\":{\"change_settings\":{\"patchJson\":%s}}}", cases[i].given);
        Guildbus__V1__Envelope *e = read(text, arena);
        assert_int_equal(e->portal->query_case,
                         GUILDBUS__V1__PORTAL_REQUEST__QUERY_CHANGE_SETTINGS);
        assert_string_equal(e->portal->change_settings->patch_json, cases[i].stored);
    }
}

static void test_ids_above_2_53_are_exact(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);

    Guildbus__V1__Envelope *e = read("{\"portal\":{\"guildId\":\"18446744073709551615\","
                                     "\"actor_id\":9007199254740993,\"overview\":{}}}",
                                     arena);
    assert_true(e->portal->guild_id == UINT64_MAX);
    assert_true(e->portal->actor_id == UINT64_C(9007199254740993));
    e = read("{\"event\":{\"receivedMs\":\"-9223372036854775808\",\"seq\":\"007\"}}", arena);
    assert_true(e->event->received_ms == INT64_MIN);
    assert_true(e->event->seq == 7);
}

static void test_values_of_rows_keep_their_types(void **state UNUSED)
{
    static const char given[] =
        "{\"record\":{\"change\":{\"rows\":[{\"table\":\"t\",\"values\":[{\"integer\":\"-5\"},"
        "{\"real\":0.1},{\"real\":\"-Infinity\"},{\"real\":\"NaN\"},{\"text\":\"\"},{\"blob\":\"-_8\"},{}]}]}}}";
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *e = read(given, arena);
    void *data;
    size_t size;

    assert_int_equal(codec_encode(e, arena, &data, &size, NULL), STATUS_OK);
    assert_int_equal(codec_decode(data, size, arena, &e, NULL), STATUS_OK);
    const Guildbus__V1__RowOp *row = e->record->change->rows[0];
    assert_int_equal(row->n_values, 7);
    assert_int_equal(row->values[0]->integer, -5);
    assert_true(row->values[1]->real == 0.1);
    assert_true(isinf(row->values[2]->real) && row->values[2]->real < 0);
    assert_true(isnan(row->values[3]->real));
    assert_int_equal(row->values[4]->kind_case, GUILDBUS__V1__VALUE__KIND_TEXT);
    assert_string_equal(row->values[4]->text, "");
    assert_int_equal(row->values[5]->blob.len, 2);
    assert_memory_equal(row->values[5]->blob.data, "\xfb\xff", 2);
    assert_int_equal(row->values[6]->kind_case, GUILDBUS__V1__VALUE__KIND__NOT_SET);
    assert_non_null(strstr(write(e, false, arena),
                           "[{\"integer\":\"-5\"},{\"real\":0.1},{\"real\":\"-Infinity\"},"
                           "{\"real\":\"NaN\"},{\"text\":\"\"},{\"blob\":\"+/8=\"},{}]"));
}

static void test_enums_go_by_name(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);

    Guildbus__V1__Envelope *e = read("{\"moveReport\":{\"step\":\"MOVE_SEALED\"}}", arena);
    assert_int_equal(e->move_report->step, GUILDBUS__V1__MOVE_STEP__MOVE_SEALED);
    assert_non_null(strstr(write(e, false, arena), "\"step\":\"MOVE_SEALED\""));
    e = read("{\"moveReport\":{\"step\":99}}", arena); /* of a newer version */
    assert_non_null(strstr(write(e, false, arena), "\"step\":99"));
}

static void test_null_is_as_if_absent(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);

    Guildbus__V1__Envelope *e =
        read("{\"event\":null,\"heartbeat\":{\"shardsHeld\":null,\"pod\":null}}", arena);
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT);
    assert_int_equal(e->heartbeat->n_shards_held, 0);
    assert_string_equal(e->heartbeat->pod, "");
}

static void test_what_is_wrong_is_refused_and_named(void **state UNUSED)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "", "not JSON" },
        { "{", "not JSON" },
        { "[]", "envelope: not an object" },
        { "{}", "no body" },
        { "{\"event\":null}", "no body" },
        { "{\"evnet\":{}}", "evnet: unknown field" },
        { "{\"portal\":{\"changeSettings\":{\"patch\":{}}}}",
          "portal.changeSettings.patch: unknown field" },
        { "{\"event\":{},\"ok\":{}}", "beside another" },
        { "{\"event\":{\"guildId\":1,\"guild_id\":1}}", "event.guild_id: given twice" },
        { "{\"event\":{\"seq\":1,\"seq\":1}}", "duplicate" },
        { "{\"event\":{\"seq\":-1}}", "event.seq: not a number of 64 bits" },
        { "{\"event\":{\"seq\":1.0}}", "event.seq" },
        { "{\"event\":{\"seq\":\"\"}}", "event.seq" },
        { "{\"event\":{\"seq\":\"+1\"}}", "event.seq" },
        { "{\"event\":{\"seq\":\" 1\"}}", "event.seq" },
        { "{\"event\":{\"seq\":\"18446744073709551616\"}}", "event.seq" },
        { "{\"event\":{\"seq\":18446744073709551616}}", "not JSON" },
        { "{\"event\":{\"receivedMs\":\"9223372036854775808\"}}", "event.receivedMs" },
        { "{\"event\":{\"shard\":4294967296}}", "event.shard: not a number of 32 bits" },
        { "{\"event\":{\"type\":1}}", "event.type: not a string" },
        { "{\"event\":{\"type\":\"a\\u0000b\"}}", "not JSON" },
        { "{\"event\":{\"type\":\"\xff\"}}", "not JSON" },
        { "{\"event\":{\"payloadJson\":\"{\"}}",
          "event.payloadJson: a string here must hold JSON" },
        { "{\"event\":[]}", "event: not an object" },
        { "{\"heartbeat\":{\"draining\":1}}", "heartbeat.draining: not true or false" },
        { "{\"heartbeat\":{\"shardsHeld\":{}}}", "heartbeat.shardsHeld: not an array" },
        { "{\"heartbeat\":{\"shardsHeld\":[1,\"x\"]}}", "heartbeat.shardsHeld.1: not a number" },
        { "{\"moveReport\":{\"step\":\"MOVE\"}}", "moveReport.step: not a name" },
        { "{\"forward\":{\"body\":\"a\"}}", "forward.body: not base64" },
        { "{\"forward\":{\"body\":\"ab=c\"}}", "forward.body: not base64" },
        { "{\"forward\":{\"body\":\"ab\"}}", "forward.body: not base64" }, /* stray bits */
        { "{\"record\":{\"change\":{\"rows\":[{},{\"values\":[{\"real\":\"x\"}]}]}}}",
          "record.change.rows.1.values.0.real: not a number" },
        { "{\"record\":{\"change\":{\"rows\":[null]}}}", "record.change.rows.0: not an object" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        Guildbus__V1__Envelope *e = NULL;
        struct err err = { 0 };
        assert_int_equal(codec_from_json(cases[i].text, strlen(cases[i].text), arena, &e, &err),
                         STATUS_INVALID);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.text, cases[i].says);
    }
}

static void test_deep_and_large_texts_are_bounded(void **state UNUSED)
{
    static const size_t size = (size_t)9 << 20;
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *e = NULL;
    char *text = malloc(size);

    memset(text, '[', size);
    assert_int_equal(codec_from_json(text, size / 9, arena, &e, NULL), STATUS_INVALID);
    assert_int_equal(codec_from_json(text, size, arena, &e, NULL), STATUS_BUSY);
    assert_false(json_is_valid(text, size / 9));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_comes_back_as_it_was),
        cmocka_unit_test(test_what_is_written_is_strict_json),
        cmocka_unit_test(test_an_event_looks_as_documented),
        cmocka_unit_test(test_json_text_that_is_no_json_is_written_as_a_string),
        cmocka_unit_test(test_json_fields_take_a_value_or_its_text),
        cmocka_unit_test(test_ids_above_2_53_are_exact),
        cmocka_unit_test(test_values_of_rows_keep_their_types),
        cmocka_unit_test(test_enums_go_by_name),
        cmocka_unit_test(test_null_is_as_if_absent),
        cmocka_unit_test(test_what_is_wrong_is_refused_and_named),
        cmocka_unit_test(test_deep_and_large_texts_are_bounded),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
