/* answering.h - how an interaction that came over the gateway is answered within Discord's three
 * seconds (pure).
 *
 *     ASKING ──reply / refusal──▶ POSTING the answer to …/callback ──taken──▶ done
 *       │ defer_at                     └──40060: acknowledged before──▶ PATCHING @original ──▶ done
 *       ▼
 *     DEFERRING: the event goes into EVENTS, a deferral to …/callback ──▶ done; the owner finishes it
 *
 * One that comes late (replayed after a RESUME) is deferred first: taken or 40060, it goes into
 * EVENTS; dead, its sender was told so, and it must have no effect.
 *
 * 40060 means that an earlier try of ours arrived after all, or that the shard's former holder had
 * deferred: writing the answer into the original message is right in both cases. An autocomplete
 * has nothing to finish: its deferral is an empty list, and nothing is stored.
 *
 * Times are milliseconds of the monotonic clock.
 *
 * THREAD: any. */
#ifndef GATEWAY_ANSWERING_H
#define GATEWAY_ANSWERING_H

#include <stdbool.h>
#include <stdint.h>

enum {
    ANSWERING_DEFER_MS = 2000, /* Discord waits 3 s; the deferral is a REST call of its own */
    ANSWERING_OLD_MS = 3000,   /* by Discord's clock and ours: nobody waits for it any more */
    ANSWERING_LAST_MS = 2900,  /* no call is begun later */
    ANSWERING_REPEAT_MS =
        400,                 /* an owner that does not answer is asked again; one that nobody is, as
                                  base/retry.h says */
    ANSWERING_POST_MS = 200, /* a callback that failed is tried again */
};

enum answering_phase {
    ANSWERING_ASKING,
    ANSWERING_POSTING,
    ANSWERING_DEFERRING,
    ANSWERING_PATCHING,
    ANSWERING_PROBING, /* a late one */
    ANSWERING_DONE
};
enum answering_input {
    ANSWERING_ON_START,
    ANSWERING_ON_TIME,
    ANSWERING_ON_REPLY,   /* the owner's callback */
    ANSWERING_ON_ERROR,   /* the owner refuses for good */
    ANSWERING_ON_REFUSED, /* nobody owns the guild just now, or may not answer */
    ANSWERING_ON_TAKEN,   /* 2xx to our call */
    ANSWERING_ON_KNOWN,   /* 40060 */
    ANSWERING_ON_DEAD,    /* 10062 or any other 4xx: nothing can come of it */
    ANSWERING_ON_FAILED,  /* no answer, 5xx */
};
enum answering_action {
    ANSWERING_WAIT,          /* until answering_wake_ms */
    ANSWERING_ASK,           /* the owner; then wait */
    ANSWERING_POST,          /* the reply, or what is said to an error, or an empty list */
    ANSWERING_DEFER,         /* store the event and post the deferral */
    ANSWERING_POST_DEFERRAL, /* again */
    ANSWERING_PATCH,         /* the reply into @original */
    ANSWERING_ANSWERED,      /* done, each of the rest too */
    ANSWERING_DEFERRED,
    ANSWERING_STORE, /* and the event is to be stored now */
    ANSWERING_LATE,  /* the three seconds are over, or Discord does not know it any more */
};

struct answering {
    enum answering_phase phase;
    bool is_storable; /* false: autocomplete */
    bool has_message; /* the reply has what a message can be made of */
    int64_t began_ms, next_ms;
    int refusals;
};
/* age_ms: since it was made. */
void answering_init(struct answering *a, bool is_storable, int64_t age_ms, int64_t now_ms);
enum answering_action answering_step(struct answering *a, enum answering_input input,
                                     int64_t now_ms);
/* When ANSWERING_ON_TIME matters next; INT64_MAX: never. */
int64_t answering_wake_ms(const struct answering *a);

#endif
