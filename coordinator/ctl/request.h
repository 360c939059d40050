/* request.h - a command line that asks the coordinator, and what its verbs share.
 *
 * THREAD: main. */
#ifndef COORDINATOR_CTL_REQUEST_H
#define COORDINATOR_CTL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/ctl/api.h"
#include "coordinator/ctl/api_print.h"

enum { DEFAULT_TIMEOUT_S = 60 };

struct request {
    const char *verb, *words[2]; /* what follows the verb, less the options */
    int word_count;
    bool json, wait, dry_run, force, cancel;
    int64_t limit, timeout_s; /* limit -1: not given */
    uint64_t after, guild;    /* 0: not given */
    struct api *api;
};

enum ctl_exit usage(const char *what, const char *value);
enum ctl_exit print_json(const json_t *value);
/* A page's rows, or all of its answer as JSON. */
enum ctl_exit show_list(const struct request *r, const char *path, const char *key,
                        const struct print_column *columns);
void pause_between_polls(void);

/* ---- operate.c ---- */

enum ctl_exit on_drain(const struct request *r);
enum ctl_exit on_undrain(const struct request *r);
enum ctl_exit on_rebalance(const struct request *r);
enum ctl_exit on_reshard(const struct request *r);
enum ctl_exit on_history(const struct request *r);

/* ---- deploy_commands.c ---- */

enum ctl_exit on_deploy_commands(const struct request *r);

#endif
