/* out.h - text under construction: grows by doubling, knows how JSON and HTML are escaped.
 *
 *     CLEANUP(out_release) struct out o = OUT_EMPTY;
 *     out_json(&o, "{'id':%I,'name':%S,'n':%d}", user->id, user->name, 3);
 *
 * THREAD: confined. */
#ifndef SIM_OUT_H
#define SIM_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct out {
    char *text; /* NUL behind it; NULL while nothing was added */
    size_t size, cap;
};
#define OUT_EMPTY                                                                                  \
    (struct out)                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }

void out_release(struct out *o);
static inline void out_release_at(struct out *o)
{
    out_release(o);
}
/* Forgets the text, keeps the memory. */
void out_clear(struct out *o);
void out_bytes(struct out *o, const void *data, size_t size);
void out_text(struct out *o, const char *text);
/* Drops the last character when it is c: the comma behind a list's last item. */
void out_drop(struct out *o, char c);
/* A JSON string with its quotes; null for NULL. */
void out_string(struct out *o, const char *text);
void out_html(struct out *o, const char *text);
/* ' stands for ". %I uint64_t as a quoted id, %S const char * as a JSON string or null, %r const
 * char * as it is, %d int, %l int64_t, %u uint64_t, %b int as true/false, %N uint64_t as a quoted
 * id or null for 0, %T int64_t ms since 1970 as a quoted ISO 8601 time or null for 0. */
void out_json(struct out *o, const char *fmt, ...);
/* malloc'd; the caller's. o is empty afterwards. */
char *out_take(struct out *o) MUST_CHECK;

#endif
