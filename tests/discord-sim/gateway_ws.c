#include "tests/discord-sim/gateway_ws.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xmem.h"

enum { FRAMES_AT_ONCE = 64, MAX_QUERY = 512, RESUME_PATH_SIZE = 7 };

/* lws gives a zeroed one to each connection. */
struct ws {
    struct sim *sim;
    struct gw_conn *conn;
    struct lws *wsi;
    struct out in; /* the payload so far */
    bool is_binary, is_too_long;
    int peer_code;
    z_stream *zlib; /* NULL: plain text */
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
    if (deflateInit(ws->zlib, Z_DEFAULT_COMPRESSION) != Z_OK)
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
        s->resume_url_connections++;
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

static int write_frame(struct ws *ws, struct lws *wsi, const struct out *frame)
{
    static unsigned char room[LWS_PRE]; /* lws writes the header in front */
    CLEANUP(out_release) struct out whole = OUT_EMPTY;

    out_bytes(&whole, room, sizeof(room));
    if (ws->zlib)
        deflate_frame(ws->zlib, frame, &whole);
    else
        out_bytes(&whole, frame->text, frame->size);
    return lws_write(wsi, (unsigned char *)whole.text + LWS_PRE, whole.size - LWS_PRE,
                     ws->zlib ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
}

static void cut(struct lws *wsi)
{
    struct linger at_once = { .l_onoff = 1 };

    (void)setsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* -1: to be closed. */
static int on_writable(struct ws *ws, struct lws *wsi)
{
    CLEANUP(out_release) struct out frame = OUT_EMPTY;

    if (gw_conn_is_dropped(ws->conn)) {
        cut(wsi);
        return -1;
    }
    for (int n = 0; n < FRAMES_AT_ONCE && !lws_send_pipe_choked(wsi); n++) {
        if (!gw_conn_next(ws->conn, &frame)) {
            int code = gw_conn_close_code(ws->conn);
            if (!code)
                return 0;
            lws_close_reason(wsi, (enum lws_close_status)code, NULL, 0);
            return -1;
        }
        if (write_frame(ws, wsi, &frame) < 0)
            return -1;
    }
    (void)lws_callback_on_writable(wsi);
    return 0;
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
        return s->resume_refused && is_resume_path(wsi) ? -1 : 0;
    case LWS_CALLBACK_ESTABLISHED:
        on_established(ws, s, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        on_receive(ws, wsi, in, size);
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
