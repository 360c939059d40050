/* owner.h - the thread that owns guilds: it alone touches the pod's SQLite and the guilds' logs.
 *
 *     bus letters ─▶ units in one transaction ─▶ COMMIT ─▶ records to the logs
 *                    replies and REST calls leave ◀── acks ◀──────┘
 *
 * THREAD: new/free one thread; start … stop as written; the rest any. */
#ifndef GATEWAY_OWNER_H
#define GATEWAY_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/status.h"
#include "gateway/discord_rest.h"

struct owner;

struct owner_config {
    struct bus *bus;
    struct discord_rest *rest; /* NULL: actions stay in the outbox */
    const char *path;          /* of the SQLite file */
    const char *pod;
    uint64_t incarnation;
    const char *application_id, *portal_url;
    bool has_coordinator;     /* report claims; without one the lease never ends */
    int64_t snapshot_records; /* a snapshot after at least so many records of a guild; 0: none */
    int64_t unseal_ms;        /* a sealed guild that nobody claimed is taken back after this */
    /* Called on the owner's thread when it cannot go on (disk full, corrupt database): the process
     * must end. */
    void (*on_failed)(void *ctx, const char *why);
    void *ctx;
};

enum status owner_new(const struct owner_config *config, struct owner **ret_owner, struct err *err)
    MUST_CHECK;
enum status owner_start(struct owner *o, struct err *err) MUST_CHECK;
/* Lets batches in flight be confirmed (at most settle_ms), then ends the thread and leaves the bus. */
void owner_stop(struct owner *o, int settle_ms);
/* After the bus is closed: what it had been asked it answers until then, into the owner's mailbox. */
void owner_free(struct owner *o);

/* Claims the guild at the epoch after its log's last one: for a fixed list. */
void owner_claim_fixed(struct owner *o, uint64_t guild_id);
/* Reads the guild's log ahead of an order that is likely to come; forgotten again when none comes
 * within a minute. */
void owner_prefetch(struct owner *o, uint64_t guild_id);
/* The lease was lost for a while and others may own our guilds: each read waits for a record of
 * ours in its guild's log, until the coordinator says anew that the guild is ours. Call before the new
 * lease is set. */
void owner_recheck(struct owner *o);
void owner_set_lease(struct owner *o, int64_t until_ms);
uint32_t owner_guild_count(const struct owner *o);
uint64_t owner_unit_count(const struct owner *o);
/* Guilds that it follows as their standby; counted every few seconds, as are the busiest. */
uint32_t owner_standby_count(const struct owner *o);

enum { OWNER_BUSIEST = 64 };
struct guild_load {
    uint64_t guild_id;
    uint32_t units_per_min;
};
/* Of those it owns, busiest first; returns how many. */
size_t owner_busiest(struct owner *o, struct guild_load ret[OWNER_BUSIEST]);

#endif
