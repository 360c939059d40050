#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "edge/pages/pages.h"
#include "edge/plot.h"

enum { MOST_DAYS = 366 };

static void add_head(struct html *h, const struct guild_page *p)
{
    html_add(h, "<div class=\"title\"><h1><bdi>%s</bdi></h1>", p->name);
    if (p->manages)
        html_add(h, "<a class=\"button quiet\" href=\"/guilds/%" PRIu64 "/settings\">Settings</a>",
                 p->guild_id);
    html_add(h,
             "</div><dl class=\"facts\"><div><dt>Messages</dt><dd>%" PRIu64
             "</dd></div><div><dt>Authors</dt><dd>%" PRIu64 "</dd></div>",
             p->overview->messages, p->overview->authors);
    html_add(h,
             "<div><dt>Reports</dt><dd>%" PRIu64
             "</dd></div><div><dt>Events applied</dt><dd>%" PRIu64 "</dd></div></dl>\n",
             p->overview->reports, p->overview->events_applied);
}

static void add_moment(struct html *h, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];

    if (!gmtime_r(&seconds, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm))
        return;
    html_add(h, "<time>%s</time>", text);
}

/* Nobody owned the guild for longer than events are kept. */
static void add_gaps(struct html *h, const Guildbus__V1__OverviewReply *o)
{
    for (size_t i = 0; i < o->n_gaps; i++) {
        html_add(h, "<p class=\"note\">The bot was away from ");
        add_moment(h, o->gaps[i]->from_ms);
        html_add(h, " to ");
        add_moment(h, o->gaps[i]->to_ms);
        html_add(h, " (UTC): what happened in between is not counted here.</p>\n");
    }
}

static void add_ranges(struct html *h, const struct guild_page *p)
{
    static const unsigned ranges[] = { 7, 30, 90, 365 };

    html_add(h, "<p class=\"ranges\">Show ");
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        if (ranges[i] == p->days)
            html_add(h, "<strong aria-current=\"true\">%u days</strong> ", ranges[i]);
        else
            html_add(h, "<a href=\"/guilds/%" PRIu64 "?days=%u\">%u days</a> ", p->guild_id,
                     ranges[i], ranges[i]);
    }
    html_add(h, "<a href=\"/guilds/%" PRIu64 "/activity.json?days=%u\">JSON</a></p>", p->guild_id,
             p->days);
}

static void add_day_table(struct html *h, const Guildbus__V1__ActivityReply *a)
{
    html_add(
        h,
        "<details><summary>The numbers as a table</summary><div class=\"wide\"><table><thead><tr>"
        "<th scope=\"col\">Day (UTC)</th><th scope=\"col\">Messages</th><th scope=\"col\">Words</th>"
        "<th scope=\"col\">Characters</th><th scope=\"col\">Authors</th><th scope=\"col\">Reactions"
        "</th></tr></thead><tbody>");
    for (size_t i = 0; i < a->n_days; i++) {
        const Guildbus__V1__ActivityDay *d = a->days[i];
        html_add(h,
                 "<tr><th scope=\"row\">%s</th><td>%" PRIu64 "</td><td>%" PRIu64 "</td><td>%" PRIu64
                 "</td><td>%" PRIu64 "</td><td>%" PRIu64 "</td></tr>\n",
                 d->day, d->messages, d->words, d->chars, d->authors, d->reactions);
    }
    html_add(h, "</tbody></table></div></details>");
}

static void add_activity(struct html *h, const struct guild_page *p)
{
    static const char title[] = "Messages a day";
    struct plot_day days[MOST_DAYS];
    const Guildbus__V1__ActivityReply *a = p->activity;
    uint64_t total = 0;
    size_t count = a->n_days < MOST_DAYS ? a->n_days : MOST_DAYS;
    char description[160];

    for (size_t i = 0; i < count; i++) {
        days[i] = (struct plot_day){ a->days[i]->day, a->days[i]->messages };
        total += a->days[i]->messages;
    }
    (void)snprintf(description, sizeof(description),
                   "%" PRIu64 " messages in %zu days, one bar for each day", total, count);
    html_add(h, "<section aria-labelledby=\"activity\"><h2 id=\"activity\">Activity</h2>");
    add_ranges(h, p);
    html_add(h, "<figure>");
    plot_add(h, &(struct plot){ title, description, "messages", days, count });
    html_add(h,
             "<figcaption><strong data-total=\"%" PRIu64 "\">%" PRIu64
             "</strong> messages in %zu days</figcaption></figure>",
             total, total, count);
    add_day_table(h, a);
    html_add(h, "</section>\n");
}

static const char *reason_label(const char *reason)
{
    static const char *const labels[][2] = {
        { "anonReport", "Reported" },      { "track", "Tracked" },
        { "modResolution", "Resolution" }, { "spam", "Spam" },
        { "automod", "Automod matched" },
    };

    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        if (strcmp(labels[i][0], reason) == 0)
            return labels[i][1];
    return reason;
}

static void add_report(struct html *h, uint64_t guild_id, const Guildbus__V1__Report *r)
{
    html_add(h, "<tr><td><time datetime=\"%s\">%s</time></td><td>%s</td><td>%" PRIu64 "</td><td>",
             r->created_at, r->created_at, reason_label(r->reason), r->user_id);
    if (r->staff_id)
        html_add(h, "<bdi>%s</bdi>", *r->staff_username ? r->staff_username : "a moderator");
    else
        html_add(h, "anonymous");
    html_add(h,
             "</td><td><a rel=\"noopener noreferrer\" href=\"https://discord.com/channels/%" PRIu64
             "/%" PRIu64 "/%" PRIu64 "\">Message</a>%s</td></tr>\n",
             guild_id, r->channel_id, r->message_id, *r->deleted_at ? " (deleted)" : "");
}

static void add_reports(struct html *h, const struct guild_page *p)
{
    const Guildbus__V1__ReportsReply *r = p->reports;

    html_add(h, "<section aria-labelledby=\"reports\"><h2 id=\"reports\">Recent reports</h2>");
    if (r->n_reports == 0) {
        html_add(h, "<p>No reports yet.</p></section>");
        return;
    }
    html_add(
        h,
        "<div class=\"wide\"><table><caption>The newest %zu of %" PRIu64 "</caption><thead><tr>"
        "<th scope=\"col\">When (UTC)</th><th scope=\"col\">Why</th><th scope=\"col\">User</th>"
        "<th scope=\"col\">By</th><th scope=\"col\">Where</th></tr></thead><tbody>",
        r->n_reports, r->total);
    for (size_t i = 0; i < r->n_reports; i++)
        add_report(h, p->guild_id, r->reports[i]);
    html_add(h, "</tbody></table></div></section>\n");
}

void page_guild(struct html *h, const struct page_frame *frame, const struct guild_page *page)
{
    page_begin(h, frame);
    add_head(h, page);
    add_gaps(h, page->overview);
    add_activity(h, page);
    add_reports(h, page);
    html_add(h, "<p class=\"note\">Answered by pod %s, epoch %" PRIu64 ".</p>", page->pod,
             page->epoch);
    page_end(h);
}
