#include "base/bus_link.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bus_options.h"
#include "base/bus_refused.h"
#include "base/bus_threads.h"
#include "base/bus_url.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sign.h"
#include "base/xmem.h"

enum {
    FIRST_RETRY_MS = 1000, /* between first connection attempts */
    URL_SIZE = 256,
};

struct bus_link {
    struct bus_link_events events;
    char *urls;  /* as configured */
    char *known; /* what the last connection told of other servers, or NULL; the maker's */
    natsOptions *options;
    struct bus_io *made_io; /* of the connection that is being made; the maker's */
    pthread_t maker;
    uint64_t made;
    _Atomic size_t max_payload;
    _Atomic bool up;

    pthread_mutex_t mu;
    pthread_cond_t changed;
    bool closing;
    bool lost; /* libnats' last word on the connection has come */
    struct bus_conn *current;
    char url[URL_SIZE]; /* of the current connection, or of the last */
};

/* Of all connections: libnats' threads may outlive theirs by a moment. */
static _Atomic uint64_t dropped;

uint64_t bus_link_dropped(void)
{
    return atomic_load(&dropped);
}

/* ---- one connection ---- */

void bus_conn_put(struct bus_conn *conn)
{
    if (!conn || atomic_fetch_sub(&conn->refs, 1) != 1)
        return;
    natsSubscription_Destroy(conn->inbox);
    natsConnection_Destroy(conn->nc);
    bus_io_put(conn->io);
    free(conn);
}

struct bus_conn *bus_link_current(struct bus_link *link)
{
    pthread_mutex_lock(&link->mu);
    struct bus_conn *conn = link->current;
    if (conn)
        atomic_fetch_add(&conn->refs, 1);
    pthread_mutex_unlock(&link->mu);
    return conn;
}

struct bus_conn *bus_link_get(struct bus_link *link)
{
    return atomic_load(&link->up) ? bus_link_current(link) : NULL;
}

bool bus_link_is_up(const struct bus_link *link)
{
    return atomic_load(&link->up);
}

size_t bus_link_max_payload(const struct bus_link *link)
{
    return atomic_load(&link->max_payload);
}

enum status bus_link_url(struct bus_link *link, char *ret_url, size_t size, struct err *err)
{
    pthread_mutex_lock(&link->mu);
    bool is_known = *link->url && strlen(link->url) < size;
    if (is_known)
        (void)snprintf(ret_url, size, "%s", link->url);
    pthread_mutex_unlock(&link->mu);
    return is_known ? STATUS_OK
                    : err_set(err, STATUS_UNAVAILABLE, "connected url: too long or not known");
}

/* ---- libnats' callbacks ---- */

static void on_nats_disconnected(natsConnection *nc UNUSED, void *closure)
{
    struct bus_link *link = closure;

    pthread_mutex_lock(&link->mu);
    atomic_store(&link->up, false);
    bool closing = link->closing;
    pthread_mutex_unlock(&link->mu);
    if (!closing)
        log_warn("nats_disconnected", "next=reconnecting wait_ms=%d", BUS_RECONNECT_WAIT_MS);
}

/* Its last word on this connection. */
static void on_nats_closed(natsConnection *nc UNUSED, void *closure)
{
    struct bus_link *link = closure;

    pthread_mutex_lock(&link->mu);
    atomic_store(&link->up, false);
    link->lost = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->mu);
}

static void on_nats_error(natsConnection *nc UNUSED, natsSubscription *sub UNUSED, natsStatus s,
                          void *closure UNUSED)
{
    if (bus_refused_note(s))
        return;
    if (s == NATS_SLOW_CONSUMER)
        atomic_fetch_add(&dropped, 1);
    log_warn("nats_error", "text=\"%s\"", natsStatus_GetText(s));
}

/* NATS_OK is 0, and they fail only for want of an argument. */
static bool set_callbacks(natsOptions *o, struct bus_link *link)
{
    return !natsOptions_SetDisconnectedCB(o, on_nats_disconnected, link) &&
           !natsOptions_SetClosedCB(o, on_nats_closed, link) &&
           !natsOptions_SetErrorHandler(o, on_nats_error, link);
}

