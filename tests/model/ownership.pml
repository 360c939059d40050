/* ownership.pml - who owns a guild: claim, seal, un-seal, failover, and what may go wrong meanwhile.
 *
 * One guild, PODS pods, its log, a coordinator, a network that loses and delays, and a demon that crashes and stalls.
 * Each step below is one guarded, indivisible step of one of them; spin tries every order of them. docs/model.md says
 * what stands for what and what was left out; names follow gateway/handoff.c, batches.c, load.c and coordinator/move.c.
 *
 * Nothing here takes time: what a timer would allow may happen at once, or after everything else ("a stall" is a
 * process whose next step does not come). All faults together are at most FAULTS, so every run ends; what must hold
 * all the while is under "what must hold", what the end must look like at the bottom. The steps of a run that went
 * wrong are printed by spin -t: each printf is one of them.
 *
 * #ifdef and a name in capitals that is no number below: breaks the protocol on purpose. check.sh lists them. */

/* How much of everything: spin -DPODS=3 ... */
#ifndef PODS
#define PODS 2 /* 2 or 3 */
#endif
#ifndef REQUESTS
#define REQUESTS 2 /* 1 or 2 different ones; each may be executed again wherever its effect is not known */
#endif
#ifndef EVENTS
#define EVENTS 1
#endif
#ifndef MOVES
#define MOVES 1
#endif
#ifndef SNAPSHOTS
#define SNAPSHOTS 1
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef KINDS
#define KINDS 31 /* which faults: the sum of these */
#endif
#define LOSS   1  /* an append, its ack or a Yield is lost or slow */
#define CRASH  2  /* a process ends: with its disk, without it, for good */
#define STALL  4  /* a pod is cut off or frozen until its lease has run out */
#define OLD    8  /* an order arrives late or again */
#define BEHIND 16 /* the log is read from a replica that is behind */
#define LIE    32 /* the coordinator holds a pod for dead whose lease still runs */
#ifndef ROWS_STAY
#define ROWS_STAY 1 /* 0: a pod that leaves or crashes always begins without rows */
#endif
#ifndef STANDBYS
#define STANDBYS 0 /* 1: the other pods follow the log all the time */
#endif
#define LOG    15 /* more records than any run within the bounds above writes; append() sees to it */
#ifndef EPOCHS
#define EPOCHS 8 /* given out are those below it; authorise() sees to it */
#endif

#define ALL_REQUESTS ((1 << REQUESTS) - 1)

/* A pod's state for the guild: enum guild_state. GONE is also "nothing here". */
#define GONE     0
#define LOADING  1
#define WARM     2
#define TAKING   3
#define CLAIMING 4
#define SERVING  5
#define SEALING  6
#define SEALED   7

/* Records, and the batches that become records. */
#define CHANGE   0
#define CLAIM    1
#define SEAL     2
#define SNAPSHOT 3

/* Why a Claim is written. */
#define PLAIN   0
#define HANDOFF 1
#define UNSEAL  2

/* What the pod knows of the record that it has sent. */
#define NOTHING 0
#define STORED  1
#define REFUSED 2
#define UNKNOWN 3

/* The coordinator's row of the guild, and its move. */
#define OWNED      0
#define AUTHORISED 1
#define MOVING     2
#define NO_MOVE    0
#define WARMING    1
#define CUTOVER    2

/* rows is a set of requests: the state that one has after all records up to this one. That is all that matters of rows
 * here: which effects they contain. A process is (pod, incarnation). */
typedef record_t {
    unsigned kind : 2;
    unsigned epoch : 4;
    unsigned by : 2;
    unsigned inc : 3;
    unsigned rows : REQUESTS;
    unsigned ev : 2
}

typedef message_t { /* a record on its way: expects that idx - 1 is the last one */
    bit there;
    bit current; /* its sender still waits for the answer */
    unsigned kind : 2;
    unsigned epoch : 4;
    unsigned idx : 4;
    unsigned by : 2;
    unsigned inc : 3;
    unsigned reqs : REQUESTS;
    unsigned rows : REQUESTS; /* SNAPSHOT */
    unsigned ev0 : 2;         /* events applied before it … */
    unsigned ev : 2           /* … and with it */
}

typedef batch_t {
    unsigned kind : 2;
    unsigned epoch : 4;
    unsigned why : 2;
    unsigned reqs : REQUESTS;  /* executed in it */
    unsigned reply : REQUESTS; /* gates: answers that wait for it */
    unsigned ev0 : 2;
    unsigned ev : 2;
    bit stale_read /* a gate: a read that shows less than others were told before it came */
}

typedef pod_t {
    bit up;
    bit dead; /* never comes back */
    unsigned inc : 3;
    unsigned st : 3;
    /* the position, and the rows with what is not confirmed yet: in memory while up, on the disk always */
    unsigned idx : 4;
    unsigned epoch : 4;
    unsigned rows : REQUESTS;
    unsigned ev : 2;
    bit mixing; /* a snapshot is being put in place of the rows */
    unsigned my : 4;   /* of our Claim, while we own */
    unsigned goal : 4; /* LOADING: claim this epoch afterwards; 0: stay warm */
    unsigned why : 2;
    unsigned n : 2; /* batches that wait for the log; the first may have been sent */
    bit sent;
    unsigned ack : 2;
    bit stored; /* what it has sent is in the log, whether it knows or not */
    unsigned move : 4; /* the epoch of the handoff it is in; un-seal has the next one */
    bit wanted;   /* source: seal as soon as no REST call is under way */
    bit yielding; /* target: a Yield was sent and not answered */
    bit lease;    /* as the pod sees it */
    bit known     /* since it registered last, the coordinator has said that the guild is its own at this epoch */
#ifdef READS_BY_ORDER
    ; bit fresh   /* the order that it claims by came since it registered last */
#endif
}

#ifdef READS_BY_ORDER
#define order_came(p)    pod[p].fresh = 1
#define order_is_old(p)  pod[p].fresh = 0
#define claim_is_sure(p) pod[p].fresh
#else
#define order_came(p)    skip
#define order_is_old(p)  skip
#define claim_is_sure(p) 0
#endif

