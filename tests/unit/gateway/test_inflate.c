#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/xmem.h"
#include "gateway/inflate.h"

enum { MOST = 1 << 20 };

/* Discord's side: one deflate stream. */
struct sender {
    z_stream zlib;
    struct bytes packed;
};

static void sender_init(struct sender *s)
{
    *s = (struct sender){ .packed = { .size = 0 } };
    assert_int_equal(deflateInit(&s->zlib, Z_DEFAULT_COMPRESSION), Z_OK);
}

static void sender_release(struct sender *s)
{
    (void)deflateEnd(&s->zlib);
    bytes_release(&s->packed);
}

static void send(struct sender *s, const void *data, size_t size, int flush)
{
    char *copy = xmemdup(data, size);

    bytes_clear(&s->packed);
    s->zlib.next_in = (unsigned char *)copy;
    s->zlib.avail_in = (uInt)size;
    do {
        s->zlib.next_out = bytes_reserve(&s->packed, 4096);
        s->zlib.avail_out = 4096;
        (void)deflate(&s->zlib, flush);
        s->packed.size += 4096 - s->zlib.avail_out;
    } while (s->zlib.avail_out == 0);
    free(copy);
}

static enum status feed(struct inflate *i, const struct bytes *b, const char **ret, size_t *size)
{
    struct err err;
    return inflate_feed(i, b->data, b->size, ret, size, &err);
}

static void test_each_flush_ends_a_payload_of_one_stream(void **state UNUSED)
{
    CLEANUP(inflate_free) struct inflate *i = inflate_new(MOST);
    struct sender s;
    char text[64];
    const char *got;
    size_t size;

    sender_init(&s);
    for (int n = 0; n < 500; n++) {
        (void)snprintf(text, sizeof(text), "{\"op\":0,\"s\":%d}", n);
        send(&s, text, strlen(text), Z_SYNC_FLUSH);
        assert_int_equal(feed(i, &s.packed, &got, &size), STATUS_OK);
        assert_non_null(got);
        assert_string_equal(got, text);
        assert_int_equal(size, strlen(text));
    }
    sender_release(&s);
}

static void test_a_payload_may_come_in_pieces_of_any_size(void **state UNUSED)
{
    struct sender s;
    char text[20000];
    const char *got;
    size_t size;

    for (size_t n = 0; n < sizeof(text); n++)
        text[n] = (char)('a' + n * n % 26);
    for (size_t piece = 1; piece < 9; piece++) {
        CLEANUP(inflate_free) struct inflate *i = inflate_new(MOST);
        sender_init(&s);
        for (int round = 0; round < 3; round++) {
            send(&s, text, sizeof(text), Z_SYNC_FLUSH);
            for (size_t at = 0; at < s.packed.size; at += piece) {
                size_t left = s.packed.size - at, now = left < piece ? left : piece;
                assert_int_equal(inflate_feed(i, s.packed.data + at, now, &got, &size, NULL),
                                 STATUS_OK);
                assert_int_equal(got != NULL, now == left);
            }
            assert_int_equal(size, sizeof(text));
            assert_memory_equal(got, text, size);
        }
        sender_release(&s);
    }
}

static void test_a_bomb_is_refused_at_the_bound(void **state UNUSED)
{
    CLEANUP(inflate_free) struct inflate *i = inflate_new(MOST);
    char *zeros = xcalloc(64, MOST);
    struct sender s;
    const char *got;
    size_t size;

    sender_init(&s);
    send(&s, zeros, (size_t)64 * MOST, Z_SYNC_FLUSH);
    assert_true(s.packed.size < MOST / 8); /* 64 MB in less than an eighth of one */
    assert_int_equal(feed(i, &s.packed, &got, &size), STATUS_INVALID);
    assert_null(got);
    assert_int_equal(feed(i, &s.packed, &got, &size), STATUS_CORRUPT);
    sender_release(&s);
    free(zeros);
}

