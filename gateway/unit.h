/* unit.h - what a feature handler is given, and no more: one unit of one guild.
 *
 *     event, request, REST result ─▶ handler(unit, …) ─▶ rows: unit_sql(), actions: unit_act()
 *
 * All a handler does happens in one SQLite savepoint: when it returns other than OK, its rows and
 * actions are undone. Rows written through unit_sql() are captured and put into the guild's log;
 * nothing the handler returns or enqueues leaves the pod before the log has confirmed that record.
 * Handlers never block and never do I/O themselves.
 *
 * Every table row a handler touches carries u->guild_id: schema.def says PRIMARY KEY(guild_id, …)
 * for each table.
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_UNIT_H
#define GATEWAY_UNIT_H

#include <jansson.h>
#include <sqlite3.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "messages/guildbus.pb-c.h"

struct store;

struct unit {
    uint64_t guild_id;
    int64_t now_ms; /* wall clock at the unit's start: use it, not the clock, so that tests can say
                       when it is */
    struct arena *arena; /* ends with the unit */
    struct store *store;
    const char *application_id; /* Discord's; decimal */
    const char *portal_url;     /* "" when there is none */
};

/* A cached prepared statement, reset and with its bindings cleared; sql must be a string literal
 * (it is the cache's key). Aborts when sql does not compile: that is a bug, not an input. Do not
 * finalize. */
sqlite3_stmt *unit_sql(struct unit *u, const char *sql);
/* Steps a statement that returns no rows, then resets it. */
enum status unit_run(struct unit *u, sqlite3_stmt *q, struct err *err) MUST_CHECK;
/* Steps to the next row: OK a row, NOT_FOUND no more (reset), else an error. */
enum status unit_step(struct unit *u, sqlite3_stmt *q, struct err *err) MUST_CHECK;
/* Bind helpers; text NULL binds NULL. Text and blobs must stay valid until the statement is run. */
void unit_bind_id(sqlite3_stmt *q, int at, uint64_t id); /* as the bit pattern's int64 */
void unit_bind_int(sqlite3_stmt *q, int at, int64_t value);
void unit_bind_text(sqlite3_stmt *q, int at, const char *text);
uint64_t unit_column_id(sqlite3_stmt *q, int at);
/* Copy in the unit's arena; "" for NULL. */
const char *unit_column_text(struct unit *u, sqlite3_stmt *q, int at);

/* A REST call to be made after this unit's record is in the log, exactly once as far as Discord
 * lets us. */
struct action {
    const char *method; /* "POST" … */
    const char *path;   /* "/channels/123/messages", below /api/v10 */
    const char
        *body_json; /* NULL: none. On POST …/messages the outbox adds nonce and enforce_nonce. */
    const char
        *continuation;  /* a row of continuations.def, run as a unit with the result; NULL: none */
    const char *state;  /* handed to the continuation; NULL: "" */
    const char *reason; /* X-Audit-Log-Reason; NULL: none */
};
enum status unit_act(struct unit *u, const struct action *action, struct err *err) MUST_CHECK;

struct action_result {
    int code;           /* Discord's HTTP status; 0: gave up without an answer */
    const json_t *body; /* NULL: none or not JSON */
    const char *state;
};

/* d: the dispatch's d object. */
typedef enum status (*event_handler)(struct unit *u, const json_t *d, struct err *err);

struct interaction {
    uint64_t id, user_id, channel_id;
    const char *token, *username;
    int type;             /* Discord: 2 command, 3 component, 4 autocomplete, 5 modal */
    const char *name;     /* command name or custom_id */
    int command_type;     /* 1 slash, 2 user, 3 message */
    uint64_t target_id;   /* context menus */
    uint64_t permissions; /* the member's, in the channel; 0 in direct messages */
    const json_t *root;   /* the whole interaction */
    const json_t *data;   /* root.data */
};
/* *ret_callback: the callback object {"type":4,"data":{…}} as JSON text from the unit's arena. On
 * any error the dispatcher answers an ephemeral message of its own and logs. */
typedef enum status (*interaction_handler)(struct unit *u, const struct interaction *in,
                                           const char **ret_callback, struct err *err);
typedef enum status (*continuation_handler)(struct unit *u, const struct action_result *result,
                                            struct err *err);
/* ret is zero-initialised with guild_id set; fill the oneof. What it points to comes from the
 * unit's arena. */
typedef enum status (*query_handler)(struct unit *u, const Guildbus__V1__PortalRequest *request,
                                     Guildbus__V1__PortalReply *ret, struct err *err);

#endif
