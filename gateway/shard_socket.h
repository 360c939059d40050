/* shard_socket.h - a WebSocket client on the loop: whole payloads in, short texts out.
 *
 *     open ─▶ (lookup, TCP, TLS, upgrade) ─▶ on_open ─▶ on_text … ─▶ on_close(code)
 *
 * Payloads are put together from their fragments and inflated, up to SOCKET_MESSAGE_MAX. After
 * shard_socket_close nothing is reported any more: the close frame goes out by itself and lws frees
 * the rest in its own time.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_SHARD_SOCKET_H
#define GATEWAY_SHARD_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"
#include "base/status.h"

enum { SOCKET_MESSAGE_MAX = 16 << 20 };

/* lws's side, shared by all sockets of a loop. */
struct shard_net;
/* compress: sockets ask for zlib-stream. */
enum status shard_net_new(struct loop *loop, bool compress, struct shard_net **ret_net,
                          struct err *err) MUST_CHECK;
/* Cuts what is still open. Before the loop is freed. */
void shard_net_free(struct shard_net *net);
DEFINE_CLEANUP(struct shard_net *, shard_net_free)
/* Sockets that are open, opening or still closing. */
size_t shard_net_count(const struct shard_net *net);

struct shard_socket;
struct shard_socket_end {
    int code;        /* of the peer's close frame; 0: failed or lost */
    bool unreadable; /* a message was over the bound, or no zlib */
    const char *why; /* "" or what the library says; for the call only */
};
struct shard_socket_events {
    void (*on_open)(void *ctx);
    /* text is the receiver's for the call only. */
    void (*on_text)(void *ctx, const char *text, size_t size);
    /* A part of a message came: the peer lives. May be NULL. */
    void (*on_part)(void *ctx);
    /* The last call. */
    void (*on_close)(void *ctx, const struct shard_socket_end *how);
    void *ctx;
};
/* url: ws://host[:port][/path] or wss://…; the query is appended by the socket. INVALID: not such a
 * URL. Nothing is reported before this returns. */
enum status shard_socket_open(struct shard_net *net, const char *url,
                              const struct shard_socket_events *events,
                              struct shard_socket **ret_socket, struct err *err) MUST_CHECK;
/* Copies. Refuses beyond a few waiting ones: BUSY. */
enum status shard_socket_send(struct shard_socket *socket, const char *text) MUST_CHECK;
/* Back-pressure: false stops reading; what lws has in hand may still come. */
void shard_socket_read(struct shard_socket *socket, bool on);
/* Clears *slot. */
void shard_socket_close(struct shard_socket **slot, int code);

#endif
