/* config.h - settings from the environment, by a table; all that is wrong is reported at once.
 *
 *     static const struct config_row rows[] = {
 *         { "NATS_URL", CONFIG_STRING, offsetof(struct edge_config, nats_url), .fallback =
 * "nats://127.0.0.1:4222", .help = "where NATS is" }, … };
 *
 * A secret NAME may also come as NAME_FILE (a path whose content, less one trailing newline, is the
 * value). An empty variable counts as unset. Strings are owned by the config and live as long as
 * the process.
 *
 * THREAD: before start. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

enum config_kind {
    CONFIG_STRING, /* const char * */
    CONFIG_ID,     /* const char *: [A-Za-z0-9_-]{1,64}, safe in a subject */
    CONFIG_URL, /* const char *: http(s)://, nats://, postgres(ql):// … with a host, without blanks
                 */
    CONFIG_HEX32,     /* const char *: 64 hex digits (an Ed25519 public key) */
    CONFIG_GUILDS,    /* const char *: comma-separated snowflakes */
    CONFIG_SNOWFLAKE, /* const char *: one of Discord's ids, decimal */
    CONFIG_INT,       /* int64_t within min … max */
    CONFIG_PORT,      /* int64_t 0 … 65535; 0 lets the system choose */
    CONFIG_BOOL,      /* bool: 1 0 true false yes no on off */
    CONFIG_LEVEL,     /* int64_t: debug info warn error, as enum log_level */
};

struct config_row { /* NOLINT(clang-analyzer-optin.performance.Padding): read as a table's row */
    const char *name;
    enum config_kind kind;
    size_t offset;        /* of the field in the program's config struct */
    const char *fallback; /* NULL: none (strings NULL, numbers 0) */
    const char *help;
    bool secret, required;
    int64_t min, max;   /* CONFIG_INT; both 0: any */
    const char *one_of; /* strings: "a|b|c" allowed values; NULL: any */
};

/* Fills *into. On INVALID each wrong setting has been written to errors as a line of its own:
 * "NAME: what is wrong: what to do". */
enum status config_load(const struct config_row *rows, size_t count, void *into, FILE *errors)
    MUST_CHECK;
/* NAME=value  # source (environment, file PATH, default, unset); secrets as ****. */
void config_print(const struct config_row *rows, size_t count, const void *from, FILE *out);
/* The table for --help. */
void config_help(const struct config_row *rows, size_t count, FILE *out);

#endif
