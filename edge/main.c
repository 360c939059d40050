/* guildbus-edge: interaction webhooks and the web portal. */

#include "base/clock.h"
#include "base/log.h"
#include "base/service.h"
#include "edge/edge.h"
#include "edge/port_file.h"
#include "edge/portal.h"
#include "messages/subjects.h"

enum {
    DRAIN_MS = 3000,
    LATE_DRAIN_MS = 20000, /* for promises that only this process knows of */
    DRAIN_LOOK_MS = 20,
    PATIENCE_MS = 3000, /* a third of it in a publish still leaves Discord its answer */
};

struct program {
    struct service service;
    struct edge_config config;
    struct edge edge;
    struct arena *arena; /* texts that live as long as the program */
    struct loop_timer *drain;
    int64_t stopped_ms;
};

static bool is_stopping(void *ctx)
{
    struct program *p = ctx;

    return service_turn(&p->service);
}

static bool is_ready(void *ctx, const char **ret_why)
{
    const struct program *p = ctx;

    *ret_why = bus_why_away();
    return p->edge.bus && bus_is_connected(p->edge.bus);
}

/* --- start --- */

static void open_bus(struct program *p)
{
    struct bus_config config = { .url = p->config.nats_url,
                                 .name = "guildbus-edge",
                                 .inbox_prefix = SUBJECT_INBOX_EDGE,
                                 .auth = &p->config.nats_auth,
                                 .patience_ms = PATIENCE_MS,
                                 .give_up = is_stopping,
                                 .ctx = p };
    struct err err;

    if (bus_open(&config, &p->edge.bus, &err) != STATUS_OK && !p->service.stopping)
        service_fail("connect to NATS", &err);
}

static void listen_http(struct program *p)
{
    struct http_server_config config = { .name = "edge",
                                         .bind = p->config.http_bind,
                                         .port = (int)p->config.http_port,
                                         .max_body = (size_t)p->config.max_body,
                                         .on_request = edge_on_request,
                                         .ctx = &p->edge };
    struct err err;

    if (http_server_listen(p->service.loop, &config, &p->edge.server, &err) != STATUS_OK)
        service_fail("listen for HTTP", &err);
}

static void start(struct program *p)
{
    struct edge *edge = &p->edge;
    struct err err;

    edge->config = &p->config;
    edge->loop = p->service.loop;
    if (sign_public_key_new(p->config.public_key, &edge->public_key, &err) != STATUS_OK)
        service_fail("read DISCORD_PUBLIC_KEY", &err);
    if (http_client_new("guildbus-edge/" GUILDBUS_VERSION, &edge->http, &err) != STATUS_OK)
        service_fail("start the HTTP client", &err);
    edge->asks = asks_new(edge->loop, edge->bus);
    edge->lates = lates_new(edge->loop, edge->bus);
    listen_http(p);
    p->arena = arena_new(0);
    portal_open(edge, p->arena);
    int port = http_server_port(edge->server);
    if (p->config.http_port_file &&
        port_file_write(p->config.http_port_file, port, &err) != STATUS_OK)
        service_fail("write HTTP_PORT_FILE", &err);
    log_info("listening", "bind=%s port=%d portal=%s", p->config.http_bind, port,
             LOG_QUOTE(edge->has_portal ? edge->portal_url : "off"));
}

/* --- stop: no new requests, and those under way get their answers --- */

static void look_whether_drained(void *ctx)
{
    struct program *p = ctx;
    int64_t past_ms = clock_now_ms() - p->stopped_ms;

    if ((p->edge.visits == 0 || past_ms >= DRAIN_MS) &&
        (lates_count(p->edge.lates) == 0 || past_ms >= LATE_DRAIN_MS))
        loop_stop(p->service.loop);
    else
        loop_timer_start(p->drain, DRAIN_LOOK_MS);
}

static void on_stop(void *ctx)
{
    struct program *p = ctx;

    http_server_close(p->edge.server);
    p->stopped_ms = clock_now_ms();
    p->drain = loop_timer_new(p->service.loop, look_whether_drained, p);
    loop_timer_start(p->drain, DRAIN_LOOK_MS);
}

int main(int argc, char **argv)
{
    static struct program p = { .service = { .program = "guildbus-edge",
                                             .purpose = "interaction webhooks and the web portal",
                                             .rows = edge_config_rows,
                                             .check = edge_config_check,
                                             .on_stop = on_stop,
                                             .is_ready = is_ready } };

    p.service.row_count = edge_config_row_count;
    p.service.config = &p.config;
    p.service.common = &p.config.service;
    p.service.ctx = &p;
    service_start(&p.service, argc, argv);
    open_bus(&p);
    if (p.edge.bus) {
        start(&p);
        loop_run(p.service.loop);
    }
    asks_free(p.edge.asks);
    lates_free(p.edge.lates);
    visitors_free(p.edge.visitors);
    http_client_free(p.edge.http);
    bus_close(p.edge.bus);
    loop_timer_free(p.drain);
    service_stop(&p.service);
    sign_key_free(p.edge.public_key);
    arena_free(p.arena);
    return 0;
}
