#include "coordinator/rest_shares.h"

#include "base/macros.h"

enum { INVALID_MS = 600000 };

void rest_account_hear(struct rest_account *a, uint32_t in_force, uint32_t wanted, uint32_t invalid,
                       int64_t now_ms)
{
    a->in_force = at_most_u32(in_force, REST_WANTED_MAX);
    a->wanted = at_most_u32(wanted, REST_WANTED_MAX);
    a->invalid = at_most_u32(invalid, REST_INVALID_MAX);
    a->heard_ms = now_ms;
}

/* ---- fair parts ---- */

/* One more each, in turns, up to what it wants; returns what is left. */
static uint32_t add_to(struct rest_account *const *accounts, size_t count, uint32_t left,
                       bool only_wanted)
{
    bool any = true;

    while (left && any) {
        any = false;
        for (size_t i = 0; i < count && left; i++) {
            struct rest_account *a = accounts[i];
            if (!a->is_alive || (only_wanted && a->fair >= a->wanted))
                continue;
            a->fair++;
            left--;
            any = true;
        }
    }
    return left;
}

void rest_shares_divide(struct rest_account *const *accounts, size_t count)
{
    uint32_t alive = 0, little, left = REST_GIVEN;

    for (size_t i = 0; i < count; i++)
        alive += accounts[i]->is_alive;
    little = alive ? REST_GIVEN / (4 * alive) : 0;
    if (!little && alive <= REST_GIVEN)
        little = 1;
    for (size_t i = 0; i < count; i++) {
        accounts[i]->fair = accounts[i]->is_alive ? little : 0;
        left -= accounts[i]->fair;
    }
    left = add_to(accounts, count, left, true);
    (void)add_to(accounts, count, left, false);
}

/* ---- giving ---- */

static uint32_t held(const struct rest_account *a, int64_t now_ms)
{
    if (now_ms >= a->until_ms)
        return 0;
    return a->told > a->in_force ? a->told : a->in_force;
}

struct rest_given rest_shares_give(struct rest_account *const *accounts, size_t count,
                                   struct rest_account *to, bool may_raise, int64_t now_ms)
{
    struct rest_given given = { 0 };
    uint32_t others = 0, pods = 0;

    for (size_t i = 0; i < count; i++) {
        const struct rest_account *a = accounts[i];
        pods += a->is_alive || now_ms < a->until_ms;
        if (a == to)
            continue;
        others += held(a, now_ms);
        if (a->heard_ms && now_ms - a->heard_ms < INVALID_MS)
            given.invalid_elsewhere += a->invalid;
    }
    given.calls = at_most_u32(to->fair, others < REST_GIVEN ? REST_GIVEN - others : 0);
    if (!may_raise)
        given.calls = at_most_u32(given.calls, to->in_force);
    given.drip_ms = REST_WINDOW_MS * (1 + (pods ? pods - 1 : 0) / REST_DRIPPED);
    return given;
}

void rest_account_told(struct rest_account *a, uint32_t calls, int64_t lease_ms, int64_t now_ms)
{
    a->told = calls;
    a->until_ms = now_ms + lease_ms + REST_WINDOW_MS;
}
