/* span.h - a piece of somebody else's text. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stddef.h>

struct span {
    const char *at; /* not NUL-terminated */
    size_t size;
};

#endif
