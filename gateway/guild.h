/* guild.h - one guild on this pod, and the owner's thread around all of them. Private to the files
 * of the owner's thread.
 *
 *      (nothing) ──Own──▶ LOADING ──▶ CLAIMING ──▶ SERVING ──▶ SEALING ──▶ SEALED ──▶ GONE ──▶ (nothing)
 *      (nothing) ─Warm──▶ LOADING ◀─▶ WARM ──▶ TAKING ──(sealed)──▶ CLAIMING
 *      un-seal:  SEALED ──▶ CLAIMING            another pod's Claim (fenced): any ──▶ GONE
 *
 * A unit's rows go into the guild's newest batch. A batch becomes one record of the guild's log;
 * one record a guild is in flight. What waits for a record (replies, REST calls) hangs on its batch
 * as gates and is let go when the log confirms.
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_GUILD_H
#define GATEWAY_GUILD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bus.h"
#include "base/bytes.h"
#include "base/idmap.h"
#include "base/mailbox.h"
#include "gateway/discord_rest.h"
#include "gateway/owner.h"
#include "gateway/store.h"
#include "messages/guildbus.pb-c.h"

enum guild_state {
    GUILD_LOADING,  /* reads its log; afterwards as goal says */
    GUILD_WARM,     /* follows the tail, owns nothing */
    GUILD_TAKING,   /* may claim once the source has sealed */
    GUILD_CLAIMING, /* its Claim is in flight */
    GUILD_SERVING,
    GUILD_SEALING, /* serves nothing more; its Seal is in flight */
    GUILD_SEALED,  /* forwards; takes the guild back when the target stays silent */
    GUILD_GONE,    /* another pod owns it; forwards a moment longer */
};

/* What waits for a record to be in the log. */
struct gate {
    struct gate *next;
    char *reply_to; /* NULL: none */
    bool json;
    void *data;
    size_t size;
    int64_t action_id; /* 0: none */
    int64_t since_us;
};

/* Claim.reason of guildbus.proto. */
enum claim_reason {
    CLAIM_NEW = 1,
    CLAIM_HANDOFF = 2,
    CLAIM_FAILOVER = 3,
    CLAIM_UNSEAL = 4,
    CLAIM_FIXED = 5
};

enum batch_kind { BATCH_CHANGE, BATCH_CLAIM, BATCH_SEAL, BATCH_SNAPSHOT };
struct batch {
    struct batch *next;
    enum batch_kind kind;
    uint64_t epoch, idx; /* idx is given when it is first sent */
    uint32_t claim_reason;
    bool in_view; /* its rows are in the snapshot that is being written; takes no more units */
    struct bytes rows;
    size_t size;                        /* of its record */
    int64_t sent_us;                    /* when it was first sent */
    uint64_t event_seq, events_applied; /* after this batch */
    struct event_source source;
    struct gate *gates, **gates_end;
};

/* A request that came while the guild is on its way. */
struct held {
    struct held *next;
    char *reply_to;
    bool json, portal;
    uint32_t hops;
    int64_t until_ms;
    size_t size;
    unsigned char body[];
};

/* One request, wherever it came from. Borrowed. */
struct request {
    const char *reply_to; /* NULL: nobody waits */
    bool json, portal;
    uint32_t hops;
    const void *body;
    size_t size;
};

/* The handoff that the guild is in, on either side. */
struct handoff {
    uint64_t move_id, epoch, unseal_epoch;
    char peer[65];        /* source (on the target) or target (on the source) */
    bool yield_json;      /* source: of yield_reply_to */
    bool yield_sent;      /* target: an answer is awaited */
    bool wanted;          /* source: seal as soon as no REST call is under way */
    uint32_t source_us;   /* target: what the source took to seal */
    char *yield_reply_to; /* source: who waits for the Seal */
    int64_t yield_sent_us, claimed_us;
    int64_t seal_by_ms;     /* source: … or at this time */
    int64_t sealing_us;     /* source: when it stopped serving */
    int64_t sealed_seen_us; /* target: when it learned of the Seal */
    int64_t unseal_at_ms;
};

/* The log's last snapshot, and the one that is being written. */
struct guild_snapshot {
    uint64_t idx, bytes; /* of the last one; bytes 0: not known */
    uint64_t log_bytes;  /* of the records since, as far as this pod saw them */
    int64_t not_before_ms;
    bool on;                  /* one is being written */
    struct snapshot_job *job; /* ours, while the snapshotter does not have it */
    struct bytes tail;        /* rows confirmed since its view */
};

