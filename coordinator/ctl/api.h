/* api.h - calls of the coordinator's HTTP API, each with the exit code that its failure means.
 *
 * What went wrong has been said on stderr when a call does not return CTL_DONE.
 *
 * THREAD: main. */
#ifndef COORDINATOR_CTL_API_H
#define COORDINATOR_CTL_API_H

#include <jansson.h>

#include "coordinator/ctl/exit.h"

struct api;

/* Says what is wrong, as one line on stderr, and returns code. */
enum ctl_exit complain(enum ctl_exit code, const char *what);
/* Reads CONFIG_SERVICE_URL and COORDINATOR_TOKEN; CTL_USAGE: they are wrong. */
enum ctl_exit api_open(struct api **ret_api);
void api_close(struct api *api);

/* path with its query, from the root. *ret_answer: the JSON object of a 2xx answer, the caller's.
 */
enum ctl_exit api_get(struct api *api, const char *path, json_t **ret_answer);
/* Sends the token, if there is one. */
enum ctl_exit api_post(struct api *api, const char *path, const json_t *body, json_t **ret_answer);

#endif
