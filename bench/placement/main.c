/* main.c - guildbus-placement: placement, failover and rebalancing of a large bot, by the leading
 * coordinator's own code on a simulated clock. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "bench/placement/report.h"

enum { LEAST_PODS = 20, PODS = 1000, GUILDS = 1000000, QUICK_PODS = 100, QUICK_GUILDS = 20000 };

static const struct option options[] = {
    { "pods", required_argument, NULL, 'p' },
    { "guilds", required_argument, NULL, 'g' },
    { "seed", required_argument, NULL, 's' },
    { "load", required_argument, NULL, 'l' },
    { "quick", no_argument, NULL, 'q' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static const char usage[] =
    "Usage: guildbus-placement [--pods N] [--guilds N] [--seed N] [--load UNITS]\n"
    "       [--settle S] [--quick]\n\n"
    "Places the guilds, kills pods, adds some, restarts some, changes the load, by the leading\n"
    "coordinator's own code on a simulated clock. Figures on stderr, JSON on stdout.\n\n"
    "  --pods N      pods at first (1000)\n"
    "  --guilds N    guilds (1000000)\n"
    "  --seed N      of the guilds' loads (1): the same seed gives the same moves\n"
    "  --load UNITS  units a second of the average guild (0.05)\n"
    "  --settle S    simulated seconds that a phase waits for the load to be even (1800)\n"
    "  --quick       100 pods and 20000 guilds, unless they are named\n\n"
    "The coordinator's settings (MAX_MOVES, GUILDBUS_STANDBYS, REBALANCE_MS, LEASE_MS ...) are\n"
    "those of the environment, or its defaults.\n";

/* false: it is no whole number within these. */
static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
    char *end = NULL;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *ret >= least && *ret <= most;
}

static bool parse_load(const char *text, double *ret)
{
    char *end = NULL;

    *ret = strtod(text, &end);
    return *text && !*end && isfinite(*ret) && *ret >= 0 && *ret <= 100;
}

struct wishes {
    uint64_t pods, guilds, seed, settle;
    double load;
    bool quick;
};

/* 0: go on; else the exit code and one. */
static int take_option(struct wishes *w, int option, const char *value)
{
    enum { MOST = MOST_PODS * 10 / 11 - 1 };
    const char *wants = NULL;

    if (option == 'h') {
        (void)fputs(usage, stdout);
        return 1;
    }
    if (option == 'p' && !parse_number(value, LEAST_PODS, MOST, &w->pods))
        wants = "--pods takes a whole number from 20 to 9089";
    else if (option == 'g' && !parse_number(value, 1, MOST_GUILDS, &w->guilds))
        wants = "--guilds takes a whole number from 1 to 4000000";
    else if (option == 's' && !parse_number(value, 0, INT64_MAX, &w->seed))
        wants = "--seed takes a whole number";
    else if (option == 't' && !parse_number(value, 0, 10000000, &w->settle))
        wants = "--settle takes a whole number from 0 to 10000000";
    else if (option == 'l' && !parse_load(value, &w->load))
        wants = "--load takes a number from 0 to 100";
    w->quick |= option == 'q';
    if (option != '?' && !wants)
        return 0;
    if (wants)
        (void)fprintf(stderr, "guildbus-placement: %s, not '%s'\n", wants, value);
    else
        (void)fputs("try guildbus-placement --help\n", stderr);
    return 3;
}

static int run(const struct wishes *w)
{
    static struct sim s;
    static struct phase phases[PHASES];
    const struct world_options world = { .pods = w->pods,
                                         .most_pods = w->pods + w->pods / 10,
                                         .guilds = w->guilds,
                                         .seed = w->seed,
                                         .load = w->load };
    const struct report_head head = { w->pods, w->guilds, w->seed, w->load };
    struct err err = { 0 };

    if (sim_open(&s, &world, &err) != STATUS_OK) {
        (void)fprintf(stderr, "guildbus-placement: %s\n", err.text);
        return 2;
    }
    s.patience_s = (int64_t)w->settle;
    size_t count = phases_run(&s, report_phase, phases);
    if (count)
        report_all(&head, &s, phases, count);
    sim_close(&s);
    return count ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct wishes w = { .seed = 1, .settle = 1800, .load = 0.05 };

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int end = take_option(&w, option, optarg);
        if (end)
            return end - 1;
    }
    if (optind < argc) {
        (void)fprintf(stderr, "guildbus-placement: what is '%s'? try --help\n", argv[optind]);
        return 2;
    }
    w.pods = w.pods ? w.pods : w.quick ? QUICK_PODS : PODS;
    w.guilds = w.guilds ? w.guilds : w.quick ? QUICK_GUILDS : GUILDS;
    return run(&w);
}
