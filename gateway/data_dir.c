#include "gateway/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xmem.h"

static enum status make_folders(char *path, struct err *err)
{
    for (char *at = path + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        int failed = mkdir(path, 0700) && errno != EEXIST;
        *at = '/';
        if (failed)
            return err_set(err, STATUS_UNAVAILABLE, "DATA_DIR: cannot make %s: %m", path);
    }
    if (mkdir(path, 0700) && errno != EEXIST)
        return err_set(err, STATUS_UNAVAILABLE, "DATA_DIR: cannot make %s: %m", path);
    return STATUS_OK;
}

static enum status lock(const char *folder, struct err *err)
{
    char *path = xasprintf("%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    free(path);
    if (fd < 0)
        return err_set(err, STATUS_UNAVAILABLE, "DATA_DIR: cannot write to %s: %m", folder);
    if (!flock(fd, LOCK_EX | LOCK_NB))
        return STATUS_OK; /* held until the process ends */
    close(fd);
    return err_set(err, STATUS_CONFLICT,
                   "DATA_DIR: %s is in use by another process: give each pod a folder of its own",
                   folder);
}

enum status data_dir_open(const char *folder, char **ret_path, struct err *err)
{
    char *path = xstrdup(folder);
    enum status status = make_folders(path, err);

    free(path);
    TRY(status);
    TRY(lock(folder, err));
    *ret_path = xasprintf("%s/guilds.sqlite3", folder);
    return STATUS_OK;
}
