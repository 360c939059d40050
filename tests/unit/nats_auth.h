/* nats_auth.h - who a test is at the server of tests/run_with_nats.sh: itself, who may do everything, or a program.
 *
 * THREAD: before others start. */
#ifndef TESTS_UNIT_NATS_AUTH_H
#define TESTS_UNIT_NATS_AUTH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bus_auth.h"
#include "base/nkey.h"

/* The test's own; NULL: it was started without a server. */
static inline const char *test_nats_url(void)
{
    const char *url = getenv("NATS_TESTS_URL");

    return url ? url : getenv("NATS_URL");
}

/* The program's key; NULL: NATS asks nobody who he is. */
static inline const struct bus_auth *test_nats_auth(void)
{
    static char seed[NKEY_SEED_SIZE];
    static const struct bus_auth auth = { .nkey_seed = seed };
    const char *path = getenv("NATS_NKEY_SEED_FILE");
    FILE *file = path ? fopen(path, "re") : NULL;

    if (!path)
        return NULL;
    if (!file || fread(seed, 1, sizeof(seed) - 1, file) != sizeof(seed) - 1)
        abort();
    (void)fclose(file);
    return &auth;
}

#endif
