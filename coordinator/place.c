#include "coordinator/place.h"

#include <string.h>

enum {
    MOST_LOAD = 1000000, /* units a second; a pod that says more is not believed */
    MOST_CAPACITY = 10000000,
};

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

static uint64_t capacity_of(const struct place_pod *pod)
{
    return at_most(pod->capacity ? pod->capacity : 1, MOST_CAPACITY);
}

static uint64_t each_carries(const struct place *place)
{
    return place->average_milli > 1000 ? place->average_milli : 1000;
}

static uint64_t carried(const struct place *place, const struct place_pod *pod)
{
    uint64_t unmeasured = pod->assigned > pod->counted ? pod->assigned - pod->counted : 0;

    return pod->assigned * each_carries(place) + at_most(pod->load, MOST_LOAD) * 1000 +
           unmeasured * place->average_milli;
}

static void set_mean(struct place *place)
{
    uint64_t sum = 0, capacity = 0;

    for (size_t i = 0; i < place->count; i++) {
        sum += carried(place, &place->pods[i]); /* also what others are to take over */
        capacity += place->pods[i].takes ? capacity_of(&place->pods[i]) : 0;
    }
    place->mean = capacity ? sum / capacity : 0;
}

void place_prepare(struct place *place)
{
    uint64_t load = 0, guilds = 0;

    for (size_t i = 0; i < place->count; i++) {
        load += at_most(place->pods[i].load, MOST_LOAD);
        guilds += place->pods[i].counted;
    }
    place->average_milli = guilds ? load * 1000 / guilds : 0;
    set_mean(place);
}

uint64_t place_weight(const struct place *place, const struct place_pod *pod)
{
    return carried(place, pod) / capacity_of(pod);
}

static bool may_take(const struct place_pod *pod, const char *except)
{
    return pod->takes && (!except || strcmp(pod->id, except) != 0);
}

struct place_pod *place_guild(struct place *place, uint32_t schema, const char *except,
                              bool *ret_full)
{
    struct place_pod *best = NULL;
    uint64_t best_weight = 0;
    bool best_full = true;

    for (size_t i = 0; i < place->count; i++) {
        struct place_pod *pod = &place->pods[i];
        if (!may_take(pod, except) || pod->schema < schema)
            continue;
        bool full = pod->assigned >= pod->capacity;
        uint64_t weight = place_weight(place, pod);
        if (best && (full > best_full || (full == best_full && weight >= best_weight)))
            continue;
        best = pod;
        best_weight = weight;
        best_full = full;
    }
    *ret_full = best && best_full;
    if (best)
        best->assigned++;
    return best;
}

bool place_prefer(struct place *place, struct place_pod *pod, uint32_t schema)
{
    if (!pod->takes || pod->schema < schema || pod->assigned >= pod->capacity)
        return false;
    /* One guild more than the quarter: where there are few, one weighs much. */
    uint64_t most = place->mean + place->mean / 4 + each_carries(place) / capacity_of(pod);
    if (place_weight(place, pod) > most)
        return false;
    pod->assigned++;
    return true;
}

struct place_pod *place_shard(struct place *place, const char *except)
{
    struct place_pod *best = NULL;

    for (size_t i = 0; i < place->count; i++) {
        struct place_pod *pod = &place->pods[i];
        if (may_take(pod, except) && (!best || pod->shards < best->shards))
            best = pod;
    }
    if (best)
        best->shards++;
    return best;
}

bool place_should_hold(size_t total, size_t silent)
{
    return total >= 3 && silent * 2 > total;
}