record_t log[LOG + 1]; /* by idx; those before first were replaced by the snapshot at first */
unsigned first : 4;
unsigned last : 4;

message_t net[PODS]; /* what the pod sent last */
message_t late;      /* what some process sent before that, or before it died */

pod_t pod[PODS];
batch_t queue[2 * PODS];

bit yield_full[PODS]; /* by target */
byte yield_move[PODS];
byte yield_to[PODS];

bit claimed_full[PODS]; /* Claimed, on its way to the coordinator; repeated until it is heard */
byte claimed_epoch[PODS];
byte claimed_inc[PODS];
bit claimed_old[PODS]; /* sent before the pod registered last */

/* The coordinator's memory: all of it is in its database, so a new leader is the same as the old one. */
bit on[PODS]; /* holds its lease, as the coordinator sees it */
byte on_inc[PODS];
unsigned a_pod : 2;
unsigned a_epoch : 4;
unsigned a_next : 4;
unsigned a_inc : 3; /* 0: the process that owned is gone */
unsigned a_state : 2;
unsigned m_state : 2;
unsigned m_source : 2;
unsigned m_target : 2;
unsigned m_epoch : 4;
bit m_stuck; /* the target gave up, or it takes too long */

/* What was ever ordered at an epoch: it may arrive again at any later time. The lowest bits are the pod's, the next
 * ones the source's. */
byte order[EPOCHS];
#define OWN     16 /* Own was sent */
#define TAKE    32 /* Take was sent */
#define OF_MOVE 64
#define BACK    128 /* the source's epoch of a move */
#define whose(e)      (order[e] & 3)
#define source_of(e)  ((order[e] >> 2) & 3)
#define was_sent(e, what) ((order[e] & (what)) != 0)

/* What the world was told. */
unsigned replied : REQUESTS; /* answered */

bit started; /* request 1 was executed somewhere: request 2 comes after it, which loses nothing, they are alike */
unsigned faults : 4;
unsigned moves : 2;
unsigned snapshots : 2;
bit lied;

#define FIRST(p)       queue[2 * (p)]
#define SECOND(p)      queue[2 * (p) + 1]
#define NEWEST(p)      queue[2 * (p) + pod[p].n - 1]
#define TRUTH          log[last].rows
#define NEXT(p)        (pod[p].idx + 1 >= first -> pod[p].idx + 1 : first) /* what a read from the position on finds */
#define is(p, s)       (pod[p].up && pod[p].st == s)
#define room(p)        (pod[p].n < 2)
#define change_room(p) (pod[p].n < 2 || SECOND(p).kind == CHANGE)
#define is_reading(p)  (is(p, LOADING) || is(p, WARM) || is(p, TAKING))
#define is_idle(p)     (is(p, WARM) || is(p, TAKING) || (is(p, LOADING) && !pod[p].goal))
#define may_have(kind)  (faults > 0 && (KINDS & (kind)))
#define awaits(p, r)   ((FIRST(p).reply | SECOND(p).reply) & (r))

/* Reads are answered from memory only then (and while nothing is unconfirmed). */
#ifdef READS_BY_LEASE_ALONE
#define may_read(p) (pod[p].lease)
#else
#define may_read(p) (pod[p].lease && pod[p].known)
#endif

/* ---- what must hold ---- */

/* Says which one did not. */
#define holds(condition, what)                                                                                      \
    if                                                                                                              \
    :: condition                                                                                                    \
    :: else -> printf(what); assert(false)                                                        \
    fi

#define told_is_kept() holds((replied & ~TRUTH) == 0, KEPT)

#define WRITER "VIOLATED: one writer: epochs rise with each Claim, who claimed writes the rest, a Seal ends it\n"
#define ONCE   "VIOLATED: once: each request and each event has its effect once, and no event is left out\n"
#define KEPT   "VIOLATED: kept: what is confirmed, or was told to anyone, is in the log\n"
#define ROWS   "VIOLATED: rows: those of who serves, follows or writes a snapshot are what the log says\n"
#define READS  "VIOLATED: reads: none shows less than what was told before it came\n"
#define OWNER  "VIOLATED: an owner: at the end one pod serves, log and coordinator name it, all is answered\n"

/* ---- batches ---- */

inline batch_clear(b)
{
    b.kind = 0; b.epoch = 0; b.why = 0; b.reqs = 0; b.reply = 0; b.ev0 = 0; b.ev = 0; b.stale_read = 0
}

inline message_clear(msg)
{
    msg.there = 0; msg.current = 0; msg.kind = 0; msg.epoch = 0; msg.idx = 0; msg.by = 0; msg.inc = 0; msg.reqs = 0;
    msg.rows = 0; msg.ev0 = 0; msg.ev = 0
}

inline batch_push(p, what, reason)
{
    pod[p].n++;
    NEWEST(p).kind = what;
    NEWEST(p).epoch = pod[p].my;
    NEWEST(p).why = reason;
    NEWEST(p).ev0 = pod[p].ev;
    NEWEST(p).ev = pod[p].ev
}

/* The newest batch takes more rows and gates while it is a change and was not sent. */
inline batch_open(p)
{
    if
    :: pod[p].n == 0 || NEWEST(p).kind != CHANGE || (pod[p].n == 1 && pod[p].sent) -> batch_push(p, CHANGE, PLAIN)
    :: else
    fi
}

inline rows_drop(p)
{
    pod[p].idx = 0; pod[p].epoch = 0; pod[p].rows = 0; pod[p].ev = 0
}

inline batches_drop(p)
{
    batch_clear(FIRST(p));
    batch_clear(SECOND(p));
    pod[p].n = 0;
    pod[p].sent = 0;
    pod[p].ack = NOTHING;
    pod[p].stored = 0;
    net[p].current = 0
}

/* ---- leaving, claiming ---- */

