#include "tests/discord-sim/faults.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"
#include "tests/discord-sim/rng.h"

enum { MAX_FAULTS = 64 };

struct faults {
    struct rest_fault list[MAX_FAULTS];
    size_t count;
    uint64_t hits;
    struct rng rng;
};

static const char *const names[REST_FAULT_COUNT] = { "limit", "status", "cloudflare", "garbage",
                                                     "cut",   "lose",   "delay" };

enum rest_fault_how rest_fault_by_name(const char *name)
{
    size_t i = 0;

    while (i < REST_FAULT_COUNT && strcmp(names[i], name) != 0)
        i++;
    return (enum rest_fault_how)i;
}

struct faults *faults_new(uint64_t seed)
{
    struct faults *f = xcalloc(1, sizeof(*f));

    f->rng.state = seed + 5;
    return f;
}

void faults_free(struct faults *f)
{
    free(f);
}

bool faults_add(struct faults *f, const struct rest_fault *fault)
{
    if (f->count == MAX_FAULTS)
        return false;
    f->list[f->count] = *fault;
    f->list[f->count++].hits = 0;
    return true;
}

void faults_clear(struct faults *f)
{
    f->count = 0;
}

uint64_t faults_hits(const struct faults *f)
{
    return f->hits;
}

static bool happens(struct faults *f, struct rest_fault *one, const char *method, const char *path)
{
    if ((*one->method && strcmp(one->method, method) != 0) ||
        fnmatch(one->path, path, FNM_NOESCAPE) != 0 || (one->times && one->hits >= one->times))
        return false;
    if (one->skip) {
        one->skip--;
        return false;
    }
    return one->percent >= 100 || rng_below(&f->rng, 100) < one->percent;
}

const struct rest_fault *faults_take(struct faults *f, const char *method, const char *path)
{
    for (size_t i = 0; i < f->count; i++) {
        if (!happens(f, &f->list[i], method, path))
            continue;
        f->list[i].hits++;
        f->hits++;
        return &f->list[i];
    }
    return NULL;
}

void faults_describe(const struct faults *f, struct out *o)
{
    out_text(o, "[");
    for (size_t i = 0; i < f->count; i++) {
        const struct rest_fault *one = &f->list[i];
        out_json(o,
                 "{'method':%S,'path':%S,'how':%S,'scope':%S,'status':%d,'code':%d,'ms':%l,"
                 "'skip':%u,'times':%u,'percent':%d,'hits':%u},",
                 one->method, one->path, names[one->how], rate_scope_name(one->scope), one->status,
                 one->code, one->ms, one->skip, one->times, (int)one->percent, one->hits);
    }
    out_drop(o, ',');
    out_text(o, "]");
}
