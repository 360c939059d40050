#include "tests/discord-sim/gateway_ws.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xmem.h"

enum {
    FRAMES_AT_ONCE = 64,
    MAX_QUERY = 512,
    RESUME_PATH_SIZE = 7,
    SLOW_TICK_MS = 50,
    DEFLATE_LEAST = 512, /* payload compression: below it a payload goes as text */
};

/* lws gives a zeroed one to each connection. */
struct ws {
    struct sim *sim;
    struct gw_conn *conn;
    struct lws *wsi;
    struct out in; /* the payload so far */
    bool is_binary, is_too_long;
    int peer_code;
    z_stream *zlib; /* transport compression; NULL: none */
    /* the payload on its way out, behind LWS_PRE bytes of room */
    struct out out;
    size_t sent;
    bool out_binary, is_split; /* is_split: each piece is a message of its own */
    int64_t next_ms;           /* nothing before then: the client is slow on demand */
};

static void on_wake(void *ctx)
{
    struct ws *ws = ctx;

    (void)lws_callback_on_writable(ws->wsi);
}

/* The query's value of name ("v="), "" when it is not there. */
static void read_query(struct lws *wsi, const char *name, char *into, size_t size)
{
    char room[MAX_QUERY]; /* lws stops at the first argument that does not fit */
    const char *value = lws_get_urlarg_by_name(wsi, name, room, sizeof(room));

    (void)snprintf(into, size, "%s", value ? value : "");
}

static bool is_resume_path(struct lws *wsi)
{
    char path[64];

    return lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI) > 0 &&
           !strncmp(path, "/resume", RESUME_PATH_SIZE);
}

static void start_zlib(struct ws *ws)
{
    ws->zlib = xcalloc(1, sizeof(*ws->zlib));
    if (deflateInit(ws->zlib, Z_BEST_SPEED) != Z_OK)
        abort();
}

static void on_established(struct ws *ws, struct sim *s, struct lws *wsi)
{
    char version[8], encoding[8], compress[16], host[256], resume_url[300];
    struct gw_hello hello = { .wake = on_wake, .ctx = ws };

    ws->sim = s;
    ws->wsi = wsi;
    read_query(wsi, "v=", version, sizeof(version));
    read_query(wsi, "encoding=", encoding, sizeof(encoding));
    read_query(wsi, "compress=", compress, sizeof(compress));
    if (lws_hdr_copy(wsi, host, sizeof(host), WSI_TOKEN_HOST) <= 0)
        host[0] = '\0';
    (void)snprintf(resume_url, sizeof(resume_url), "ws://%s/resume", host);
    if (is_resume_path(wsi))
        s->ws.resume_url_connections++;
    if (!strcmp(compress, "zlib-stream"))
        start_zlib(ws);
    hello.version = *version ? (int)strtol(version, NULL, 10) : 10;
    hello.json =
        (!*encoding || !strcmp(encoding, "json")) && (!*compress || ws->zlib); /* no zstd-stream */
    hello.resume_url = resume_url;
    ws->conn = gateway_connect(s->gateway, &hello, clock_now_ms());
}

static void on_closed(struct ws *ws)
{
    if (ws->conn)
        gw_conn_gone(ws->conn, ws->peer_code, clock_now_ms());
    out_release(&ws->in);
    out_release(&ws->out);
    if (ws->zlib) {
        (void)deflateEnd(ws->zlib);
        free(ws->zlib);
    }
}

static void on_receive(struct ws *ws, struct lws *wsi, const char *data, size_t size)
{
    if (lws_is_first_fragment(wsi)) {
        out_clear(&ws->in);
        ws->is_binary = lws_frame_is_binary(wsi);
        ws->is_too_long = false;
    }
    if (ws->in.size + size > GATEWAY_MAX_PAYLOAD)
        ws->is_too_long = true;
    else
        out_bytes(&ws->in, data, size);
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi))
        return;
    if (ws->is_binary || ws->is_too_long)
        gw_conn_on_garbage(ws->conn);
    else
        gw_conn_on_text(ws->conn, ws->in.text ? ws->in.text : "", ws->in.size, clock_now_ms());
}

/* Discord: one zlib stream a connection; each payload ends with a sync flush (00 00 FF FF). */
static void deflate_frame(z_stream *z, const struct out *frame, struct out *packed)
{
    unsigned char chunk[4096];

    z->next_in = (unsigned char *)frame->text;
    z->avail_in = (uInt)frame->size;
    do {
        z->next_out = chunk;
        z->avail_out = sizeof(chunk);
        (void)deflate(z, Z_SYNC_FLUSH);
        // cppcheck-suppress uninitvar ; deflate has written it
        out_bytes(packed, chunk, sizeof(chunk) - z->avail_out);
    } while (z->avail_out == 0);
}

/* Payload compression: each payload is a zlib stream of its own. */
static void compress_frame(const struct out *frame, struct out *packed)
{
    uLongf size = compressBound(frame->size);
    unsigned char *bytes = xcalloc(1, size);

    if (compress(bytes, &size, (const unsigned char *)frame->text, frame->size) != Z_OK)
        abort();
    out_bytes(packed, bytes, size);
    free(bytes);
}