/* Rows that are not what the position says are dropped before they are used, here at once. */
inline rows_leave(p)
{
    if
#if ROWS_STAY
#ifndef USE_DIRTY_ROWS
#ifdef SNAPSHOT_POSITION_FIRST
    :: pod[p].n > 0 -> rows_drop(p)
#else
    :: pod[p].n > 0 || pod[p].mixing -> rows_drop(p)
#endif
#endif
    :: else
#else
    :: true -> rows_drop(p)
#endif
    fi
}

inline leave(p)
{
    rows_leave(p);
    batches_drop(p);
    pod[p].mixing = 0;
    pod[p].goal = 0;
    pod[p].why = 0;
    pod[p].my = 0;
    pod[p].move = 0;
    pod[p].wanted = 0;
    pod[p].yielding = 0;
    pod[p].known = 0;
    order_is_old(p);
    pod[p].st = GONE
}

/* The move came to nothing for the target: a standby goes on following. */
inline end_move(p)
{
#if STANDBYS
    pod[p].move = 0;
    pod[p].yielding = 0;
    pod[p].st = (pod[p].st == LOADING -> LOADING : WARM)
#else
    leave(p)
#endif
}

inline claim(p, ep, reason)
{
    pod[p].my = ep;
    pod[p].goal = 0;
    pod[p].why = reason;
    pod[p].st = CLAIMING;
    batch_push(p, CLAIM, reason)
}

/* The source has sealed. */
inline take_over(p)
{
    if
#ifndef TAKE_WITHOUT_LOOKING
    :: pod[p].epoch >= pod[p].move -> printf("pod %d: leaves, the log is past its epoch\n", p); leave(p)
#endif
    :: else ->
        printf("pod %d: claims epoch %d, the source has sealed\n", p, pod[p].move);
        claim(p, pod[p].move, HANDOFF)
    fi
}

inline unseal(p)
{
#ifdef UNSEAL_WITHOUT_LOG
    printf("pod %d: un-seals without asking the log\n", p);
    pod[p].my = pod[p].move + 1;
    pod[p].epoch = pod[p].my;
    pod[p].known = 1;
    pod[p].st = SERVING
#else
    printf("pod %d: un-seals, claims epoch %d\n", p, pod[p].move + 1);
    claim(p, pod[p].move + 1, UNSEAL)
#endif
}

#ifdef CLAIM_WITHOUT_SEAL
#define CLAIM_AGAIN
#else
#define CLAIM_AGAIN && pod[p].why != HANDOFF
#endif

inline fence(p)
{
    if
#ifndef CLAIM_WITHOUT_SEAL
    :: pod[p].st == CLAIMING && pod[p].why == HANDOFF -> /* there is a record behind that Seal: it was an older one */
        printf("pod %d: its Claim came second, waits for another Seal\n", p);
        batches_drop(p);
        pod[p].my = 0;
        pod[p].why = 0;
        pod[p].st = TAKING
#endif
    :: pod[p].st == CLAIMING && pod[p].why != UNSEAL CLAIM_AGAIN ->
        printf("pod %d: its Claim came second, reads on\n", p);
        batches_drop(p);
        pod[p].goal = pod[p].my;
        pod[p].my = 0;
        pod[p].st = LOADING
    :: else -> printf("pod %d: fenced\n", p); leave(p)
    fi
}

/* ---- the log confirms ---- */

/* The rows of a pod that serves are what its log says, whatever else has happened. */
inline check_rows(p)
{
    if
    :: pod[p].idx >= first && pod[p].idx <= last && log[pod[p].idx].epoch == FIRST(p).epoch ->
        holds((pod[p].rows & ~SECOND(p).reqs) == log[pod[p].idx].rows && FIRST(p).ev == log[pod[p].idx].ev, ROWS)
    :: else
    fi
}

inline open_gates(p)
{
    replied = replied | FIRST(p).reply;
    told_is_kept();
    holds(!FIRST(p).stale_read, READS)
}

#ifdef REPORTS_BEFORE_CONFIRMED
#define claims_to_have(p) pod[p].my
#define may_report(p) 1
#else
#define claims_to_have(p) pod[p].epoch
#define may_report(p) (pod[p].epoch == pod[p].my)
#endif

inline claimed(p)
{
    claimed_full[p] = 1; claimed_epoch[p] = claims_to_have(p); claimed_inc[p] = pod[p].inc; claimed_old[p] = 0
}

inline confirm(p)
{
    printf("pod %d: idx %d is confirmed\n", p, pod[p].idx + 1);
    pod[p].idx++;
    pod[p].epoch = FIRST(p).epoch;
    holds((FIRST(p).reqs & ~TRUTH) == 0 && FIRST(p).ev <= log[last].ev, KEPT);
    open_gates(p);
    check_rows(p);
    if
    :: FIRST(p).kind == CLAIM ->
        if
        :: pod[p].st == CLAIMING -> pod[p].st = SERVING; pod[p].wanted = 0; pod[p].move = 0
        :: else
        fi;
        claimed(p);
        pod[p].known = claim_is_sure(p);
        pod[p].why = 0
    :: FIRST(p).kind == SEAL -> pod[p].st = SEALED
    :: else
    fi;
    pod[p].n--;
    FIRST(p).kind = SECOND(p).kind; FIRST(p).epoch = SECOND(p).epoch; FIRST(p).why = SECOND(p).why;
    FIRST(p).reqs = SECOND(p).reqs; FIRST(p).reply = SECOND(p).reply; FIRST(p).ev0 = SECOND(p).ev0;
    FIRST(p).ev = SECOND(p).ev; FIRST(p).stale_read = SECOND(p).stale_read;
    batch_clear(SECOND(p));
    pod[p].sent = 0;
    pod[p].ack = NOTHING;
    pod[p].stored = 0
}

/* ---- appending ---- */