/* ---- making one ---- */

/* Waits until the connection is lost or nobody wants it any more, and lets go of it. */
static void hold(struct bus_link *link)
{
    pthread_mutex_lock(&link->mu);
    while (!link->lost && !link->closing)
        pthread_cond_wait(&link->changed, &link->mu);
    bool close = !link->lost;
    pthread_mutex_unlock(&link->mu);
    if (close) {
        bus_io_stop(link->current->io);
        natsConnection_Close(link->current->nc);
    }
    pthread_mutex_lock(&link->mu);
    while (!link->lost)
        pthread_cond_wait(&link->changed, &link->mu);
    struct bus_conn *conn = TAKE(link->current);
    pthread_mutex_unlock(&link->mu);
    bus_conn_put(conn);
}

static natsStatus try_servers(struct bus_link *link, const char *urls, bool is_last,
                              natsConnection **ret_nc)
{
    natsStatus s = bus_options_set_servers(link->options, urls, link->url, is_last);

    pthread_mutex_lock(&link->mu);
    link->lost = false; /* the last one's callbacks are over */
    pthread_mutex_unlock(&link->mu);
    return s == NATS_OK ? bus_options_connect(link->options, ret_nc) : s;
}

/* First those that are configured, then those that the servers told of, then the one that was lost:
 * it may hang, and costs two seconds then. */
static natsStatus connect_any(struct bus_link *link, natsConnection **ret_nc)
{
    const char *const lists[] = { link->urls, link->known };
    natsStatus s = NATS_NO_SERVER;

    for (size_t i = 0; s != NATS_OK && i < 2 * ARRAY_LEN(lists); i++) {
        const char *urls = lists[i % ARRAY_LEN(lists)];
        natsStatus now =
            urls ? try_servers(link, urls, i >= ARRAY_LEN(lists), ret_nc) : NATS_NO_SERVER;
        s = now == NATS_NO_SERVER ? s : now;
    }
    return s;
}

/* The servers it told of, for when none of the configured ones is there. */
static void remember_known(struct bus_link *link, natsConnection *nc)
{
    char **servers = NULL;
    int count = 0;

    if (natsConnection_GetServers(nc, &servers, &count) != NATS_OK)
        return;
    free(link->known);
    link->known = bus_url_others(link->urls, servers, (size_t)count);
    for (int i = 0; i < count; i++)
        free(servers[i]);
    free(servers);
}

static void set_current(struct bus_link *link, struct bus_conn *conn)
{
    char url[URL_SIZE] = "";

    (void)natsConnection_GetConnectedUrl(conn->nc, url, sizeof(url));
    atomic_store(&link->max_payload, (size_t)natsConnection_GetMaxPayload(conn->nc));
    pthread_mutex_lock(&link->mu);
    if (*url)
        (void)snprintf(link->url, sizeof(link->url), "%s", url);
    link->current = conn;
    pthread_mutex_unlock(&link->mu);
}

/* OK: it is up, or already lost again; hold() is next. */
static natsStatus make(struct bus_link *link)
{
    natsConnection *nc = NULL;
    natsStatus s = connect_any(link, &nc);

    bus_refused_connect(s);
    if (s != NATS_OK)
        return s;
    struct bus_conn *conn = xcalloc(1, sizeof(*conn));
    conn->refs = 1;
    conn->number = ++link->made;
    conn->nc = nc;
    conn->io = TAKE(link->made_io);
    remember_known(link, nc);
    s = link->events.conn_opened(link->events.ctx, conn);
    if (s != NATS_OK) {
        bus_io_stop(conn->io);
        natsConnection_Close(nc);
    }
    set_current(link, conn);
    if (s != NATS_OK) {
        hold(link);
        return s;
    }
    link->events.conn_current(link->events.ctx, conn);
    pthread_mutex_lock(&link->mu);
    atomic_store(&link->up, !link->lost);
    pthread_mutex_unlock(&link->mu);
    return NATS_OK;
}

