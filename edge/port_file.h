/* port_file.h - tells others which port the system chose.
 *
 * THREAD: any. */
#ifndef EDGE_PORT_FILE_H
#define EDGE_PORT_FILE_H

#include "base/status.h"

/* Replaces path in one step: a reader never sees half a number. UNAVAILABLE: cannot be written. */
enum status port_file_write(const char *path, int port, struct err *err) MUST_CHECK;

#endif
