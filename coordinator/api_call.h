/* api_call.h - one API request on its way to the coordinator's thread and back.
 *
 *   api.c (loop) ──call──▶ api_answers.c, api_changes.c ──the same call──▶ api.c responds
 *                             └─▶ api_forward.c ──bus──▶ the replica that leads ─┘
 *
 * THREAD: whoever holds the letter. */
#ifndef COORDINATOR_API_CALL_H
#define COORDINATOR_API_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/status.h"
#include "coordinator/rows.h"

enum api_kind {
    API_ASSIGNMENTS,
    API_ASSIGNMENT,
    API_PODS,
    API_MOVES,
    API_MOVE,
    API_HISTORY,
    API_STATUS,
    /* what changes something: the leader's */
    API_REASSIGN,
    API_UNFREEZE,
    API_DRAIN,
    API_UNDRAIN,
    API_REBALANCE,
    API_RESHARD,
};
enum { API_DEFAULT_LIMIT = 1000, API_MOST_LIMIT = 10000, API_MAX_BODY = 4096 };

struct http_exchange;
struct api_call {
    struct letter letter;
    struct http_exchange *exchange; /* the loop's */
    enum api_kind kind;
    uint64_t id; /* of the path, of the body, after, or before */
    uint64_t guild_id;
    bool from_start, has_guild, dry_run, force, cancel;
    uint32_t limit;       /* rebalance: 0: not said */
    uint32_t shard_count; /* reshard: 0: as Discord recommends */
    char pod[POD_ID_SIZE];
    /* a change, as it came; malloc'd */
    const char *path;
    char *body;
    /* the answer */
    int code;
    char *json; /* malloc'd; NULL: err says why */
    struct err err;
};
void api_call_free(struct api_call *call);

struct coordinator;
/* ---- api_changes.c: what a body asks for ---- */

/* 0 … 2^64-1 in plain digits: guild 0 is the one of direct messages. Thread: any. */
bool api_parse_number(const char *text, uint64_t *ret);
/* path: one of those that change something; body: JSON text, "" where none is needed. NOT_FOUND: no
 * such path. INVALID. Thread: any. */
enum status api_parse_change(const char *path, const char *body, struct api_call *call,
                             struct err *err) MUST_CHECK;
/* Does it. Of a replica that does not lead: UNAVAILABLE. */
enum status api_change(struct coordinator *c, struct api_call *call, struct err *err) MUST_CHECK;
/* malloc'd: {"error":{…}} */
char *api_error_json(const struct err *err);

/* ---- api_answers.c ---- */

/* Fills the answer. */
void api_answer(struct coordinator *c, struct api_call *call);
void api_finish(struct api_call *call, int code, const json_t *root);

/* ---- api_forward.c ---- */

/* Has the replica that leads answer it; api_return gets it then. */
void api_forward(struct coordinator *c, struct api_call *call);

/* ---- api.c ---- */

/* Takes the call with its answer back to the loop. */
void api_return(struct coordinator *c, struct api_call *call);

#endif
