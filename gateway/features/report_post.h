/* report_post.h - gets a report into Discord, step by step, from a row that is already there.
 *
 *     report_post ─▶ the user's thread ─▶ body ─▶ quote ─▶ forward to the mod log ─▶ summary there
 *                    (made if need be)     └─▶ reported_messages.log_message_id, log_channel_id
 *
 * Each step is an action, and its continuation enqueues the next. What is still to be posted stands
 * in report_drafts until the last step, or until one fails for good: then the report's row stays
 * with log ids 0, and the next report of that message tries again. One thread a user: while it is
 * being made (user_threads.thread_id 0) drafts wait for it.
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_FEATURES_REPORT_POST_H
#define GATEWAY_FEATURES_REPORT_POST_H

#include "gateway/features/report_text.h"
#include "gateway/features/settings.h"
#include "gateway/unit.h"

enum status report_post(struct unit *u, const struct guild_settings *settings,
                        const struct report *r, struct err *err) MUST_CHECK;
/* 0: none yet. */
enum status report_thread_of(struct unit *u, uint64_t user_id, uint64_t *ret_thread_id,
                             struct err *err) MUST_CHECK;

#endif
