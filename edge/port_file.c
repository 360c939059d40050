#include "edge/port_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/xmem.h"

enum status port_file_write(const char *path, int port, struct err *err)
{
    CLEANUP(xfree) char *temporary = xasprintf("%s.%d", path, (int)getpid());
    FILE *file = fopen(temporary, "we");

    if (!file)
        return err_set(err, STATUS_UNAVAILABLE, "%s: %m", temporary);
    bool written = fprintf(file, "%d\n", port) > 0;
    written = fclose(file) == 0 && written;
    if (!written || rename(temporary, path) != 0)
        return err_set(err, STATUS_UNAVAILABLE, "%s: %m", path);
    return STATUS_OK;
}
