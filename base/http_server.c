/* A connection is a small state machine over one socket:
 *
 *     HEAD ─▶ BODY ─▶ HANDLING ─▶ SENDING ─▶ HEAD …
 *       └──────┴── refused ────────▶ SENDING ─▶ DRAINING ─▶ closed
 *
 * Requests are read here and not by lws, because lws 4.1 answers a method that it does not know, or
 * a head that is too long, with 403 or not at all, and takes no chunked bodies. A WebSocket
 * handshake is handed to lws with its socket. DRAINING reads and drops for a moment what the client
 * still sends: closing with unread bytes would reset the connection and lose the answer. */
#include "base/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/http_exchange.h"
#include "base/http_listen.h"
#include "base/log.h"
#include "base/xmem.h"

enum {
    ACCEPTS_AT_ONCE = 64,
    MAX_CONNECTIONS = 4096,
    MAX_EXCHANGES = 8192, /* more than connections: a client may leave before its answer */
    DEFAULT_TIMEOUT_MS = 10000,
    DRAIN_MS = 2000,
    DRAIN_BYTES = 4 * 1024 * 1024,
    SLOWEST_READER = 16, /* bytes a millisecond */
    FIRST_ROOM = 4096,
    ACCEPT_PAUSE_MS = 100,
};

enum conn_state { HEAD, BODY, HANDLING, SENDING, DRAINING, CLOSED };

struct http_conn {
    struct http_server *server;
    struct http_conn *previous, *next;
    enum conn_state state;
    int fd;
    struct loop_watch *watch;
    uint32_t interest;
    struct loop_timer *timer;
    bool busy;  /* conn_advance is on the stack: it settles */
    bool again; /* bytes of the next request are in */
    char peer[INET6_ADDRSTRLEN];
    /* what came and is not consumed yet */
    char *in;
    size_t in_used, in_room;
    /* the request being read or handled */
    struct http_exchange *x;
    struct http_chunks chunks;
    size_t body_room;
    /* the answer */
    char *out;
    size_t out_size, out_sent;
    bool close_after;
    size_t drained;
};

struct http_server {
    struct loop *loop;
    char *name;
    struct http_server_config config;
    int timeout_ms, port, fd;
    struct loop_watch *watch; /* NULL: closed */
    bool paused;
    struct loop_timer *resume;
    struct lws_vhost *vhost; /* NULL: no WebSocket */
    struct http_conn *conns;
    struct http_exchange *exchanges;
    size_t conn_count, exchange_count;
};

/* --- exchanges --- */

static struct http_exchange *exchange_new(struct http_conn *c, size_t head_size)
{
    struct http_server *s = c->server;
    struct http_exchange *x = xcalloc(1, sizeof(*x));

    x->server = s;
    x->conn = c;
    x->arena = arena_new(0);
    x->head_text = xmemdup(c->in, head_size);
    memcpy(x->peer, c->peer, sizeof(x->peer));
    x->next = s->exchanges;
    if (x->next)
        x->next->previous = x;
    s->exchanges = x;
    s->exchange_count++;
    return x;
}

void http_exchange_free(struct http_exchange *x)
{
    struct http_server *s = x->server;

    if (x->conn)
        x->conn->x = NULL;
    if (x->previous)
        x->previous->next = x->next;
    else
        s->exchanges = x->next;
    if (x->next)
        x->next->previous = x->previous;
    s->exchange_count--;
    arena_free(x->arena);
    free(x->head_text);
    free(x->body);
    free(x->answer_headers);
    free(x);
}

/* --- a connection's end --- */

static void watch_listener(struct http_server *s)
{
    if (s->watch)
        loop_watch_set(s->watch, s->paused || s->conn_count >= MAX_CONNECTIONS ? 0 : EPOLLIN);
}

/* Forgets the connection, but not its socket. */
static void conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;

    loop_watch_free(c->watch);
    loop_timer_free(c->timer);
    if (c->x && c->state == HANDLING)
        c->x->conn = NULL; /* its handler still has it */
    else if (c->x)
        http_exchange_free(c->x);
    if (c->previous)
        c->previous->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->previous = c->previous;
    free(c->in);
    free(c->out);
    free(c);
    if (s->conn_count-- == MAX_CONNECTIONS)
        watch_listener(s);
}

static void conn_close(struct http_conn *c)
{
    int fd = c->fd;

    conn_free(c);
    close(fd);
}

