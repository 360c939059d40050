/* loop_world.h - a loop on a thread of its own, and a plain socket to talk to it, for tests. */
#ifndef TESTS_UNIT_BASE_LOOP_WORLD_H
#define TESTS_UNIT_BASE_LOOP_WORLD_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/macros.h"
#include "base/xmem.h"

struct loop_world {
    struct loop *loop;
    pthread_t thread;
};

static inline void *loop_world_run(void *arg)
{
    loop_run(((struct loop_world *)arg)->loop);
    return NULL;
}

static inline void loop_world_start(struct loop_world *w)
{
    must(pthread_create(&w->thread, NULL, loop_world_run, w) == 0);
}

static inline void loop_world_stop(struct loop_world *w)
{
    loop_stop(w->loop);
    pthread_join(w->thread, NULL);
}

/* Runs fn(ctx) on the loop's thread and waits for it. */
struct loop_call {
    struct letter letter;
    void (*fn)(void *ctx);
    void *ctx;
    sem_t done;
};

static inline void loop_call_read(struct letter *l, void *owner UNUSED)
{
    struct loop_call *c = CONTAINER_OF(l, struct loop_call, letter);

    c->fn(c->ctx);
    sem_post(&c->done);
}

static inline void loop_call_discard(struct letter *l)
{
    sem_post(&CONTAINER_OF(l, struct loop_call, letter)->done);
}

static inline void loop_world_call(struct loop_world *w, void (*fn)(void *ctx), void *ctx)
{
    struct loop_call c = { .letter = { .read = loop_call_read, .discard = loop_call_discard },
                           .fn = fn,
                           .ctx = ctx };
    struct letter *l = &c.letter;

    sem_init(&c.done, 0, 0);
    mailbox_post_always(loop_mailbox(w->loop), &l);
    while (sem_wait(&c.done) != 0)
        ;
    sem_destroy(&c.done);
}

static inline int socket_to(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

static inline void socket_write(int fd, const void *data, size_t size)
{
    const char *bytes = data;

    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, bytes + at, size - at, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the other side may refuse before it has all */
        at += (size_t)n;
    }
}

static inline void socket_text(int fd, const char *text)
{
    socket_write(fd, text, strlen(text));
}

/* Reads until text stands in what came, or to the end when text is NULL. NUL added. */
static inline char *socket_read_until(int fd, const char *text, size_t *ret_size)
{
    size_t size = 0, room = 65536;
    char *bytes = xcalloc(1, room + 1);

    while (!text || !memmem(bytes, size, text, strlen(text))) {
        if (size == room) {
            room *= 2;
            bytes = xrealloc(bytes, room + 1);
        }
        ssize_t n = recv(fd, bytes + size, text ? 1 : room - size, 0);
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    bytes[size] = '\0';
    if (ret_size)
        *ret_size = size;
    return bytes;
}

#endif
