/* mischief.h - what Discord's documentation allows and nobody likes: events that never come, and
 * events that come again.
 *
 * "An event may never be sent, be sent once, or up to N times." What is left out happened all the
 * same; what comes again has a sequence number of its own, at once or behind others. By the seed.
 *
 * THREAD: confined to the loop's. */
#ifndef SIM_MISCHIEF_H
#define SIM_MISCHIEF_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/discord-sim/record.h"
#include "tests/discord-sim/sim.h"

struct mischief;
struct mischief *mischief_new(uint64_t seed);
void mischief_free(struct mischief *m);
DEFINE_CLEANUP(struct mischief *, mischief_free)

struct mischief_rates {
    int64_t repeat_permille, omit_permille;
};
void mischief_set(struct mischief *m, struct mischief_rates rates);
void mischief_seed(struct mischief *m, uint64_t seed);
struct mischief_rates mischief_rates(const struct mischief *m);

/* Whether the next event is left out. */
bool mischief_omits(struct mischief *m);
/* Maybe keeps the event, which was just sent, to send it again. */
void mischief_sent(struct mischief *m, const struct record_event *what, const char *body,
                   const char *blanked);
/* An event about this message comes next (0: about none): sends what is due again, and all that is
 * about the same message, so that nothing is created again after it was deleted. */
void mischief_run(struct mischief *m, struct sim *s, uint64_t message_id);
/* Sends all that is kept. */
void mischief_flush(struct mischief *m, struct sim *s);

struct mischief_counts {
    uint64_t repeated, omitted;
    unsigned waiting;
};
struct mischief_counts mischief_count(const struct mischief *m);

#endif
