/* guildbus-discord-sim - a Discord on loopback. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "tests/discord-sim/admin.h"
#include "tests/discord-sim/arrivals.h"
#include "tests/discord-sim/calls.h"
#include "tests/discord-sim/commands.h"
#include "tests/discord-sim/faults.h"
#include "tests/discord-sim/gateway_ws.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/mischief.h"
#include "tests/discord-sim/oauth.h"
#include "tests/discord-sim/publish.h"
#include "tests/discord-sim/rest.h"
#include "tests/discord-sim/storm.h"
#include "tests/discord-sim/traffic.h"

enum { TICK_MS = 500, MAX_BODY = 8 * 1024 * 1024 };

#define ROW(variable, kind_, field, ...)                                                           \
    {                                                                                              \
        .name = (variable), .kind = (kind_), .offset = offsetof(struct sim_config, field),         \
        __VA_ARGS__                                                                                \
    }
static const struct config_row rows[] = {
    ROW("SIM_BIND", CONFIG_STRING, bind, .fallback = "127.0.0.1", .help = "address of both ports"),
    ROW("SIM_PORT", CONFIG_PORT, port, .fallback = "0",
        .help = "gateway, REST, OAuth2; 0: any free port"),
    ROW("SIM_ADMIN_PORT", CONFIG_PORT, admin_port, .fallback = "0",
        .help = "what to send and what to break; 0: any free port"),
    ROW("SIM_PORT_FILE", CONFIG_STRING, port_file, .help = "where to write the ports as JSON"),
    ROW("SIM_SEED", CONFIG_INT, seed, .fallback = "1", .min = 0, .max = INT32_MAX,
        .help = "makes the world and the key"),
    ROW("SIM_GUILDS", CONFIG_INT, guilds, .fallback = "10", .min = 1, .max = 100000,
        .help = "how many guilds"),
    ROW("SIM_MEMBERS", CONFIG_INT, members, .fallback = "20", .min = 4, .max = 10000,
        .help = "people in each guild"),
    ROW("SIM_TOKEN", CONFIG_STRING, token, .fallback = "simulated-token",
        .help = "the bot's token"),
    ROW("SIM_APPLICATION_ID", CONFIG_ID, application_id_text, .fallback = "1000000000000000001",
        .help = "a snowflake; also the bot's user id"),
    ROW("SIM_CLIENT_SECRET", CONFIG_STRING, client_secret, .fallback = "simulated-secret",
        .help = "of OAuth2"),
    ROW("SIM_SHARDS", CONFIG_INT, shards, .fallback = "1", .min = 1, .max = 16000,
        .help = "shards that GET /gateway/bot recommends"),
    ROW("SIM_HEARTBEAT_MS", CONFIG_INT, heartbeat_ms, .fallback = "41250", .min = 50, .max = 600000,
        .help = "heartbeat interval"),
    ROW("SIM_MAX_CONCURRENCY", CONFIG_INT, max_concurrency, .fallback = "16", .min = 1, .max = 1024,
        .help = "IDENTIFYs in one window"),
    ROW("SIM_IDENTIFY_WINDOW_MS", CONFIG_INT, identify_window_ms, .fallback = "5000", .min = 0,
        .max = 60000, .help = "that window"),
    ROW("SIM_IDENTIFY_TOTAL", CONFIG_INT, identify_total, .fallback = "1000", .min = 1,
        .max = 1000000, .help = "IDENTIFYs a day"),
    ROW("SIM_SESSION_KEEP_MS", CONFIG_INT, session_keep_ms, .fallback = "300000", .min = 0,
        .max = 3600000, .help = "how long a session waits for its RESUME"),
    ROW("SIM_REPLAY", CONFIG_INT, replay, .fallback = "65536", .min = 16, .max = 1000000,
        .help = "events that a session keeps for its RESUME"),
    ROW("SIM_INTERACTIONS_URL", CONFIG_URL, interactions_url,
        .help = "the bot's interactions endpoint; may be set later on the admin port"),
    ROW("SIM_RATE_PER_BUCKET", CONFIG_INT, rate_per_bucket, .fallback = "10000", .min = 0,
        .max = 1000000, .help = "REST requests a second and bucket; 0: no limit"),
    ROW("SIM_RATE_GLOBAL", CONFIG_INT, rate_global, .fallback = "0", .min = 0, .max = 1000000,
        .help = "REST requests a second over all; Discord: 50; 0: no limit"),
    ROW("SIM_INVALID_MAX", CONFIG_INT, invalid_max, .fallback = "10000", .min = 0, .max = 1000000,
        .help = "401, 403 and 429 in ten minutes, then Cloudflare answers; 0: never"),
    ROW("SIM_PRIVILEGED", CONFIG_BOOL, privileged, .fallback = "true",
        .help = "whether members, presences and message content are approved; else 4014"),
    ROW("SIM_LARGE_GUILDS", CONFIG_INT, large_guilds, .fallback = "0", .min = 0, .max = 1000,
        .help = "so many guilds, the first ones, are large"),
    ROW("SIM_LARGE_BYTES", CONFIG_INT, large_bytes, .fallback = "4194304", .min = 100000,
        .max = 16000000, .help = "how large the GUILD_CREATE of one is"),
    ROW("SIM_SHUFFLE_GUILDS", CONFIG_BOOL, shuffle_guilds, .fallback = "false",
        .help = "GUILD_CREATEs come in an order of the seed"),
    ROW("SIM_REPEAT_PERMILLE", CONFIG_INT, repeat_permille, .fallback = "0", .min = 0, .max = 1000,
        .help = "of a thousand events, so many come again"),
    ROW("SIM_OMIT_PERMILLE", CONFIG_INT, omit_permille, .fallback = "0", .min = 0, .max = 1000,
        .help = "of a thousand events, so many never come"),
    ROW("SIM_PROBE_EACH_MS", CONFIG_INT, probe_each_ms, .fallback = "0", .min = 0, .max = 3600000,
        .help = "how often the endpoint gets a wrong signature; 0: never"),
    ROW("SIM_MESSAGES_KEPT", CONFIG_INT, messages_kept, .fallback = "500000", .min = 100,
        .max = 100000000, .help = "beyond it the oldest message is gone"),
    ROW("SIM_RECORD_MAX", CONFIG_INT, record_max, .fallback = "5000000", .min = 0,
        .max = 1000000000, .help = "events kept in the record"),
    ROW("SIM_CALL_BODIES", CONFIG_BOOL, call_bodies, .fallback = "false",
        .help = "keep the bodies of REST calls for GET /record?kind=call"),
    SERVICE_CONFIG_ROWS(struct sim_config, service),
};

/* The same seed has the same key, so that a test can name it beforehand. */
static enum status make_key(struct sim *s, struct err *err)
{
    char text[64];
    uint8_t seed[32];

