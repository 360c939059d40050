/* bus_version.c - asks a NATS server for its version by reading the INFO line it greets each
 * connection with. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/bus.h"

static int connect_to(const char *host, const char *port)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    const struct timeval limit = { .tv_sec = 2 };
    struct addrinfo *all = NULL;
    int fd = -1;

    if (getaddrinfo(host, port, &hints, &all))
        return -1;
    for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (connect(fd, a->ai_addr, a->ai_addrlen)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(all);
    return fd;
}

/* Reads up to the end of the first line. */
static void read_line(int fd, char *line, size_t size)
{
    size_t n = 0;

    while (n + 1 < size) {
        ssize_t got = read(fd, line + n, size - n - 1);
        if (got <= 0)
            break;
        n += (size_t)got;
        if (memchr(line, '\n', n))
            break;
    }
    line[n] = '\0';
}

/* nats://[user:pass@]host:port → host and port, in place. */
static char *split_url(char *url, char **ret_port)
{
    char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    char *at = strrchr(host, '@');
    if (at)
        host = at + 1;
    char *colon = strrchr(host, ':');
    *ret_port = colon ? colon + 1 : NULL;
    if (!colon)
        return NULL;
    *colon = '\0';
    if (*host == '[') { /* IPv6 */
        host++;
        host[strcspn(host, "]")] = '\0';
    }
    return host;
}

static bool read_number(const char **at, int *ret)
{
    char *end;
    long n = strtol(*at, &end, 10);

    if (end == *at || n < 0 || n > 100000)
        return false;
    *ret = (int)n;
    *at = *end == '.' ? end + 1 : end;
    return true;
}

enum status bus_server_version(struct bus *bus, int ret_version[3], struct err *err)
{
    char url[512], line[8192], *port;
    struct err e = { 0 };

    if (bus_connected_url(bus, url, sizeof(url), &e) != STATUS_OK)
        return err_set(err, e.code, "%s", e.text);
    char *host = split_url(url, &port);
    int fd = host ? connect_to(host, port) : -1;
    if (fd < 0)
        return err_set(err, STATUS_UNAVAILABLE, "could not ask the NATS server for its version");
    read_line(fd, line, sizeof(line));
    close(fd);

    const char *at = strstr(line, "\"version\":\"");
    if (at)
        at += strlen("\"version\":\"");
    for (int i = 0; i < 3; i++) {
        if (!at || !read_number(&at, &ret_version[i]))
            return err_set(err, STATUS_INVALID, "the NATS server did not say its version");
    }
    return STATUS_OK;
}