inline send(p)
{
    printf("pod %d: sends idx %d, kind %d, epoch %d\n", p, pod[p].idx + 1, FIRST(p).kind, FIRST(p).epoch);
    if
    :: net[p].there && !net[p].current ->
        late.there = 1; late.kind = net[p].kind; late.epoch = net[p].epoch; late.idx = net[p].idx; late.by = net[p].by;
        late.inc = net[p].inc; late.reqs = net[p].reqs; late.rows = net[p].rows; late.ev0 = net[p].ev0;
        late.ev = net[p].ev
    :: else
    fi;
    net[p].there = 1;
    net[p].current = 1;
    net[p].kind = FIRST(p).kind;
    net[p].epoch = FIRST(p).epoch;
    net[p].idx = pod[p].idx + 1;
    net[p].by = p;
    net[p].inc = pod[p].inc;
    net[p].reqs = FIRST(p).reqs;
    net[p].rows = (FIRST(p).kind == SNAPSHOT -> pod[p].rows & ~SECOND(p).reqs : 0);
    net[p].ev0 = FIRST(p).ev0;
    net[p].ev = FIRST(p).ev;
    pod[p].sent = 1;
    pod[p].ack = NOTHING
}

/* Each time that a pod comes to own a guild it draws a number, which all its records have. (Here the pod just knows
 * which are its own.) */
#ifdef OURS_BY_PROCESS
#define is_ours(p) (log[NEXT(p)].epoch == FIRST(p).epoch && log[NEXT(p)].by == p && log[NEXT(p)].inc == pod[p].inc)
#else
#define is_ours(p) pod[p].stored
#endif

/* No answer, or another one than "stored": what stands behind our last record? */
inline resolve(p)
{
    if
#ifdef IGNORE_REFUSED
    :: pod[p].ack == REFUSED -> confirm(p)
#endif
#ifdef GUESS_UNKNOWN
    :: pod[p].ack == UNKNOWN -> confirm(p)
#endif
    :: else ->
        if
        :: NEXT(p) > last -> send(p)
        :: else ->
            if
            :: NEXT(p) == pod[p].idx + 1 && is_ours(p) -> confirm(p)
            :: else -> fence(p)
            fi
        fi
    fi
}

/* The server takes a record. What must be so of each, whoever wrote it: */
inline append(msg)
{
    printf("log: idx %d is of pod %d: kind %d, epoch %d\n", last + 1, msg.by, msg.kind, msg.epoch);
    holds((msg.kind == CLAIM && msg.epoch > log[last].epoch) ||
          (msg.kind != CLAIM && msg.epoch == log[last].epoch && msg.by == log[last].by && msg.inc == log[last].inc &&
           log[last].kind != SEAL), WRITER);
    holds((msg.reqs & TRUTH) == 0 && msg.ev0 == log[last].ev, ONCE);
    assert(last < LOG);
    last++;
    log[last].kind = msg.kind;
    log[last].epoch = msg.epoch;
    log[last].by = msg.by;
    log[last].inc = msg.inc;
    log[last].ev = msg.ev;
    if
    :: msg.kind == SNAPSHOT ->
        holds(msg.rows == log[last - 1].rows, ROWS);
        log[last].rows = msg.rows;
        do
        :: first < last ->
            log[first].kind = 0; log[first].epoch = 0; log[first].by = 0; log[first].inc = 0; log[first].rows = 0;
            log[first].ev = 0;
            first++
        :: else -> break
        od
    :: else -> log[last].rows = log[last - 1].rows | msg.reqs
    fi;
    told_is_kept()
}

#ifdef SNAPSHOT_WITHOUT_EXPECTED
#define fits(msg) (msg.idx == last + 1 || msg.kind == SNAPSHOT)
#else
#define fits(msg) (msg.idx == last + 1)
#endif

/* ---- reading the log ---- */

/* Only a snapshot goes on from here: its rows replace all, in many small steps of which a crash may see any. */
inline replace_rows(p)
{
    printf("pod %d: begins to put the snapshot at %d in place\n", p, first);
    assert(log[first].kind == SNAPSHOT);
    pod[p].rows = 0;
    pod[p].mixing = 1
#ifdef SNAPSHOT_POSITION_FIRST
    ; pod[p].idx = first - 1
#endif
}

inline read_record(p, at)
{
    printf("pod %d: reads up to idx %d\n", p, at);
    holds(log[at].epoch >= pod[p].epoch, WRITER);
    pod[p].rows = (log[at].kind == SNAPSHOT && !pod[p].mixing -> pod[p].rows : log[at].rows);
    pod[p].idx = at;
    pod[p].epoch = log[at].epoch;
    pod[p].ev = log[at].ev;
    pod[p].mixing = 0;
    holds(pod[p].rows == log[at].rows, ROWS)
}

/* A target waits for the Seal; where it stands meanwhile matters to nobody, so it reads when there is something to
 * decide: the first record of another epoch, or a Seal. */
#ifdef CLAIM_WITHOUT_SEAL
#define OLD_CLAIM(p) 0
#else
#define OLD_CLAIM(p) pod[p].move /* one of before the move is history */
#endif

inline follow(p)
{
    k = NEXT(p);
    do
    :: k < last && log[k].kind != SEAL && !(log[k].kind == CLAIM && log[k].epoch >= OLD_CLAIM(p)) -> k++
    :: else -> break
    od;
    read_record(p, k);
    if
    :: log[k].kind == SEAL -> take_over(p)
    :: log[k].kind == CLAIM && log[k].epoch >= OLD_CLAIM(p) -> printf("pod %d: there is a Claim\n", p); end_move(p)
    :: else
    fi;
    k = 0
}

/* Something for a target that waits for the Seal. */
#define is_decided(p) (pod[p].idx < last && (log[last].kind == SEAL || log[last].epoch != pod[p].epoch))
#define must_replace(p) (pod[p].idx + 1 < first && !pod[p].mixing)

