/* gateway_ws.h - the gateway's WebSocket: lws on one side, gw_conn on the other.
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_GATEWAY_WS_H
#define SIM_GATEWAY_WS_H

#include "tests/discord-sim/sim.h"

/* The protocols for http_server_config; s must live as long as the loop. */
const struct lws_protocols *gateway_ws_protocols(struct sim *s);

#endif
