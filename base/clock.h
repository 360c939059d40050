/* clock.h - the two clocks. Deadlines and leases use the monotonic one, what is stored the wall's.
 *
 * THREAD: any. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read_us(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Since an unknown start; never goes back. */
static inline int64_t clock_now_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}
static inline int64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}
/* Since 1970, UTC; may jump. */
static inline int64_t clock_wall_ms(void)
{
    return clock_read_us(CLOCK_REALTIME) / 1000;
}

#endif
