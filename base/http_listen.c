#include "base/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 512 };

static enum status bind_failed(const char *bind_to, int port, struct err *err)
{
    int why = errno;

    if (why == EADDRINUSE)
        return err_set(err, STATUS_CONFLICT,
                       "port %d on %s is in use: stop what listens there or choose another", port,
                       bind_to);
    if (why == EACCES)
        return err_set(err, STATUS_DENIED,
                       "port %d on %s needs a privilege: choose one from 1024 on", port, bind_to);
    return err_set(err, STATUS_UNAVAILABLE, "cannot listen on %s port %d: %s", bind_to, port,
                   strerrordesc_np(why));
}

static int listen_at(const struct addrinfo *a)
{
    const int on = 1, off = 0;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    /* Never SO_REUSEPORT: two processes on one port would share its clients by chance. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

enum status http_listen_open(const char *bind_to, int port, int *ret_fd, struct err *err)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char number[8];

    (void)snprintf(number, sizeof(number), "%u", (unsigned)port & 0xffff);
    int why = getaddrinfo(bind_to, number, &hints, &found);
    if (why != 0)
        return err_set(err, STATUS_INVALID, "%s is no address to listen on: %s", bind_to,
                       gai_strerror(why));
    int fd = listen_at(found);
    enum status status = fd < 0 ? bind_failed(bind_to, port, err) : STATUS_OK;
    freeaddrinfo(found);
    if (status == STATUS_OK)
        *ret_fd = fd;
    return status;
}

int http_listen_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } mine = { .six = { 0 } };
    socklen_t size = sizeof(mine);

    must(getsockname(fd, &mine.any, &size) == 0);
    return ntohs(mine.any.sa_family == AF_INET6 ? mine.six.sin6_port : mine.four.sin_port);
}
