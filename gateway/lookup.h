/* lookup.h - a host's address without blocking the loop.
 *
 * lws resolves names with getaddrinfo on the loop's thread: while DNS is away that would hold up
 * heartbeats and the pod's lease for many seconds. glibc's getaddrinfo_a does it on a thread of its
 * own; a timer asks whether it is done.
 *
 * THREAD: confined to the loop's. */
#ifndef GATEWAY_LOOKUP_H
#define GATEWAY_LOOKUP_H

#include <stdbool.h>

#include "base/loop.h"

enum { LOOKUP_ADDRESS_SIZE = 64 };

struct lookup;

/* on_done is called once, from the loop (never from within this call), unless lookup_cancel came
 * first; address NULL: no such host, or DNS is away. */
struct lookup *lookup_start(struct loop *loop, const char *host,
                            void (*on_done)(void *ctx, const char *address), void *ctx) MUST_CHECK;
/* Clears *slot. Not needed after on_done. */
void lookup_cancel(struct lookup **slot);

#endif