struct guild {
    struct owner *owner;
    uint64_t id, generation;
    enum guild_state state;

    /* Here, together, because a pod has tens of thousands of these. */
    bool touched;      /* in the owner's list for the next flush */
    bool settling;     /* in its list of those to be touched when it is quiet */
    bool wiping;       /* LOADING: local rows are being removed */
    bool standby;      /* follows the log until it is told otherwise */
    bool reading;      /* a read of the log is in flight */
    bool last_is_seal; /* the last record read */
    bool in_flight;    /* the first batch has been sent */
    bool send_again;   /* when its pause is over */
    bool catching_up;  /* reads events from the stream */
    bool fetching;     /* a read of the stream is in flight */
    bool head_known;   /* the stream was asked for its last event since catching_up began */
    bool hold_actions; /* start no REST call: the guild is about to move */
    bool report_claim; /* the coordinator has not confirmed that it knows of our Claim */
    bool drained;      /* GONE: its subscriptions have ended */

    struct guild_position pos;          /* confirmed by the log */
    uint64_t event_seq, events_applied; /* with what is not confirmed yet */
    struct event_source source;         /* likewise */
    uint64_t epoch;                     /* of our Claim, while we own */
    uint64_t tenure;   /* likewise; the Claim of an earlier time may have had the same epoch */
    char last_pod[65]; /* writer of the last record read */

    struct batch *first, *last; /* not confirmed yet */
    size_t batch_count;
    uint64_t append_serial; /* of the request in flight */
    unsigned refusals;      /* of it, one after the other */
    unsigned sent;          /* how often */

    struct guild_snapshot snapshot;
    struct restore *restore; /* LOADING: from a snapshot */

    int64_t unowned_since_ms;   /* wall clock; until it is known whether events were lost since */
    uint64_t claimed_event_seq; /* the last event applied before our Claim */

    uint64_t claim_epoch;  /* LOADING: claim this afterwards; 0: stay warm */
    uint64_t claim_unless; /* not when the log has this epoch or a later one; 0: whatever it has */
    uint32_t claim_reason;
    int64_t forget_at_ms; /* read ahead of an order: when to give up; 0: not so */
    uint32_t read_singly,
        fetched_singly;    /* messages of the log, of the events, one after the other */
    struct reader *reader; /* NULL: not by the batch */
    uint64_t tail_head;    /* highest log sequence heard of */

    uint64_t feed_head; /* highest event sequence heard of */

    struct held *held, **held_end;
    size_t held_count, held_bytes;

    struct handoff move;
    int64_t left_at_ms;  /* GONE: since when */
    int64_t sweep_at_ms; /* looks for a lost last event, and for old answers */
    uint32_t actions_in_flight;
    struct bytes actions_left; /* calls that may be made and found no room yet (actions.c) */
    uint64_t sure_recheck; /* owner.rechecks when the coordinator was asked that said last that the
                              guild is ours at this epoch; 0: it has not */
    uint32_t pause_us;     /* of the handoff that brought the guild here */

    struct bus_sub *interactions, *portal, *feed, *tail;

    uint64_t units, units_counted; /* ever here, and up to the last count */
    struct guild *next_touched, *next_settling;
};

struct owner {
    struct owner_config config;
    pthread_t thread;
    bool started;
    struct bus *bus;
    struct store *store;
    struct snapshotter *snapshotter; /* NULL: no snapshots */
    struct mailbox *box;
    struct idmap *guilds, *asks;
    uint64_t last_serial, last_generation, last_tenure;
    struct guild *touched, *settling;
    int64_t settle_at_ms; /* when some settle */
    struct timer_heap *timers;
    struct bytes scratch; /* one record */
    size_t units_in_transaction;
    int64_t unit_began_us;
    bool stopping;
    struct bus_sub *control, *forward;
    uint64_t trimmed_units; /* then malloc gave back what it could */
    size_t trimmed_guilds;
    int64_t counted_ms, strangers_at_ms;
    int64_t
        alive_before_ms; /* wall clock: when the process before this one was last there; 0: none */

    uint64_t rechecks;              /* 1, and one for each lease that was had anew: owner_recheck */
    _Atomic bool rechecking;        /* a recheck is on its way: no read is answered from memory */
    _Atomic int64_t lease_until_ms; /* monotonic; written by membership */
    _Atomic uint32_t owned, standbys;
    _Atomic uint64_t units;
    _Atomic bool failed;

