#include "gateway/shard_socket.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/metrics.h"
#include "base/xmem.h"
#include "gateway/inflate.h"
#include "gateway/lookup.h"

enum {
    MAGIC = 0x53484B54, /* "SHKT" */
    RX_CHUNK = 32 << 10,
    OUT_MAX = 8,
    CLOSE_WAIT_S = 3, /* for the peer's answer to our close frame */
};
static const char plain_query[] = "?v=10&encoding=json",
                  zlib_query[] = "?v=10&encoding=json&compress=zlib-stream";
static const char protocol_name[] = "discord-gateway";

static struct metric received = METRIC_COUNTER("guildbus_shard_received_bytes_total",
                                               "payload bytes from Discord, as they were sent");
static struct metric inflated =
    METRIC_COUNTER("guildbus_shard_inflated_bytes_total", "payload bytes from Discord, inflated");

/* Lives until the last of its sockets: lws may close them later than it is told to. */
struct shard_net {
    struct loop *loop;
    struct lws_vhost *vhost;
    size_t count;
    bool compress, closed;
};

struct url {
    bool tls;
    char host[256], path[256];
    int port;
};

struct out {
    struct out *next;
    size_t size;
    unsigned char room[]; /* LWS_PRE, then the text */
};

/* Lives until lws says that it is closed; events.ctx is used only while attached. */
struct shard_socket {
    unsigned magic;
    struct shard_net *net;
    struct shard_socket_events events;
    bool attached, is_open, is_binary, unreadable;
    bool *ended; /* set when it is freed during lws_client_connect_via_info */
    struct url url;
    struct lookup *lookup;
    struct lws *wsi; /* NULL: not connecting yet */
    struct bytes in;
    struct inflate *inflate; /* NULL: plain */
    char why[80];            /* it is unreadable */
    struct out *first, **end;
    int out_count;
    int peer_code, close_code; /* close_code 0: we do not close */
};

/* ---- URL ---- */

static bool parse_port(const char *text, int *ret)
{
    char *end;
    long port = strtol(text, &end, 10);
    if (end == text || *end != '\0' || port < 1 || port > 65535)
        return false;
    *ret = (int)port;
    return true;
}

static bool parse_authority(struct url *u)
{
    char *close = strchr(u->host, ']');
    char *colon = strchr(close ? close : u->host, ':');

    if (colon) {
        *colon = '\0';
        if (!parse_port(colon + 1, &u->port))
            return false;
    }
    if (close) { /* [::1] */
        *close = '\0';
        memmove(u->host, u->host + 1, strlen(u->host));
    }
    return u->host[0] != '\0';
}

static enum status parse_url(const char *text, const char *query, struct url *ret, struct err *err)
{
    struct url u = { .port = 80, .path = "/" };

    u.tls = strncmp(text, "wss://", 6) == 0;
    if (!u.tls && strncmp(text, "ws://", 5) != 0)
        return err_set(err, STATUS_INVALID, "gateway URL is neither ws:// nor wss://: %.80s", text);
    if (u.tls)
        u.port = 443;
    const char *rest = text + (u.tls ? 6 : 5);
    size_t host = strcspn(rest, "/?#"), path = strcspn(rest + host, "?#");
    if (host >= sizeof(u.host) || path + strlen(query) + 1 >= sizeof(u.path))
        return err_set(err, STATUS_INVALID, "gateway URL is too long: %.80s", text);
    memcpy(u.host, rest, host);
    if (path > 0)
        (void)snprintf(u.path, sizeof(u.path), "%.*s", (int)path, rest + host);
    strncat(u.path, query, sizeof(u.path) - strlen(u.path) - 1);
    if (!parse_authority(&u))
        return err_set(err, STATUS_INVALID, "gateway URL has no host or a wrong port: %.80s", text);
    *ret = u;
    return STATUS_OK;
}

/* ---- life ---- */

static void socket_free(struct shard_socket *s)
{
    for (struct out *o = s->first, *next; o; o = next) {
        next = o->next;
        free(o);
    }
    lookup_cancel(&s->lookup);
    bytes_release(&s->in);
    inflate_free(s->inflate);
    if (s->ended)
        *s->ended = true;
    struct shard_net *net = s->net;
    s->magic = 0;
    free(s);
    if (--net->count == 0 && net->closed)
        free(net);
}

