/* rows.h - the rows of the coordinator's tables, as the decisions and the store exchange them.
 *
 * Times are milliseconds since 1970 by the database's clock, which is the only one that leases
 * know.
 *
 * THREAD: any. */
#ifndef COORDINATOR_ROWS_H
#define COORDINATOR_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POD_ID_SIZE = 65,
    VERSION_SIZE = 33,
    MOVE_ERROR_SIZE = 160,
    REASON_SIZE = 32,
    MOST_STANDBYS = 2,      /* of a guild */
    DEFAULT_CAPACITY = 100, /* of a pod that names none */
};

enum guild_state {
#define GUILD_STATE(name, text) GUILD_##name,
#include "coordinator/states.def"
};
enum pod_status {
#define POD_STATUS(name, text) POD_##name,
#include "coordinator/states.def"
};
enum move_state {
#define MOVE_STATE(name, text, open) MOVE_STATE_##name,
#include "coordinator/states.def"
};

const char *guild_state_text(enum guild_state state);
const char *pod_status_text(enum pod_status status);
const char *move_state_text(enum move_state state);
/* false: no such text, *ret is untouched. */
bool guild_state_parse(const char *text, enum guild_state *ret);
bool pod_status_parse(const char *text, enum pod_status *ret);
bool move_state_parse(const char *text, enum move_state *ret);
bool move_state_is_open(enum move_state state);

struct guild_row {
    uint64_t guild_id;
    char pod[POD_ID_SIZE]; /* "": unassigned */
    uint64_t epoch;        /* given to pod */
    uint64_t next_epoch;   /* the first that was never given to anybody */
    uint64_t incarnation;  /* of the pod process that owns it or is to claim it */
    uint32_t schema;       /* of the pod that claimed it last: an older pod cannot take it */
    enum guild_state state;
    int64_t assigned_ms;
    int64_t heard_ms;   /* last heartbeat of its pod; filled by reads for the API only */
    int64_t unowned_ms; /* while it is claimed: when its last owner's lease ended; 0: not known */
    /* For the history: static texts. what NULL: not worth a line. */
    const char *what, *why;
    uint64_t move_id;
};

static inline void guild_row_note(struct guild_row *row, const char *what, const char *why,
                                  uint64_t move_id)
{
    row->what = what;
    row->why = why;
    row->move_id = move_id;
}

struct pod_row {
    char pod[POD_ID_SIZE];
    enum pod_status status;
    uint64_t incarnation;
    uint32_t guild_count; /* as it says itself */
    uint32_t load;        /* units a second */
    uint32_t capacity, schema;
    char version[VERSION_SIZE];
    int64_t heard_ms;
    int64_t lease_until_ms;
    int64_t lease_before_ms; /* when the lease before this one ended; 0: there was none */
    bool drain_wished;       /* an operator wants it empty */
};

struct move_row {
    uint64_t id, guild_id;
    char source[POD_ID_SIZE], target[POD_ID_SIZE];
    uint64_t epoch, unseal_epoch; /* 0 before the cut-over */
    enum move_state state;
    char error[MOVE_ERROR_SIZE], reason[REASON_SIZE];
    int64_t created_ms, changed_ms;
    uint64_t pause_us;
};

/* A pod that follows a guild's log. */
struct standby_row {
    uint64_t guild_id;
    char pod[POD_ID_SIZE];
    /* 1 … MOST_STANDBYS: the first to take the guild, the second; STANDBY_DROP: it is to be told
     * that it is none any more; STANDBY_NONE: it was told. */
    int rank;
};
enum { STANDBY_NONE = -1, STANDBY_DROP = 0 };

struct history_row {
    uint64_t id, guild_id, epoch, move_id; /* move_id 0: no move */
    int64_t at_ms;
    char pod[POD_ID_SIZE], what[REASON_SIZE], why[REASON_SIZE];
};

struct shard_row {
    uint32_t shard;
    char pod[POD_ID_SIZE]; /* "": nobody holds it */
    bool is_next;          /* of the count that a reshard leads to */
};

/* Copies, cut to size. */
void text_copy(char *into, size_t size, const char *text);
/* The same for text of strangers: what is not printable ASCII becomes '?'. */
void text_copy_clean(char *into, size_t size, const char *text);
/* [A-Za-z0-9_-]{1,64}: safe in a subject. */
bool pod_id_is_valid(const char *pod);

#endif
