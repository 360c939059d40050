/* api.h - the coordinator's HTTP API.
 *
 *   GET  /guild-assignments?limit=&after=&pod=   GET /guild-assignments/<guild>
 *   GET  /pod-health                             GET /status
 *   GET  /moves?limit=                           GET /moves/<id>
 *   POST /reassign-guild {"guild_id":"…","pod_id":"…"}     POST /unfreeze
 *
 * Reading is answered by any replica. What changes something needs "Authorization: Bearer
 * <COORDINATOR_TOKEN>" and the leader. The exchange waits on the loop while a letter asks the
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
