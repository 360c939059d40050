/* http_parse.h - the bytes of an HTTP/1.1 request become a head; strict, bounded, no I/O.
 *
 * Strict where being liberal lets two programs read one request differently (RFC 9112 §11): no
 * folded lines, no blank before a colon, no bare CR or LF, one length only.
 *
 * THREAD: any. */
#ifndef BASE_HTTP_PARSE_H
#define BASE_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/http_server.h"

enum { HTTP_MAX_HEAD = 16 * 1024, HTTP_MAX_FIELDS = 100 };

struct http_field {
    const char *name, *value; /* name lower-case */
};

struct http_head {
    enum http_method method;
    const char *path;  /* decoded */
    const char *query; /* raw, "" when there is none */
    bool keep_alive, chunked, has_length, expects_continue, wants_websocket;
    uint64_t length;
    struct http_field fields[HTTP_MAX_FIELDS];
    size_t count;
};

/* The size of the head up to and with its empty line; 0: not complete. */
size_t http_head_size(const char *bytes, size_t size);
/* text holds a whole head; it is changed, and *ret_head points into it. 0: fine, else the HTTP
 * status to answer: 400, 405, 431, 501 or 505. */
int http_head_parse(char *text, size_t size, struct http_head *ret_head);
const char *http_head_field(const struct http_head *head, const char *name);

/* Percent-decodes in place, '+' to blank in forms; false: bad escape or a NUL. */
bool http_decode(char *text, bool form);

/* A chunked body, decoded in place as it comes. Zero-initialise. */
struct http_chunks {
    int state;
    uint64_t left;
    unsigned digits, extra; /* of the size line; bytes of extensions and trailers */
};
enum http_chunks_result { HTTP_CHUNKS_MORE, HTTP_CHUNKS_DONE, HTTP_CHUNKS_BAD };
/* Reads from bytes, writes the payload to out (may be bytes itself, size as many). */
enum http_chunks_result http_chunks_read(struct http_chunks *c, const char *bytes, size_t size,
                                         char *out, size_t *ret_used, size_t *ret_payload);

#endif
