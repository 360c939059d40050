/* nats_keys.h - makes the keys by which NATS tells the programs from each other.
 *
 *   FOLDER/edge.seed          what edges sign with: NATS_NKEY_SEED_FILE          (mode 0600)
 *   FOLDER/edge.spare.seed    known to NATS already, for the next change of keys (mode 0600)
 *   … the same for gateway, coordinator and operator
 *   FOLDER/nats.env           EDGE_NKEY=U… EDGE_NKEY_SPARE=U… …, the public halves: nats-server's environment
 *
 * THREAD: any. */
#ifndef COORDINATOR_CTL_NATS_KEYS_H
#define COORDINATOR_CTL_NATS_KEYS_H

#include "coordinator/ctl/request.h"

/* nats-keys FOLDER: makes what is not there yet; keys that are there stay. */
enum ctl_exit on_nats_keys(const struct request *r);
/* rotate-nats-key FOLDER USER: the user's spare key becomes its key, and a new spare is made. */
enum ctl_exit on_rotate_nats_key(const struct request *r);

#endif
