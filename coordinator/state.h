/* state.h - the coordinator thread's state, shared by the files that make up its work.
 *
 *   coordinator.c  the thread, leading
 *   turn.c         what is done in one turn, and in which order
 *   requests.c     bus messages in, answers out
 *   pods.c         registration, leases, who is dead; REST shares are in rest_shares.c
 *   guilds.c       placement, claims, failover
 *   handoffs.c     planned moves; their steps are in move.c
 *   standbys.c     who follows which guild's log
 *   rebalance.c    when guilds move to even out the load; which ones is in balance.c
 *   orders.c       what is sent until it took effect
 *   shards.c       shards and IDENTIFY grants; the day's budget is in session_budget.c
 *   reshards.c     from one count of shards to another; its steps are in reshard.c
 *   commands.c     Discord's application commands, by deploy.c
 *   api*.c         HTTP, also what another replica was asked
 *
 * A function that writes returns the store's status; anything but OK travels up to the turn, which
 * steps down.
 *
 * THREAD: the coordinator's. */
#ifndef COORDINATOR_STATE_H
#define COORDINATOR_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/bus.h"
#include "coordinator/balance.h"
#include "coordinator/coordinator.h"
#include "coordinator/mirror.h"
#include "coordinator/move.h"
#include "coordinator/reshard.h"
#include "coordinator/session_budget.h"
#include "coordinator/store.h"
#include "messages/guildbus.pb-c.h"

enum {
    TURN_MS = 100,  /* heartbeats of this long share one transaction */
    GRACE_MS = 500, /* after a lease's end, for clocks and rounding */
    FORGET_EACH_MS = 3600 * 1000,
    ORDER_TIMEOUT_MS = 2000,
    ORDERS_IN_FLIGHT = 256,
    MOST_PODS = 10000,
    MOST_GUILDS = 4000000,
    MOST_SHARDS = 65536,
};

/* Who waits for an answer. */
struct caller {
    char *reply; /* NULL: nobody */
    bool json;
};

/* Requests whose writes share a transaction. */
struct beat {
    struct caller caller;
    struct pod_row row;
    bool renewed;
};
struct claim {
    struct caller caller;
    uint64_t guild_id, epoch, incarnation, pause_us, move_id; /* 0: no move */
    char pod[POD_ID_SIZE];
    struct err refused; /* code OK: not refused */
};
struct report {
    struct caller caller;
    uint64_t move_id;
    char pod[POD_ID_SIZE];
    Guildbus__V1__MoveStep step;
};

struct command_deployment;

struct coordinator {
    const struct coordinator_config *config;
    struct loop *loop;
    struct mailbox *box;
    pthread_t thread;
    _Atomic bool stopping, failed, up, bus_ok, store_ok;
    bool has_left; /* the loop's: the thread was joined */

    /* the thread's own from here on */
    struct bus *bus;
    struct bus_sub *subs[9];
    struct store *store;
    struct command_deployment *commands; /* NULL: not asked for */
    bool leads;
    int64_t next_lead_ms, next_turn_ms, next_forget_ms;

    /* while it leads */
    struct mirror *mirror;
    struct plan plan; /* empty between two uses */
    uint64_t last_move_id;
    int64_t db_ahead_ms; /* the database's clock less the monotonic one */
    int64_t listening_since_ms;
    bool held, unfrozen, shards_changed, standbys_changed, move_ended;
    int64_t next_review_ms, next_even_ms;
    bool evening; /* the review moves places from pods with too many */
    size_t evened, standby_in_flight;
    size_t starting; /* moves that the plan takes out of waiting */
    struct balance_watch watch;
    int64_t leads_since_ms, next_rebalance_ms, mixed_since_ms, next_prune_ms, next_sign_ms;
    char rebalance_frozen[256];
    int64_t next_warning_ms;
    struct beat *beats;
    struct claim *claims;
    struct report *reports;
    size_t beat_count, beat_room, claim_count, claim_room, report_count, report_room;
    size_t in_flight;
    struct session_budget sessions;
    int64_t next_reserve_warning_ms;
    struct reshard reshard;
    uint32_t reshard_decided; /* what Discord recommended when one began last */
    int64_t next_reshard_ms, next_reshard_warning_ms;
};

