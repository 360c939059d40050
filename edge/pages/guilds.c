#include <inttypes.h>

#include "edge/pages/pages.h"

static void add_served(struct html *h, const struct guild_row *row)
{
    const Guildbus__V1__OverviewReply *o = row->overview;

    html_add(h, "<li class=\"card\"><h2><a href=\"/guilds/%" PRIu64 "\"><bdi>%s</bdi></a></h2>",
             row->guild->guild_id, row->guild->name);
    html_add(h,
             "<dl class=\"facts\"><div><dt>Messages</dt><dd>%" PRIu64
             "</dd></div><div><dt>Authors</dt>"
             "<dd>%" PRIu64 "</dd></div><div><dt>Reports</dt><dd>%" PRIu64 "</dd></div></dl>",
             o->messages, o->authors, o->reports);
    if (row->manages)
        html_add(h, "<p><a href=\"/guilds/%" PRIu64 "/settings\">Settings</a></p>",
                 row->guild->guild_id);
    html_add(h, "</li>\n");
}

static size_t add_all_served(struct html *h, const struct guild_row *rows, size_t count)
{
    size_t served = 0;

    html_add(h, "<ul class=\"cards\">");
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].overview)
            continue;
        add_served(h, &rows[i]);
        served++;
    }
    html_add(h, "</ul>");
    return served;
}

static void add_absent(struct html *h, const struct guild_row *rows, size_t count)
{
    html_add(
        h,
        "<h2>Bot not here</h2><p class=\"note\">You moderate these too. The bot is not on them, or "
        "cannot be reached just now.</p><ul class=\"plain\">");
    for (size_t i = 0; i < count; i++)
        if (!rows[i].overview)
            html_add(h, "<li><bdi>%s</bdi> <span class=\"note\">bot not here</span></li>\n",
                     rows[i].guild->name);
    html_add(h, "</ul>");
}

void page_guilds(struct html *h, const struct page_frame *frame, const struct guild_row *rows,
                 size_t count)
{
    page_begin(h, frame);
    html_add(h, "<h1>Your servers</h1>");
    if (count == 0)
        html_add(h, "<p>You moderate no server that Discord told us of.</p>");
    size_t served = count ? add_all_served(h, rows, count) : 0;
    if (served < count)
        add_absent(h, rows, count);
    page_end(h);
}
