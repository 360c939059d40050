/* pod.h - builds the pod's parts in the order of the data flow, and takes them down again.
 *
 * THREAD: the loop's. */
#ifndef GATEWAY_POD_H
#define GATEWAY_POD_H

#include <stdbool.h>

#include "base/service.h"
#include "gateway/pod_settings.h"

struct pod;

/* Ends the process with one clear line when something cannot start. NULL: told to stop before NATS
 * was there. */
struct pod *pod_start(struct service *service, const struct gateway_settings *settings) MUST_CHECK;
/* On SIGTERM: guilds are moved away, sessions saved, then the loop stops. */
void pod_drain(struct pod *pod);
void pod_free(struct pod *pod);
bool pod_is_ready(const struct pod *pod, const char **ret_why);
/* 0, or 1 when the pod had to end by itself. */
int pod_exit_code(const struct pod *pod);

#endif
