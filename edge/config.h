/* config.h - the edge's settings.
 *
 * THREAD: before start. */
#ifndef EDGE_CONFIG_H
#define EDGE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bus_auth.h"
#include "base/service.h"

struct edge_config {
    const char *http_bind, *http_port_file;
    int64_t http_port;
    const char *nats_url;
    struct bus_auth nats_auth;
    const char *public_key, *application_id, *client_secret, *api_url;
    const char *portal_url, *session_secret;
    int64_t defer_ms, repeat_ms, signature_window_s, max_body;
    struct service_config service;
};

extern const struct config_row edge_config_rows[];
extern const size_t edge_config_row_count;

/* What no single row can say; a line for each that is wrong, as config_load writes them. c is an
 * edge_config that config_load filled as far as it could. */
bool edge_config_check(const void *c, FILE *errors) MUST_CHECK;
/* The portal needs DISCORD_CLIENT_SECRET and SESSION_SECRET; without both, only interactions are
 * served. */
bool edge_has_portal(const struct edge_config *c);

#endif
