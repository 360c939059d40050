/* http_exchange.h - one request and its answer, as http_server.c and http_exchange.c share it.
 *
 * THREAD: confined to the loop's. */
#ifndef BASE_HTTP_EXCHANGE_H
#define BASE_HTTP_EXCHANGE_H

#include <netinet/in.h>

#include "base/http_parse.h"
#include "base/http_server.h"

struct http_conn;

struct http_exchange {
    struct http_server *server;
    struct http_conn *conn;                /* NULL: the client has gone */
    struct http_exchange *previous, *next; /* of the server's */
    struct arena *arena;
    char *head_text;
    struct http_head head;
    char *body; /* NUL added; NULL: none */
    size_t body_size;
    char peer[INET6_ADDRSTRLEN];
    char *form;           /* the body, cut at each field; NULL: not asked for yet */
    char *answer_headers; /* lines, each with its CR LF */
    size_t answer_headers_size;
    bool muted; /* to be cut, not answered */
};

/* A whole answer is ready; takes bytes (malloc'd). In http_server.c. */
void http_conn_answer(struct http_conn *conn, char *bytes, size_t size);
/* Closes without an answer. In http_server.c. */
void http_conn_cut(struct http_conn *conn);
/* Takes x out of its server's list and frees it. In http_server.c. */
void http_exchange_free(struct http_exchange *x);

/* The answer as it goes over the wire, malloc'd. head_only: to a HEAD. extra: header lines. */
struct http_answer {
    int status;
    const char *type; /* NULL: none */
    const void *body;
    size_t size;
    bool head_only, keep_alive;
    const char *extra;
    size_t extra_size;
};
char *http_answer_bytes(const struct http_answer *a, size_t *ret_size);

#endif
