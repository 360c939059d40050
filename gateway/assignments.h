/* assignments.h - a pod's second way to its assignments: the coordinator's HTTP API.
 *
 *     GET <CONFIG_SERVICE_URL>/guild-assignments?pod=<POD_ID> ─▶ owner_prefetch for each guild
 *
 * Orders come over NATS and alone make an owner. But a pod that starts knows from here what it will
 * most likely be told to own, and reads those guilds' logs meanwhile, also when the coordinator
 * cannot be reached over NATS yet.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_ASSIGNMENTS_H
#define GATEWAY_ASSIGNMENTS_H

#include "base/loop.h"
#include "base/status.h"
#include "gateway/owner.h"

struct assignments;

struct assignments_config {
    struct loop *loop;
    struct owner *owner;
    const char *url, *pod;
};
/* Asks once, page by page. */
enum status assignments_new(const struct assignments_config *config,
                            struct assignments **ret_assignments, struct err *err) MUST_CHECK;
void assignments_free(struct assignments *a);

#endif
