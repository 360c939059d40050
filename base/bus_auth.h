/* bus_auth.h - who a program is to NATS: its key and TLS; and what NATS refuses it.
 *
 * A program has one NKey, which tells nats-server what it may send and hear (deploy/nats/auth.conf).
 * What it may not do, the server drops and tells later, out of turn, so nobody who called can be told: it is
 * counted (guildbus_nats_permission_violations_total) and logged as nats_permission_violation with
 * the subject. In a program that is as it should be there is none.
 *
 * THREAD: rows and check: before start. The rest: any; for base/bus*.c only. */
#ifndef BASE_BUS_AUTH_H
#define BASE_BUS_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/config.h"

/* Each may be NULL. Lives as long as the bus that is opened with it. */
struct bus_auth {
    const char *nkey_seed;
    const char *ca_file;              /* whoever signed the servers' certificates */
    const char *cert_file, *key_file; /* the program's own, when the servers ask for one */
};
/* NOLINTBEGIN(bugprone-macro-parentheses): a member's name is no expression */
#define BUS_AUTH_ROWS(type, member)                                                                \
    { "NATS_NKEY_SEED", CONFIG_STRING, offsetof(type, member.nkey_seed), .secret = true,           \
      .help = "this program's key at NATS, as guildbusctl nats-keys makes it" },                   \
        { "NATS_CA_FILE", CONFIG_STRING, offsetof(type, member.ca_file),                           \
          .help = "TLS to NATS: certificates that the servers' must lead to" },                    \
        { "NATS_CERT_FILE", CONFIG_STRING, offsetof(type, member.cert_file),                       \
          .help = "TLS to NATS: this program's certificate, when the servers ask for one" },       \
    {                                                                                              \
        "NATS_KEY_FILE", CONFIG_STRING, offsetof(type, member.key_file),                           \
            .help = "TLS to NATS: that certificate's private key"                                  \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

/* What no single row can say: a line for each that is wrong, as config_load writes them. url: NATS_URL, or NULL. */
bool bus_auth_check(const char *url, const struct bus_auth *auth, FILE *errors) MUST_CHECK;

#endif