    (void)snprintf(text, sizeof(text), "guildbus-discord-sim %" PRId64, s->config.seed);
    sign_sha256(text, strlen(text), seed);
    return sign_private_key_new(seed, &s->key, err);
}

static void on_guild(void *ctx, const struct guild *g)
{
    struct sim *s = ctx;
    struct record_event what = { .type = EVENT_GUILD_CREATE, .guild_id = g->id };

    record_add(s->record, what, NULL);
}

static void on_guild_gone(void *ctx, const struct guild *g)
{
    struct sim *s = ctx;
    struct record_event what = { .type = EVENT_GUILD_DELETE, .guild_id = g->id };

    record_add(s->record, what, NULL);
}

static void make_world(struct sim *s)
{
    struct world_config world = { .seed = (uint64_t)s->config.seed,
                                  .application_id = s->application_id,
                                  .guilds = (size_t)s->config.guilds,
                                  .large_guilds = (size_t)s->config.large_guilds,
                                  .large_bytes = (size_t)s->config.large_bytes,
                                  .members = (size_t)s->config.members };

    s->world = world_new(&world);
    s->store = store_new((size_t)s->config.messages_kept);
    s->record = record_new(s->world, (size_t)s->config.record_max);
    s->calls = calls_new((size_t)s->config.record_max, s->config.call_bodies);
    s->arrivals = arrivals_new((size_t)s->config.record_max);
    struct gateway_config gateway = { .token = s->config.token,
                                      .world = s->world,
                                      .seed = (uint64_t)s->config.seed,
                                      .privileged = s->config.privileged ? PRIVILEGED_INTENTS : 0,
                                      .heartbeat_ms = s->config.heartbeat_ms,
                                      .max_concurrency = s->config.max_concurrency,
                                      .identify_window_ms = s->config.identify_window_ms,
                                      .identify_total = s->config.identify_total,
                                      .session_keep_ms = s->config.session_keep_ms,
                                      .replay = (size_t)s->config.replay,
                                      .on_guild = on_guild,
                                      .on_guild_gone = on_guild_gone,
                                      .ctx = s };
    s->gateway = gateway_new(&gateway);
    gateway_tricks(s->gateway)->shuffle_guilds = s->config.shuffle_guilds;
    s->rates = rates_new(s->config.rate_per_bucket, s->config.rate_global, s->config.invalid_max);
    s->faults = faults_new((uint64_t)s->config.seed);
    s->mischief = mischief_new((uint64_t)s->config.seed);
    mischief_set(s->mischief,
                 (struct mischief_rates){ s->config.repeat_permille, s->config.omit_permille });
    s->storm = storm_new(s);
    s->commands = commands_new(s->world);
    s->oauth = oauth_new();
    s->interactions = interactions_new(s);
    s->traffic = traffic_new(s);
    s->audit = json_array();
    s->nonces = idmap_new();
    s->rng.state = (uint64_t)s->config.seed + 1;
}

static enum status listen_main(struct sim *s, struct err *err)
{
    struct http_server_config config = { .name = "discord",
                                         .bind = s->config.bind,
                                         .port = (int)s->config.port,
                                         .max_body = MAX_BODY,
                                         .on_request = rest_serve,
                                         .ctx = s,
                                         .websocket_protocols = gateway_ws_protocols(s) };

