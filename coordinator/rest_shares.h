/* rest_shares.h - Discord's global REST limit, shared among pods. Pure.
 *
 *     heartbeat: in force, wanted, invalid ─▶ account ─▶ share ─▶ its answer: calls, drip
 *
 * What is in force anywhere never sums to more than REST_GIVEN: what one pod gets, another has
 * given up before, and has said so. A pod is counted with the higher of what it was told and what
 * it says, until its lease and the window have passed. The rest of Discord's 50 is for pods without
 * a share, which drip.
 *
 * THREAD: any. */
#ifndef COORDINATOR_REST_SHARES_H
#define COORDINATOR_REST_SHARES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REST_GIVEN = 45, /* of Discord's 50 a second … */
    REST_DRIPPED = 5,
    REST_WINDOW_MS = 1100, /* … whose windows behave like 1.1 s (discord-api-docs#5144) */
    REST_WANTED_MAX = 50,
    REST_INVALID_MAX = 1000000,
};

struct rest_account {
    uint32_t told, in_force, wanted, invalid;
    int64_t until_ms; /* monotonic: the share has ended, whatever becomes of the pod */
    int64_t heard_ms; /* when invalid was said; 0: never */
    uint32_t fair;    /* of rest_shares_divide */
    bool is_alive;    /* the caller's */
};

void rest_account_hear(struct rest_account *account, uint32_t in_force, uint32_t wanted,
                       uint32_t invalid, int64_t now_ms);
/* Each living pod's fair part: everybody a little, who wants more as much as there is, what is left
 * evenly. */
void rest_shares_divide(struct rest_account *const *accounts, size_t count);

struct rest_given {
    uint32_t calls, drip_ms, invalid_elsewhere;
};
/* may_raise: all that may hold a share have been heard. */
struct rest_given rest_shares_give(struct rest_account *const *accounts, size_t count,
                                   struct rest_account *to, bool may_raise, int64_t now_ms);
/* What rest_shares_give told ends so long after now. */
void rest_account_told(struct rest_account *account, uint32_t calls, int64_t lease_ms,
                       int64_t now_ms);

#endif
