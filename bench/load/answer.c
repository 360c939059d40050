/* answer.c - an endpoint that reads a request and answers at once, so that the generator can be
 * measured alone. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/xmem.h"
#include "bench/load/http_load.h"

enum { REQUEST_MAX = 8192, EVENTS = 256 };
static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            "Content-Length: 10\r\n\r\n{\"type\":4}";

struct peer {
    int fd;
    size_t got;
    char text[REQUEST_MAX];
};

/* The whole request has come. */
static bool is_whole(const struct peer *p)
{
    bool has_length;
    size_t size = http_message_size(p->text, p->got, &has_length);

    return size && p->got >= size;
}

static bool serve(struct peer *p)
{
    ssize_t n = recv(p->fd, p->text + p->got, REQUEST_MAX - 1 - p->got, 0);

    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    p->got += (size_t)n;
    p->text[p->got] = '\0';
    if (!is_whole(p))
        return p->got < REQUEST_MAX - 1;
    p->got = 0;
    return send(p->fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(reply) - 1;
}

static void welcome(int epoll, int listener)
{
    const int on = 1;
    struct peer *p = xcalloc(1, sizeof(*p));
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = p };

    p->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (p->fd >= 0 && !setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) &&
        !epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &event))
        return;
    if (p->fd >= 0)
        (void)close(p->fd);
    free(p);
}

static enum status listen_anywhere(int *ret_fd, struct err *err)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*ret_fd < 0 || bind(*ret_fd, (const struct sockaddr *)&address, size) ||
        listen(*ret_fd, SOMAXCONN) || getsockname(*ret_fd, (struct sockaddr *)&address, &size))
        return err_set(err, STATUS_UNAVAILABLE, "no port: %s", strerrordesc_np(errno));
    (void)printf("{\"port\":%d}\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return STATUS_OK;
}

enum status load_answer(const struct load_options *o, struct err *err)
{
    struct epoll_event events[EVENTS], event = { .events = EPOLLIN };
    int listener, epoll = epoll_create1(EPOLL_CLOEXEC);

    (void)o;
    TRY(listen_anywhere(&listener, err));
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
        return err_set(err, STATUS_UNAVAILABLE, "epoll: %s", strerrordesc_np(errno));
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (!p) {
                welcome(epoll, listener);
            } else if (!serve(p)) {
                (void)close(p->fd);
                free(p);
            }
        }
    }
}
