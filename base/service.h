/* service.h - what every program does around its work: flags, config, signals, admin port.
 *
 *     int main(argc, argv):  service_start → build the objects → loop_run → drain → service_stop
 *
 * --help, --version and --print-config end the process in service_start. SIGTERM and SIGINT call
 * on_stop on the loop's thread, a second one ends the process at once; SIGPIPE is ignored. The
 * admin port serves /livez (200 while the loop turns), /readyz (200 when is_ready says so, else 503
 * with the reason) and /metrics.
 *
 * THREAD: the loop's. */
#ifndef BASE_SERVICE_H
#define BASE_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/http_server.h"
#include "base/loop.h"
#include "base/status.h"

/* Rows that every program has; put SERVICE_CONFIG_ROWS(struct x_config, service) into its table. */
struct service_config {
    const char *admin_bind;
    int64_t admin_port;
    int64_t log_level;
    const char *log_format; /* logfmt or json */
};
/* NOLINTBEGIN(bugprone-macro-parentheses): a member's name is no expression */
#define SERVICE_CONFIG_ROWS(type, member)                                                          \
    { "ADMIN_BIND", CONFIG_STRING, offsetof(type, member.admin_bind), .fallback = "127.0.0.1",     \
      .help = "address of the admin port" },                                                       \
        { "ADMIN_PORT", CONFIG_PORT, offsetof(type, member.admin_port), .fallback = "0",           \
          .help = "/livez /readyz /metrics; 0: any free port, see the log" },                      \
        { "LOG_LEVEL", CONFIG_LEVEL, offsetof(type, member.log_level), .fallback = "info",         \
          .help = "debug, info, warn or error" },                                                  \
    {                                                                                              \
        "LOG_FORMAT", CONFIG_STRING, offsetof(type, member.log_format),                            \
            .fallback = "logfmt", .one_of = "logfmt|json", .help = "logfmt or json"                \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

struct service {
    /* set by the caller */
    const char *program; /* guildbus-edge */
    const char *purpose; /* one sentence for --help */
    const struct config_row *rows;
    size_t row_count;
    void *config;
    struct service_config *common; /* inside config */
    /* What no single row can say: a line for each that is wrong, as config_load writes them, and
     * false. Rows that failed are at their zero. NULL: nothing to say. */
    bool (*check)(const void *config, FILE *errors);
    void (*on_stop)(void *ctx);                        /* NULL: loop_stop */
    bool (*is_ready)(void *ctx, const char **ret_why); /* NULL: always */
    void *ctx;
    /* set by service_start */
    struct loop *loop;
    struct http_server *admin;
    _Atomic bool stopping; /* a stop signal came; read it from give_up callbacks (any thread) */
};

/* Exits the process with one clear line when it cannot start: 2 for bad flags or settings, 1 for
 * the rest. Logs "started" with program, version and admin port. */
void service_start(struct service *s, int argc, char **argv);
/* While a start waits (for NATS): the admin port answers meanwhile. Returns whether a stop was asked for; on_stop is not
 * called then, because there is nothing to stop yet. THREAD: the loop's. */
bool service_turn(struct service *s);
void service_stop(struct service *s);
/* For start-up failures after service_start: logs error event with err's text and exits 1. */
NORETURN void service_fail(const char *doing, const struct err *err);

#endif
