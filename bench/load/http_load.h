/* http_load.h - requests over HTTP/1.1, as many at a time as there are connections, or at a rate. All
 * are made before the first leaves, so that sending costs next to nothing.
 *
 * At a rate the latency of each counts from when it was due, also when no connection was free: a
 * server that stands still is not asked less.
 *
 * THREAD: confined. */
#ifndef BENCH_HTTP_LOAD_H
#define BENCH_HTTP_LOAD_H

#include <netinet/in.h>

#include "bench/load/load.h"

struct http_target {
    struct sockaddr_in address;
    char host[64], path[128]; /* host with its port */
};
/* http://A.B.C.D:PORT/PATH, else INVALID. */
enum status http_target_read(const char *url, struct http_target *ret_target, struct err *err)
    MUST_CHECK;

/* Size of the whole message by its Content-Length (none: no body); 0: its head is not whole yet. text
 * ends with a NUL. */
size_t http_message_size(const char *text, size_t got, bool *ret_has_length);

struct http_load {
    const struct http_target *target;
    char **requests; /* whole, with their headers */
    size_t count, connections;
    int64_t rate;         /* a second; 0: closed loop */
    const char *expected; /* in the body of a 200 that counts as answered */
    const char *deferred; /* … as deferred; NULL: none does */
    bool forgive;         /* a connection that is refused or breaks fails its request only */
    const char *trace; /* a file: "when it was due, its latency (both µs, monotonic), answered" */
};
/* Prints a line of JSON. */
enum status http_load_run(const struct http_load *what, struct err *err) MUST_CHECK;

#endif
