#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_parse.h"
#include "base/xmem.h"

static struct http_head head;
static char *text; /* what head points into */

static int parse(const char *bytes)
{
    free(text);
    text = xstrdup(bytes);
    assert_int_equal(http_head_size(text, strlen(text)), strlen(text));
    return http_head_parse(text, strlen(text), &head);
}

static void test_a_request_is_taken_apart(void **state UNUSED)
{
    assert_int_equal(parse("POST /a%20b/%C3%A4?x=1&y=%20 HTTP/1.1\r\nHost: h\r\n"
                           "X-Signature:  abc \t\r\ncontent-length: 12\r\n\r\n"),
                     0);
    assert_int_equal(head.method, HTTP_POST);
    assert_string_equal(head.path, "/a b/\xc3\xa4");
    assert_string_equal(head.query, "x=1&y=%20");
    assert_string_equal(http_head_field(&head, "x-signature"), "abc");
    assert_null(http_head_field(&head, "x-absent"));
    assert_true(head.has_length && head.length == 12 && head.keep_alive && !head.chunked);
}

static void test_what_a_connection_wants_is_read(void **state UNUSED)
{
    assert_int_equal(parse("GET / HTTP/1.1\r\nhost: h\r\nconnection: Keep-Alive, Close\r\n\r\n"),
                     0);
    assert_false(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n"), 0);
    assert_false(head.keep_alive);
    assert_int_equal(
        parse("GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"), 0);
    assert_true(head.wants_websocket);
    assert_int_equal(parse("POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n"
                           "transfer-encoding: chunked\r\n\r\n"),
                     0);
    assert_true(head.expects_continue && head.chunked);
    assert_int_equal(parse("GET http://other.example/p HTTP/1.1\r\nhost: h\r\n\r\n"), 0);
    assert_string_equal(head.path, "/p");
}

static void test_requests_that_two_programs_could_read_differently_are_refused(void **state UNUSED)
{
    static const struct {
        int status;
        const char *bytes;
    } bad[] = {
        { 400, "GET / HTTP/1.1\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n folded\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\rz\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nhost: a\r\nx: \x01\r\n\r\n" },
        { 400, "GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 400, "GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 400, "GET /\xc3\xa4 HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 400, "GET  / HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 505, "GET / HTTP/1.1 \r\nhost: a\r\n\r\n" },
        { 400, "GET\r\nhost: a\r\n\r\n" },
        { 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n" },
        { 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\n" },
        { 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9999999999999999999\r\n\r\n" },
        { 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n"
               "\r\n" },
        { 400, "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n" },
        { 501, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n" },
        { 405, "BREW / HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 405, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 405, "get / HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 400, "B(W / HTTP/1.1\r\nhost: a\r\n\r\n" },
        { 505, "GET / HTTP/2.0\r\nhost: a\r\n\r\n" },
        { 505, "GET / HTTP/1.1x\r\nhost: a\r\n\r\n" },
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int status = parse(bad[i].bytes);
        if (status != bad[i].status)
            fail_msg("%d, not %d: %s", status, bad[i].status, bad[i].bytes);
    }
}

static void test_too_many_fields_are_refused(void **state UNUSED)
{
    char *many = xstrdup("GET / HTTP/1.1\r\nhost: h\r\n");

    for (int i = 0; i < HTTP_MAX_FIELDS; i++) {
        char *more = xasprintf("%sx%d: y\r\n", many, i);
        free(many);
        many = more;
    }
    char *whole = xasprintf("%s\r\n", many);
    assert_int_equal(parse(whole), 431);
    free(many);
    free(whole);
}

static enum http_chunks_result dechunk(const char *bytes, size_t step, char *out, size_t *ret_size)
{
    struct http_chunks c = { 0 };
    enum http_chunks_result r = HTTP_CHUNKS_MORE;
    size_t used, payload, size = 0;

    for (size_t at = 0; at < strlen(bytes) && r == HTTP_CHUNKS_MORE; at += used) {
        size_t n = strlen(bytes) - at < step ? strlen(bytes) - at : step;
        r = http_chunks_read(&c, bytes + at, n, out + size, &used, &payload);
        size += payload;
    }
    *ret_size = size;
    return r;
}

static void test_chunks_are_joined_however_they_arrive(void **state UNUSED)
{
    static const char bytes[] =
        "5\r\nhello\r\n1;ext=1\r\n \r\nA\r\n0123456789\r\n0\r\nt: x\r\n\r\n";

    for (size_t step = 1; step <= sizeof(bytes); step++) {
        char out[64];
        size_t size;
        assert_int_equal(dechunk(bytes, step, out, &size), HTTP_CHUNKS_DONE);
        assert_int_equal(size, 16);
        assert_memory_equal(out, "hello 0123456789", 16);
    }
}

static void test_broken_chunks_are_refused(void **state UNUSED)
{
    static const char *const bad[] = { "x\r\n",         "\r\n",   "5\nhello\r\n",  "1\r\nab\r\n",
                                       "123456789\r\n", "-1\r\n", "1\r\na\n0\r\n", "0\r\n\rx" };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[64];
        size_t size;
        if (dechunk(bad[i], 64, out, &size) != HTTP_CHUNKS_BAD)
            fail_msg("taken: %s", bad[i]);
    }
}

static int release(void **state UNUSED)
{
    free(text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_taken_apart),
        cmocka_unit_test(test_what_a_connection_wants_is_read),
        cmocka_unit_test(test_requests_that_two_programs_could_read_differently_are_refused),
        cmocka_unit_test(test_too_many_fields_are_refused),
        cmocka_unit_test(test_chunks_are_joined_however_they_arrive),
        cmocka_unit_test(test_broken_chunks_are_refused),
    };
    return cmocka_run_group_tests_name("http_parse", tests, NULL, release);
}