/* A pause before the next round of the servers, shorter when closing. */
static void pause_a_little(struct bus_link *link)
{
    int64_t wait_ms = BUS_RECONNECT_WAIT_MS + (int64_t)(sign_random_u64() % BUS_RECONNECT_WAIT_MS);
    int64_t until_us = clock_now_us() + wait_ms * 1000;
    const struct timespec until = { until_us / 1000000, until_us % 1000000 * 1000 };

    pthread_mutex_lock(&link->mu);
    while (!link->closing && clock_now_us() < until_us)
        (void)pthread_cond_timedwait(&link->changed, &link->mu, &until);
    pthread_mutex_unlock(&link->mu);
}

static bool is_closing(struct bus_link *link)
{
    pthread_mutex_lock(&link->mu);
    bool closing = link->closing;
    pthread_mutex_unlock(&link->mu);
    return closing;
}

static void *keep_connected(void *arg)
{
    struct bus_link *link = arg;
    char shown[URL_SIZE];

    pthread_setname_np(pthread_self(), "bus-connect");
    hold(link);
    while (!is_closing(link)) {
        if (make(link) != NATS_OK) {
            pause_a_little(link);
            continue;
        }
        log_info("nats_reconnected", "url=%s", bus_url_show(link->url, shown, sizeof(shown)));
        hold(link);
    }
    return NULL;
}

/* ---- open and close ---- */

static enum status make_first(struct bus_link *link, const struct bus_config *config,
                              struct err *err)
{
    char shown[512];
    natsStatus last;

    (void)bus_url_show(config->url, shown, sizeof(shown));
    for (;;) {
        natsStatus s = make(link);
        if (s == NATS_OK)
            return STATUS_OK;
        log_warn("nats_unreachable", "url=%s text=\"%s\" why=%s retry_in_ms=%d", shown,
                 natsStatus_GetText(s), LOG_QUOTE(nats_GetLastError(&last)), FIRST_RETRY_MS);
        for (int waited = 0; waited < FIRST_RETRY_MS; waited += 50) {
            if (config->give_up && config->give_up(config->ctx))
                return err_set(err, STATUS_UNAVAILABLE, "gave up connecting to NATS at %s", shown);
            usleep(50 * 1000);
        }
    }
}

static void init_changed(struct bus_link *link)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&link->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&link->changed, &attr);
    pthread_condattr_destroy(&attr);
}

enum status bus_link_open(const struct bus_config *config, const struct bus_link_events *events,
                          struct bus_link **ret_link, struct err *err)
{
    struct bus_link *link = xcalloc(1, sizeof(*link));

    bus_threads_start();
    init_changed(link);
    bus_refused_init();
    link->events = *events;
    link->urls = xstrdup(config->url);
    natsStatus s = natsOptions_Create(&link->options);
    if (s == NATS_OK)
        s = bus_options_set(link->options, config);
    if (s == NATS_OK)
        s = bus_io_use(link->options, &link->made_io);
    if (s == NATS_OK && !set_callbacks(link->options, link))
        s = NATS_INVALID_ARG;
    enum status status =
        s == NATS_OK ? make_first(link, config, err)
                     : err_set(err, STATUS_INVALID, "NATS's options: %s", nats_GetLastError(&s));
    if (status == STATUS_OK && pthread_create(&link->maker, NULL, keep_connected, link)) {
        link->closing = true;
        hold(link);
        status = err_set(err, STATUS_UNAVAILABLE, "no thread to connect to NATS");
    }
    if (status != STATUS_OK)
        bus_link_free(link);
    else
        *ret_link = link;
    return status;
}

void bus_link_close(struct bus_link *link)
{
    pthread_mutex_lock(&link->mu);
    link->closing = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->mu);
    pthread_join(link->maker, NULL);
}

void bus_link_free(struct bus_link *link)
{
    natsOptions_Destroy(link->options);
    bus_io_put(link->made_io);
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->mu);
    free(link->urls);
    free(link->known);
    free(link);
}
