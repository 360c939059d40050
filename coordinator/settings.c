#include <stddef.h>

#include "base/config.h"
#include "base/macros.h"
#include "coordinator/coordinator.h"
#include "coordinator/rows.h"

#define ROW(field) offsetof(struct coordinator_config, field)

const struct config_row coordinator_settings_rows[] = {
    { "NATS_URL", CONFIG_URL, ROW(nats_url), .fallback = "nats://127.0.0.1:4222",
      .help = "where NATS is" },
    BUS_AUTH_ROWS(struct coordinator_config, nats_auth),
    { "DATABASE_URL", CONFIG_STRING, ROW(database_url), .secret = true,
      .help = "PostgreSQL, for any number of replicas; unset: SQLite in DATA_DIR, for one" },
    { "DATA_DIR", CONFIG_STRING, ROW(data_dir), .fallback = "data",
      .help = "folder of coordinator.sqlite3" },
    { "API_BIND", CONFIG_STRING, ROW(api_bind), .fallback = "127.0.0.1",
      .help = "address of the HTTP API" },
    { "API_PORT", CONFIG_PORT, ROW(api_port), .fallback = "7080",
      .help = "port of the HTTP API; 0: any free port" },
    { "COORDINATOR_TOKEN", CONFIG_STRING, ROW(token), .secret = true,
      .help = "bearer token of what changes something; unset: such calls are refused" },
    { "LEASE_MS", CONFIG_INT, ROW(lease_ms), .fallback = "4000", .min = 500, .max = 600000,
      .help = "how long a pod may answer reads after its last heartbeat" },
    { "SHARD_COUNT", CONFIG_INT, ROW(shard_count), .fallback = "0", .min = 0, .max = 65536,
      .help = "Discord shards; 0: what Discord recommends" },
    { "GUILDBUS_RESHARD", CONFIG_STRING, ROW(reshard), .fallback = "auto", .one_of = "auto|off",
      .help = "auto: when SHARD_COUNT was changed, or Discord recommends clearly more, the bot "
              "goes over to that many shards by itself" },
    { "IDENTIFY_RESERVE_PERCENT", CONFIG_INT, ROW(identify_reserve_percent), .fallback = "10",
      .min = 0, .max = 100,
      .help = "part of Discord's daily session starts that no pod gets; 0: all may be used" },
    { "MAX_MOVES", CONFIG_INT, ROW(max_moves), .fallback = "16", .min = 1, .max = 1000,
      .help = "planned moves under way at once" },
    { "GUILDBUS_STANDBYS", CONFIG_INT, ROW(standbys), .fallback = "1", .min = 0,
      .max = MOST_STANDBYS, .help = "pods that follow each guild's log, to take it over at once" },
    { "GUILDBUS_REBALANCE", CONFIG_STRING, ROW(rebalance), .fallback = "auto", .one_of = "auto|off",
      .help = "auto: guilds move by themselves to even out the load" },
    { "REBALANCE_MS", CONFIG_INT, ROW(rebalance_ms), .fallback = "15000", .min = 100,
      .max = 3600000, .help = "how often the load is looked at" },
    { "REBALANCE_PERCENT", CONFIG_INT, ROW(rebalance_percent), .fallback = "15", .min = 6,
      .max = 1000, .help = "guilds move when a pod carries so much more or less than the mean" },
    { "REBALANCE_COOLDOWN_MS", CONFIG_INT, ROW(rebalance_cooldown_ms), .fallback = "600000",
      .min = 0, .max = 86400000, .help = "a guild that got another owner stays there so long" },
    { "REBALANCE_MIXED_MS", CONFIG_INT, ROW(rebalance_mixed_ms), .fallback = "3600000", .min = 0,
      .max = 604800000,
      .help = "pods of different versions are taken for an update under way so long" },
    { "HISTORY_DAYS", CONFIG_INT, ROW(history_days), .fallback = "90", .min = 0, .max = 36500,
      .help = "how long history and ended moves are kept; 0: for ever" },
    { "EVENTS_HOURS", CONFIG_INT, ROW(events_hours), .fallback = "168", .min = 1, .max = 87600,
      .help = "how long the stream of events keeps them, when it is made" },
    { "NATS_REPLICAS", CONFIG_INT, ROW(nats_replicas), .fallback = "1", .min = 1, .max = 5,
      .help = "copies of each stream, when it is made" },
    { "DEPLOY_COMMANDS", CONFIG_BOOL, ROW(deploy_commands), .fallback = "false",
      .help = "the leader sees to it that Discord has the bot's commands; as guildbusctl "
              "deploy-commands does by hand" },
    { "DISCORD_TOKEN", CONFIG_STRING, ROW(discord_token), .secret = true,
      .help = "the bot's token, for DEPLOY_COMMANDS" },
    { "DISCORD_APPLICATION_ID", CONFIG_SNOWFLAKE, ROW(application_id),
      .help = "the application's id, for DEPLOY_COMMANDS" },
    { "DISCORD_API_URL", CONFIG_URL, ROW(discord_api_url),
      .fallback = "https://discord.com/api/v10", .help = "Discord's REST API, or the simulator's" },
    SERVICE_CONFIG_ROWS(struct coordinator_config, service),
};
const size_t coordinator_settings_count = ARRAY_LEN(coordinator_settings_rows);
