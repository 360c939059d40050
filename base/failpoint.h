/* failpoint.h - named places where a test ends, stops or delays the process.
 *
 *     FAILPOINT("source_5_sealed");
 *
 * Only in builds with -DFAILPOINTS=ON (the Debug ones): elsewhere it is nothing at all. A name is
 * <role>_<step of the protocol>_<where>, in lower case; tests find all names by reading the sources.
 *
 * Armed by a file: when FAILPOINT_DIR/<name> exists, the first to come there removes it (so it works
 * once, also over a restart) and does what is in it:
 *
 *     kill          SIGKILL to itself
 *     stop          SIGSTOP to itself: goes on at SIGCONT
 *     sleep <ms>    the thread sleeps
 *
 * THREAD: any. */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#if GUILDBUS_FAILPOINTS
void failpoint_hit(const char *name);
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