/* ---- turn.c ---- */

/* Settles what has arrived, and sends what it leads to; whole: time has passed, too. */
enum status turn_take(struct coordinator *c, bool whole, struct err *err) MUST_CHECK;
/* Stores c->plan, takes it over into the mirror, empties it. */
enum status commit(struct coordinator *c, struct err *err) MUST_CHECK;
int64_t db_now_ms(const struct coordinator *c);

/* ---- coordinator.c ---- */

/* Gives up leading; another process, or this one a second later, begins from what is stored. */
void step_down(struct coordinator *c, const struct err *err);

/* ---- requests.c ---- */

/* CONFLICT: a coordinator of another store leads on this NATS. Blocks up to one and a half seconds. */
enum status requests_nobody_answers(struct coordinator *c, struct err *err) MUST_CHECK;
enum status requests_subscribe(struct coordinator *c, struct err *err) MUST_CHECK;
void requests_unsubscribe(struct coordinator *c);
/* Answers and frees *caller. */
void answer(struct coordinator *c, struct caller *caller, const Guildbus__V1__Envelope *envelope);
void answer_ok(struct coordinator *c, struct caller *caller);
void answer_err(struct coordinator *c, struct caller *caller, const struct err *err);

/* ---- pods.c ---- */

enum status pods_register(struct coordinator *c, const Guildbus__V1__Register *r,
                          struct caller *caller, struct err *err) MUST_CHECK;
enum status pods_leave(struct coordinator *c, const Guildbus__V1__Leave *l, struct caller *caller,
                       struct err *err) MUST_CHECK;
void pods_heard(struct coordinator *c, const Guildbus__V1__Heartbeat *h, struct caller *caller);
enum status pods_renew(struct coordinator *c, struct err *err) MUST_CHECK;
enum status pods_expire(struct coordinator *c, struct err *err) MUST_CHECK;
void pods_unfreeze(struct coordinator *c);
enum status pods_forget(struct coordinator *c, struct err *err) MUST_CHECK;
/* Its lease runs, as far as is known here. */
bool pod_is_alive(const struct coordinator *c, const struct mirror_pod *pod);
/* And it is not draining. */
bool pod_takes(const struct coordinator *c, const struct mirror_pod *pod);
/* Some pod has not been heard for most of its lease, or was lost within the last one. */
bool pods_are_silent(const struct coordinator *c);
/* An operator wants the pod empty, or no longer. NOT_FOUND in refused: no such pod. */
enum status pods_wish_drain(struct coordinator *c, const char *name, bool drain,
                            struct err *refused, struct err *err) MUST_CHECK;
/* When the last lease of a pod that is gone ended, the database's clock; 0: not known, or it lives. */
int64_t lease_end_of(const struct coordinator *c, const char *name);
/* All pods for place_*, in the order of the mirror's. */
struct place place_of(const struct coordinator *c);
static inline void place_release_at(struct place *place)
{
    free(place->pods);
}

/* ---- guilds.c ---- */

enum status guilds_seen(struct coordinator *c, const Guildbus__V1__GuildsSeen *seen,
                        struct caller *caller, struct err *err) MUST_CHECK;
void guilds_claimed(struct coordinator *c, const Guildbus__V1__Claimed *claimed,
                    struct caller *caller);
/* All that the claims say, in one transaction, then their answers. */
enum status guilds_settle(struct coordinator *c, struct err *err) MUST_CHECK;
/* Gives guilds without a living owner to somebody. */
enum status guilds_place(struct coordinator *c, struct err *err) MUST_CHECK;
/* The pod says that the guild's log knows epochs up to this one. */
enum status guild_catch_up(struct coordinator *c, struct mirror_guild *g, uint64_t epoch,
                           struct err *err) MUST_CHECK;

/* ---- handoffs.c ---- */

struct claim_fact {
    uint64_t incarnation, pause_us;
};
/* Plans what the event leads to. */
void handoff_step(struct coordinator *c, struct mirror_move *move, enum move_event event,
                  const struct claim_fact *fact);
