#include "edge/assets.h"
#include "edge/pages/pages.h"

void page_begin(struct html *h, const struct page_frame *frame)
{
    html_add(h,
             "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
             "<meta name=\"color-scheme\" content=\"light dark\"><title>%s · Guildbus</title>"
             "<link rel=\"stylesheet\" href=\"%s\"><link rel=\"icon\" type=\"image/svg+xml\" "
             "href=\"%s\"></head>\n<body><a class=\"skip\" href=\"#main\">Skip to content</a>"
             "<header class=\"bar\"><a class=\"brand\" href=\"/\">Guildbus</a>",
             frame->title, asset_path("style.css"), asset_path("icon.svg"));
    if (frame->visitor)
        html_add(h,
                 "<nav aria-label=\"Main\"><a href=\"/guilds\">Servers</a></nav>"
                 "<form class=\"who\" method=\"post\" action=\"/logout\"><bdi>%s</bdi>"
                 "<input type=\"hidden\" name=\"csrf\" value=\"%s\">"
                 "<button type=\"submit\" class=\"quiet\">Log out</button></form>",
                 frame->visitor, frame->csrf);
    html_add(h, "</header>\n<main id=\"main\">");
}

void page_end(struct html *h)
{
    html_add(h, "</main>\n</body></html>\n");
}

void page_landing(struct html *h, const struct page_frame *frame)
{
    page_begin(h, frame);
    html_add(h, "<section class=\"hero\"><h1>Your servers, looked after</h1>"
                "<p>See how active each server is, read its reports, and set up where the "
                "moderation bot works.</p>");
    if (frame->visitor)
        html_add(h, "<p><a class=\"button\" href=\"/guilds\">Your servers</a></p>");
    else
        html_add(h, "<p><a class=\"button\" href=\"/login\">Log in with Discord</a></p>"
                    "<p class=\"note\">Guildbus asks Discord for your name and the list of your "
                    "servers, and keeps neither. One cookie holds your login.</p>");
    html_add(h, "</section>");
    page_end(h);
}

void page_problem(struct html *h, const struct page_frame *frame, const char *advice)
{
    page_begin(h, frame);
    html_add(
        h,
        "<section class=\"hero\"><h1>%s</h1><p>%s</p><p><a class=\"button\" href=\"%s\">%s</a></p>"
        "</section>",
        frame->title, advice, frame->visitor ? "/guilds" : "/",
        frame->visitor ? "Your servers" : "Start page");
    page_end(h);
}