/* False: there is none. */
static bool next_payload(struct ws *ws)
{
    static const unsigned char room[LWS_PRE]; /* lws writes the header in front */
    CLEANUP(out_release) struct out frame = OUT_EMPTY;

    if (!gw_conn_next(ws->conn, &frame))
        return false;
    out_clear(&ws->out);
    out_bytes(&ws->out, room, sizeof(room));
    ws->sent = LWS_PRE;
    ws->out_binary = true;
    ws->is_split = ws->zlib && ws->sim->ws.split;
    if (ws->zlib)
        deflate_frame(ws->zlib, &frame, &ws->out);
    else if (gw_conn_wants_deflate(ws->conn) && frame.size >= DEFLATE_LEAST)
        compress_frame(&frame, &ws->out);
    else {
        ws->out_binary = false;
        out_bytes(&ws->out, frame.text, frame.size);
    }
    return true;
}

/* How much goes next: a zlib-stream may be split into messages, any message into fragments. */
static size_t piece_size(const struct ws *ws)
{
    int64_t left = (int64_t)(ws->out.size - ws->sent), most = left;
    int64_t slow = ws->sim->ws.bytes_per_s * SLOW_TICK_MS / 1000;

    if (ws->sim->ws.fragment && ws->sim->ws.fragment < most)
        most = ws->sim->ws.fragment;
    if (ws->is_split && ws->sim->ws.split && ws->sim->ws.split < most)
        most = ws->sim->ws.split;
    if (ws->sim->ws.bytes_per_s && slow < most)
        most = slow > 0 ? slow : 1;
    return (size_t)most;
}

static int write_piece(struct ws *ws, struct lws *wsi)
{
    size_t size = piece_size(ws);
    bool first = ws->sent == LWS_PRE, last = ws->sent + size == ws->out.size;
    int how = ws->out_binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;

    if (ws->is_split)
        first = last = true;
    if (!first)
        how = LWS_WRITE_CONTINUATION;
    if (!last)
        how |= LWS_WRITE_NO_FIN;
    unsigned char *at = (unsigned char *)ws->out.text + ws->sent;
    ws->sent += size;
    if (ws->sim->ws.bytes_per_s) {
        ws->next_ms = clock_now_ms() + SLOW_TICK_MS;
        lws_set_timer_usecs(wsi, SLOW_TICK_MS * LWS_US_PER_MS);
    }
    return lws_write(wsi, at, size, (enum lws_write_protocol)how);
}

static void cut(struct lws *wsi)
{
    struct linger at_once = { .l_onoff = 1 };

    (void)setsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static int end(struct ws *ws, struct lws *wsi)
{
    int code = gw_conn_close_code(ws->conn);

    if (!code)
        return 0;
    lws_close_reason(wsi, (enum lws_close_status)code, NULL, 0);
    return -1;
}

/* -1: to be closed. */
static int on_writable(struct ws *ws, struct lws *wsi)
{
    if (gw_conn_is_dropped(ws->conn)) {
        cut(wsi);
        return -1;
    }
    if (gw_conn_is_stalled(ws->conn)) {
        (void)lws_rx_flow_control(wsi, 0);
        return 0;
    }
    if (clock_now_ms() < ws->next_ms)
        return 0; /* the timer is set */
    for (int n = 0; n < FRAMES_AT_ONCE && !lws_send_pipe_choked(wsi); n++) {
        if (ws->sent == ws->out.size && !next_payload(ws))
            return end(ws, wsi);
        if (write_piece(ws, wsi) < 0)
            return -1;
        if (ws->sim->ws.bytes_per_s)
            return 0;
    }
    (void)lws_callback_on_writable(wsi);
    return 0;
}

/* Whether the upgrade is refused. */
static bool is_refused(struct sim *s, struct lws *wsi)
{
    if (s->ws.refuse > 0)
        s->ws.refuse--;
    else if (!s->ws.resume_refused || !is_resume_path(wsi))
        return false;
    s->ws.refused++;
    return true;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t size)
{
    struct ws *ws = user;
    const struct lws_protocols *protocol = lws_get_protocol(wsi);
    struct sim *s = protocol ? protocol->user : NULL;

    if (!s) /* before the protocol is known */
        return 0;
    switch ((int)reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return is_refused(s, wsi) ? -1 : 0;
    case LWS_CALLBACK_ESTABLISHED:
        on_established(ws, s, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        on_receive(ws, wsi, in, size);
        return 0;
    case LWS_CALLBACK_TIMER:
        (void)lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(ws, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (size >= 2)
            ws->peer_code = ((unsigned char *)in)[0] << 8 | ((unsigned char *)in)[1];
        return 0;
    case LWS_CALLBACK_CLOSED:
        on_closed(ws);
        return 0;
    default:
        return 0;
    }
}

const struct lws_protocols *gateway_ws_protocols(struct sim *s)
{
    static struct lws_protocols protocols[2];

    protocols[0] = (struct lws_protocols){ .name = "discord-gateway",
                                           .callback = on_event,
                                           .per_session_data_size = sizeof(struct ws),
                                           .rx_buffer_size = GATEWAY_MAX_PAYLOAD,
                                           .user = s };
    return protocols;
}
