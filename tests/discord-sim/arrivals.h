/* arrivals.h - when the bot's REST requests came, also those that a limit refused: whoever wants to
 * know how many there were in a second counts them here.
 *
 * A request with a route is in it as soon as it is there, before anything is decided about it.
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_ARRIVALS_H
#define SIM_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "tests/discord-sim/out.h"

struct arrival {
    uint64_t number;           /* 1, 2, … */
    int64_t at_us;             /* CLOCK_MONOTONIC */
    const char *method, *path; /* static: path is a row of routes.def */
    uint64_t major;            /* what its first {} stood for; 0: no id */
    bool in_global;            /* made as the bot, on a route that the global limit binds */
    const char *refused;       /* the scope of the 429 it got; static; NULL: none */
};

struct arrivals;
/* Beyond max they are counted and not kept. */
struct arrivals *arrivals_new(size_t max);
void arrivals_free(struct arrivals *all);
/* Returns its number. */
uint64_t arrivals_add(struct arrivals *all, struct arrival a);
void arrivals_refused(struct arrivals *all, uint64_t number, const char *scope);
/* NULL: past the end, or not kept. number counts from 1. */
const struct arrival *arrivals_get(const struct arrivals *all, uint64_t number);
void arrival_line(const struct arrival *a, struct out *o);

#endif