/* lws is done with it: report, unless nobody listens any more. */
static void socket_ended(struct shard_socket *s, const char *why)
{
    struct shard_socket_events events = s->events;
    char text[sizeof(s->why)];
    const struct shard_socket_end how = { s->peer_code, s->unreadable, why ? why : text };
    bool attached = s->attached;

    memcpy(text, s->why, sizeof(text));
    socket_free(s);
    if (attached)
        events.on_close(events.ctx, &how);
}

/* ---- lws ---- */

static void refuse(struct shard_socket *s, const char *why)
{
    s->unreadable = true;
    (void)snprintf(s->why, sizeof(s->why), "%s", why);
}

/* The receiver may close this socket, which then lives on until lws has closed it. */
static void hand_over(struct shard_socket *s, const char *text, size_t size)
{
    metric_add(&inflated, (int64_t)size);
    s->events.on_text(s->events.ctx, text, size);
}

static void on_message(struct shard_socket *s, const struct bytes *whole)
{
    const char *text = NULL;
    size_t size = 0;
    struct err err = { .text = "" };

    metric_add(&received, (int64_t)whole->size - 1);
    if (!s->inflate || !s->is_binary)
        hand_over(s, (const char *)whole->data, whole->size - 1);
    else if (inflate_feed(s->inflate, whole->data, whole->size - 1, &text, &size, &err) !=
             STATUS_OK)
        refuse(s, err.text);
    else if (text)
        hand_over(s, text, size);
}

static void on_receive(struct shard_socket *s, const void *data, size_t size)
{
    if (!s->attached)
        return;
    if (lws_is_first_fragment(s->wsi))
        s->is_binary = lws_frame_is_binary(s->wsi);
    if (s->in.size + size > SOCKET_MESSAGE_MAX) {
        refuse(s, "a message over the bound");
        return;
    }
    bytes_append(&s->in, data, size);
    if (!lws_is_final_fragment(s->wsi) || lws_remaining_packet_payload(s->wsi) > 0) {
        if (s->events.on_part)
            s->events.on_part(s->events.ctx);
        return;
    }
    CLEANUP(bytes_release) struct bytes whole = s->in;
    s->in = (struct bytes){ .size = 0 };
    bytes_append(&whole, "", 1);
    on_message(s, &whole);
}

/* Nonzero: lws closes the connection. */
static int on_writable(struct shard_socket *s)
{
    struct out *o = s->first;

    if (o) {
        s->first = o->next;
        if (!s->first)
            s->end = &s->first;
        s->out_count--;
        int sent = lws_write(s->wsi, o->room + LWS_PRE, o->size, LWS_WRITE_TEXT);
        size_t size = o->size;
        free(o);
        if (sent < (int)size)
            return -1;
    }
    if (s->first) {
        lws_callback_on_writable(s->wsi);
        return 0;
    }
    if (s->close_code == 0)
        return 0;
    lws_close_reason(s->wsi, (enum lws_close_status)s->close_code, NULL, 0);
    return -1;
}

static void on_peer_close(struct shard_socket *s, const unsigned char *in, size_t size)
{
    if (size >= 2)
        s->peer_code = in[0] << 8 | in[1];
}

static int on_established(struct shard_socket *s)
{
    s->is_open = true;
    if (s->attached)
        s->events.on_open(s->events.ctx);
    else
        lws_callback_on_writable(s->wsi); /* to say the close code */
    return 0;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t size)
{
    struct shard_socket *s = user;

    if (!s || s->magic != MAGIC)
        return 0;
    switch ((int)reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        return on_established(s);
    case LWS_CALLBACK_CLIENT_RECEIVE:
        on_receive(s, in, size);
        return s->unreadable ? -1 : 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return on_writable(s);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        on_peer_close(s, in, size);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY: /* the only word on an upgrade that was never answered */
        lws_set_wsi_user(wsi, NULL);
        s->wsi = NULL;
        socket_ended(s, reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR ? in : NULL);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    { .name = protocol_name, .callback = on_lws, .rx_buffer_size = RX_CHUNK },
    { .name = NULL },
};

enum status shard_net_new(struct loop *loop, bool compress, struct shard_net **ret_net,
                          struct err *err)
{
    const struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .vhost_name = protocol_name,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .timeout_secs = CLOSE_WAIT_S,
    };
    struct lws_vhost *vhost = lws_create_vhost(loop_lws(loop), &info);
    if (!vhost)
        return err_set(err, STATUS_INTERNAL, "lws_create_vhost for the Discord gateway failed");
    struct shard_net *net = xcalloc(1, sizeof(*net));
    *net = (struct shard_net){ .loop = loop, .vhost = vhost, .compress = compress };
    *ret_net = net;
    return STATUS_OK;
}