/* Read to the end, or to what the reader takes for it. */
inline loaded(p)
{
    if
    :: !pod[p].goal -> printf("pod %d: warm\n", p); pod[p].st = WARM
    :: pod[p].goal && pod[p].epoch >= pod[p].goal -> printf("pod %d: leaves, its order is outdated\n", p); leave(p)
#ifndef UNSEAL_OVER_A_CLAIM
    /* Only the target's epoch stands between a Seal and its un-seal: then the target owns, and may answer reads. */
    :: pod[p].epoch < pod[p].goal && pod[p].why == UNSEAL && pod[p].epoch + 1 == pod[p].goal ->
        printf("pod %d: leaves, the target has claimed\n", p);
        leave(p)
#endif
    :: else -> printf("pod %d: claims epoch %d\n", p, pod[p].goal); claim(p, pod[p].goal, pod[p].why)
    fi
}

/* ---- orders; …_bites: would it change anything? Orders without effect are no steps, so that runs end. ---- */

#define report_bites(p, e) (is(p, SERVING) && pod[p].my == e && may_report(p) && !claimed_full[p])

#define own_bites(p, e) (report_bites(p, e) || (is(p, SERVING) && pod[p].my < e && room(p)) || is(p, WARM) || \
                         is(p, TAKING) || is(p, SEALED) || is(p, GONE) || (is(p, LOADING) && pod[p].goal < e))

inline on_own(p, ep, reason)
{
    printf("pod %d: gets Own epoch %d, reason %d\n", p, ep, reason);
    order_came(p);
    if
    :: pod[p].st == SERVING && pod[p].my == ep -> claimed(p)
    :: pod[p].st == SERVING && pod[p].my < ep -> /* the log goes on at the new epoch, without a pause */
        pod[p].my = ep;
#ifndef YIELD_OUTLIVES_OWN
        pod[p].wanted = 0; pod[p].move = 0;
#endif
        batch_push(p, CLAIM, reason)
    :: pod[p].st == WARM || pod[p].st == TAKING || pod[p].st == SEALED ->
        pod[p].goal = ep; pod[p].why = reason; pod[p].st = LOADING
    :: pod[p].st == GONE -> pod[p].goal = ep; pod[p].why = reason; pod[p].st = LOADING
    :: pod[p].st == LOADING && pod[p].goal < ep -> pod[p].goal = ep; pod[p].why = reason
    :: else
    fi
}

#define take_bites(p, e) (report_bites(p, e) || is(p, WARM) || \
                          (is(p, TAKING) && (pod[p].move != e || !pod[p].yielding)))

inline on_take(p, ep)
{
    printf("pod %d: gets Take epoch %d\n", p, ep);
    order_came(p);
    if
    :: pod[p].st == SERVING -> claimed(p)
    :: else ->
        pod[p].move = ep;
        pod[p].st = TAKING;
        if
        :: !pod[p].yielding ->
            pod[p].yielding = 1; yield_full[p] = 1; yield_move[p] = ep; yield_to[p] = source_of(ep)
        :: else
        fi
    fi
}

/* The target's Yield reaches the source. */
inline on_yield(s, t)
{
    printf("pod %d: gets Yield epoch %d of pod %d\n", s, yield_move[t], t);
    if
    :: is(s, SERVING) && yield_move[t] > pod[s].my ->
        pod[s].move = yield_move[t]; pod[s].wanted = 1; order_came(s)
    :: is(s, SEALING) || (is(s, SEALED) && pod[s].move == yield_move[t])
    :: else ->
        if
        :: is(t, TAKING) ->
            printf("pod %d: refused, warm again\n", t);
#ifndef REFUSAL_FORGOTTEN
            m_stuck = m_stuck || (m_state == CUTOVER && m_target == t && m_epoch == pod[t].move);
#endif
            pod[t].st = WARM; pod[t].move = 0
        :: else
        fi;
        pod[t].yielding = 0
    fi;
    yield_full[t] = 0; yield_move[t] = 0; yield_to[t] = 0
}

/* ---- units ---- */

inline unit(p, rq)
{
    printf("pod %d: executes request %d\n", p, rq);
    started = 1;
    batch_open(p);
    pod[p].rows = pod[p].rows | rq;
    NEWEST(p).reqs = NEWEST(p).reqs | rq;
    NEWEST(p).reply = NEWEST(p).reply | rq;
#ifdef REPLY_BEFORE_CONFIRM
    replied = replied | rq;
    told_is_kept()
#endif
}

/* A request that was executed before: its first answer is a row. */
inline repeat(p, rq)
{
    printf("pod %d: answers request %d again\n", p, rq);
    if
    :: may_read(p) && pod[p].n == 0 -> replied = replied | rq; told_is_kept()
    :: may_read(p) && pod[p].n > 0 -> NEWEST(p).reply = NEWEST(p).reply | rq
    :: else -> batch_open(p); NEWEST(p).reply = NEWEST(p).reply | rq
    fi
}

/* A read comes that would not show what another reply has shown already. (Other reads cannot be wrong.) */
inline read(p)
{
    printf("pod %d: is asked for what it does not have\n", p);
    if
    :: may_read(p) && pod[p].n == 0 -> holds(lied, READS) /* answered from memory */
#ifdef READS_JOIN_WHAT_IS_SENT
    :: pod[p].n > 0 -> NEWEST(p).stale_read = 1
#else
    :: may_read(p) && pod[p].n > 0 -> NEWEST(p).stale_read = 1
#endif
    :: else -> batch_open(p); NEWEST(p).stale_read = 1
    fi
}

/* What was answered is rows of the guild, and moves with it. */
#ifdef ANSWERS_STAY_BEHIND
#define is_known(p, rq) awaits(p, rq)
#else
#define is_known(p, rq) (pod[p].rows & (rq))
#endif

