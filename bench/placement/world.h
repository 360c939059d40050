/* world.h - the simulated bot: its guilds, how busy they are, and who has them.
 *
 * Loads are log-normal: most guilds do next to nothing, few do most. A pod's heartbeat says of them
 * what a real one does: units a second in all, and its 64 busiest guilds.
 *
 * THREAD: confined. */
#ifndef BENCH_PLACEMENT_WORLD_H
#define BENCH_PLACEMENT_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/rows.h"

enum { NOBODY = -1, MOST_FOLLOWERS = 4, WORLD_BUSIEST = 64 };

struct world_guild {
    float load;  /* units a second */
    int32_t pod; /* who owns it; NOBODY */
    uint32_t at; /* among the pod's */
    uint32_t had_life;
    int32_t had; /* who owned it before, and which process that was: has its rows */
    uint64_t ordered_epoch, warm_move;
    struct {
        int32_t pod; /* NOBODY: this place is free */
        uint32_t life;
    } followers[MOST_FOLLOWERS];
};

struct world_pod {
    char id[16];
    uint32_t life;    /* its process: each has another */
    bool is_up;       /* it beats */
    bool is_draining; /* its process was told to end */
    bool may_leave;   /* it heard so */
    uint32_t *guilds; /* their numbers */
    uint32_t count, room, followed;
    int64_t busy_until_us; /* with what it was told before */
    double load;
    uint32_t busiest[WORLD_BUSIEST]; /* by load, falling */
    size_t busiest_count;
    int64_t counted_ms;
    bool is_changed; /* since it was counted */
};

struct world {
    struct world_guild *guilds;
    size_t guild_count;
    struct world_pod *pods;
    size_t pod_count, pod_room;
    uint32_t capacity; /* of each pod */
    uint64_t random;
};

struct world_options {
    size_t pods, most_pods, guilds;
    uint64_t seed;
    double load; /* units a second of the average guild */
};
void world_init(struct world *w, const struct world_options *o);
void world_release(struct world *w);

uint64_t world_id(size_t guild);
/* What world_id was given. */
size_t world_guild_of(const struct world *w, uint64_t guild_id);
/* NOBODY: there is no such pod. */
int world_pod_of(const struct world *w, const char *id);
/* Its number. */
int world_add_pod(struct world *w);
uint64_t world_random(struct world *w);

void world_give(struct world *w, size_t guild, int to);
/* The process is gone, with what it followed; its guilds stay named until others have them. */
void world_end_process(struct world *w, int number);
void world_set_load(struct world *w, size_t guild, double load);

bool world_follows(const struct world *w, size_t guild, int pod);
void world_follow(struct world *w, size_t guild, int pod, bool follows);
/* Its rows are there: it owned the guild or follows it. */
bool world_has_rows(const struct world *w, size_t guild, int pod);

/* At most every five seconds, as a pod does. */
void world_count_busiest(struct world *w, int number, int64_t now_ms);

#endif