void shard_net_free(struct shard_net *net)
{
    if (!net)
        return;
    struct lws_vhost *vhost = net->vhost;
    net->count++; /* a reference of our own, while lws closes the sockets */
    net->closed = true;
    lws_vhost_destroy(vhost);
    if (--net->count == 0)
        free(net);
}

size_t shard_net_count(const struct shard_net *net)
{
    return net->count;
}

static void on_address(void *ctx, const char *address)
{
    struct shard_socket *s = ctx;
    char host[300];

    s->lookup = NULL;
    if (!address) {
        socket_ended(s, "no such host, or DNS is away");
        return;
    }
    (void)snprintf(host, sizeof(host), strchr(s->url.host, ':') ? "[%s]:%d" : "%s:%d", s->url.host,
                   s->url.port);
    const struct lws_client_connect_info info = {
        .context = loop_lws(s->net->loop),
        .address = address,
        .port = s->url.port,
        .ssl_connection = s->url.tls ? LCCSCF_USE_SSL : 0,
        .path = s->url.path,
        .host = s->url.port == 80 || s->url.port == 443 ? s->url.host : host,
        .vhost = s->net->vhost,
        .userdata = s,
        .local_protocol_name = protocol_name,
        .alpn = "http/1.1",
        .pwsi = &s->wsi,
    };
    bool ended = false;
    s->ended = &ended;
    bool failed = !lws_client_connect_via_info(&info);
    if (ended)
        return; /* lws has told us from within the call */
    s->ended = NULL;
    if (failed)
        socket_ended(s, NULL);
}

enum status shard_socket_open(struct shard_net *net, const char *url,
                              const struct shard_socket_events *events,
                              struct shard_socket **ret_socket, struct err *err)
{
    struct url parsed;
    TRY(parse_url(url, net->compress ? zlib_query : plain_query, &parsed, err));
    struct shard_socket *s = xcalloc(1, sizeof(*s));
    *s = (struct shard_socket){
        .magic = MAGIC, .net = net, .events = *events, .attached = true, .url = parsed
    };
    s->end = &s->first;
    if (net->compress)
        s->inflate = inflate_new(SOCKET_MESSAGE_MAX);
    net->count++;
    s->lookup = lookup_start(net->loop, s->url.host, on_address, s);
    *ret_socket = s;
    return STATUS_OK;
}

enum status shard_socket_send(struct shard_socket *s, const char *text)
{
    size_t size = strlen(text);

    if (!s->is_open || s->close_code != 0 || s->out_count >= OUT_MAX)
        return STATUS_BUSY;
    struct out *o = xcalloc(1, sizeof(*o) + LWS_PRE + size);
    o->size = size;
    memcpy(o->room + LWS_PRE, text, size);
    *s->end = o;
    s->end = &o->next;
    s->out_count++;
    lws_callback_on_writable(s->wsi);
    return STATUS_OK;
}

void shard_socket_read(struct shard_socket *s, bool on)
{
    if (s->wsi && s->is_open)
        lws_rx_flow_control(s->wsi, on ? 1 : 0);
}

void shard_socket_close(struct shard_socket **slot, int code)
{
    struct shard_socket *s = TAKE(*slot);

    if (!s)
        return;
    s->attached = false;
    s->close_code = code;
    if (!s->wsi) {
        socket_free(s);
        return;
    }
    if (!s->is_open) {
        lws_set_timeout(s->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
        return;
    }
    lws_rx_flow_control(s->wsi, 1); /* or the peer's answer is never read */
    lws_callback_on_writable(s->wsi);
}
