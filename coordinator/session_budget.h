/* session_budget.h - how many sessions Discord lets the bot start today. Pure.
 *
 * Discord gives a number of IDENTIFYs a day (GET /gateway/bot: session_start_limit) and resets the
 * bot's token when more are sent. Pods say what they were told with each wish; what was granted
 * since is counted here. A part is kept in reserve: a loop that nobody has noticed stops there, and
 * the operator still can start the bot anew.
 *
 * THREAD: any. */
#ifndef COORDINATOR_SESSION_BUDGET_H
#define COORDINATOR_SESSION_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session_budget {
    int64_t total, left;          /* total 0: not known */
    int64_t reset_ms, granted_ms; /* monotonic */
};
/* What Discord said, age_ms ago. */
struct session_facts {
    int64_t total, remaining, reset_after_ms, age_ms;
};

void session_budget_hear(struct session_budget *budget, const struct session_facts *facts,
                         int64_t now_ms);
/* 0: there is one for it; else how long to wait, and *why says so. */
int64_t session_budget_wait(const struct session_budget *budget, int64_t reserve_percent,
                            int64_t now_ms, char *why, size_t why_size);
/* How many may be started now, without the reserve; total 0: nobody knows. */
int64_t session_budget_spare(const struct session_budget *budget, int64_t reserve_percent);
void session_budget_spend(struct session_budget *budget, int64_t now_ms);

#endif
