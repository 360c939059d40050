#include "base/bus_io.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/xmem.h"

enum {
    BUFFERED_MOST = 4 * 1024 * 1024, /* bytes that wait for the socket */
    ROOM_MS = 5000,
    ROOM_POLL_MS = 100,
};

/* References: libnats until it detaches, the thread, the slot's owner. */
struct bus_io {
    _Atomic int refs;
    natsConnection *nc; /* valid until it is detached */
    int fd, wake_fd;
    _Atomic bool reads;       /* libnats wants the socket polled */
    _Atomic bool wants_write; /* there is something in libnats' buffer */
    _Atomic bool asked;       /* a flush is due: who has mu looks again when it has let go */
    _Atomic bool stuck;       /* the socket took a part only */
    _Atomic bool is_patient;  /* who publishes too much waits until the server has taken some */
    _Atomic bool over;        /* nothing is done with nc any more; set under mu */
    pthread_mutex_t mu;       /* recursive: an error found here closes and detaches from within */
};

static _Thread_local bool gathering;
static _Thread_local const struct bus_io *mine; /* what this thread is the thread of */

void bus_io_gather(bool on)
{
    gathering = on;
}

void bus_io_put(struct bus_io *io)
{
    if (!io || atomic_fetch_sub(&io->refs, 1) != 1)
        return;
    close(io->wake_fd);
    pthread_mutex_destroy(&io->mu);
    free(io);
}

static void wake(struct bus_io *io)
{
    const uint64_t one = 1;

    if (mine != io)
        must(write(io->wake_fd, &one, sizeof(one)) > 0 || errno == EAGAIN);
}

/* ---- writing ---- */

/* mu is held. */
static void write_out(struct bus_io *io)
{
    if (atomic_load(&io->over) || !atomic_load(&io->wants_write))
        return;
    natsConnection_ProcessWriteEvent(io->nc);
    bool left = !atomic_load(&io->over) && atomic_load(&io->wants_write);
    if (left && !atomic_load(&io->stuck)) {
        atomic_store(&io->stuck, true);
        wake(io);
    } else if (!left) {
        atomic_store(&io->stuck, false);
        atomic_store(&io->is_patient, true);
    }
}

/* What was asked for while somebody else had mu is found by them: they look after letting go. */
static void write_asked(struct bus_io *io)
{
    while (atomic_load(&io->asked) && pthread_mutex_trylock(&io->mu) == 0) {
        atomic_store(&io->asked, false);
        write_out(io);
        pthread_mutex_unlock(&io->mu);
    }
}

static bool has_too_much(struct bus_io *io)
{
    return !atomic_load(&io->over) && natsConnection_Buffered(io->nc) > BUFFERED_MOST;
}

/* Who publishes faster than the server takes waits, as with a socket that blocks. Once: a server that
 * has taken nothing for so long is given up when it does not answer a ping either. */
static void wait_for_room(struct bus_io *io)
{
    struct pollfd p = { .fd = io->fd, .events = POLLOUT };
    int64_t until_ms = clock_now_ms() + ROOM_MS;

    while (has_too_much(io) && clock_now_ms() < until_ms) {
        (void)poll(&p, 1, ROOM_POLL_MS);
        atomic_store(&io->asked, true);
        write_asked(io);
    }
    atomic_store(&io->is_patient, !has_too_much(io));
}

void bus_io_flush(struct bus_io *io)
{
    atomic_store(&io->asked, true);
    if (!atomic_load(&io->stuck)) /* else the thread goes on when the socket takes more */
        write_asked(io);
    else if (atomic_load(&io->is_patient) && mine != io && has_too_much(io))
        wait_for_room(io);
}

/* ---- the thread ---- */

static void wait_for_work(struct bus_io *io)
{
    struct pollfd p[2] = { { .fd = io->wake_fd, .events = POLLIN },
                           { .fd = io->fd, .events = POLLIN } };
    uint64_t times;

    if (atomic_load(&io->stuck))
        p[1].events |= POLLOUT;
    (void)poll(p, atomic_load(&io->reads) ? 2 : 1, -1);
    if (p[0].revents)
        must(read(io->wake_fd, &times, sizeof(times)) > 0 || errno == EAGAIN);
    if (p[1].revents & POLLOUT)
        atomic_store(&io->asked, true);
    if (!(p[1].revents & ~POLLOUT))
        return;
    pthread_mutex_lock(&io->mu);
    if (!atomic_load(&io->over) && atomic_load(&io->reads))
        natsConnection_ProcessReadEvent(io->nc);
    pthread_mutex_unlock(&io->mu);
}

static void *run(void *arg)
{
    struct bus_io *io = arg;

    pthread_setname_np(pthread_self(), "bus-io");
    mine = io;
    while (!atomic_load(&io->over)) {
        wait_for_work(io);
        write_asked(io);
    }
    bus_io_put(io);
    return NULL;
}

static void end(struct bus_io *io)
{
    pthread_mutex_lock(&io->mu);
    atomic_store(&io->over, true);
    pthread_mutex_unlock(&io->mu);
    wake(io);
}

void bus_io_stop(struct bus_io *io)
{
    bus_io_flush(io);
    end(io);
}

/* ---- libnats' callbacks ---- */

static void init_lock(struct bus_io *io)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&io->mu, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* THREAD: the one that connects. */
static natsStatus on_attach(void **ret_io, void *slot, natsConnection *nc, natsSock fd)
{
    struct bus_io *io = xcalloc(1, sizeof(*io)), **owner = slot;
    pthread_t thread;

    *io = (struct bus_io){ .refs = 3, .nc = nc, .fd = fd, .reads = true, .is_patient = true };
    init_lock(io);
    io->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (io->wake_fd < 0 || pthread_create(&thread, NULL, run, io)) {
        io->refs = 1;
        bus_io_put(io);
        return NATS_SYS_ERROR;
    }
    pthread_detach(thread);
    bus_io_put(*owner);
    *owner = *ret_io = io;
    return NATS_OK;
}

static natsStatus on_read_wanted(void *ctx, bool wanted)
{
    struct bus_io *io = ctx;

    atomic_store(&io->reads, wanted);
    wake(io);
    return NATS_OK;
}

static natsStatus on_write_wanted(void *ctx, bool wanted)
{
    struct bus_io *io = ctx;

    atomic_store(&io->wants_write, wanted);
    if (wanted && !gathering) {
        atomic_store(&io->asked, true);
        wake(io);
    }
    return NATS_OK;
}

/* The last call. */
static natsStatus on_detach(void *ctx)
{
    end(ctx);
    bus_io_put(ctx);
    return NATS_OK;
}

natsStatus bus_io_use(natsOptions *options, struct bus_io **slot)
{
    return natsOptions_SetEventLoop(options, slot, on_attach, on_read_wanted, on_write_wanted,
                                    on_detach);
}
