#include "edge/config.h"

#include <string.h>

#include "base/json.h"

enum { SECRET_LEAST = 32 };

#define AT(field) offsetof(struct edge_config, field)
const struct config_row edge_config_rows[] = {
    { "HTTP_BIND", CONFIG_STRING, AT(http_bind), .fallback = "127.0.0.1",
      .help = "address that Discord's requests and browsers reach" },
    { "HTTP_PORT", CONFIG_PORT, AT(http_port), .fallback = "8080",
      .help = "its port; 0: any free port" },
    { "HTTP_PORT_FILE", CONFIG_STRING, AT(http_port_file),
      .help = "a file to write the port to once it listens" },
    { "NATS_URL", CONFIG_URL, AT(nats_url), .fallback = "nats://127.0.0.1:4222",
      .help = "where NATS is" },
    BUS_AUTH_ROWS(struct edge_config, nats_auth),
    { "DISCORD_PUBLIC_KEY", CONFIG_HEX32, AT(public_key), .required = true,
      .help = "the application's public key, from Discord's developer portal" },
    { "DISCORD_APPLICATION_ID", CONFIG_SNOWFLAKE, AT(application_id), .required = true,
      .help = "the application's id, from Discord's developer portal" },
    { "DISCORD_CLIENT_SECRET", CONFIG_STRING, AT(client_secret), .secret = true,
      .help = "the application's OAuth2 secret; needed for the portal" },
    { "DISCORD_API_URL", CONFIG_URL, AT(api_url), .fallback = "https://discord.com/api/v10",
      .help = "Discord's API" },
    { "PORTAL_URL", CONFIG_URL, AT(portal_url),
      .help = "the portal's public address; unset: http://127.0.0.1:<port>" },
    { "SESSION_SECRET", CONFIG_STRING, AT(session_secret), .secret = true,
      .help = "at least 32 characters that seal the portal's cookies, the same on every edge" },
    { "INTERACTION_DEFER_MS", CONFIG_INT, AT(defer_ms), .fallback = "2200", .min = 100, .max = 2500,
      .help = "after so long without an owner's answer an interaction is deferred" },
    { "INTERACTION_REPEAT_MS", CONFIG_INT, AT(repeat_ms), .fallback = "400", .min = 10, .max = 2500,
      .help = "after so long without an answer a request is sent again" },
    { "SIGNATURE_WINDOW_S", CONFIG_INT, AT(signature_window_s), .fallback = "300", .min = 5,
      .max = 86400, .help = "how old a signed request may be; 60 s ahead are allowed for clocks" },
    { "MAX_BODY", CONFIG_INT, AT(max_body), .fallback = "1048576", .min = 1024, .max = 8388608,
      .help = "bytes of a request's body" },
    SERVICE_CONFIG_ROWS(struct edge_config, service),
};
const size_t edge_config_row_count = ARRAY_LEN(edge_config_rows);

static bool complain(FILE *errors, const char *line)
{
    fprintf(errors, "%s\n", line);
    return false;
}

/* http(s)://host[:port], at most a slash behind it: the pages' links begin at the root. */
static bool is_site(const char *url)
{
    const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
                       : strncmp(url, "https://", 8) == 0 ? url + 8
                                                          : "";
    size_t size = strcspn(host, "/?#@");

    return size > 0 && (!host[size] || strcmp(host + size, "/") == 0);
}

bool edge_config_check(const void *config, FILE *errors)
{
    const struct edge_config *c = config;
    bool good = bus_auth_check(c->nats_url, &c->nats_auth, errors);
    uint64_t id;

    if (c->application_id && !id_parse(c->application_id, &id))
        good = complain(errors, "DISCORD_APPLICATION_ID: is not one id: give the application's");
    if (c->session_secret && strlen(c->session_secret) < SECRET_LEAST)
        good = complain(errors,
                        "SESSION_SECRET: is shorter than 32 characters: make one with `openssl "
                        "rand -hex 32`");
    if (c->session_secret && !c->client_secret)
        good = complain(errors, "DISCORD_CLIENT_SECRET: is not set: the portal needs it beside "
                                "SESSION_SECRET");
    if (c->client_secret && !c->session_secret)
        good = complain(errors, "SESSION_SECRET: is not set: the portal needs it beside "
                                "DISCORD_CLIENT_SECRET");
    if (c->portal_url && !is_site(c->portal_url))
        good = complain(errors,
                        "PORTAL_URL: is no web address: give http(s)://host[:port] and no path");
    return good;
}

bool edge_has_portal(const struct edge_config *c)
{
    return c->session_secret && c->client_secret;
}
