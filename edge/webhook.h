/* webhook.h - POST /webhooks/discord: an interaction to the owner of its guild and the answer back,
 * within 3 s.
 *
 * The signature is checked before a byte of the body is parsed. defer.h decides, this file does.
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_WEBHOOK_H
#define EDGE_WEBHOOK_H

#include "edge/edge.h"

void webhook_on_request(struct visit *v);

#endif
