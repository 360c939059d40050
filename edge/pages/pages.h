/* pages.h - the portal's pages: plain data in, HTML out.
 *
 * Every text here may come from a stranger; html_add escapes it.
 *
 * THREAD: confined. */
#ifndef EDGE_PAGES_PAGES_H
#define EDGE_PAGES_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/html.h"
#include "edge/visitors.h"
#include "messages/guildbus.pb-c.h"

/* What frames every page. */
struct page_frame {
    const char *title;
    const char *visitor; /* name; NULL: nobody is logged in */
    const char *csrf;    /* set with visitor */
};
void page_begin(struct html *h, const struct page_frame *frame);
void page_end(struct html *h);

void page_landing(struct html *h, const struct page_frame *frame);
void page_problem(struct html *h, const struct page_frame *frame, const char *advice);

struct guild_row {
    const struct membership *guild;
    bool manages;                                /* link to the settings */
    const Guildbus__V1__OverviewReply *overview; /* NULL: the bot does not serve it */
};
void page_guilds(struct html *h, const struct page_frame *frame, const struct guild_row *rows,
                 size_t count);

struct guild_page {
    uint64_t guild_id;
    const char *name;
    bool manages;
    unsigned days;
    const char *pod;
    uint64_t epoch;
    const Guildbus__V1__OverviewReply *overview;
    const Guildbus__V1__ActivityReply *activity;
    const Guildbus__V1__ReportsReply *reports;
};
void page_guild(struct html *h, const struct page_frame *frame, const struct guild_page *page);

/* One setting: a Discord object's id. */
struct setting {
    const char *key; /* in the settings JSON and the form */
    const char *label, *hint;
};
extern const struct setting settings_list[];
enum { SETTINGS_COUNT = 4 };

struct settings_page {
    uint64_t guild_id;
    const char *name;
    const char *request_id;             /* of the change to come */
    const char *values[SETTINGS_COUNT]; /* as typed or as stored; NULL: not in the form */
    bool wrong[SETTINGS_COUNT];
    bool is_saved;
};
void page_settings(struct html *h, const struct page_frame *frame,
                   const struct settings_page *page);

#endif
