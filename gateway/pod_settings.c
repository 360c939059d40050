#include "gateway/pod_settings.h"

#define FIELD(member) offsetof(struct gateway_settings, member)

const struct config_row gateway_settings_rows[] = {
    { "POD_ID", CONFIG_ID, FIELD(pod), .required = true,
      .help = "this pod's name, unique in the cluster" },
    { "ASSIGNED_GUILDS", CONFIG_GUILDS, FIELD(guilds),
      .help =
          "a fixed list of guild ids instead of a coordinator; this pod then holds all shards too" },
    { "CONFIG_SERVICE_URL", CONFIG_URL, FIELD(config_service_url),
      .help =
          "the coordinator's HTTP API; shown to operators, the pod itself speaks to the coordinator over NATS" },
    { "NATS_URL", CONFIG_URL, FIELD(nats_url), .fallback = "nats://127.0.0.1:4222",
      .help = "where NATS is" },
    BUS_AUTH_ROWS(struct gateway_settings, nats_auth),
    { "DATA_DIR", CONFIG_STRING, FIELD(data_dir), .fallback = "data",
      .help = "folder of the pod's SQLite database" },
    { "DISCORD_TOKEN", CONFIG_STRING, FIELD(token), .required = true, .secret = true,
      .help = "the bot's token" },
    { "DISCORD_APPLICATION_ID", CONFIG_SNOWFLAKE, FIELD(application_id), .required = true,
      .help = "the application's id" },
    { "DISCORD_API_URL", CONFIG_URL, FIELD(api_url), .fallback = "https://discord.com/api/v10",
      .help = "Discord's REST API, or the simulator's" },
    { "DISCORD_COMPRESS", CONFIG_BOOL, FIELD(compress), .fallback = "true",
      .help = "ask for zlib-stream on the gateway's WebSockets: a fifth of the traffic" },
    { "PORTAL_URL", CONFIG_URL, FIELD(portal_url),
      .help = "the portal's public address, for links in answers" },
    { "CAPACITY", CONFIG_INT, FIELD(capacity), .fallback = "100", .min = 0, .max = 1000000,
      .help = "guilds that this pod should own at most" },
    { "DRAIN_MS", CONFIG_INT, FIELD(drain_ms), .fallback = "25000", .min = 0, .max = 3600000,
      .help = "how long SIGTERM waits for guilds to be moved away" },
    { "UNSEAL_MS", CONFIG_INT, FIELD(unseal_ms), .fallback = "1000", .min = 50, .max = 60000,
      .help = "a guild that was handed over and that nobody claimed is taken back after this" },
    { "SNAPSHOT_RECORDS", CONFIG_INT, FIELD(snapshot_records), .fallback = "128", .min = 0,
      .max = 100000,
      .help =
          "a guild's log is replaced by a snapshot of its rows after at least so many records; 0: never" },
    { "EVENTS_HOURS", CONFIG_INT, FIELD(events_hours), .fallback = "168", .min = 1, .max = 8760,
      .help = "with ASSIGNED_GUILDS: how long the stream keeps events" },
    SERVICE_CONFIG_ROWS(struct gateway_settings, service),
};
const size_t gateway_settings_count = ARRAY_LEN(gateway_settings_rows);

bool gateway_settings_check(const void *settings, FILE *errors)
{
    const struct gateway_settings *s = settings;

    return bus_auth_check(s->nats_url, &s->nats_auth, errors);
}
