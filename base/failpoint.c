#include "base/failpoint.h"

#if GUILDBUS_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { ACTION_SIZE = 32 };

/* Whoever removes the file has it. */
static bool take(const char *path, char action[ACTION_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t size = read(fd, action, ACTION_SIZE - 1);
    (void)close(fd);
    action[size > 0 ? size : 0] = '\0';
    action[strcspn(action, "\n")] = '\0';
    return unlink(path) == 0;
}

static void act(const char *action)
{
    static const char sleep_ms[] = "sleep ";

    if (!strcmp(action, "kill"))
        (void)raise(SIGKILL);
    else if (!strcmp(action, "stop"))
        (void)raise(SIGSTOP);
    else if (!strncmp(action, sleep_ms, strlen(sleep_ms)))
        (void)usleep((useconds_t)strtoul(action + strlen(sleep_ms), NULL, 10) * 1000);
    else
        log_warn("failpoint_unknown_action", "action=%s", LOG_QUOTE(action));
}

void failpoint_hit(const char *name)
{
    const char *dir = getenv("FAILPOINT_DIR"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */
    char path[512], action[ACTION_SIZE];

    if (!dir)
        return;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (!take(path, action))
        return;
    log_warn("failpoint", "name=%s action=%s", name, LOG_QUOTE(action));
    act(action);
}

#else
typedef int failpoints_are_off; /* a file must not be empty */
#endif