    return http_server_listen(s->loop, &config, &s->main_server, err);
}

static enum status listen_admin(struct sim *s, struct err *err)
{
    struct http_server_config config = { .name = "sim-admin",
                                         .bind = s->config.bind,
                                         .port = (int)s->config.admin_port,
                                         .max_body = MAX_BODY,
                                         .on_request = admin_serve,
                                         .ctx = s };

    return http_server_listen(s->loop, &config, &s->admin_server, err);
}

/* Whoever reads the file finds all of it: it is renamed into place. */
static void write_port_file(const char *path, const struct out *text)
{
    CLEANUP(out_release) struct out draft = OUT_EMPTY;

    out_text(&draft, path);
    out_text(&draft, ".draft");
    FILE *f = fopen(draft.text, "we");
    if (!f || fwrite(text->text, 1, text->size, f) != text->size || fclose(f) ||
        rename(draft.text, path)) {
        log_error("port_file", "path=%s", path);
        exit(1);
    }
}

static void tell_ports(struct sim *s)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    char key[65];

    sign_public_hex(s->key, key);
    out_json(&o, "{'port':%d,'admin_port':%d,'public_key':%S}\n", http_server_port(s->main_server),
             http_server_port(s->admin_server), key);
    if (s->config.port_file)
        write_port_file(s->config.port_file, &o);
    (void)fputs(o.text, stdout);
    (void)fflush(stdout);
}

struct ticking {
    struct sim *sim;
    struct loop_timer *timer;
    int64_t probed_ms;
};

static void probe(struct ticking *t)
{
    int64_t now = clock_now_ms();

    if (!t->sim->config.probe_each_ms || now - t->probed_ms < t->sim->config.probe_each_ms)
        return;
    t->probed_ms = now;
    interactions_probe(t->sim->interactions, rng_below(&t->sim->rng, 5));
}

static void on_tick(void *ctx)
{
    struct ticking *t = ctx;

    gateway_tick(t->sim->gateway, clock_now_ms());
    interactions_tick(t->sim->interactions);
    mischief_flush(t->sim->mischief, t->sim);
    probe(t);
    loop_timer_start(t->timer, TICK_MS);
}

/* After the loop's sockets, which still look into the gateway while they close. */
static void release(void *ctx)
{
    struct sim *s = ctx;

    interactions_free(s->interactions);
    oauth_free(s->oauth);
    commands_free(s->commands);
    rates_free(s->rates);
    faults_free(s->faults);
    mischief_free(s->mischief);
    gateway_free(s->gateway);
    record_free(s->record);
    calls_free(s->calls);
    arrivals_free(s->arrivals);
    store_free(s->store);
    world_free(s->world);
    sign_key_free(s->key);
    json_decref(s->audit);
    idmap_free(s->nonces);
}

static void serve(struct sim *s)
{
    struct ticking ticking = { .sim = s };
    struct err err = { 0 };

    loop_on_free(s->loop, release, s);
    if (make_key(s, &err) != STATUS_OK ||
        http_client_new("Discord-Interactions/1.0 (+https://discord.com)", &s->client, &err) !=
            STATUS_OK)
        service_fail("start", &err);
    make_world(s);
    if (listen_main(s, &err) != STATUS_OK || listen_admin(s, &err) != STATUS_OK)
        service_fail("listen", &err);
    tell_ports(s);
    if (s->config.interactions_url)
        interactions_set_url(s->interactions, s->config.interactions_url, NULL, NULL);
    ticking.timer = loop_timer_new(s->loop, on_tick, &ticking);
    loop_timer_start(ticking.timer, TICK_MS);
    loop_run(s->loop);
    http_client_free(s->client);
    traffic_free(s->traffic);
    storm_free(s->storm);
    rest_forget_delayed(s);
    loop_timer_free(ticking.timer);
}

int main(int argc, char **argv)
{
    static struct sim s; /* its settings live as long as the process */
    struct service service = { .program = "guildbus-discord-sim",
                               .purpose = "A Discord on loopback: gateway, REST, OAuth2 and signed "
                                          "interactions, with traffic and faults on demand.\n\n"
                                          "When it listens, it prints {\"port\":…,\"admin_port\":…,"
                                          "\"public_key\":\"…\"} as one line.\n"
                                          "GET / on the admin port lists what it can send, break "
                                          "and tell; docs/discord-sim.md explains it.",
                               .rows = rows,
                               .row_count = ARRAY_LEN(rows),
                               .config = &s.config,
                               .common = &s.config.service };

    service_start(&service, argc, argv);
    s.loop = service.loop;
    if (!id_parse(s.config.application_id_text, &s.application_id)) {
        log_error("settings", "SIM_APPLICATION_ID=%s", "not a snowflake");
        return 2;
    }
    serve(&s);
    service_stop(&service);
    return 0;
}
