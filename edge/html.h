/* html.h - builds HTML (and SVG) text that is escaped by default.
 *
 *     html_add(&h, "<a href=\"/guilds/%" PRIu64 "\">%s</a>", guild->id, guild->name);
 *
 * The markup is the format string, which the compiler insists is a literal; each %s is escaped for
 * text and for quoted attributes alike, so nothing that came from outside can become markup.
 * Attributes are always written with double quotes. What becomes a link goes through
 * url_or_nothing() as well.
 *
 * THREAD: confined. */
#ifndef EDGE_HTML_H
#define EDGE_HTML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/macros.h"

enum {
    HTML_LIMIT = 4 * 1024 * 1024
}; /* bytes of a page; the rest is cut and html_is_whole says so */

struct html {
    struct bytes bytes;
    bool cut;
};

void html_release(struct html *h);
/* %s escaped text; %d %u %zu and the PRI macros; %.1f; %%. Any other conversion aborts. */
void html_add(struct html *h, const char *format, ...) PRINTF(2, 3);
bool html_is_whole(const struct html *h);

/* url when it is an absolute local path or http(s)://, else "#". */
const char *url_or_nothing(const char *url);
/* Percent-encoded for a query value; NULL when the arena is full. */
char *url_encode(struct arena *a, const char *text) MUST_CHECK;

#endif
