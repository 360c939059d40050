#include "bench/load/latency.h"

enum { EXACT = 2 << LATENCY_FINE_BITS };

static unsigned slot_of(uint64_t us)
{
    if (us < EXACT)
        return (unsigned)us;
    unsigned shift = 63 - LATENCY_FINE_BITS - (unsigned)__builtin_clzll(us);

    return (shift << LATENCY_FINE_BITS) + (unsigned)(us >> shift);
}

/* The highest that falls into the slot. */
static uint64_t slot_end(unsigned slot)
{
    if (slot < EXACT)
        return slot;
    unsigned shift = (slot >> LATENCY_FINE_BITS) - 1;

    return ((uint64_t)(slot - (shift << LATENCY_FINE_BITS) + 1) << shift) - 1;
}

void latency_add(struct latency *l, uint64_t us)
{
    l->slots[slot_of(us)]++;
    l->count++;
    if (us > l->max_us)
        l->max_us = us;
}

uint64_t latency_at(const struct latency *l, unsigned permille)
{
    uint64_t wanted = (l->count * permille + 999) / 1000, seen = 0;

    for (unsigned i = 0; i < LATENCY_SLOTS; i++) {
        seen += l->slots[i];
        if (seen >= wanted && seen)
            return slot_end(i) < l->max_us ? slot_end(i) : l->max_us;
    }
    return 0;
}
