/* interactions.c - signed interactions over HTTP, as many at a time as there are connections, or at
 * a rate. All are made and signed before the first leaves, so that sending costs next to nothing.
 *
 * At a rate the latency of each counts from when it was due, also when no connection was free: a
 * server that stands still is not asked less.
 *
 * Each is /setup with another mod log: it changes one row and is answered. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "bench/load/latency.h"
#include "bench/load/load.h"
#include "messages/snowflake.h"

enum { ANSWER_MAX = 16384, GUILDS_MAX = 100000, PATIENCE_US = 10000000 };

struct request {
    char *text;
    size_t size;
};

struct connection {
    int fd;
    const struct request *request; /* NULL: idle */
    size_t sent, got;
    int64_t due_us;
    char answer[ANSWER_MAX];
};

struct load {
    struct sockaddr_in address;
    char host[64], path[128];
    uint64_t *guilds;
    size_t guild_count;
    struct request *requests;
    size_t count, started, done;
    struct connection *connections, **idle;
    size_t connection_count, idle_count;
    int64_t rate, started_us, heard_us;
    int epoll;
    struct latency latency;
    size_t answered, deferred, failed;
};

/* ---- what is sent ---- */

static enum status read_url(struct load *l, const char *url, struct err *err)
{
    char host[32];
    unsigned port;

    if (!url || sscanf(url, "http://%31[0-9.]:%u%127s", host, &port, l->path) != 3 ||
        port > UINT16_MAX || inet_pton(AF_INET, host, &l->address.sin_addr) != 1)
        return err_set(err, STATUS_INVALID, "--url is to be http://A.B.C.D:PORT/PATH");
    l->address.sin_family = AF_INET;
    l->address.sin_port = htons((uint16_t)port);
    (void)snprintf(l->host, sizeof(l->host), "%s:%u", host, port);
    return STATUS_OK;
}

static enum status read_guilds(struct load *l, const char *list, struct err *err)
{
    const char *at = list ? list : "1";

    l->guilds = xcalloc(GUILDS_MAX, sizeof(*l->guilds));
    while (l->guild_count < GUILDS_MAX) {
        char *end;
        l->guilds[l->guild_count++] = strtoull(at, &end, 10);
        if (end == at || (*end && *end != ','))
            return err_set(err, STATUS_INVALID, "--guilds is to be ID,ID,…");
        if (!*end)
            return STATUS_OK;
        at = end + 1;
    }
    return err_set(err, STATUS_INVALID, "--guilds takes at most %d", GUILDS_MAX);
}

/* The key that the simulator makes of the same seed. */
static enum status make_key(int64_t seed, struct sign_key **ret_key, struct err *err)
{
    char text[64];
    uint8_t bytes[32];

    (void)snprintf(text, sizeof(text), "guildbus-discord-sim %" PRId64, seed);
    sign_sha256(text, strlen(text), bytes);
    return sign_private_key_new(bytes, ret_key, err);
}

static char *make_body(const struct load *l, size_t n, uint64_t id)
{
    uint64_t guild = l->guilds[n % l->guild_count];

    return xasprintf(
        "{\"id\":\"%" PRIu64 "\",\"application_id\":\"1000000000000000001\",\"type\":2,"
        "\"token\":\"token-%zu\",\"version\":1,\"locale\":\"en-US\",\"guild_id\":\"%" PRIu64 "\","
        "\"channel_id\":\"%" PRIu64 "\",\"member\":{\"user\":{\"id\":\"80351110224678912\","
        "\"username\":\"nelly\",\"discriminator\":\"0\",\"avatar\":null},\"roles\":[],"
        "\"permissions\":\"8\",\"joined_at\":\"2021-03-04T05:06:07.000000+00:00\"},\"data\":{"
        "\"id\":\"1000000000000000002\",\"name\":\"setup\",\"type\":1,\"options\":[{\"name\":"
        "\"modlog\",\"type\":7,\"value\":\"%" PRIu64 "\"},{\"name\":\"moderator\",\"type\":8,"
        "\"value\":\"41771983423143936\"}]}}",
        id, n, guild, guild, id);
}