static void test_a_payload_of_exactly_the_bound_is_taken(void **state UNUSED)
{
    CLEANUP(inflate_free) struct inflate *i = inflate_new(MOST);
    char *text = xcalloc(1, MOST + 1);
    struct sender s;
    const char *got;
    size_t size;

    sender_init(&s);
    send(&s, text, MOST, Z_SYNC_FLUSH);
    assert_int_equal(feed(i, &s.packed, &got, &size), STATUS_OK);
    assert_int_equal(size, MOST);
    send(&s, "{}", 2,
         Z_SYNC_FLUSH); /* the room of the large one is given back, the stream goes on */
    assert_int_equal(feed(i, &s.packed, &got, &size), STATUS_OK);
    assert_string_equal(got, "{}");
    send(&s, text, MOST + 1, Z_SYNC_FLUSH);
    assert_int_equal(feed(i, &s.packed, &got, &size), STATUS_INVALID);
    sender_release(&s);
    free(text);
}

/* Empty blocks without the end of a payload make no output: what comes in is bounded, too. */
static void test_an_endless_payload_is_refused(void **state UNUSED)
{
    CLEANUP(inflate_free) struct inflate *i = inflate_new(1000);
    static const unsigned char head[] = { 0x78, 0x9c }, empty[] = { 0x00, 0x00, 0x00, 0xff, 0xff };
    enum status status = STATUS_OK;
    const char *got;
    size_t size;
    int fed = 0;

    assert_int_equal(inflate_feed(i, head, sizeof(head), &got, &size, NULL), STATUS_OK);
    for (; status == STATUS_OK && fed < 1000; fed++) {
        unsigned char block[6] = { 0 };
        memcpy(block, empty, sizeof(empty)); /* and the first byte of the next one */
        status = fed == 0 ? inflate_feed(i, block, 6, &got, &size, NULL)
                          : inflate_feed(i, block + 1, 5, &got, &size, NULL);
        assert_null(got);
    }
    assert_int_equal(status, STATUS_INVALID);
    assert_true(fed < 250);
}

static void test_what_is_no_zlib_is_refused_for_good(void **state UNUSED)
{
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        { "{\"op\":10}", 9 },
        { "\x1f\x8b\x08\x00\x00\x00", 6 },                          /* gzip */
        { "\x78\xbb\x00\x00\x00\x01", 6 },                          /* needs a dictionary */
        { "\x78\x9c\xff\xff\xff", 5 },                              /* no such block */
        { "\x78\x9c\x03\x00\x00\x00\x00\x01\x00\x00\xff\xff", 12 }, /* ends, then goes on */
        { "\x78\x9c\x03\x00\x00\x00\x00\x02\x00\x00\xff\xff", 12 }, /* a wrong checksum */
    };
    const char *got;
    size_t size;

    for (size_t n = 0; n < ARRAY_LEN(rows); n++) {
        CLEANUP(inflate_free) struct inflate *i = inflate_new(MOST);
        struct err err;
        if (inflate_feed(i, rows[n].bytes, rows[n].size, &got, &size, &err) != STATUS_CORRUPT)
            fail_msg("row %zu", n);
        assert_true(strstr(err.text, "zlib-stream") != NULL);
        assert_int_equal(inflate_feed(i, "", 0, &got, &size, NULL), STATUS_CORRUPT);
    }
}

static void test_nothing_and_an_empty_flush_are_no_errors(void **state UNUSED)
{
    CLEANUP(inflate_free) struct inflate *i = inflate_new(MOST);
    struct sender s;
    const char *got;
    size_t size;

    sender_init(&s);
    assert_int_equal(inflate_feed(i, "", 0, &got, &size, NULL), STATUS_OK);
    assert_null(got);
    send(&s, "a", 1, Z_SYNC_FLUSH);
    assert_int_equal(feed(i, &s.packed, &got, &size), STATUS_OK);
    assert_string_equal(got, "a");
    assert_int_equal(inflate_feed(i, "\0\0\0\xff\xff", 5, &got, &size, NULL), STATUS_OK);
    assert_non_null(got);
    assert_int_equal(size, 0);
    sender_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_flush_ends_a_payload_of_one_stream),
        cmocka_unit_test(test_a_payload_may_come_in_pieces_of_any_size),
        cmocka_unit_test(test_a_bomb_is_refused_at_the_bound),
        cmocka_unit_test(test_a_payload_of_exactly_the_bound_is_taken),
        cmocka_unit_test(test_an_endless_payload_is_refused),
        cmocka_unit_test(test_what_is_no_zlib_is_refused_for_good),
        cmocka_unit_test(test_nothing_and_an_empty_flush_are_no_errors),
    };
    return cmocka_run_group_tests_name("inflate", tests, NULL, NULL);
}
