#include <inttypes.h>

#include "edge/pages/pages.h"

const struct setting settings_list[] = {
    { "modLog", "Mod log channel", "Where the bot keeps a thread for each reported user." },
    { "moderator", "Moderator role", "Who may use the bot's moderation commands." },
    { "restricted", "Restricted role", "Given to users who are restricted. Optional." },
    { "deletionLog", "Deletion log channel", "Where deleted messages are kept. Optional." },
};
_Static_assert(sizeof(settings_list) / sizeof(settings_list[0]) == SETTINGS_COUNT, "one row each");

static void add_field(struct html *h, const struct setting *s, const char *value, bool wrong)
{
    html_add(
        h,
        "<p class=\"field\"><label for=\"%s\">%s</label><input id=\"%s\" name=\"%s\" value=\"%s\" "
        "inputmode=\"numeric\" autocomplete=\"off\" maxlength=\"20\" aria-describedby=\"%s-hint",
        s->key, s->label, s->key, s->key, value, s->key);
    if (wrong)
        html_add(h, " %s-wrong\" aria-invalid=\"true", s->key);
    html_add(h, "\"><span class=\"note\" id=\"%s-hint\">%s</span>", s->key, s->hint);
    if (wrong)
        html_add(h,
                 "<span class=\"wrong\" id=\"%s-wrong\">This is not an id. Copy it in Discord with "
                 "“Copy ID” from the channel's or role's menu.</span>",
                 s->key);
    html_add(h, "</p>\n");
}

void page_settings(struct html *h, const struct page_frame *frame, const struct settings_page *page)
{
    page_begin(h, frame);
    html_add(h, "<h1>Settings</h1><p><a href=\"/guilds/%" PRIu64 "\">Back to <bdi>%s</bdi></a></p>",
             page->guild_id, page->name);
    if (page->is_saved)
        html_add(h, "<p class=\"saved\" role=\"status\">Saved.</p>");
    html_add(h,
             "<form class=\"settings\" method=\"post\" action=\"/guilds/%" PRIu64 "/settings\">"
             "<input type=\"hidden\" name=\"csrf\" value=\"%s\">"
             "<input type=\"hidden\" name=\"request_id\" value=\"%s\">\n",
             page->guild_id, frame->csrf, page->request_id);
    for (int i = 0; i < SETTINGS_COUNT; i++)
        add_field(h, &settings_list[i], page->values[i], page->wrong[i]);
    html_add(h, "<p><button type=\"submit\">Save</button></p></form>");
    page_end(h);
}