/* Every way into a connection ends here: it is closed, or waits for what its state needs. */
static void conn_settle(struct http_conn *c)
{
    static const uint32_t needs[] = { [HEAD] = EPOLLIN,
                                      [BODY] = EPOLLIN,
                                      [HANDLING] = EPOLLIN,
                                      [SENDING] = EPOLLOUT,
                                      [DRAINING] = EPOLLIN };

    if (c->state == CLOSED) {
        conn_close(c);
        return;
    }
    uint32_t interest = needs[c->state] | (c->again ? (uint32_t)EPOLLOUT : 0);
    if (c->state == HANDLING && c->interest == 0)
        return;
    if (interest != c->interest)
        loop_watch_set(c->watch, interest);
    c->interest = interest;
}

/* The client's end while a handler works: the exchange goes on alone. */
static void conn_abandon(struct http_conn *c)
{
    if (c->x && c->state == HANDLING) {
        c->x->conn = NULL;
        c->x = NULL;
    }
    c->state = CLOSED;
}

/* --- answering --- */

static void start_reading(struct http_conn *c)
{
    c->state = HEAD;
    c->again = c->in_used > 0;
    loop_timer_start(c->timer, c->server->timeout_ms);
}

static void start_draining(struct http_conn *c)
{
    (void)shutdown(c->fd, SHUT_WR);
    c->state = DRAINING;
    c->in_used = 0;
    c->again = false;
    loop_timer_start(c->timer, DRAIN_MS);
}

static void conn_flush(struct http_conn *c)
{
    while (c->out_sent < c->out_size) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            c->state = CLOSED;
            return;
        }
        c->out_sent += (size_t)n;
    }
    free(TAKE(c->out));
    if (c->close_after)
        start_draining(c);
    else
        start_reading(c);
}

static void conn_send(struct http_conn *c, char *bytes, size_t size)
{
    c->out = bytes;
    c->out_size = size;
    c->out_sent = 0;
    c->state = SENDING;
    c->again = false;
    conn_flush(c);
    if (c->state == SENDING)
        loop_timer_start(c->timer, c->server->timeout_ms + (int64_t)(size / SLOWEST_READER));
}

void http_conn_answer(struct http_conn *c, char *bytes, size_t size)
{
    conn_send(c, bytes, size);
    if (!c->busy)
        conn_settle(c);
}

void http_conn_cut(struct http_conn *c)
{
    c->state = CLOSED;
    if (!c->busy)
        conn_settle(c);
}

/* Answers what never becomes an exchange of a handler, and ends the connection. */
static void conn_refuse(struct http_conn *c, int status, const char *text)
{
    static const char allow[] = "allow: GET, HEAD, POST, PUT, PATCH, DELETE\r\n";
    struct http_answer a = {
        .status = status, .type = "text/plain; charset=utf-8", .body = text, .size = strlen(text)
    };
    size_t size;

    if (status == 405) {
        a.extra = allow;
        a.extra_size = sizeof(allow) - 1;
    }
    if (c->x)
        http_exchange_free(c->x);
    c->close_after = true;
    char *bytes = http_answer_bytes(&a, &size);
    conn_send(c, bytes, size);
}

/* --- reading a request --- */

static void consume(struct http_conn *c, size_t size)
{
    c->in_used -= size;
    memmove(c->in, c->in + size, c->in_used);
}

/* lws takes the socket and all that was read from it. */
static void hand_to_lws(struct http_conn *c)
{
    struct http_server *s = c->server;
    CLEANUP(xfree) char *bytes = TAKE(c->in);
    size_t size = c->in_used;
    int fd = c->fd;

    conn_free(c);
    loop_lws_quiet(true); /* 4.1 reports each hand-over as an error */
    (void)lws_adopt_socket_vhost_readbuf(s->vhost, fd, bytes, size);
    loop_lws_quiet(false);
}

static const char *refusal_text(int status)
{
    switch (status) {
    case 405:
        return "This method is not served here.\n";
    case 431:
        return "The request's header is too long.\n";
    case 501:
        return "This transfer coding is not understood.\n";
    case 505:
        return "Only HTTP/1.1 is spoken here.\n";
    default:
        return "This is not a well-formed HTTP request.\n";
    }
}

