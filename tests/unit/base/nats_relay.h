/* nats_relay.h - a TCP server in front of NATS for tests: it can die and come back on its port.
 *
 *     bus ──▶ relay ──▶ nats-server
 *
 * THREAD: one, but the forwarding has its own. */
#ifndef TESTS_UNIT_BASE_NATS_RELAY_H
#define TESTS_UNIT_BASE_NATS_RELAY_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/xmem.h"

enum { RELAY_PAIRS = 16 };

struct nats_relay {
    bool is_running;
    _Atomic bool is_held; /* nothing passes; seen within 20 ms */
    int port, listener, stop[2];
    struct sockaddr_in target;
    pthread_t thread;
};

/* A socket on a port of loopback (0: any) that nobody listens on yet. */
static inline int bound_socket(int port, int *ret_port)
{
    const int on = 1;
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
    must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    must(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static inline bool relay_pass(int from, int to)
{
    char bytes[4096];
    ssize_t n = recv(from, bytes, sizeof(bytes), 0);

    return n > 0 && send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static inline void relay_accept(struct nats_relay *r, struct pollfd *at)
{
    int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(connect(out, (struct sockaddr *)&r->target, sizeof(r->target)) == 0);
    at[0] = (struct pollfd){ .fd = accept(r->listener, NULL, NULL), .events = POLLIN };
    at[1] = (struct pollfd){ .fd = out, .events = POLLIN };
}

static inline void relay_end(struct pollfd *pair)
{
    for (int i = 0; i < 2; i++) {
        if (pair[i].fd >= 0)
            close(pair[i].fd);
        pair[i].fd = -1;
    }
}

static inline void *relay_run(void *arg)
{
    struct nats_relay *r = arg;
    struct pollfd fds[2 + 2 * RELAY_PAIRS];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = (struct pollfd){ .fd = -1 };
    fds[0] = (struct pollfd){ .fd = r->stop[0], .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = r->listener, .events = POLLIN };
    while (poll(fds, r->is_held ? 1 : ARRAY_LEN(fds), 20) >= 0 && !fds[0].revents) {
        if (r->is_held)
            continue;
        for (size_t i = 2; i < ARRAY_LEN(fds); i += 2) {
            if ((fds[i].revents && !relay_pass(fds[i].fd, fds[i + 1].fd)) ||
                (fds[i + 1].revents && !relay_pass(fds[i + 1].fd, fds[i].fd)))
                relay_end(&fds[i]);
            if (fds[i].fd < 0 && fds[1].revents) {
                fds[1].revents = 0;
                relay_accept(r, &fds[i]);
                fds[i].revents = fds[i + 1].revents = 0;
            }
        }
    }
    for (size_t i = 2; i < ARRAY_LEN(fds); i += 2)
        relay_end(&fds[i]);
    return NULL;
}

/* port 0: any. */
static inline void relay_start(struct nats_relay *r, int port, const char *nats_url)
{
    const char *colon = strrchr(nats_url, ':');

    must(colon != NULL);
    r->target = (struct sockaddr_in){ .sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    r->listener = bound_socket(port, &r->port);
    must(listen(r->listener, RELAY_PAIRS) == 0);
    must(pipe(r->stop) == 0);
    must(pthread_create(&r->thread, NULL, relay_run, r) == 0);
    r->is_running = true;
}

/* Its connections end, and new ones are refused. Does nothing when it is stopped. */
static inline void relay_stop(struct nats_relay *r)
{
    if (!r->is_running)
        return;
    r->is_running = false;
    must(write(r->stop[1], "x", 1) == 1);
    pthread_join(r->thread, NULL);
    close(r->listener);
    close(r->stop[0]);
    close(r->stop[1]);
}

#endif
