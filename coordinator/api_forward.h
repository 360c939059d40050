/* api_forward.h - a change that another replica was asked for.
 *
 * THREAD: the coordinator's. */
#ifndef COORDINATOR_API_FORWARD_H
#define COORDINATOR_API_FORWARD_H

#include "coordinator/state.h"

void api_forwarded(struct coordinator *c, const Guildbus__V1__ApiRequest *request,
                   struct caller *caller);

#endif
