#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/messages/samples.h"

struct bytes_of {
    void *data;
    size_t size;
};

static struct bytes_of encode(const Guildbus__V1__Envelope *e, struct arena *arena)
{
    struct bytes_of b;
    struct err err = { 0 };

    if (codec_encode(e, arena, &b.data, &b.size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return b;
}

/* Decoded, encoded and as JSON: what is sound can be walked from end to end. */
static void assert_sound(const Guildbus__V1__Envelope *e, struct arena *arena)
{
    char *text;

    assert_int_not_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY__NOT_SET);
    (void)encode(e, arena);
    assert_int_equal(codec_to_json(e, true, arena, &text, NULL), STATUS_OK);
}

static void test_each_kind_comes_back_as_it_was(void **state UNUSED)
{
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++) {
        for (unsigned turn = 0; turn < SAMPLE_TURNS; turn++) {
            CLEANUP(arena_free) struct arena *arena = arena_new(0);
            struct bytes_of sent = encode(sample_envelope(arena, kind, turn), arena);
            Guildbus__V1__Envelope *got;
            assert_int_equal(codec_decode(sent.data, sent.size, arena, &got, NULL), STATUS_OK);
            struct bytes_of again = encode(got, arena);
            assert_int_equal(again.size, sent.size);
            assert_memory_equal(again.data, sent.data, sent.size);
        }
    }
}

/* The exact size each time, so that a read past the end is seen by the sanitizers. */
static void test_every_truncation_is_refused(void **state UNUSED)
{
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        struct bytes_of sent = encode(sample_envelope(arena, kind, kind), arena);
        for (size_t size = 0; size < sent.size; size++) {
            struct err err = { 0 };
            Guildbus__V1__Envelope *got = NULL;
            void *cut = malloc(size ? size : 1);
            memcpy(cut, sent.data, size);
            assert_int_equal(codec_decode(cut, size, arena, &got, &err), STATUS_INVALID);
            assert_null(got);
            assert_true(*err.text != '\0');
            free(cut);
        }
    }
}

static void test_every_flipped_byte_is_refused_or_decodes_to_something_sound(void **state UNUSED)
{
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        struct bytes_of sent = encode(sample_envelope(arena, kind, kind), arena);
        for (size_t i = 0; i < sent.size * 8; i++) {
            CLEANUP(arena_free) struct arena *one = arena_new(0);
            Guildbus__V1__Envelope *got;
            uint8_t *bytes = sent.data;
            bytes[i / 8] ^= (uint8_t)(1U << i % 8);
            if (codec_decode(bytes, sent.size, one, &got, NULL) == STATUS_OK)
                assert_sound(got, one);
            bytes[i / 8] ^= (uint8_t)(1U << i % 8);
        }
    }
}

