#include "coordinator/session_budget.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    UNDER_WAY_MS = 10000, /* from a grant until Discord has counted the IDENTIFY */
    MINUTE_MS = 60000,
};

void session_budget_hear(struct session_budget *b, const struct session_facts *facts,
                         int64_t now_ms)
{
    int64_t said_ms = now_ms - facts->age_ms;
    bool counts_all = !b->granted_ms || said_ms > b->granted_ms + UNDER_WAY_MS;

    if (facts->total <= 0)
        return;
    bool is_new_day = b->total && b->reset_ms && now_ms >= b->reset_ms && said_ms >= b->reset_ms;
    if (!b->total || is_new_day || counts_all || facts->remaining < b->left)
        b->left = facts->remaining;
    b->total = facts->total;
    if (facts->reset_after_ms > 0)
        b->reset_ms = now_ms + facts->reset_after_ms;
}

int64_t session_budget_wait(const struct session_budget *b, int64_t reserve_percent, int64_t now_ms,
                            char *why, size_t why_size)
{
    int64_t reserve = b->total * reserve_percent / 100, wait_ms = b->reset_ms - now_ms;

    if (!b->total || b->left > reserve)
        return 0;
    if (wait_ms < 1000)
        wait_ms = 1000; /* the next wish tells of the new day */
    (void)snprintf(why, why_size,
                   "of today's %" PRId64 " session starts %" PRId64 " are left and %" PRId64
                   " are kept in reserve (IDENTIFY_RESERVE_PERCENT); Discord gives new ones in "
                   "%" PRId64 " min",
                   b->total, b->left, reserve, (wait_ms + MINUTE_MS - 1) / MINUTE_MS);
    return wait_ms;
}

int64_t session_budget_spare(const struct session_budget *b, int64_t reserve_percent)
{
    int64_t spare = b->left - b->total * reserve_percent / 100;

    return spare > 0 ? spare : 0;
}

void session_budget_spend(struct session_budget *b, int64_t now_ms)
{
    b->left -= b->left > 0;
    b->granted_ms = now_ms;
}
