/* api_call.h - one API request on its way to the coordinator's thread and back.
 *
 *   api.c (loop) ──call──▶ api_answers.c (coordinator) ──the same call──▶ api.c responds
 *
 * THREAD: whoever holds the letter. */
#ifndef COORDINATOR_API_CALL_H
#define COORDINATOR_API_CALL_H

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
    API_STATUS,
    API_REASSIGN,
    API_UNFREEZE,
};
enum { API_DEFAULT_LIMIT = 1000, API_MOST_LIMIT = 10000 };

struct http_exchange;
struct api_call {
    struct letter letter;
    struct http_exchange *exchange; /* the loop's */
    enum api_kind kind;
    uint64_t id; /* of the path, of the body, or after */
    bool from_start;
    uint32_t limit;
    char pod[POD_ID_SIZE];
    /* the answer */
    int code;
    char *json; /* malloc'd; NULL: err says why */
    struct err err;
};

struct coordinator;
/* Fills the answer. */
void api_answer(struct coordinator *c, struct api_call *call);

#endif