static void assert_refused(const char *bytes, size_t size, const char *says)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *got = NULL;
    struct err err = { 0 };

    assert_int_equal(codec_decode(bytes, size, arena, &got, &err), STATUS_INVALID);
    if (!strstr(err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}
#define REFUSED(bytes, says) assert_refused(bytes, sizeof(bytes) - 1, says)

static void test_garbage_is_refused_with_a_reason(void **state UNUSED)
{
    REFUSED("", "no body");
    REFUSED("{\"event\":{}}", "Envelope: not protobuf"); /* 0x7b starts a group */
    REFUSED("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "not protobuf");
    REFUSED("\x00\x00", "not protobuf"); /* field number 0 */
    REFUSED("\xfa\x3f\x01x", "no body"); /* only a field of a newer version */
    REFUSED("\x0a\x05\x12\x03"
            "a\xff"
            "b",
            "Error.text: not UTF-8");
    REFUSED("\x0a\x05\x12\x03"
            "a\0b",
            "Error.text: not UTF-8 without NUL");
    REFUSED("\x0a\x04\x12\x02\xc0\x80", "not UTF-8");         /* an overlong NUL */
    REFUSED("\x0a\x05\x12\x03\xed\xa0\x80", "not UTF-8");     /* a surrogate */
    REFUSED("\x0a\x06\x12\x04\xf4\x90\x80\x80", "not UTF-8"); /* above U+10FFFF */
    REFUSED("\x08\x01", "Envelope.error: not a message");
    REFUSED("\x0a\x02\x10\x01", "Error.text: not a string");
    REFUSED("\x0a\x02\x0a\x00", "not an envelope"); /* status as bytes */
    REFUSED("\x0a\x00\x0a\x00", "given twice");
    REFUSED("\x0a\x00\xaa\x01\x00", "beside another"); /* error and ok */
}

static void test_unknown_fields_of_a_newer_version_are_passed_over(void **state UNUSED)
{
    static const char newer[] = "\x0a\x07\x08\x03\xf8\x07\x01\x12\x00\xfa\x3f\x01x";
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *got;

    assert_int_equal(codec_decode(newer, sizeof(newer) - 1, arena, &got, NULL), STATUS_OK);
    assert_int_equal(got->body_case, GUILDBUS__V1__ENVELOPE__BODY_ERROR);
    assert_int_equal(got->error->status, 3);
    assert_string_equal(got->error->text, "");
}

static void test_what_does_not_fit_the_arena_is_busy(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *roomy = arena_new(0);
    struct bytes_of sent = encode(sample_envelope(roomy, 6, 1), roomy); /* a log record */
    char *json;
    assert_int_equal(codec_to_json(sample_envelope(roomy, 6, 1), false, roomy, &json, NULL),
                     STATUS_OK);

    int refused = 0;
    for (size_t limit = 1; limit < 12000; limit += 13) {
        CLEANUP(arena_free) struct arena *tight = arena_new(limit);
        CLEANUP(arena_free) struct arena *tighter = arena_new(limit);
        Guildbus__V1__Envelope *got;
        enum status status = codec_decode(sent.data, sent.size, tight, &got, NULL);
        assert_true(status == STATUS_OK || status == STATUS_BUSY);
        refused += status == STATUS_BUSY;
        status = codec_from_json(json, strlen(json), tighter, &got, NULL);
        assert_true(status == STATUS_OK || status == STATUS_BUSY);
    }
    assert_in_range(refused, 10, 900);
}

static void test_small_messages_that_grow_large_are_bounded(void **state UNUSED)
{
    /* record.change.rows: 300,000 empty rows of two bytes, 24 MB of structs */
    enum { ROWS = 300000, SIZE = 2 * ROWS };
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    uint8_t *bytes = malloc(SIZE + 16);
    Guildbus__V1__Envelope *got;
    size_t n = 0;

    for (int i = 0; i < ROWS; i++) {
        bytes[12 + 2 * i] = 0x0a;
        bytes[13 + 2 * i] = 0;
    }
    /* lengths as 4-byte varints */
    size_t sizes[] = { SIZE + 5, SIZE };
    uint8_t keys[] = { 0x3a, 0x5a };
    n = 2;
    for (int k = 0; k < 2; k++) {
        bytes[n++] = keys[k];
        for (int i = 0; i < 4; i++)
            bytes[n++] = (uint8_t)((sizes[k] >> (7 * i) & 0x7f) | (i < 3 ? 0x80 : 0));
    }
    assert_int_equal(codec_decode(bytes + 2, SIZE + 10, arena, &got, NULL), STATUS_BUSY);
    free(bytes);
}

static void test_what_a_receiver_would_refuse_is_not_sent(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope e = GUILDBUS__V1__ENVELOPE__INIT;
    Guildbus__V1__Error error = GUILDBUS__V1__ERROR__INIT;
    char text[] = "caf\xe9";
    void *data;
    size_t size;
    char *json;

    assert_int_equal(codec_encode(&e, arena, &data, &size, NULL), STATUS_INVALID);
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_ERROR;
    e.error = &error;
    error.text = text;
    assert_int_equal(codec_encode(&e, arena, &data, &size, NULL), STATUS_INVALID);
    assert_int_equal(codec_to_json(&e, false, arena, &json, NULL), STATUS_INVALID);
    text[3] = 'e';
    assert_int_equal(codec_encode(&e, arena, &data, &size, NULL), STATUS_OK);
}

static void test_the_content_type_chooses(void **state UNUSED)
{
    assert_true(codec_is_json("application/json"));
    assert_true(codec_is_json("Application/JSON; charset=utf-8"));
    assert_false(codec_is_json("application/jsonp"));
    assert_false(codec_is_json("application/x-protobuf"));
    assert_false(codec_is_json(""));
    assert_false(codec_is_json(NULL));

    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope *got;
    void *data;
    size_t size;
    assert_int_equal(codec_decode_as(true, "{\"ok\":{}}", 9, arena, &got, NULL), STATUS_OK);
    assert_int_equal(codec_encode_as(false, got, arena, &data, &size, NULL), STATUS_OK);
    assert_int_equal(size, 3);
    assert_int_equal(codec_decode_as(false, data, size, arena, &got, NULL), STATUS_OK);
    assert_int_equal(codec_encode_as(true, got, arena, &data, &size, NULL), STATUS_OK);
    assert_int_equal(size, 9);
    assert_memory_equal(data, "{\"ok\":{}}", size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_comes_back_as_it_was),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_flipped_byte_is_refused_or_decodes_to_something_sound),
        cmocka_unit_test(test_garbage_is_refused_with_a_reason),
        cmocka_unit_test(test_unknown_fields_of_a_newer_version_are_passed_over),
        cmocka_unit_test(test_what_does_not_fit_the_arena_is_busy),
        cmocka_unit_test(test_small_messages_that_grow_large_are_bounded),
        cmocka_unit_test(test_what_a_receiver_would_refuse_is_not_sent),
        cmocka_unit_test(test_the_content_type_chooses),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
