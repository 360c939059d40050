#include "base/retry.h"

enum { FIRST_PAUSE_MS = 5, PAUSE_FACTOR = 4 };

int64_t retry_pause_ms(int refusals, int64_t repeat_ms)
{
    int64_t pause = FIRST_PAUSE_MS;

    for (int i = 0; i < refusals && pause < repeat_ms; i++)
        pause *= PAUSE_FACTOR;
    return pause < repeat_ms ? pause : repeat_ms;
}

struct retry_step retry_step(struct retry *r, enum retry_input input, int64_t now_ms)
{
    struct retry_step step = { .wake_ms = r->give_up_ms };

    if (now_ms >= r->give_up_ms) {
        step.give_up = true;
        return step;
    }
    if (input == RETRY_REFUSED) {
        r->next_ms = now_ms + retry_pause_ms(r->refusals, r->repeat_ms);
        r->refusals++;
    } else if (input == RETRY_START || (now_ms >= r->next_ms && now_ms < r->repeat_until_ms)) {
        step.send = true;
        r->next_ms = now_ms + r->repeat_ms;
    }
    if (r->next_ms > now_ms && r->next_ms < r->repeat_until_ms && r->next_ms < r->give_up_ms)
        step.wake_ms = r->next_ms;
    return step;
}

bool retry_is_worth(enum status status)
{
    return status == STATUS_NOT_OWNER || status == STATUS_BUSY || status == STATUS_UNAVAILABLE ||
           status == STATUS_TIMEOUT;
}
