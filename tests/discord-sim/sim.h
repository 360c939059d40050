/* sim.h - the simulator's parts, put together by main.c.
 *
 *     REST, admin, traffic ─▶ publish ─▶ world + store ─▶ gateway (sessions) + record
 *     admin, traffic ─▶ interactions ─▶ POST to the edge ─▶ fate
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <jansson.h>

#include "base/http_client.h"
#include "base/http_server.h"
#include "base/idmap.h"
#include "base/loop.h"
#include "base/service.h"
#include "base/sign.h"
#include "tests/discord-sim/gateway.h"
#include "tests/discord-sim/rates.h"
#include "tests/discord-sim/record.h"
#include "tests/discord-sim/store.h"
#include "tests/discord-sim/world.h"

struct interactions;
struct traffic;
struct oauth;
struct commands;
struct calls;
struct arrivals;
struct faults;
struct delayed;
struct mischief;
struct storm;

enum { AUDIT_KEPT = 1000 };

struct sim_config {
    struct service_config service;
    const char *bind, *token, *application_id_text, *client_secret, *interactions_url, *port_file;
    int64_t port, admin_port, seed, guilds, members, shards, heartbeat_ms, max_concurrency;
    int64_t identify_window_ms, identify_total, session_keep_ms, replay, rate_per_bucket;
    int64_t rate_global, invalid_max, messages_kept, record_max;
    int64_t large_guilds, large_bytes, probe_each_ms;
    int64_t repeat_permille, omit_permille;
    bool privileged, shuffle_guilds, call_bodies;
};
struct sim {
    struct sim_config config;
    uint64_t application_id;
    struct loop *loop;
    struct http_client *client;
    struct http_server *main_server, *admin_server;
    struct sign_key *key;
    struct rng rng;
    struct world *world;
    struct store *store;
    struct gateway *gateway;
    struct record *record;
    struct calls *calls;
    struct arrivals *arrivals;
    struct rates *rates;
    struct faults *faults;   /* of REST */
    struct delayed *delayed; /* REST calls that wait */
    struct mischief *mischief;
    struct storm *storm;
    struct interactions *interactions;
    struct traffic *traffic;
    struct oauth *oauth;
    struct commands *commands;
    struct {
        bool resume_refused;     /* the resume host is "down" */
        int64_t refuse;          /* so many WebSockets are refused, whatever their path */
        int64_t bytes_per_s;     /* each WebSocket is sent so much; 0: as it takes */
        int64_t fragment, split; /* bytes: of a fragment, of a zlib-stream's message; 0: whole */
        uint64_t resume_url_connections; /* WebSockets that came to the resume URL */
        uint64_t refused;
    } ws;
    json_t *audit;        /* newest first */
    struct idmap *nonces; /* hash of channel and nonce → message id */
    struct {
        uint64_t requests, unauthorized, bad_agent, not_found, bad_request, nonce_repeats;
        uint64_t limited, limited_again, limited_by[RATE_SCOPES], cloudflare;
    } rest;
};

#endif
