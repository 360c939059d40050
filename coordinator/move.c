#include "coordinator/move.h"

#include <stddef.h>

static struct move_step stay(const struct move_facts *f, unsigned orders)
{
    return (struct move_step){ .next = f->state, .orders = orders };
}

static struct move_step go(enum move_state next, unsigned orders)
{
    return (struct move_step){ .next = next, .orders = orders };
}

static struct move_step abort_move(const char *why)
{
    return (
        struct move_step){ .next = MOVE_STATE_ABORTED, .orders = MOVE_ORDER_DROP, .error = why };
}

/* Why it cannot go on before the cut-over; NULL: it can. */
static const char *obstacle(const struct move_facts *f)
{
    if (!f->source_owns)
        return "the guild no longer belongs to the source";
    if (!f->source_alive)
        return "the source went away";
    if (!f->target_alive)
        return "the target went away";
    if (!f->target_takes)
        return "the target is draining";
    return NULL;
}

static struct move_step step_before_cutover(const struct move_facts *f, enum move_event event)
{
    const char *why = obstacle(f);

    if (why)
        return abort_move(why);
    if (event == MOVE_EVENT_GAVE_UP && f->state != MOVE_STATE_WISHED)
        return abort_move("the target could not load the guild");
    if (f->state == MOVE_STATE_WISHED)
        return f->slot_free ? go(MOVE_STATE_WARMING, MOVE_ORDER_WARM) : stay(f, 0);
    if (f->state == MOVE_STATE_READY)
        return go(MOVE_STATE_CUTOVER, MOVE_ORDER_TAKE);
    if (event == MOVE_EVENT_WARM)
        return go(MOVE_STATE_READY, 0);
    if (f->age_ms >= MOVE_WARMING_MS)
        return abort_move("the target did not follow the log in time");
    return stay(f, MOVE_ORDER_WARM);
}

/* Who should be asked to claim, while nobody has. */
static unsigned cutover_orders(const struct move_facts *f)
{
    bool stuck = f->target_gave_up || f->age_ms >= MOVE_PATIENCE_MS;

    if (!f->source_alive)
        return MOVE_ORDER_OWN_TARGET;
    if (!f->target_alive || stuck)
        return MOVE_ORDER_OWN_SOURCE;
    return MOVE_ORDER_TAKE;
}

static struct move_step step_cutover(const struct move_facts *f, enum move_event event)
{
    if (event == MOVE_EVENT_TARGET_CLAIMED)
        return go(MOVE_STATE_DONE, 0);
    if (event == MOVE_EVENT_SOURCE_CLAIMED)
        return (struct move_step){ .next = MOVE_STATE_FAILED,
                                   .orders = MOVE_ORDER_DROP,
                                   .error = "un-sealed: the source went on" };
    if (!f->source_alive && !f->target_alive)
        return (struct move_step){ .next = MOVE_STATE_FAILED, .error = "both pods went away" };
    unsigned log = f->age_ms >= MOVE_SILENCE_MS ? MOVE_ORDER_READ_LOG : 0;
    return stay(f, cutover_orders(f) | log);
}

struct move_step move_step(const struct move_facts *f, enum move_event event)
{
    switch (f->state) {
    case MOVE_STATE_WISHED:
    case MOVE_STATE_WARMING:
    case MOVE_STATE_READY:
        return step_before_cutover(f, event);
    case MOVE_STATE_CUTOVER:
        return step_cutover(f, event);
    case MOVE_STATE_DONE:
    case MOVE_STATE_ABORTED:
    case MOVE_STATE_FAILED:
        break;
    }
    return stay(f, 0);
}
