/* report_text.h - the texts of a report, made from the reported message as Discord sent it.
 *
 *     body     -# ann tracked            quote    > what was written        summary   its first
 * words… <link> by @bob (bob)               attachments, reactions              -# 20 chars in 4
 * words. …
 *              -# 5 minutes ago
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_FEATURES_REPORT_TEXT_H
#define GATEWAY_FEATURES_REPORT_TEXT_H

#include "gateway/unit.h"

struct report {
    const char *id, *reason; /* reason: anonReport, track, modResolution, spam, automod */
    uint64_t staff_id;       /* 0: anonymous */
    const char *staff_name;  /* NULL: anonymous */
    const char *extra;       /* NULL: nothing */
    uint64_t message_id, channel_id, author_id;
    const char *author_name;
    const json_t *message;
};

/* "reported anonymously" …; the reason itself when it is none of ours. */
const char *report_label(const char *reason);
/* "-# ann tracked" */
const char *report_headline(struct unit *u, const struct report *r);
/* Message bodies as JSON text; only the moderator role may be mentioned, and only by the first. */
enum status report_body(struct unit *u, const struct report *r, uint64_t moderator_role,
                        const char **ret_json, struct err *err) MUST_CHECK;
enum status report_quote(struct unit *u, const struct report *r, const char **ret_json,
                         struct err *err) MUST_CHECK;
/* The summary's text without the link to the posted report, which is not known yet. */
const char *report_summary(struct unit *u, const struct report *r);
/* The text with its link. NULL: the arena is full. */
const char *report_summary_linked(struct unit *u, const char *summary, uint64_t channel_id,
                                  uint64_t message_id);

#endif
