/* data_dir.h - the folder that holds the pod's database, used by one process at a time.
 *
 * THREAD: before start. */
#ifndef GATEWAY_DATA_DIR_H
#define GATEWAY_DATA_DIR_H

#include "base/status.h"

/* Makes it (mode 0700) and locks it until the process ends. CONFLICT: another process has it.
 * *ret_path: the database's path, malloc'd. */
enum status data_dir_open(const char *folder, char **ret_path, struct err *err) MUST_CHECK;

#endif
