#include "bench/placement/clock.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"

static int64_t now_us = INT64_C(3600) * 1000000; /* moments near 0 mean "never" to some */

int64_t sim_now_us(void)
{
    return now_us;
}

void sim_clock_reach(int64_t at_us)
{
    now_us = at_us > now_us ? at_us : now_us;
}

void sim_clock_pass(int64_t us)
{
    now_us += us;
}

static struct timespec from_us(int64_t us)
{
    return (struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
}

/* Comes before libc's when this program is linked. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
int clock_gettime(clockid_t which, struct timespec *ret)
{
    if (which == CLOCK_MONOTONIC)
        *ret = from_us(now_us);
    else if (which == CLOCK_REALTIME)
        *ret = from_us(now_us + CLOCK_EPOCH_MS * 1000);
    else
        return (int)syscall(SYS_clock_gettime, which, ret);
    return 0;
}

int64_t sim_cpu_ns(void)
{
    struct timespec t;

    (void)syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
