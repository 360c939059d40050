/* faults.h - REST calls that go wrong on demand: rules that are tried in order. Pure.
 *
 *     method and path fit ─▶ skip is used up ─▶ chance ─▶ it happens, at most times times
 *
 * THREAD: confined. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/discord-sim/out.h"
#include "tests/discord-sim/rates.h"

enum rest_fault_how {
    REST_FAULT_LIMIT,      /* 429 of a scope, and all of the bucket for so long */
    REST_FAULT_STATUS,     /* this status and error code, nothing is done */
    REST_FAULT_CLOUDFLARE, /* HTML, from Cloudflare and not from Discord */
    REST_FAULT_GARBAGE,    /* 200 with half an object */
    REST_FAULT_CUT,        /* nothing is done, the connection is cut */
    REST_FAULT_LOSE,       /* it is done, and the connection is cut instead of the answer */
    REST_FAULT_DELAY,      /* it is done later */
    REST_FAULT_COUNT
};
struct rest_fault {
    char method[8]; /* "": all */
    char path[160]; /* below /api, with * for anything */
    enum rest_fault_how how;
    enum rate_scope scope;
    int status, code;
    int64_t ms;       /* of a limit, a delay, Cloudflare's retry-after */
    char body[512];   /* of STATUS, instead of Discord's error; "": that */
    uint64_t skip;    /* so many fitting calls go well first */
    uint64_t times;   /* 0: for ever */
    unsigned percent; /* of the rest it happens to so many, by the seed */
    uint64_t hits;
};

struct faults;
struct faults *faults_new(uint64_t seed);
void faults_free(struct faults *f);
DEFINE_CLEANUP(struct faults *, faults_free)
/* REST_FAULT_COUNT: it is none. */
enum rest_fault_how rest_fault_by_name(const char *name);
/* False: there are too many. */
bool faults_add(struct faults *f, const struct rest_fault *fault);
void faults_clear(struct faults *f);
/* What happens to this call, counted; NULL: nothing. Valid until faults_add or faults_clear. */
const struct rest_fault *faults_take(struct faults *f, const char *method, const char *path);
uint64_t faults_hits(const struct faults *f);
/* [{"method","path","how",…,"hits"}] */
void faults_describe(const struct faults *f, struct out *o);

#endif
