/* clock_shim.c - LD_PRELOAD: a wall clock that can be stepped.
 *
 *     CHAOS_CLOCK_FILE: eight bytes, an int64_t of nanoseconds, mapped: what is written there is added to CLOCK_REALTIME
 *     from then on. The monotonic clock is left alone, as a real step leaves it.
 *
 * A wait until a moment of the wall clock is moved back by the offset, or it would last as much longer.
 *
 * THREAD: any. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t ns_per_s = 1000000000;
static const time_t no_uptime_s = 1000000000; /* a moment beyond is one of the wall clock */
static const _Atomic int64_t *offset_ns;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("CHAOS_CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(*offset_ns), PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        offset_ns = at;
    (void)close(fd);
}

static struct timespec moved(struct timespec t, int64_t by_ns)
{
    int64_t ns = (int64_t)t.tv_sec * ns_per_s + t.tv_nsec + by_ns;

    return (struct timespec){ .tv_sec = ns / ns_per_s, .tv_nsec = ns % ns_per_s };
}

static int64_t offset(void)
{
    return offset_ns ? *offset_ns : 0;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc's names are reserved */
int clock_gettime(clockid_t clock, struct timespec *ret)
{
    static int (*real)(clockid_t, struct timespec *);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, ret);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        *ret = moved(*ret, offset());
    return code;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    int code = clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
    return code;
}

time_t time(time_t *ret)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec t = until->tv_sec > no_uptime_s ? moved(*until, -offset()) : *until;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return real(cond, mutex, &t);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until)
{
    static int (*real)(sem_t *, const struct timespec *);
    struct timespec t = moved(*until, -offset());

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "sem_timedwait");
    return real(sem, &t);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
