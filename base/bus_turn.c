/* bus_turn.c - what a thread sends in one turn leaves at its end, and messages are freed many at once.
 *
 * A write a message costs a system call and wakes the server each time. A message freed goes to libnats'
 * collector thread, and wakes that each time. */
#include <pthread.h>

#include "base/bus_parts.h"
#include "base/clock.h"
#include "base/epilogue.h"
#include "base/xmem.h"

enum {
    GATHERED_MOST = 64 * 1024, /* bytes: beyond it the server may as well begin */
    GATHERED_US = 1000, /* a turn may be long: who waits for its beginning could work meanwhile */
    FREED_AT_ONCE = 256,
    FREED_BYTES = 256 * 1024, /* kept until then, at most, by a thread */
};

/* Of this thread. */
struct sent {
    struct epilogue epilogue;
    struct bus_conn *conn; /* with a reference; NULL: nothing is to be written */
    size_t bytes;
    int64_t since_us;
};
struct freed {
    size_t count, bytes;
    natsMsg *messages[FREED_AT_ONCE];
};
static _Thread_local struct sent sent;
static pthread_once_t freed_once = PTHREAD_ONCE_INIT;
static pthread_key_t freed_key;

void bus_turn_flush(void)
{
    struct bus_conn *conn = TAKE(sent.conn);

    sent.bytes = 0;
    if (!conn)
        return;
    bus_io_flush(conn->io);
    bus_conn_put(conn);
}

static void on_sent_end(struct epilogue *e UNUSED)
{
    bus_turn_flush();
}

void bus_turn_sent(struct bus_conn *conn, size_t size)
{
    sent.epilogue.run = on_sent_end;
    if (sent.conn != conn)
        bus_turn_flush(); /* another bus, or a connection that is lost */
    sent.bytes += size;
    if (!epilogue_add(&sent.epilogue) || sent.bytes > GATHERED_MOST) {
        bus_turn_flush();
        bus_io_flush(conn->io);
    } else if (!sent.conn) {
        atomic_fetch_add(&conn->refs, 1);
        sent.conn = conn;
        sent.since_us = clock_now_us();
    } else {
        bus_send_due();
    }
}

void bus_send_due(void)
{
    if (sent.conn && clock_now_us() - sent.since_us >= GATHERED_US)
        bus_turn_flush();
}

static void free_all(struct freed *f)
{
    for (size_t i = 0; i < f->count; i++)
        natsMsg_Destroy(f->messages[i]);
    f->count = f->bytes = 0;
}

static void on_thread_end(void *memory)
{
    free_all(memory);
    free(memory);
}

static void make_key(void)
{
    must(pthread_key_create(&freed_key, on_thread_end) == 0);
}

static struct freed *freed_of_thread(void)
{
    pthread_once(&freed_once, make_key);
    struct freed *f = pthread_getspecific(freed_key);
    if (!f) {
        f = xcalloc(1, sizeof(*f));
        must(pthread_setspecific(freed_key, f) == 0);
    }
    return f;
}

void bus_msg_free(natsMsg *msg)
{
    if (!msg)
        return;
    struct freed *f = freed_of_thread();
    f->messages[f->count++] = msg;
    f->bytes += (size_t)natsMsg_GetDataLength(msg);
    if (f->count == FREED_AT_ONCE || f->bytes >= FREED_BYTES)
        free_all(f);
}
