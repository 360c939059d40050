/* deploy.h - sees to it that Discord has the application commands of commands.def. Writes only what differs.
 *
 *     start ─▶ GET …/commands ─┬▶ all the same: done
 *                              ├▶ something differs, dry run: done
 *                              └▶ something differs ─▶ PUT …/commands ─▶ compare what Discord made of it: done
 *
 * No answer is waited for: each comes as a letter to the box, and so does the end. Trying again is the caller's.
 *
 * THREAD: confined to the box's owner. */
#ifndef COORDINATOR_DEPLOY_H
#define COORDINATOR_DEPLOY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/status.h"

struct deploy_result {
    /* OK; DENIED (401, 403), NOT_FOUND, INVALID (400: Discord does not take our commands), BUSY (429), CORRUPT (an
     * answer that makes no sense), TIMEOUT or UNAVAILABLE; the text says what to do */
    struct err err;
    int64_t retry_after_ms; /* of a 429; 0: Discord did not say */
    bool written;
    size_t wanted;       /* commands there should be */
    json_t *differences; /* commands_differences before the PUT; NULL: not known; borrowed */
    size_t left;         /* how many Discord's answer to the PUT still has */
};

struct deploy_config { /* the texts live as long as the deploy */
    const char *api_url, *token, *application_id;
    uint64_t guild_id; /* 0: the global commands, else this guild's own */
    bool dry_run;
    struct mailbox *box;
    void (*on_done)(void *ctx, const struct deploy_result *result); /* may start again */
    void *ctx;
};

struct deploy;
/* INVALID: the token is none. UNAVAILABLE: no thread. */
enum status deploy_new(const struct deploy_config *config, struct deploy **ret_deploy,
                       struct err *err) MUST_CHECK;
/* Letters that are in the box still must be discarded, not read, afterwards. */
void deploy_free(struct deploy *deploy);
DEFINE_CLEANUP(struct deploy *, deploy_free)

/* on_done is called once, unless it is cancelled or freed before. One at a time: starting cancels. */
void deploy_start(struct deploy *deploy);
/* Nothing more is sent; what is under way ends without on_done. */
void deploy_cancel(struct deploy *deploy);

#endif