    /* guarded by busiest_mu */
    pthread_mutex_t busiest_mu;
    struct guild_load busiest[OWNER_BUSIEST];
    size_t busiest_count;
};

/* ---- owner.c ---- */
struct guild *owner_guild(struct owner *o, uint64_t guild_id);
struct guild *owner_guild_new(struct owner *o, uint64_t guild_id);
/* Frees it; rows stay as they are. */
void owner_guild_free(struct guild *g);
/* Has its position saved and its log pumped at the next flush. */
void owner_touch(struct guild *g);
/* The same a little later: all that waits is to save that its rows are in the log now. Until then the
 * disk says that they may not be, and who starts from it reads them from the log again. */
void owner_settle(struct guild *g);
void owner_set_state(struct guild *g, enum guild_state state);
/* Runs guild_on_time at the time, if the guild is still there. */
void owner_wake_in(struct guild *g, int64_t delay_ms);
bool owner_has_lease(const struct owner *o);
/* Reads of the guild may be answered from memory. A lease alone does not say so: while the last one
 * was lost, the guild may have been given to another pod, which claims it when it comes to it. */
bool guild_is_sure(const struct guild *g);
const char *guild_state_name(enum guild_state state);

/* A bus request whose answer finds its guild again, or nothing if it has gone meanwhile. */
uint64_t owner_ask_new(struct guild *g);
struct guild *owner_ask_take(struct owner *o, uint64_t serial);
/* The same with a number of the caller's, and the epoch that the guild had then. */
struct ask_about {
    int64_t detail;
    uint64_t epoch;
};
uint64_t owner_ask_about(struct guild *g, int64_t detail);
struct guild *owner_ask_take_about(struct owner *o, uint64_t serial, struct ask_about *ret);
/* Commits what units of this turn have done and sends their records; also called when a turn grows
 * long. */
void owner_flush(struct owner *o);

/* ---- busiest.c ---- */
/* When it is time again. */
void owner_count(struct owner *o);

/* ---- batches.c: what waits for the log, and appending ---- */
struct batch *guild_batch(struct guild *g,
                          enum batch_kind kind); /* the newest open one, or a new one */
void batch_gate_reply(struct batch *b, const char *reply_to, bool json, const void *data,
                      size_t size);
void batch_gate_action(struct batch *b, int64_t action_id);
void guild_pump(struct guild *g);
void guild_drop_batches(struct guild *g);
bool guild_is_backlogged(const struct guild *g);

/* ---- load.c: reading the log ---- */
/* Reads from the position on; afterwards guild_on_loaded. */
void guild_load(struct guild *g);
/* So many one by one, then by the batch. */
enum { READ_SINGLY = 24 };
/* What guild_on_read and its like do for the log, and for events (feed.c). */
bool guild_on_log_read(struct guild *g, const struct bus_in *in, uint64_t seq);
void guild_on_log_read_end(struct guild *g, enum status status);
bool guild_on_event_read(struct guild *g, const struct bus_in *in, uint64_t seq);
void guild_on_event_batch_read(struct guild *g);
void guild_on_event_read_end(struct guild *g, enum status status);
/* A message of the log. false: it is no record of this guild, and the position has passed it: only
 * the owner may write there, but what another wrote must not stop the guild. */
bool guild_read_record(struct guild *g, const void *data, size_t size, uint64_t seq,
                       struct arena *arena, Guildbus__V1__LogRecord **ret_record);
/* Whether the tail lost the last record: nothing follows that shows it. */
void guild_look_for_more(struct guild *g);
/* One more read, in the state it is in. */
void guild_read_on(struct guild *g);
void guild_tail_start(struct guild *g);
/* The rows are those of this record now. */
void guild_advance(struct guild *g, const Guildbus__V1__LogRecord *record, uint64_t seq);
/* Applies one record; false: it does not fit, the guild was dropped. */
bool guild_follow(struct guild *g, const Guildbus__V1__LogRecord *record, uint64_t seq);

/* ---- reader.c: long stretches by the batch ---- */
enum reader_of { READER_OF_LOG, READER_OF_EVENTS };
/* The messages come to guild_on_log_read or guild_on_event_read, which return false when they want no
 * more; …_read_end when there are none left, or it did not work: then read on one by one, which says
 * so for sure. */
void guild_reader_open(struct guild *g, enum reader_of of, uint64_t from_seq);
void guild_reader_more(struct guild *g);
void guild_reader_close(struct guild *g);
void guild_reader_on_time(struct guild *g, int64_t now_ms);