static enum status make_requests(struct load *l, int64_t seed, struct err *err)
{
    CLEANUP(sign_key_free) struct sign_key *key = NULL;
    char timestamp[24], signature[129];
    uint64_t first = snowflake_from_ms(clock_wall_ms());

    TRY(make_key(seed, &key, err));
    (void)snprintf(timestamp, sizeof(timestamp), "%" PRId64, clock_wall_ms() / 1000);
    l->requests = xcalloc(l->count, sizeof(*l->requests));
    for (size_t i = 0; i < l->count; i++) {
        CLEANUP(xfree) char *body = make_body(l, i, first + i);
        TRY(sign_make(key, timestamp, body, strlen(body), signature, err));
        l->requests[i].text = xasprintf(
            "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
            "X-Signature-Ed25519: %s\r\nX-Signature-Timestamp: %s\r\nContent-Length: %zu\r\n\r\n%s",
            l->path, l->host, signature, timestamp, strlen(body), body);
        l->requests[i].size = strlen(l->requests[i].text);
    }
    return STATUS_OK;
}

/* ---- connections ---- */

static enum status connect_one(struct load *l, struct connection *c, struct err *err)
{
    const int on = 1;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&l->address, sizeof(l->address)) ||
        fcntl(c->fd, F_SETFL, O_NONBLOCK) ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event))
        return err_set(err, STATUS_UNAVAILABLE, "%s: %s", l->host, strerrordesc_np(errno));
    l->idle[l->idle_count++] = c;
    return STATUS_OK;
}

static enum status send_more(struct load *l, struct connection *c, struct err *err)
{
    const struct request *r = c->request;

    while (c->sent < r->size) {
        ssize_t n = send(c->fd, r->text + c->sent, r->size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return err_set(err, STATUS_UNAVAILABLE, "send: %s", strerrordesc_np(errno));
        if (n < 0)
            break;
        c->sent += (size_t)n;
    }
    struct epoll_event event = { .events = EPOLLIN | (c->sent < r->size ? EPOLLOUT : 0),
                                 .data.ptr = c };
    if (c->sent < r->size || c->got)
        (void)epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &event);
    return STATUS_OK;
}

static enum status start_next(struct load *l, int64_t due_us, struct err *err)
{
    struct connection *c = l->idle[--l->idle_count];

    c->request = &l->requests[l->started++];
    c->sent = c->got = 0;
    c->due_us = due_us;
    return send_more(l, c, err);
}

/* When the next one is due; in a closed loop: at once. */
static int64_t due_us(const struct load *l, int64_t now_us)
{
    return l->rate ? l->started_us + (int64_t)l->started * 1000000 / l->rate : now_us;
}

/* What is due leaves over what is idle; *ret_wait_us: for so long nothing more is due. */
static enum status start_due(struct load *l, int64_t *ret_wait_us, struct err *err)
{
    int64_t now = clock_now_us();

    while (l->idle_count && l->started < l->count && due_us(l, now) <= now)
        TRY(start_next(l, due_us(l, now), err));
    *ret_wait_us = 1000000;
    if (l->idle_count && l->started < l->count)
        *ret_wait_us = due_us(l, now) - now;
    return STATUS_OK;
}

/* ---- what comes back ---- */

/* Size of the whole answer; 0: more has to come; SIZE_MAX: it cannot be read. */
static size_t answer_size(const struct connection *c)
{
    const char *end = memmem(c->answer, c->got, "\r\n\r\n", 4);
    const char *length = end ? strcasestr(c->answer, "\r\ncontent-length:") : NULL;

    if (!end)
        return c->got < ANSWER_MAX - 1 ? 0 : SIZE_MAX;
    if (!length || length > end)
        return SIZE_MAX;
    size_t size = (size_t)(end + 4 - c->answer) + strtoul(length + 17, NULL, 10);
    return size >= ANSWER_MAX ? SIZE_MAX : size <= c->got ? size : 0;
}

static void count_answer(struct load *l, struct connection *c)
{
    int64_t now = clock_now_us();
    bool ok = !strncmp(c->answer, "HTTP/1.1 200", 12);

    latency_add(&l->latency, (uint64_t)(now - c->due_us));
    l->heard_us = now;
    l->answered += ok && strstr(c->answer, "\"type\":4");
    l->deferred += ok && strstr(c->answer, "\"type\":5");
    l->done++;
    c->request = NULL;
    l->idle[l->idle_count++] = c;
}

