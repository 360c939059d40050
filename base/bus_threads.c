#include "base/bus_threads.h"

#include <pthread.h>
#include <sched.h>

#include <nats/nats.h>

#include "base/macros.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What libnats starts here inherits the policy. Where it cannot be set, all is as it was. */
static void *start(void *arg UNUSED)
{
    const struct sched_param none = { 0 };

    (void)sched_setscheduler(0, SCHED_BATCH, &none);
    (void)nats_Open(-1); /* who connects says what is wrong */
    return NULL;
}

static void start_once(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, start, NULL) == 0)
        pthread_join(thread, NULL);
}

void bus_threads_start(void)
{
    pthread_once(&once, start_once);
}