/* ---- restore.c: rows from a snapshot ---- */
/* data is a Snapshot record beyond our position. Goes on with guild_read_on. */
void guild_restore(struct guild *g, const void *data, size_t size, uint64_t seq);
void guild_restore_step(struct guild *g);
void guild_restore_drop(struct guild *g);
/* The local rows are of no use: they go, in steps. */
void guild_wipe(struct guild *g);
/* true: all are gone. Else it comes again, or the guild was dropped. */
bool guild_wipe_step(struct guild *g);

/* ---- snapshot.c: rows to a snapshot ---- */
/* Right after a commit, before the next unit. */
void guild_snapshot_consider(struct guild *g);
/* The batch is in the log. */
void guild_snapshot_note(struct guild *g, const struct batch *b);
/* The record can be written now; false: it is too large yet. */
bool guild_snapshot_fits(struct guild *g);
/* Appends the fields of guildbus.proto's Snapshot. */
void guild_snapshot_encode(const struct guild *g, struct bytes *snapshot);
void guild_snapshot_confirmed(struct guild *g, uint64_t idx);
void guild_snapshot_drop(struct guild *g);

/* ---- feed.c: events ---- */
void guild_feed_start(struct guild *g);
void guild_feed_stop(struct guild *g);
void guild_catch_up(struct guild *g);

/* ---- gap.c ---- */
/* Whether the stream has lost events since the last owner was there. */
void guild_look_for_gap(struct guild *g);

/* ---- requests.c ---- */
void guild_requests_start(struct guild *g);
void guild_requests_stop(struct guild *g);
/* Serves, holds, forwards or refuses it, as the guild's state says. g may be NULL. */
void guild_request(struct owner *o, struct guild *g, const struct request *r);
void guild_release_held(struct guild *g); /* routes each held request again */
void guild_expire_held(struct guild *g, int64_t now_ms);
void guild_drop_held(struct guild *g);
void owner_respond(struct owner *o, const char *reply_to, bool json, const void *data, size_t size);
void owner_respond_envelope(struct owner *o, const char *reply_to, bool json,
                            const Guildbus__V1__Envelope *e);
void owner_respond_error(struct owner *o, const char *reply_to, bool json, enum status status,
                         const char *text);
void owner_on_forward(void *ctx, uint64_t tag, const struct bus_in *in);

/* ---- execute.c: units ---- */
void guild_run_event(struct guild *g, const Guildbus__V1__Event *event, uint64_t seq,
                     struct arena *arena);
void guild_run_request(struct guild *g, const struct request *r, const Guildbus__V1__Envelope *e,
                       struct arena *arena);
void guild_run_result(struct guild *g, int64_t action_id, int code, const char *body, size_t size);
void guild_prune(struct guild *g);
/* Events between these moments are lost: noted in the guild's rows. */
void guild_run_gap(struct guild *g, int64_t from_ms, int64_t to_ms);

/* ---- actions.c: the outbox's REST calls ---- */
void guild_start_action(struct guild *g, int64_t action_id);
void guild_start_all_actions(struct guild *g);
void guild_start_left_actions(struct guild *g);
/* Takes back those that have not left yet: whoever owns the guild next makes them, or this pod when
 * it goes on owning. */
void guild_withdraw_actions(struct guild *g);

/* ---- leave.c ---- */
/* Not ours (any more): forwards to peer for a moment when peer is known, then forgets the guild and
 * its rows. */
void guild_leave(struct guild *g, const char *peer);
void guild_on_gone_time(struct guild *g, int64_t now_ms);
/* Begins to follow the log from where its rows are. */
void guild_start_following(struct guild *g);

/* ---- handoff.c: who owns ---- */
void owner_on_control(void *ctx, uint64_t tag, const struct bus_in *in);
void guild_on_loaded(struct guild *g);
void guild_on_record(struct guild *g,
                     const Guildbus__V1__LogRecord *record); /* one more was followed */
void guild_claim(struct guild *g, uint64_t epoch, uint32_t reason);
void guild_on_claimed(struct guild *g, const struct batch *b);
void guild_on_sealed(struct guild *g);
void guild_try_seal(struct guild *g);
/* The log has another's record where ours should be: stop, forget, and find out what is so. */
void guild_fence(struct guild *g);
void guild_on_time(struct guild *g, int64_t now_ms);

#endif
