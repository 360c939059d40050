/* turn_until.h - reads a world's letters (w->box) until something holds. */
#ifndef TESTS_UNIT_BASE_TURN_UNTIL_H
#define TESTS_UNIT_BASE_TURN_UNTIL_H

#include <poll.h>

#include "base/clock.h"
#include "base/mailbox.h"

static inline void turn_box(struct mailbox *box, void *owner)
{
    struct pollfd p = { .fd = mailbox_fd(box), .events = POLLIN };

    (void)poll(&p, 1, 20);
    mailbox_drain(box, owner);
}

#define TURN_UNTIL(w, what)                                                                        \
    do {                                                                                           \
        int64_t until_ms_ = clock_now_ms() + PATIENCE_MS;                                          \
        while (!(what) && clock_now_ms() < until_ms_)                                              \
            turn_box((w)->box, (w));                                                               \
        assert_true(what);                                                                         \
    } while (0)

#endif
