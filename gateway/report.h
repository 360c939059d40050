/* report.h - what the owner says to the coordinator and to the other pod of a handoff.
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_REPORT_H
#define GATEWAY_REPORT_H

#include "gateway/guild.h"

struct control_answer {
    enum status status;
    const char *text;
    uint64_t epoch, idx, log_seq;
    uint32_t seal_us;
};
void report_control(struct owner *o, const char *reply_to, bool json,
                    const struct control_answer *a);

/* Repeated until the coordinator answers, or the guild is served no more. Nothing is said before the
 * Claim is in the log: another pod's may come first. */
void report_claimed(struct guild *g);
void report_move(struct guild *g, Guildbus__V1__MoveStep step, const char *text);
/* To the source: my Claim is in the log. */
void report_released(struct guild *g);
void report_yield(struct guild *g, int timeout_ms, bus_on_reply on_reply, uint64_t serial);

#endif
