/* coordinator.h - the thread that owns the store and takes every decision.
 *
 *   pods ──bus──▶ letters ─┐                                ┌─▶ pod.<pod>.control
 *   API  ───────▶ letters ─┴▶ coordinator ─▶ store ─▶ mirror ┴─▶ assignment.<guild>
 *
 * Any number of processes may run on one PostgreSQL; one leads. The others answer reads and wait.
 *
 * THREAD: start, leave, stop: the loop's. The rest: any. */
#ifndef COORDINATOR_COORDINATOR_H
#define COORDINATOR_COORDINATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bus_auth.h"
#include "base/loop.h"
#include "base/mailbox.h"
#include "base/service.h"
#include "base/status.h"

struct coordinator_config {
    const char *nats_url, *database_url, *data_dir, *api_bind, *token, *rebalance, *reshard;
    int64_t api_port, lease_ms, shard_count, max_moves, standbys, events_hours, nats_replicas;
    int64_t rebalance_ms, rebalance_percent, rebalance_cooldown_ms, rebalance_mixed_ms;
    int64_t history_days, identify_reserve_percent;
    const char *discord_token, *application_id, *discord_api_url; /* for the commands only */
    bool deploy_commands;
    struct bus_auth nats_auth;
    struct service_config service;
};
extern const struct config_row coordinator_settings_rows[];
extern const size_t coordinator_settings_count;

struct coordinator;

/* What no single setting can say (service.h, check). */
bool coordinator_config_check(const void *config, FILE *errors);
/* config lives as long as the coordinator. When start-up finds what waiting cannot heal (streams of
 * another layout), the loop is stopped and coordinator_failed is true. */
enum status coordinator_start(const struct coordinator_config *config, struct loop *loop,
                              struct coordinator **ret_coordinator, struct err *err) MUST_CHECK;
/* Lets another process lead and waits for the thread, which answers what had been asked. Once is
 * enough. */
void coordinator_leave(struct coordinator *c);
/* Leaves, then frees. Calls that came too late are discarded. */
void coordinator_stop(struct coordinator *c);

/* NATS is connected and the store answers. */
bool coordinator_is_ready(struct coordinator *c, const char **ret_why);
/* The store is open, calls are answered. */
bool coordinator_is_up(const struct coordinator *c);
bool coordinator_failed(const struct coordinator *c);
/* Its read gets the coordinator as the owner. BUSY: too many wait. */
enum status coordinator_post(struct coordinator *c, struct letter **letter) MUST_CHECK;

#endif
