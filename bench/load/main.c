/* main.c - guildbus-bench: load generators and floors for ./dev bench. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/macros.h"
#include "bench/load/load.h"

static const struct verb {
    const char *name, *help;
    enum status (*run)(const struct load_options *o, struct err *err);
} verbs[] = {
    { "interactions", "signed requests to --url, --connections at a time or --rate a second",
      load_interactions },
    { "pages", "GETs of --url with --cookie; a 200 with --expect counts", load_pages },
    { "answer", "answers each request at once, until it is ended; prints its port", load_answer },
    { "verify", "floor: Ed25519 verifications of --size bytes", load_verify },
    { "commit", "floor: SQLite in --folder, --group rows a transaction, --full", load_commit },
    { "request", "floor: NATS requests at --url, --connections at a time", load_request },
    { "publish", "floor: JetStream publishes at --url, --connections at a time", load_publish },
};

static const struct option options[] = {
    { "url", required_argument, NULL, 'u' },
    { "guilds", required_argument, NULL, 'g' },
    { "folder", required_argument, NULL, 'f' },
    { "count", required_argument, NULL, 'n' },
    { "connections", required_argument, NULL, 'c' },
    { "rate", required_argument, NULL, 'r' },
    { "seconds", required_argument, NULL, 's' },
    { "seed", required_argument, NULL, 'e' },
    { "size", required_argument, NULL, 'z' },
    { "group", required_argument, NULL, 'o' },
    { "cookie", required_argument, NULL, 'k' },
    { "expect", required_argument, NULL, 'x' },
    { "trace", required_argument, NULL, 't' },
    { "full", no_argument, NULL, 'F' },
    { "forgive", no_argument, NULL, 'G' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static void usage(FILE *out)
{
    (void)fputs("Usage: guildbus-bench VERB [--url URL] [--guilds ID,ID…] [--folder PATH]\n"
                "       [--count N] [--connections N] [--rate PER_S] [--seconds N] [--seed N]\n"
                "       [--size BYTES] [--group N] [--full] [--cookie TEXT] [--expect TEXT]\n"
                "       [--trace FILE] [--forgive]\n\n",
                out);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        (void)fprintf(out, "  %-13s %s\n", verbs[i].name, verbs[i].help);
}

/* NULL: the option is none. */
static int64_t *number_of(struct load_options *o, int option)
{
    switch (option) {
    case 'n':
        return &o->count;
    case 'c':
        return &o->connections;
    case 'r':
        return &o->rate;
    case 's':
        return &o->seconds;
    case 'e':
        return &o->seed;
    case 'z':
        return &o->size;
    case 'o':
        return &o->group;
    default:
        return NULL;
    }
}

static bool take_option(struct load_options *o, int option, const char *value)
{
    enum { MOST = 1000000000 };
    int64_t *number = number_of(o, option);
    char *end = NULL;

    if (number) {
        *number = strtoll(value, &end, 10);
        return *value && !*end && *number >= 0 && *number <= MOST;
    }
    if (option == 'u')
        o->url = value;
    else if (option == 'g')
        o->guilds = value;
    else if (option == 'f')
        o->folder = value;
    else if (option == 'k')
        o->cookie = value;
    else if (option == 'x')
        o->expect = value;
    else if (option == 't')
        o->trace = value;
    else if (option == 'F')
        o->full = true;
    else if (option == 'G')
        o->forgive = true;
    else
        return false;
    return true;
}

int64_t load_cpu_us(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

enum status load_repeat(int64_t seconds, void (*once)(void *ctx), void *ctx, size_t each)
{
    int64_t from_us = clock_now_us(), cpu_us = load_cpu_us(), took_us, count = 0;

    do {
        once(ctx);
        count += (int64_t)each;
        took_us = clock_now_us() - from_us;
    } while (took_us < seconds * 1000000 || took_us <= 0);
    cpu_us = load_cpu_us() - cpu_us;
    (void)printf("{\"per_s\":%" PRId64 ",\"us_each\":%.3f,\"cpu_us_each\":%.3f}\n",
                 count * 1000000 / took_us, (double)took_us / (double)count,
                 (double)cpu_us / (double)count);
    return STATUS_OK;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!strcmp(name, verbs[i].name))
            return &verbs[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct load_options o = { .seed = 1, .seconds = 2, .connections = 32 };
    const struct verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;
    struct err err = { 0 };

    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        usage(stdout);
        return 0;
    }
    if (!verb) {
        usage(stderr);
        return 2;
    }
    optind = 2;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (!take_option(&o, option, optarg)) {
            usage(option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (verb->run(&o, &err) != STATUS_OK) {
        (void)fprintf(stderr, "guildbus-bench %s: %s\n", verb->name, err.text);
        return 1;
    }
    return 0;
}
