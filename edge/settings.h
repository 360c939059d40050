/* settings.h - the settings form's values and the merge patch they become (pure).
 *
 * THREAD: any. */
#ifndef EDGE_SETTINGS_H
#define EDGE_SETTINGS_H

#include <stdbool.h>

#include "base/arena.h"
#include "edge/pages/pages.h"

/* Marks what is neither empty nor an id; false: something is wrong. */
bool settings_check(struct settings_page *page);
/* RFC 7396 merge patch: ids as strings, null for what is empty, nothing for what is NULL. From the
 * arena; NULL: full. */
char *settings_patch(const struct settings_page *page, struct arena *a) MUST_CHECK;
/* Fills values from the stored settings; what is missing or no text is "". False: not a JSON
 * object. */
bool settings_read(const char *json, struct arena *a, struct settings_page *page) MUST_CHECK;
/* A request id as our form makes them: 16 to 64 of A-Z a-z 0-9 _ -. */
bool settings_request_id_fits(const char *text);

#endif
