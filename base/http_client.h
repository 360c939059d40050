/* http_client.h - HTTP calls out: libcurl multi on one thread of its own, answers as letters.
 *
 * No redirects are followed, answers are bounded, only http and https are spoken. HTTP/2 where
 * offered.
 *
 * THREAD: http_client_send any; new/free one thread. */
#ifndef BASE_HTTP_CLIENT_H
#define BASE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/status.h"

struct http_client;

struct http_result {
    enum status status; /* OK: an answer came, whatever its code; TIMEOUT, UNAVAILABLE otherwise */
    int code;           /* HTTP status, 0 without an answer */
    const char *body;   /* NUL added */
    size_t size;
    const char *error; /* curl's text when status is not OK */
    bool unsent;       /* no connection was made: the other side has not seen the call (.once) */
    void *answer;      /* for http_result_header */
};
/* Last value of an answer header, lower-case name; NULL: absent. Valid during the callback. */
const char *http_result_header(const struct http_result *r, const char *name);

/* A header must stay one line: printable ASCII without blanks, at least one. */
bool http_takes_token(const char *token);

struct http_call {
    const char *method, *url;   /* copied */
    const char *const *headers; /* "Name: value", NULL-terminated; copied; may be NULL */
    const void *body;           /* copied */
    size_t size;
    int timeout_ms;      /* whole call; 0: 15,000 */
    size_t max_answer;   /* 0: 4 MiB; longer fails with UNAVAILABLE */
    bool once;           /* over a connection of its own: else curl repeats by itself what a reused
                            connection swallowed, though the other side may have done it */
    struct mailbox *box; /* where on_done runs */
    void (*on_done)(void *ctx, uint64_t tag, const struct http_result *result);
    void *ctx;
    uint64_t tag;
};

enum status http_client_new(const char *user_agent, struct http_client **ret_client,
                            struct err *err) MUST_CHECK;
/* Calls under way end without their on_done. */
void http_client_free(struct http_client *client);
DEFINE_CLEANUP(struct http_client *, http_client_free)

/* on_done is called exactly once unless the client is freed first. */
void http_client_send(struct http_client *client, const struct http_call *call);
/* Blocks. For start-up and tools. *ret_body malloc'd, NUL added. */
enum status http_client_wait(struct http_client *client, const struct http_call *call,
                             int *ret_code, char **ret_body, struct err *err) MUST_CHECK;

#endif
