#include "gateway/answering.h"

#include "base/retry.h"

void answering_init(struct answering *a, bool is_storable, int64_t age_ms, int64_t now_ms)
{
    *a = (struct answering){ .is_storable = is_storable, .began_ms = now_ms };
    if (age_ms > ANSWERING_OLD_MS)
        a->phase = ANSWERING_PROBING;
}

static enum answering_action done(struct answering *a, enum answering_action how)
{
    a->phase = ANSWERING_DONE;
    return how;
}

static enum answering_action ask(struct answering *a, int64_t now)
{
    a->next_ms = now + ANSWERING_REPEAT_MS;
    return ANSWERING_ASK;
}

static enum answering_action post(struct answering *a)
{
    a->phase = ANSWERING_POSTING;
    a->next_ms = INT64_MAX;
    return ANSWERING_POST;
}

static enum answering_action step_asking(struct answering *a, enum answering_input input,
                                         int64_t now)
{
    if (input == ANSWERING_ON_REPLY || input == ANSWERING_ON_ERROR)
        return post(a);
    if (now - a->began_ms >= ANSWERING_DEFER_MS) {
        if (!a->is_storable)
            return post(a);
        a->phase = ANSWERING_DEFERRING;
        a->next_ms = INT64_MAX;
        return ANSWERING_DEFER;
    }
    if (input == ANSWERING_ON_START || (input == ANSWERING_ON_TIME && now >= a->next_ms))
        return ask(a, now);
    if (input == ANSWERING_ON_REFUSED)
        a->next_ms = now + retry_pause_ms(a->refusals++, ANSWERING_REPEAT_MS);
    return ANSWERING_WAIT;
}

/* A call failed, or its pause is over. */
static enum answering_action again(struct answering *a, enum answering_input input, int64_t now,
                                   enum answering_action call)
{
    if (now - a->began_ms >= ANSWERING_LAST_MS)
        return done(a, ANSWERING_LATE);
    if (input == ANSWERING_ON_FAILED) {
        a->next_ms = now + ANSWERING_POST_MS;
        return ANSWERING_WAIT;
    }
    if (now < a->next_ms)
        return ANSWERING_WAIT;
    a->next_ms = INT64_MAX;
    return call;
}

static enum answering_action step_posting(struct answering *a, enum answering_input input,
                                          int64_t now)
{
    bool defers = a->phase == ANSWERING_DEFERRING;

    switch (input) {
    case ANSWERING_ON_TAKEN:
        return done(a, defers ? ANSWERING_DEFERRED : ANSWERING_ANSWERED);
    case ANSWERING_ON_KNOWN:
        if (defers || !a->has_message)
            return done(a, defers ? ANSWERING_DEFERRED : ANSWERING_ANSWERED);
        a->phase = ANSWERING_PATCHING;
        return ANSWERING_PATCH;
    case ANSWERING_ON_DEAD:
        return done(a, ANSWERING_LATE);
    case ANSWERING_ON_TIME:
    case ANSWERING_ON_FAILED:
        return again(a, input, now, defers ? ANSWERING_POST_DEFERRAL : ANSWERING_POST);
    case ANSWERING_ON_START:
    case ANSWERING_ON_REPLY:
    case ANSWERING_ON_ERROR:
    case ANSWERING_ON_REFUSED:
        break;
    }
    return ANSWERING_WAIT;
}

/* What cannot be known is stored: a promise may have been made. */
static enum answering_action step_probing(struct answering *a, enum answering_input input,
                                          int64_t now)
{
    if (!a->is_storable || input == ANSWERING_ON_DEAD)
        return done(a, ANSWERING_LATE);
    if (input == ANSWERING_ON_TAKEN || input == ANSWERING_ON_KNOWN)
        return done(a, ANSWERING_STORE);
    if (input == ANSWERING_ON_START) {
        a->next_ms = INT64_MAX;
        return ANSWERING_POST_DEFERRAL;
    }
    enum answering_action next = again(a, input, now, ANSWERING_POST_DEFERRAL);
    return next == ANSWERING_LATE ? ANSWERING_STORE : next;
}

enum answering_action answering_step(struct answering *a, enum answering_input input,
                                     int64_t now_ms)
{
    switch (a->phase) {
    case ANSWERING_ASKING:
        return step_asking(a, input, now_ms);
    case ANSWERING_POSTING:
    case ANSWERING_DEFERRING:
        return step_posting(a, input, now_ms);
    case ANSWERING_PROBING:
        return step_probing(a, input, now_ms);
    case ANSWERING_PATCHING:
        if (input == ANSWERING_ON_TAKEN)
            return done(a, ANSWERING_ANSWERED);
        if (input == ANSWERING_ON_DEAD || input == ANSWERING_ON_FAILED ||
            input == ANSWERING_ON_KNOWN)
            return done(a, ANSWERING_LATE);
        break;
    case ANSWERING_DONE:
        break;
    }
    return ANSWERING_WAIT;
}

int64_t answering_wake_ms(const struct answering *a)
{
    int64_t defer_ms = a->began_ms + ANSWERING_DEFER_MS;

    if (a->phase == ANSWERING_ASKING)
        return a->next_ms < defer_ms ? a->next_ms : defer_ms;
    if (a->phase == ANSWERING_POSTING || a->phase == ANSWERING_DEFERRING ||
        a->phase == ANSWERING_PROBING)
        return a->next_ms;
    return INT64_MAX;
}
