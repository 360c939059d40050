/* turns.h - a queue in front of something that does only so many things at once.
 *
 *     turns_enter ─yes─▶ do it ─▶ turns_leave ─▶ turns_next ─▶ do that …
 *          └no─▶ turns_wait(item) ──────────────────┘
 *
 * Items are the caller's; first come, first served.
 *
 * THREAD: confined, or under the user's lock. */
#ifndef BASE_TURNS_H
#define BASE_TURNS_H

#include <stdbool.h>

#include "base/macros.h"

/* The head of what waits; embed it first in the item. */
struct turn {
    struct turn *next;
};
struct turns {
    int at_once, under_way;
    struct turn *first, **end;
};

void turns_init(struct turns *t, int at_once);
/* True: one more is under way now; nobody is overtaken. */
bool turns_enter(struct turns *t) MUST_CHECK;
void turns_wait(struct turns *t, struct turn *item);
/* The next one whose turn it is, and that is under way now; NULL: nobody waits, or there is no
 * room. */
struct turn *turns_next(struct turns *t) MUST_CHECK;
void turns_leave(struct turns *t);
/* The next one that waits, which gives up; NULL: nobody. */
struct turn *turns_give_up(struct turns *t) MUST_CHECK;

#endif