static enum status on_ready(struct load *l, struct connection *c, uint32_t events, struct err *err)
{
    if (c->request && events & EPOLLOUT)
        TRY(send_more(l, c, err));
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return STATUS_OK;
    ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, 0);
    if (n < 0 && errno == EAGAIN)
        return STATUS_OK;
    if (n <= 0 || !c->request)
        return err_set(err, STATUS_UNAVAILABLE, "the server closed a connection");
    c->got += (size_t)n;
    c->answer[c->got] = '\0';
    size_t size = answer_size(c);
    if (size == SIZE_MAX)
        return err_set(err, STATUS_CORRUPT, "an answer without Content-Length, or too long");
    if (size)
        count_answer(l, c);
    return STATUS_OK;
}

static enum status run(struct load *l, struct err *err)
{
    enum { EVENTS = 256 };
    struct epoll_event events[EVENTS];
    int64_t wait_us;

    l->started_us = l->heard_us = clock_now_us();
    while (l->done < l->count) {
        TRY(start_due(l, &wait_us, err));
        const struct timespec wait = { wait_us / 1000000, wait_us % 1000000 * 1000 };
        int n = epoll_pwait2(l->epoll, events, EVENTS, &wait, NULL);
        for (int i = 0; i < n; i++)
            TRY(on_ready(l, events[i].data.ptr, events[i].events, err));
        if (l->started > l->done && clock_now_us() - l->heard_us > PATIENCE_US)
            return err_set(err, STATUS_TIMEOUT, "no answer for ten seconds");
    }
    return STATUS_OK;
}

/* ---- the whole ---- */

static void print_result(struct load *l, int64_t cpu_us)
{
    int64_t took_us = l->heard_us - l->started_us;

    l->failed = l->done - l->answered - l->deferred;
    (void)printf("{\"sent\":%zu,\"answered\":%zu,\"deferred\":%zu,\"failed\":%zu,"
                 "\"seconds\":%.3f,\"per_s\":%.0f,\"p50_us\":%" PRIu64 ",\"p90_us\":%" PRIu64
                 ",\"p99_us\":%" PRIu64 ",\"max_us\":%" PRIu64 ",\"generator_cpu_us_each\":%.2f}\n",
                 l->done, l->answered, l->deferred, l->failed, (double)took_us / 1e6,
                 (double)l->done * 1e6 / (double)took_us, latency_at(&l->latency, 500),
                 latency_at(&l->latency, 900), latency_at(&l->latency, 990), l->latency.max_us,
                 (double)cpu_us / (double)l->done);
}

static void load_release(struct load *l)
{
    for (size_t i = 0; l->requests && i < l->count; i++)
        free(l->requests[i].text);
    for (size_t i = 0; l->connections && i < l->connection_count; i++)
        if (l->connections[i].fd > 0)
            (void)close(l->connections[i].fd);
    free(l->requests);
    free(l->guilds);
    free(l->connections);
    free(l->idle);
    if (l->epoll > 0)
        (void)close(l->epoll);
}

static enum status prepare(struct load *l, const struct load_options *o, struct err *err)
{
    l->count = (size_t)(o->count ? o->count : 10000);
    l->connection_count = (size_t)(o->connections ? o->connections : 1);
    l->rate = o->rate;
    TRY(read_url(l, o->url, err));
    TRY(read_guilds(l, o->guilds, err));
    TRY(make_requests(l, o->seed, err));
    l->connections = xcalloc(l->connection_count, sizeof(*l->connections));
    l->idle = xcalloc(l->connection_count, sizeof(*l->idle));
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < l->connection_count; i++)
        TRY(connect_one(l, &l->connections[i], err));
    return STATUS_OK;
}

enum status load_interactions(const struct load_options *o, struct err *err)
{
    static struct load l;
    enum status status = prepare(&l, o, err);
    int64_t cpu_us = load_cpu_us();

    if (status == STATUS_OK)
        status = run(&l, err);
    if (status == STATUS_OK)
        print_result(&l, load_cpu_us() - cpu_us);
    load_release(&l);
    return status;
}
