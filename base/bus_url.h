/* bus_url.h - lists of NATS servers as people may see them.
 *
 * THREAD: any. */
#ifndef BASE_BUS_URL_H
#define BASE_BUS_URL_H

#include <stddef.h>

/* nats://name:password@host:port,… without names and passwords; cut when buf is too small. Returns
 * buf. */
const char *bus_url_show(const char *urls, char *buf, size_t size);
/* Where "host:port" begins in one URL that is size long. */
const char *bus_url_host(const char *url, size_t size);
/* The servers of the array that the list urls does not name, as such a list, with the scheme and the
 * name and password of its first. malloc'd; NULL: none. */
char *bus_url_others(const char *urls, char *const *servers, size_t count);

#endif
