#include "edge/defer.h"

static enum defer_action end_with(struct defer *d, enum defer_action action)
{
    d->phase = DEFER_ANSWERED;
    return action;
}

static enum defer_action step_asking(struct defer *d, enum defer_input input, int64_t now_ms)
{
    if (input == DEFER_ON_REPLY)
        return end_with(d, DEFER_ANSWER_REPLY);
    if (input == DEFER_ON_ERROR)
        return end_with(d, DEFER_ANSWER_ERROR);
    if (input != DEFER_ON_TIME || now_ms < d->defer_at_ms)
        return DEFER_WAIT;
    if (!d->is_storable)
        return end_with(d, DEFER_ANSWER_DEFERRAL);
    d->phase = DEFER_STORING;
    return DEFER_STORE;
}

static enum defer_action step_storing(struct defer *d, enum defer_input input, int64_t now_ms)
{
    if (input == DEFER_ON_REPLY)
        d->has_reply =
            true; /* kept for when storing fails; else the owner repeats it from the event */
    if (input == DEFER_ON_STORED)
        return end_with(d, DEFER_ANSWER_DEFERRAL);
    if (input == DEFER_ON_NOT_STORED || now_ms >= d->last_ms)
        return end_with(d, d->has_reply ? DEFER_ANSWER_REPLY : DEFER_ANSWER_FAILED);
    return DEFER_WAIT;
}

enum defer_action defer_step(struct defer *d, enum defer_input input, int64_t now_ms)
{
    switch (d->phase) {
    case DEFER_ASKING:
        return step_asking(d, input, now_ms);
    case DEFER_STORING:
        return step_storing(d, input, now_ms);
    case DEFER_ANSWERED:
        break;
    }
    return DEFER_WAIT;
}

int64_t defer_wake_ms(const struct defer *d)
{
    return d->phase == DEFER_ASKING ? d->defer_at_ms : d->last_ms;
}
