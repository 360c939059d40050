#include "edge/plot.h"

#include <inttypes.h>

/* In the SVG's own units; it scales with the page. */
enum { WIDTH = 720, HEIGHT = 220, LEFT = 52, TOP = 12, PLOT_WIDTH = 656, PLOT_HEIGHT = 172 };
enum { GRID_LINES = 5 }; /* each top from 5 on divides by it */

uint64_t plot_axis_top(uint64_t value)
{
    for (uint64_t power = 1; power <= UINT64_MAX / 50; power *= 10) {
        if (value <= power)
            return power;
        if (value <= 2 * power)
            return 2 * power;
        if (value <= 5 * power)
            return 5 * power;
    }
    return UINT64_MAX;
}

static uint64_t greatest(const struct plot *plot)
{
    uint64_t most = 0;

    for (size_t i = 0; i < plot->count; i++)
        if (plot->days[i].value > most)
            most = plot->days[i].value;
    return most;
}

static void add_grid(struct html *h, uint64_t top)
{
    for (unsigned i = 0; i <= GRID_LINES; i++) {
        double y = (double)(TOP + PLOT_HEIGHT) - (double)PLOT_HEIGHT * i / (double)GRID_LINES;
        bool is_labelled = top % GRID_LINES == 0 || i % GRID_LINES == 0;
        html_add(h, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>", LEFT, y,
                 LEFT + PLOT_WIDTH, y);
        if (is_labelled)
            html_add(h,
                     "<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%" PRIu64
                     "</text>",
                     LEFT - 6, y + 4, i == GRID_LINES ? top : top / GRID_LINES * i);
    }
}

static void add_bars(struct html *h, const struct plot *plot, uint64_t top)
{
    double step = (double)PLOT_WIDTH / (double)plot->count;
    double width = step > 3 ? step - 2 : step * 0.7;

    for (size_t i = 0; i < plot->count; i++) {
        const struct plot_day *d = &plot->days[i];
        double height = (double)d->value / (double)top * (double)PLOT_HEIGHT;
        html_add(h, "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">",
                 (double)LEFT + step * (double)i + (step - width) / 2,
                 (double)(TOP + PLOT_HEIGHT) - height, width, height);
        html_add(h, "<title>%s: %" PRIu64 " %s</title></rect>", d->day, d->value, plot->unit);
    }
}

static void add_dates(struct html *h, const struct plot *plot)
{
    int y = TOP + PLOT_HEIGHT + 18;

    html_add(h, "<text class=\"axis\" x=\"%d\" y=\"%d\">%s</text>", LEFT, y, plot->days[0].day);
    if (plot->count > 1)
        html_add(h, "<text class=\"axis\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>",
                 LEFT + PLOT_WIDTH, y, plot->days[plot->count - 1].day);
}

void plot_add(struct html *h, const struct plot *plot)
{
    uint64_t top = plot_axis_top(greatest(plot));

    html_add(h,
             "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"plot-title "
             "plot-desc\"><title id=\"plot-title\">%s</title><desc id=\"plot-desc\">%s</desc>",
             WIDTH, HEIGHT, plot->title, plot->description);
    add_grid(h, top);
    if (plot->count > 0) {
        add_bars(h, plot, top);
        add_dates(h, plot);
    }
    html_add(h, "</svg>\n");
}