proctype Pod(byte p)
{
    byte k;

end:
    do
    :: d_step { is(p, SERVING) && !is_known(p, 1) && !(replied & 1) && change_room(p) -> unit(p, 1) }
    :: d_step { is(p, SERVING) && !is_known(p, 2) && !(replied & 2) && started && REQUESTS > 1 && change_room(p) ->
        unit(p, 2) }
    :: d_step { is(p, SERVING) && pod[p].ev < EVENTS && change_room(p) ->
        printf("pod %d: applies an event\n", p);
        batch_open(p); pod[p].ev++; NEWEST(p).ev = pod[p].ev }
    :: d_step { is(p, SERVING) && is_known(p, 1) && !(replied & 1) && !awaits(p, 1) && change_room(p) -> repeat(p, 1) }
    :: d_step { is(p, SERVING) && is_known(p, 2) && !(replied & 2) && !awaits(p, 2) && change_room(p) -> repeat(p, 2) }
    :: d_step { is(p, SERVING) && (replied & ~pod[p].rows) && change_room(p) && !(lied && may_read(p)) &&
                !FIRST(p).stale_read && !SECOND(p).stale_read -> read(p) }
    :: d_step { is(p, SERVING) && room(p) && snapshots > 0 && last > first ->
        printf("pod %d: writes a snapshot\n", p);
        snapshots--; batch_push(p, SNAPSHOT, PLAIN) }

    /* the log: a crash or a stall may come before each of these */
    :: d_step { pod[p].up && pod[p].n > 0 && !pod[p].sent -> send(p) }
    :: d_step { pod[p].up && pod[p].sent && pod[p].ack == STORED -> confirm(p) }
    :: d_step { pod[p].up && pod[p].sent && (pod[p].ack == REFUSED || pod[p].ack == UNKNOWN) -> resolve(p) }
    :: d_step { (is(p, LOADING) || is(p, TAKING)) && must_replace(p) -> replace_rows(p) }
    :: d_step { is(p, TAKING) && is_decided(p) && !must_replace(p) -> follow(p) }
    :: d_step { is(p, LOADING) && !must_replace(p) ->
        if
        :: NEXT(p) <= last -> read_record(p, last)
        :: else
        fi;
        loaded(p) }
#ifdef CLAIM_WITHOUT_READING
    :: d_step { is(p, LOADING) && pod[p].goal > log[last].epoch ->
        pod[p].idx = last; pod[p].epoch = log[last].epoch; pod[p].mixing = 0; loaded(p) }
#endif

    /* source */
    :: d_step { is(p, SERVING) && pod[p].wanted && room(p) ->
        printf("pod %d: seals\n", p);
        pod[p].wanted = 0; pod[p].st = SEALING; batch_push(p, SEAL, PLAIN) }
    :: d_step { is(p, SEALED) -> unseal(p) } /* the target is silent */

    /* target: the Seal had been read before the order came */
    :: d_step { is(p, TAKING) && NEXT(p) > last && pod[p].idx == last && log[last].kind == SEAL && !yield_full[p] ->
        take_over(p) }

    od
}

/* ---- the network ---- */

proctype Network(byte p)
{
end:
    do
    :: d_step { net[p].there && fits(net[p]) ->
        append(net[p]);
        pod[p].stored = (net[p].current -> 1 : pod[p].stored);
        pod[p].ack = (net[p].current -> STORED : pod[p].ack);
        message_clear(net[p]) }
    :: d_step { net[p].there && !fits(net[p]) ->
        printf("log: refuses idx %d of pod %d\n", net[p].idx, p);
        pod[p].ack = (net[p].current -> REFUSED : pod[p].ack);
        message_clear(net[p]) }
    :: d_step { net[p].there && net[p].current && fits(net[p]) && may_have(LOSS) ->
        printf("fault: stored, and the ack is lost\n");
        faults--; append(net[p]); pod[p].stored = 1; pod[p].ack = UNKNOWN; message_clear(net[p]) }
    :: d_step { net[p].there && net[p].current && may_have(LOSS) ->
        printf("fault: what pod %d sent is lost\n", p);
        faults--; pod[p].ack = UNKNOWN; message_clear(net[p]) }
    :: d_step { net[p].there && net[p].current && pod[p].ack == NOTHING && may_have(LOSS) ->
        printf("fault: what pod %d sent is slow: it waits no longer\n", p);
        faults--; pod[p].ack = UNKNOWN }
    :: d_step { net[p].there && !net[p].current -> message_clear(net[p]) } /* died with its sender */
    :: d_step { yield_full[p] && pod[yield_to[p]].up -> on_yield(yield_to[p], p) }
    :: d_step { yield_full[p] && may_have(LOSS) ->
        printf("fault: the Yield is lost\n");
        faults--; yield_full[p] = 0; yield_move[p] = 0; yield_to[p] = 0; pod[p].yielding = 0 }
    od
}

proctype Straggler()
{
end:
    do
    :: d_step { late.there && fits(late) -> printf("an old message arrives\n"); append(late); message_clear(late) }
    :: d_step { late.there -> message_clear(late) }
    od
}

/* ---- the coordinator ---- */

#define source_alive (on[m_source] && a_pod == m_source && a_inc == on_inc[m_source] && a_inc != 0)
#define target_alive (on[m_target])

inline authorise(x)
{
    printf("coordinator: pod %d may claim epoch %d\n", x, a_next);
    assert(a_next < EPOCHS);
    a_pod = x; a_epoch = a_next; a_next++; a_inc = on_inc[x]; a_state = AUTHORISED;
    order[a_epoch] = x | OWN
}

inline lose(p)
{
    on[p] = 0; on_inc[p] = 0; a_inc = (a_pod == p -> 0 : a_inc)
}

inline close_move()
{
    m_state = NO_MOVE; m_source = 0; m_target = 0; m_epoch = 0; m_stuck = 0
}

inline make_owner(x, ep, process)
{
    printf("coordinator: pod %d owns at epoch %d\n", x, ep);
    a_pod = x; a_epoch = ep; a_inc = process; a_state = OWNED
}

/* Claimed{ep} of that process of pod x. */
inline settle(x, ep, process)
{
    if
    :: !on[x] || on_inc[x] != process
    :: on[x] && on_inc[x] == process && m_state == CUTOVER &&
       ((ep == m_epoch && x == m_target) || (ep == m_epoch + 1 && x == m_source)) ->
        make_owner(x, ep, process);
        close_move()
    :: else ->
        if
        :: ep > a_epoch && was_sent(ep, OF_MOVE) && whose(ep) == x -> make_owner(x, ep, process)
        :: ep == a_epoch && a_pod == x && a_state == AUTHORISED -> make_owner(x, ep, process)
#ifdef LOST_LEASE_FORGIVEN
        :: ep == a_epoch && a_pod == x && a_state != AUTHORISED && a_inc != process -> make_owner(x, ep, process)
#endif
        :: else
        fi
    fi
}

