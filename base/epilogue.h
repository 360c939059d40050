/* epilogue.h - what a thread does once at the end of its turn instead of once for each thing in it.
 *
 *     begin ─▶ letter ─▶ letter ─▶ … ─▶ end: what was added runs, once each
 *                 └── epilogue_add
 *
 * A turn is what a thread does between two waits: mailbox_drain is one, and so is a round of a loop.
 * Turns nest; the outermost counts.
 *
 * THREAD: any; each has its own. */
#ifndef BASE_EPILOGUE_H
#define BASE_EPILOGUE_H

#include <stdbool.h>

/* The caller's; must live until it has run. Zero: not added. */
struct epilogue {
    void (*run)(struct epilogue *self);
    struct epilogue *next;
    bool added;
};

void epilogue_begin(void);
void epilogue_end(void);

/* False: the thread is in no turn, and the caller does it now. Adding it again changes nothing. */
bool epilogue_add(struct epilogue *epilogue);

#endif
