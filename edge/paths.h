/* paths.h - what the edge answers where: routes.def as a table, and which paths a visitor may be
 * sent back to.
 *
 * THREAD: any. */
#ifndef EDGE_PATHS_H
#define EDGE_PATHS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/http_server.h"

enum route {
#define ROUTE(name, method, path, gate, handler) ROUTE_##name,
#include "edge/routes.def"
#undef ROUTE
    ROUTE_NONE,         /* 404 */
    ROUTE_WRONG_METHOD, /* 405 */
};

enum { PATH_REST_SIZE = 64 };

struct route_match {
    enum route route;
    uint64_t guild_id;         /* of :guild, else 0 */
    char rest[PATH_REST_SIZE]; /* of :file, else "" */
    char allow[32];            /* ROUTE_WRONG_METHOD: for the Allow header */
};

/* HEAD is matched as GET. A guild that is not 1 … 2^64-1 in plain digits is ROUTE_NONE. */
struct route_match route_find(enum http_method method, const char *path);

/* An absolute path on this site that a redirect may go to: printable ASCII, one leading slash, no
 * backslash, at most 512 bytes. */
bool path_is_local(const char *path);

#endif
