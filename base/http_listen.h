/* http_listen.h - a listening TCP socket, or a clear word on why not.
 *
 * THREAD: any. */
#ifndef BASE_HTTP_LISTEN_H
#define BASE_HTTP_LISTEN_H

#include "base/status.h"

/* port 0: the system chooses. CONFLICT: in use; DENIED: needs a privilege; INVALID: no address. */
enum status http_listen_open(const char *bind_to, int port, int *ret_fd, struct err *err)
    MUST_CHECK;
int http_listen_port(int fd);

#endif
