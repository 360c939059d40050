/* load.h - what guildbus-bench can do; each is a verb with options, and prints one line of JSON.
 *
 *     interactions   signed requests to an endpoint, in a closed loop or at a rate
 *     pages          GETs of one page with a cookie, likewise
 *     answer         an endpoint that answers at once: what the generator alone can do
 *     verify         floor: Ed25519 alone
 *     commit         floor: SQLite alone, so many rows a transaction
 *     request        floor: NATS request and reply alone
 *     publish        floor: JetStream publish alone
 *
 * THREAD: each runs in the main thread. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* What the command line said; each verb has its own defaults for what is 0 or NULL. */
struct load_options {
    const char *url, *guilds, *folder, *cookie, *expect, *trace;
    int64_t count, connections, rate, seconds, seed, size, group;
    bool full;    /* SQLite: synchronous=FULL */
    bool forgive; /* broken connections fail their requests only */
};

enum status load_interactions(const struct load_options *o, struct err *err) MUST_CHECK;
enum status load_pages(const struct load_options *o, struct err *err) MUST_CHECK;
enum status load_answer(const struct load_options *o, struct err *err) MUST_CHECK;
enum status load_verify(const struct load_options *o, struct err *err) MUST_CHECK;
enum status load_commit(const struct load_options *o, struct err *err) MUST_CHECK;
enum status load_request(const struct load_options *o, struct err *err) MUST_CHECK;
enum status load_publish(const struct load_options *o, struct err *err) MUST_CHECK;

/* CPU time of this process so far. */
int64_t load_cpu_us(void);

/* What each does over and over, for that long: prints {"per_s":…,"cpu_us_each":…}. */
enum status load_repeat(int64_t seconds, void (*once)(void *ctx), void *ctx, size_t each);

#endif