/* From here on it gives the guild to nobody else before this process's lease has ended. */
#ifdef LOST_LEASE_FORGIVEN
#define confirms(p, e, process) (on_inc[p] == process && a_pod == p && a_epoch == e)
#else
#define confirms(p, e, process) (on[p] && on_inc[p] == process && a_pod == p && a_epoch == e && a_inc == process)
#endif

proctype Coordinator_of(byte p)
{
end:
    do
    /* leases: the database's clock ends them only after the pod's own */
    :: d_step { on[p] && (!pod[p].up || !pod[p].lease || on_inc[p] != pod[p].inc) ->
        printf("coordinator: pod %d has lost its lease\n", p); lose(p) }
    :: d_step { on[p] && pod[p].up && pod[p].lease && on_inc[p] == pod[p].inc && may_have(LIE) ->
        printf("fault: coordinator: pod %d is dead (it is not)\n", p); faults--; lied = 1; lose(p) }
    :: d_step { on[p] && pod[p].up && !pod[p].lease && on_inc[p] == pod[p].inc ->
        printf("pod %d: has its lease again\n", p); pod[p].lease = 1 }
    :: d_step { !on[p] && pod[p].up ->
        printf("pod %d: registers\n", p);
        on[p] = 1; on_inc[p] = pod[p].inc; pod[p].lease = 1; pod[p].known = 0; order_is_old(p);
        claimed_old[p] = claimed_full[p];
        if
        :: is(p, SERVING) && may_report(p) -> claimed(p)
        :: else
        fi;
        if /* recheck: reads wait for a record that is not under way yet */
        :: is(p, SERVING) && (pod[p].n == 0 || (pod[p].n == 1 && pod[p].sent)) -> batch_push(p, CHANGE, PLAIN)
        :: else
        fi }

    /* failover; and the pod is there, but another process, or it has lost its lease meanwhile */
    :: d_step { m_state == NO_MOVE && !on[a_pod] && on[p] -> authorise(p) }
    :: d_step { m_state == NO_MOVE && p == a_pod && on[p] && a_inc != on_inc[p] && on_inc[p] == pod[p].inc ->
        authorise(p) }

    :: d_step { m_state == NO_MOVE && a_state == OWNED && on[a_pod] && a_inc == on_inc[a_pod] && p != a_pod && on[p] &&
                moves > 0 ->
        printf("coordinator: pod %d, get warm\n", p);
        moves--; m_state = WARMING; m_source = a_pod; m_target = p }

    :: d_step { claimed_full[p] ->
        settle(p, claimed_epoch[p], claimed_inc[p]);
        if
        :: is(p, SERVING) && pod[p].inc == claimed_inc[p] && pod[p].my == claimed_epoch[p] && !claimed_old[p] &&
           confirms(p, claimed_epoch[p], claimed_inc[p]) -> pod[p].known = 1
        :: else
        fi;
        claimed_full[p] = 0; claimed_epoch[p] = 0; claimed_inc[p] = 0; claimed_old[p] = 0 }
    od
}

/* Late, twice, or from a coordinator that leads no more. */
proctype Old_orders(byte e)
{
    byte p;

end:
    do
    :: d_step { was_sent(e, OWN) && may_have(OLD) && own_bites(whose(e), e) ->
        printf("fault: an old order\n");
        faults--; p = whose(e); on_own(p, e, (was_sent(e, BACK) -> UNSEAL : PLAIN)); p = 0 }
    :: d_step { was_sent(e, TAKE) && may_have(OLD) && take_bites(whose(e), e) ->
        printf("fault: an old order\n");
        faults--; p = whose(e); on_take(p, e); p = 0 }
    od
}

proctype Coordinator()
{
end:
    do
    /* the cut-over begins: both epochs are given out, each to one pod */
    :: d_step { m_state == WARMING && is(m_target, GONE) -> pod[m_target].st = LOADING }
    :: d_step { m_state == WARMING && source_alive && target_alive && is(m_target, WARM) ->
        printf("coordinator: cut-over from pod %d to pod %d, epochs %d and %d\n", m_source, m_target, a_next,
            a_next + 1);
        assert(a_next + 1 < EPOCHS);
        m_state = CUTOVER; m_epoch = a_next; a_next = a_next + 2; a_state = MOVING;
        order[m_epoch] = m_target | (m_source << 2) | TAKE | OF_MOVE;
        order[m_epoch + 1] = m_source | OF_MOVE | BACK }
    :: d_step { m_state == WARMING && is_idle(m_target) -> /* an obstacle, or it took too long */
        printf("coordinator: called off\n"); end_move(m_target); close_move() }
    :: d_step { m_state == WARMING -> printf("coordinator: called off, the Drop is lost\n"); close_move() }

    /* the cut-over goes on until the log has one of them */
    :: d_step { m_state == CUTOVER && source_alive && !m_stuck -> printf("coordinator: loses patience\n"); m_stuck = 1 }
    :: d_step { m_state == CUTOVER && source_alive && target_alive && !m_stuck && take_bites(m_target, m_epoch) &&
                log[last].epoch < m_epoch -> on_take(m_target, m_epoch) }
    :: d_step { m_state == CUTOVER && !source_alive && target_alive && own_bites(m_target, m_epoch) &&
                log[last].epoch < m_epoch -> order[m_epoch] = order[m_epoch] | OWN; on_own(m_target, m_epoch, PLAIN) }
    :: d_step { m_state == CUTOVER && source_alive && (!target_alive || m_stuck) && own_bites(m_source, m_epoch + 1) &&
                log[last].epoch < m_epoch ->
        order[m_epoch + 1] = order[m_epoch + 1] | OWN; on_own(m_source, m_epoch + 1, UNSEAL) }
    /* sent now, and it may arrive any time later */
    :: d_step { m_state == CUTOVER && !source_alive && target_alive && !was_sent(m_epoch, OWN) && may_have(OLD) ->
        order[m_epoch] = order[m_epoch] | OWN }
    :: d_step { m_state == CUTOVER && source_alive && (!target_alive || m_stuck) && !was_sent(m_epoch + 1, OWN) &&
                may_have(OLD) -> order[m_epoch + 1] = order[m_epoch + 1] | OWN }
    :: d_step { m_state == CUTOVER && !source_alive && !target_alive ->
        printf("coordinator: both pods are gone\n"); a_state = OWNED; close_move() }
    /* it reads the log's last record, because nobody has said anything */
    :: d_step { m_state == CUTOVER && log[last].epoch == m_epoch ->
        make_owner(m_target, m_epoch, log[last].inc);
        close_move() }
    :: d_step { m_state == CUTOVER && log[last].epoch == m_epoch + 1 ->
        make_owner(m_source, m_epoch + 1, log[last].inc);
        if
        :: is_idle(m_target) -> end_move(m_target)
        :: else
        fi;
        close_move() }

    /* Own, repeated until Claimed; the log may be ahead of what is stored here */
    :: d_step { a_state == AUTHORISED && own_bites(a_pod, a_epoch) &&
                (log[last].epoch < a_epoch || (report_bites(a_pod, a_epoch) && on_inc[a_pod] == pod[a_pod].inc)) ->
        on_own(a_pod, a_epoch, PLAIN) }
    :: d_step { a_state == AUTHORISED && on[a_pod] && on_inc[a_pod] == pod[a_pod].inc && (log[last].epoch > a_epoch ||
                (log[last].epoch == a_epoch && (log[last].inc != a_inc || log[last].by != a_pod))) ->
        a_next = (a_next <= log[last].epoch -> log[last].epoch + 1 : a_next);
        authorise(a_pod) }
    od
}

