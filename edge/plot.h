/* plot.h - a bar chart over days as inline SVG, for pages that run no script.
 *
 * Screen readers get title and description; the numbers themselves belong into a table beside it.
 *
 * THREAD: confined. */
#ifndef EDGE_PLOT_H
#define EDGE_PLOT_H

#include <stddef.h>
#include <stdint.h>

#include "edge/html.h"

struct plot_day {
    const char *day; /* YYYY-MM-DD */
    uint64_t value;
};
struct plot {
    const char *title, *description, *unit; /* unit: "messages" */
    const struct plot_day *days;            /* ascending */
    size_t count;
};

void plot_add(struct html *h, const struct plot *plot);

/* The least 1, 2 or 5 times a power of ten that is not below value; at least 1, so that the axis
 * has a height. */
uint64_t plot_axis_top(uint64_t value);

#endif