static void begin_body(struct http_conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_head *head = &c->x->head;

    if (head->length > c->server->config.max_body) {
        conn_refuse(c, 413, "The request's body is too long.\n");
        return;
    }
    if (!c->server->watch) /* closed: the last request of this connection */
        head->keep_alive = false;
    c->state = BODY;
    c->chunks = (struct http_chunks){ 0 };
    c->body_room = 0;
    c->close_after = !head->keep_alive;
    if (head->expects_continue && (head->chunked || head->length > 0) && c->in_used == 0 &&
        send(c->fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(go_on) - 1)
        c->state = CLOSED;
}

enum progress { WAITS, MOVED, GONE };

static enum progress read_head(struct http_conn *c)
{
    while (c->in_used >= 2 && memcmp(c->in, "\r\n", 2) == 0)
        consume(c, 2); /* RFC 9112 §2.2 */
    size_t size = http_head_size(c->in, c->in_used);
    if (size == 0) {
        if (c->in_used < HTTP_MAX_HEAD)
            return WAITS;
        conn_refuse(c, 431, refusal_text(431));
        return MOVED;
    }
    if (c->server->exchange_count >= MAX_EXCHANGES) {
        conn_refuse(c, 503, "Too many requests wait for an answer.\n");
        return MOVED;
    }
    c->x = exchange_new(c, size);
    int bad = http_head_parse(c->x->head_text, size, &c->x->head);
    if (!bad && c->x->head.wants_websocket && c->server->vhost) {
        hand_to_lws(c);
        return GONE;
    }
    consume(c, size);
    if (bad)
        conn_refuse(c, bad, refusal_text(bad));
    else
        begin_body(c);
    return MOVED;
}

static char *body_space(struct http_conn *c, size_t more)
{
    struct http_exchange *x = c->x;

    if (x->body_size + more + 1 > c->body_room) {
        c->body_room = (x->body_size + more + 1) * 2;
        x->body = xrealloc(x->body, c->body_room);
    }
    return x->body + x->body_size;
}

static enum http_chunks_result read_chunked(struct http_conn *c)
{
    size_t used, payload;
    char *out = body_space(c, c->in_used);
    enum http_chunks_result r =
        http_chunks_read(&c->chunks, c->in, c->in_used, out, &used, &payload);

    c->x->body_size += payload;
    consume(c, used);
    return r;
}

static enum http_chunks_result read_plain(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    uint64_t missing = x->head.length - x->body_size;
    size_t n = missing < c->in_used ? (size_t)missing : c->in_used;

    memcpy(body_space(c, n), c->in, n);
    x->body_size += n;
    consume(c, n);
    return x->body_size == x->head.length ? HTTP_CHUNKS_DONE : HTTP_CHUNKS_MORE;
}

static void call_handler(struct http_conn *c)
{
    struct http_server *s = c->server;

    c->x->body[c->x->body_size] = '\0';
    loop_timer_stop(c->timer);
    c->state = HANDLING;
    c->again = false;
    s->config.on_request(s->config.ctx, c->x);
}

static enum progress read_body(struct http_conn *c)
{
    enum http_chunks_result r = c->x->head.chunked ? read_chunked(c) : read_plain(c);

    if (c->x->body_size > c->server->config.max_body)
        conn_refuse(c, 413, "The request's body is too long.\n");
    else if (r == HTTP_CHUNKS_BAD)
        conn_refuse(c, 400, refusal_text(400));
    else if (r == HTTP_CHUNKS_DONE)
        call_handler(c);
    else
        return WAITS;
    return MOVED;
}

/* Works off what has come in. The connection may be gone afterwards: callers return at once. */
static void conn_advance(struct http_conn *c)
{
    enum progress p = MOVED;

    c->busy = true;
    while (p == MOVED && (c->state == HEAD || c->state == BODY))
        p = c->state == HEAD ? read_head(c) : read_body(c);
    if (p == GONE)
        return;
    c->busy = false;
    c->again = false;
    conn_settle(c);
}

/* False: nothing new. */
static bool conn_receive(struct http_conn *c)
{
    if (c->in_used == c->in_room) {
        c->in_room = c->in_room ? c->in_room * 2 : FIRST_ROOM;
        c->in = xrealloc(c->in, c->in_room);
    }
    ssize_t n = recv(c->fd, c->in + c->in_used, c->in_room - c->in_used, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (n <= 0) {
        c->state = CLOSED;
        return false;
    }
    if (c->state == HEAD && c->in_used == 0)
        loop_timer_start(c->timer, c->server->timeout_ms);
    c->in_used += (size_t)n;
    return true;
}

static void conn_drain(struct http_conn *c)
{
    char dropped[16 * 1024];
    ssize_t n = recv(c->fd, dropped, sizeof(dropped), 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        c->state = CLOSED;
    else if (n > 0)
        c->drained += (size_t)n;
    if (c->drained > DRAIN_BYTES)
        c->state = CLOSED;
}

static void on_conn_ready(void *ctx, uint32_t events)
{
    struct http_conn *c = ctx;

    switch (c->state) {
    case HEAD:
    case BODY:
        if (c->again || conn_receive(c)) {
            conn_advance(c);
            return;
        }
        break;
    case HANDLING:
        if (events & (EPOLLHUP | EPOLLERR)) {
            conn_abandon(c);
        } else {
            /* The next request is early, or the client said all it has to say. */
            loop_watch_set(c->watch, 0);
            c->interest = 0;
        }
        break;
    case SENDING:
        conn_flush(c);
        break;
    case DRAINING:
        conn_drain(c);
        break;
    case CLOSED:
        break;
    }
    conn_settle(c);
}

static void on_conn_time(void *ctx)
{
    struct http_conn *c = ctx;

    if (c->state == BODY || (c->state == HEAD && c->in_used > 0))
        conn_refuse(c, 408, "The request took too long to arrive.\n");
    else
        c->state = CLOSED;
    conn_settle(c);
}

/* --- listening --- */

static void peer_text(const struct sockaddr_storage *from, char *into, socklen_t size)
{
    const struct sockaddr_in6 *six = (const void *)from;
    const struct sockaddr_in *four = (const void *)from;

    if (from->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        (void)inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, into, size);
    else if (from->ss_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &six->sin6_addr, into, size);
    else
        (void)inet_ntop(AF_INET, &four->sin_addr, into, size);
}

static void conn_new(struct http_server *s, int fd, const struct sockaddr_storage *from)
{
    struct http_conn *c = xcalloc(1, sizeof(*c));
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->server = s;
    c->fd = fd;
    peer_text(from, c->peer, sizeof(c->peer));
    c->timer = loop_timer_new(s->loop, on_conn_time, c);
    c->interest = EPOLLIN;
    c->watch = loop_watch_new(s->loop, fd, EPOLLIN, on_conn_ready, c);
    c->next = s->conns;
    if (c->next)
        c->next->previous = c;
    s->conns = c;
    if (++s->conn_count == MAX_CONNECTIONS)
        watch_listener(s);
    start_reading(c);
}

static void on_resume(void *ctx)
{
    struct http_server *s = ctx;

    s->paused = false;
    watch_listener(s);
}

static void on_listener_ready(void *ctx, uint32_t events UNUSED)
{
    struct http_server *s = ctx;

    for (int i = 0; i < ACCEPTS_AT_ONCE && s->conn_count < MAX_CONNECTIONS; i++) {
        struct sockaddr_storage from = { 0 };
        socklen_t size = sizeof(from);
        int fd = accept4(s->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_new(s, fd, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("accept_paused", "server=%s why=%s", s->name,
                     LOG_QUOTE(strerrordesc_np(errno)));
            s->paused = true;
            watch_listener(s);
            loop_timer_start(s->resume, ACCEPT_PAUSE_MS);
        }
        return;
    }
}

static enum status add_vhost(struct http_server *s, struct err *err)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .vhost_name = s->name,
        .protocols = s->config.websocket_protocols,
        .user = s->config.ctx,
    };

    if (!info.protocols)
        return STATUS_OK;
    s->vhost = lws_create_vhost(loop_lws(s->loop), &info);
    return s->vhost ? STATUS_OK : err_set(err, STATUS_INTERNAL, "libwebsockets refused a server");
}

/* By loop_free: lws and all its sockets are gone. */
static void server_free(void *ctx)
{
    struct http_server *s = ctx;

    http_server_close(s);
    for (struct http_conn *c = s->conns, *next; c; c = next) {
        next = c->next; /* NOLINT(clang-analyzer-unix.Malloc): only the first has no previous */
        conn_close(c);
    }
    for (struct http_exchange *x = s->exchanges, *next; x; x = next) {
        next = x->next;
        http_exchange_free(x);
    }
    loop_timer_free(s->resume);
    free(s->name);
    free(s);
}

enum status http_server_listen(struct loop *loop, const struct http_server_config *config,
                               struct http_server **ret_server, struct err *err)
{
    int fd = -1;

    TRY(http_listen_open(config->bind, config->port, &fd, err));
    struct http_server *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->config = *config;
    s->name = xstrdup(config->name);
    s->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : DEFAULT_TIMEOUT_MS;
    s->fd = fd;
    s->port = http_listen_port(fd);
    s->resume = loop_timer_new(loop, on_resume, s);
    s->watch = loop_watch_new(loop, fd, EPOLLIN, on_listener_ready, s);
    enum status status = add_vhost(s, err);
    if (status != STATUS_OK) {
        server_free(s);
        return status;
    }
    loop_on_free(loop, server_free, s);
    *ret_server = s;
    return STATUS_OK;
}

int http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_close(struct http_server *server)
{
    if (!server->watch)
        return;
    loop_timer_stop(server->resume);
    loop_watch_free(TAKE(server->watch));
    close(server->fd);
    for (struct http_conn *c = server->conns, *next; c; c = next) {
        next = c->next;
        if (c->state == HEAD && c->in_used == 0 && !c->busy) {
            conn_close(c);
            continue;
        }
        c->close_after = true;
        if (c->x)
            c->x->head.keep_alive = false;
    }
}
