/* api.h - the coordinator's HTTP API.
 *
 *   GET  /guild-assignments?limit=&after=&pod=   GET /guild-assignments/<guild>
 *   GET  /pod-health                             GET /status
 *   GET  /moves?limit=                           GET /moves/<id>
 *   GET  /history?guild_id=&limit=&before=
 *   POST /reassign-guild {"guild_id":"…","pod_id":"…"}     POST /unfreeze
 *   POST /drain-pod {"pod_id":"…"}                         POST /undrain-pod {"pod_id":"…"}
 *   POST /rebalance {"dry_run":false,"force":false,"limit":100}
 *
 * Any replica answers. What changes something needs "Authorization: Bearer <COORDINATOR_TOKEN>"; a
 * replica that does not lead has the leader answer it, over NATS. The exchange waits on the loop while a letter asks the
 * coordinator's thread.
 *
 * THREAD: the loop's. */
#ifndef COORDINATOR_API_H
#define COORDINATOR_API_H

#include "coordinator/coordinator.h"

struct http_server;

enum status api_start(const struct coordinator_config *config, struct coordinator *c,
                      struct loop *loop, struct http_server **ret_server, struct err *err)
    MUST_CHECK;

#endif