void handoffs_reported(struct coordinator *c, const Guildbus__V1__MoveReport *report,
                       struct caller *caller);
enum status handoffs_settle(struct coordinator *c, struct err *err) MUST_CHECK;
/* Time passes: steps of all moves, new moves for draining pods. */
enum status handoffs_turn(struct coordinator *c, struct err *err) MUST_CHECK;
/* Sends what is due, forgets what ended. */
void handoffs_send(struct coordinator *c);
/* A move of it may be planned now. */
bool handoff_can_begin(const struct mirror_guild *g, int64_t now_ms);
/* Plans a move of a guild that has none and is owned; returns its id. reason: operator, drain,
 * rebalance. */
uint64_t handoff_plan(struct coordinator *c, const struct mirror_guild *g, const char *target,
                      const char *reason);
/* An operator's wish. NOT_FOUND, CONFLICT: said in refused, and nothing was stored. */
enum status handoff_wish(struct coordinator *c, uint64_t guild_id, const char *pod,
                         uint64_t *ret_move_id, struct err *refused, struct err *err) MUST_CHECK;

/* ---- standbys.c ---- */

enum status standbys_turn(struct coordinator *c, struct err *err) MUST_CHECK;
void standbys_send(struct coordinator *c);
/* A heartbeat says how many guilds the pod follows. */
void standbys_heard(struct coordinator *c, struct mirror_pod *pod, uint32_t follows);
/* The pod no longer knows what it was told. */
void standbys_forgotten(struct coordinator *c, struct mirror_pod *pod);
struct standby_told {
    uint64_t guild_id;
    const char *pod;
    bool stands;      /* Warm, else Drop */
    uint32_t process; /* of the pod, when it was sent */
};
void standbys_answered(struct coordinator *c, const struct standby_told *told, enum status status);
void standbys_measure(const struct coordinator *c);

/* ---- orders.c ---- */

void orders_send(struct coordinator *c, bool whole_turn);
void order_move(struct coordinator *c, struct mirror_move *move, enum move_order what);
/* Warm or Drop, as its rank says; standbys_answered gets the answer. */
void order_standby(struct coordinator *c, const struct mirror_guild *g, const struct follower *f);

/* ---- commands.c ---- */

/* INVALID, UNAVAILABLE: as deploy_new. */
enum status commands_open(struct coordinator *c, struct err *err) MUST_CHECK;
void commands_turn(struct coordinator *c);
/* Leads no more: nothing is sent until the next commands_turn, which begins anew. */
void commands_rest(struct coordinator *c);
/* Once no letter is read any more. */
void commands_close(struct coordinator *c);

/* ---- shards.c ---- */

/* From the setting or the store. */
enum status shards_load(struct coordinator *c, struct err *err) MUST_CHECK;
enum status shards_recommended(struct coordinator *c, uint32_t count, struct err *err) MUST_CHECK;
enum status shards_place(struct coordinator *c, struct err *err) MUST_CHECK;
enum status shards_identify(struct coordinator *c, const Guildbus__V1__IdentifyRequest *r,
                            struct caller *caller, struct err *err) MUST_CHECK;

/* ---- reshards.c ---- */

/* After the shard count, before the shards. */
enum status reshards_load(struct coordinator *c, struct err *err) MUST_CHECK;
enum status reshards_turn(struct coordinator *c, struct err *err) MUST_CHECK;
void reshards_heard(struct coordinator *c, struct mirror_pod *pod,
                    const Guildbus__V1__Heartbeat *h);
struct reshard_wish {
    uint32_t to; /* 0: what Discord recommends */
    bool cancel, dry_run;
};
/* An operator's. What speaks against it is said in refused, and nothing was stored. */
enum status reshards_wish(struct coordinator *c, const struct reshard_wish *wish,
                          struct reshard_case *ret_case, struct err *refused, struct err *err)
    MUST_CHECK;
/* "": none is under way. */
void reshards_say(const struct coordinator *c, char *text, size_t size);

#endif
