/* http_server.h - HTTP/1.1 on a loop: bounded requests in, one answer each out.
 *
 *     socket ─▶ lws ─▶ (whole body, at most max_body) ─▶ handler(ctx, exchange) …
 * http_respond(exchange)
 *
 * A handler may answer at once or keep the exchange and answer later from the loop's thread; the
 * exchange lives until it is answered, also when the client has gone. Over-long bodies are answered
 * 413, over-long headers 431, unknown methods 405, before any handler runs. Idle and slow clients
 * are cut (timeout_ms).
 *
 * THREAD: confined to the loop's. */
#ifndef BASE_HTTP_SERVER_H
#define BASE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/loop.h"
#include "base/status.h"

struct http_server;
struct http_exchange;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

struct http_server_config {
    const char *name; /* in log lines */
    const char *bind; /* "127.0.0.1", "0.0.0.0", "::" … */
    int port;         /* 0: the system chooses */
    size_t max_body;  /* bytes */
    int timeout_ms;   /* a request's headers and body must arrive in it; 0: 10,000 */
    void (*on_request)(void *ctx, struct http_exchange *x);
    void *ctx;
    /* Extra lws protocols on this port (a WebSocket server); NULL: none. Terminated by a zeroed
     * entry. */
    const struct lws_protocols *websocket_protocols;
};
/* CONFLICT: the port is in use; err says which. */
enum status http_server_listen(struct loop *loop, const struct http_server_config *config,
                               struct http_server **ret_server, struct err *err) MUST_CHECK;
int http_server_port(const struct http_server *server);
/* Stops listening; exchanges under way may still be answered. Freed with the loop. */
void http_server_close(struct http_server *server);

enum http_method http_method(const struct http_exchange *x);
const char *http_path(const struct http_exchange *x);      /* decoded, without the query */
const char *http_query_raw(const struct http_exchange *x); /* "" when there is none */
/* Decoded value of a query parameter, from the exchange's arena; NULL: absent. */
const char *http_query(struct http_exchange *x, const char *name);
/* Decoded field of an application/x-www-form-urlencoded body; NULL: absent. */
const char *http_form(struct http_exchange *x, const char *name);
/* Header by lower-case name without colon; NULL: absent. */
const char *http_header(struct http_exchange *x, const char *name);
const char *http_cookie(struct http_exchange *x, const char *name);
const char *http_peer(const struct http_exchange *x);                   /* numeric address */
const void *http_body(const struct http_exchange *x, size_t *ret_size); /* NUL added behind it */
struct arena *http_arena(struct http_exchange *x); /* lives as long as the exchange */

/* Adds a header to the answer to come. name lower-case, without colon. CR and LF are refused
 * (aborts: the caller must have validated). */
void http_answer_header(struct http_exchange *x, const char *name, const char *value);
/* Ends the exchange; x must not be used afterwards. body is copied. content_type NULL: none. */
void http_respond(struct http_exchange *x, int status, const char *content_type, const void *body,
                  size_t size);
void http_respond_text(struct http_exchange *x, int status, const char *text);
void http_respond_json(struct http_exchange *x, int status, const char *json);
/* {"error":{"status":"NOT_FOUND","text":"…"}} with the status' HTTP code. */
void http_respond_err(struct http_exchange *x, const struct err *err);
void http_redirect(struct http_exchange *x, const char *location); /* 303 */
/* Whatever x is answered from now on, the client gets nothing: the connection is cut instead. For
 * servers that play a broken one. */
void http_mute(struct http_exchange *x);

#endif
