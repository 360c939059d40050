/* bus_io.h - the reading and writing of one connection of libnats, on a thread of our own.
 *
 *     server ══▶ socket ─▶ "bus-io" thread ─▶ libnats parses ─▶ libnats' delivery thread ─▶ mailboxes
 *     publish … publish ─▶ libnats' buffer ──bus_io_flush──▶ socket ══▶ server
 *
 * libnats' own threads write each message by itself, or a millisecond later. Here what a thread
 * publishes in one turn (epilogue.h) leaves in one write at its end, by the thread itself when the
 * connection is free, else by whoever is at it.
 *
 * A server that takes nothing stops who publishes, for up to five seconds, when 4 MiB wait for it.
 *
 * mu serialises all reading and writing: libnats closes the descriptor on whichever thread finds it
 * broken, and a TLS session takes one thread at a time. Nobody waits for it but the I/O thread.
 *
 * THREAD: any. For base/bus*.c only. */
#ifndef BASE_BUS_IO_H
#define BASE_BUS_IO_H

#include <nats/nats.h>

struct bus_io;

/* Connections made with these options are read and written here. *slot gets each one's when it is
 * made, with a reference that the slot's owner puts. */
natsStatus bus_io_use(natsOptions *options, struct bus_io **slot);
void bus_io_put(struct bus_io *io);

/* While true, what this thread makes libnats write is not reported: a flush follows. */
void bus_io_gather(bool on);
/* What libnats has to write goes out, now or as soon as the socket takes it. */
void bus_io_flush(struct bus_io *io);
/* Writes what can be written, and reads no more: the connection is about to be closed. */
void bus_io_stop(struct bus_io *io);

#endif
