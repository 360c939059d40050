/* bus_url.h - lists of NATS servers as people may see them.
 *
 * THREAD: any. */
#ifndef BASE_BUS_URL_H
#define BASE_BUS_URL_H

#include <stddef.h>

/* nats://name:password@host:port,… without names and passwords; cut when buf is too small. Returns
 * buf. */
const char *bus_url_show(const char *urls, char *buf, size_t size);

#endif
