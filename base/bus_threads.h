/* bus_threads.h - libnats' own threads; for bus_link.c only.
 *
 * THREAD: any. */
#ifndef BASE_BUS_THREADS_H
#define BASE_BUS_THREADS_H

/* Has libnats make the threads that serve all connections, once: timers, callbacks and its collector of
 * freed messages. They are such that do not preempt who wakes them (SCHED_BATCH): the collector
 * would, for each message that is freed while it sleeps, and find one message. */
void bus_threads_start(void);

#endif