/* ---- what happens to pods ---- */

inline crash(p)
{
    faults--;
    leave(p);
    pod[p].up = 0;
    pod[p].lease = 0
}

/* To a pod that has nothing to do with the guild nothing happens that matters. */
#define is_involved(p) (pod[p].st != GONE || a_pod == p || (m_state != NO_MOVE && (m_source == p || m_target == p)))

proctype Fate(byte p)
{
end:
    do
#if ROWS_STAY
    :: d_step { pod[p].up && is_involved(p) && may_have(CRASH) -> printf("fault: pod %d crashes\n", p); crash(p) }
#endif
    :: d_step { pod[p].up && is_involved(p) && may_have(CRASH) ->
        printf("fault: pod %d crashes and its disk is lost\n", p); crash(p); rows_drop(p) }
    :: d_step { pod[p].up && is_involved(p) && !pod[0].dead && !pod[1].dead && !pod[PODS - 1].dead && may_have(CRASH) ->
        printf("fault: pod %d is gone for good\n", p); crash(p); rows_drop(p); pod[p].dead = 1; pod[p].inc = 0 }
    :: d_step { !pod[p].up && !pod[p].dead -> printf("pod %d: starts\n", p); pod[p].up = 1; pod[p].inc++ }
    :: d_step { pod[p].up && pod[p].lease && is_involved(p) && may_have(STALL) ->
        printf("fault: pod %d stalls or is cut off: its lease runs out\n", p); faults--; pod[p].lease = 0 }
    :: d_step { is(p, LOADING) && !pod[p].mixing && NEXT(p) <= last && may_have(BEHIND) ->
        printf("fault: pod %d reads from a replica that is behind\n", p); faults--; loaded(p) }
    od
}

/* ---- the end: nothing can happen any more. Then somebody serves the guild, the log and the coordinator both say that
 * it is he (so that his end would be noticed), and whatever was asked has been answered. ---- */

#define is_served_by(p) (is(p, SERVING) && pod[p].n == 0 && pod[p].my == log[last].epoch && log[last].by == p && \
                         log[last].inc == pod[p].inc && on[p] && a_state == OWNED && m_state == NO_MOVE &&        \
                         a_pod == p && a_epoch == pod[p].my && a_inc == pod[p].inc)

proctype End()
{
end:
    if
    :: atomic { timeout ->
        printf("nothing more can happen\n");
        holds(is_served_by(0) || is_served_by(1) || is_served_by(PODS - 1), OWNER);
        holds(replied == ALL_REQUESTS && log[last].ev == EVENTS, OWNER) }
    fi
}

init
{
    byte p;

    atomic {
        do
        :: p < PODS -> pod[p].up = 1; pod[p].inc = 1; pod[p].lease = 1; on[p] = 1; on_inc[p] = 1; p++
        :: else -> break
        od;
        /* pod 0 has claimed a new guild */
        first = 1; last = 1;
        log[1].kind = CLAIM; log[1].epoch = 1; log[1].inc = 1;
        pod[0].st = SERVING; pod[0].idx = 1; pod[0].epoch = 1; pod[0].my = 1; claimed_full[0] = 1;
        claimed_epoch[0] = 1; claimed_inc[0] = 1;
        a_epoch = 1; a_next = 2; a_inc = 1; order[1] = OWN;
#if STANDBYS
        pod[1].st = WARM; pod[1].idx = 1; pod[1].epoch = 1;
        pod[PODS - 1].st = WARM; pod[PODS - 1].idx = 1; pod[PODS - 1].epoch = 1;
#endif
        faults = FAULTS; moves = MOVES; snapshots = SNAPSHOTS;
        p = 0;
        do
        :: p < PODS -> run Pod(p); run Network(p); run Coordinator_of(p); run Fate(p); p++
        :: else -> break
        od;
        p = 1;
        do
        :: p < EPOCHS && FAULTS > 0 -> run Old_orders(p); p++
        :: else -> break
        od;
        p = 0;
        run Straggler();
        run Coordinator();
        run End()
    }
}
