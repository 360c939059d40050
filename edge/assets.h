/* assets.h - the portal's own files, compiled in. Their addresses carry a hash of the content, so
 * they are cached for ever.
 *
 * THREAD: any after the first call. */
#ifndef EDGE_ASSETS_H
#define EDGE_ASSETS_H

#include <stddef.h>

struct asset {
    const char *name, *type;
    const unsigned char *data;
    size_t size;
    char hash[17]; /* hex */
    char path[64]; /* /assets/<hash>-<name> */
};

/* Aborts when there is no such file: names are literals. */
const char *asset_path(const char *name);
/* By the path's last segment; NULL: not there. */
const struct asset *asset_find(const char *file);

struct visit;
void asset_get(struct visit *v);
/* For browsers that look there by themselves. */
void asset_favicon(struct visit *v);

#endif
