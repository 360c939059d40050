/* fuzz: links gateway_core
 * What features do with any JSON: it is applied or refused. The first line says what it is, the
 * rest is the JSON: a dispatch's type, INTERACTION_CREATE, "result <continuation>"
 * ({"code":…,"state":…,"body":…}) or "settings". */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/xmem.h"
#include "gateway/dispatch.h"
#include "gateway/features/settings.h"
#include "gateway/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GUILD = 8138 };

static const char rows[] =
    "INSERT INTO guilds VALUES (8138, 'Home', '{\"modLog\":\"300\",\"moderator\":\"71\"}');"
    "INSERT INTO channel_info VALUES (8138, 500, 'general', 'Talk', 400);"
    "INSERT INTO message_stats VALUES (8138, 1000, 42, 500, 'Talk', NULL, 1, 1, 0, 1, '[]', '[]');"
    "INSERT INTO reported_messages VALUES (8138, 'a', 1000, 500, 42, 0, 0, 'track', 7, 'mod', NULL,"
    " '2026-03-10T12:00:00.000Z', NULL);"
    "INSERT INTO reported_messages VALUES (8138, 'b', 1001, 500, 42, 55, 800, 'track', 7, 'mod', NULL,"
    " '2026-03-10T12:00:00.000Z', NULL);"
    "INSERT INTO report_drafts VALUES (8138, 'a', 42, 'bob', 800, 0, '{}', '{}', 'text');"
    "INSERT INTO report_drafts VALUES (8138, 'c', 43, 'bob', 0, 0, '{}', '{}', 'text');"
    "INSERT INTO user_threads VALUES (8138, 42, 800, ''), (8138, 43, 0, '');";

static struct store *store_once(void)
{
    static struct store *store;
    struct err err;

    if (store)
        return store;
    log_set_level(LOG_LEVEL_ERROR);
    must(store_open(":memory:", &store, &err) == STATUS_OK);
    must(!sqlite3_exec(sqlite3_db_handle(store_sql(store, "BEGIN")), rows, NULL, NULL, NULL));
    return store;
}

static enum status interact(struct unit *u, const json_t *root, struct err *err)
{
    CLEANUP(json_decref) json_t *answer = NULL;
    struct interaction in;
    const char *callback = NULL;

    TRY(dispatch_parse(root, &in, err));
    TRY(dispatch_interaction(u, &in, &callback, err));
    must(callback && json_parse(callback, strlen(callback), &answer, err) == STATUS_OK);
    must(json_int(answer, "type", 0) >= 4);
    return STATUS_OK;
}

static enum status feed(struct unit *u, const char *what, const char *text, struct err *err)
{
    CLEANUP(json_decref) json_t *d = NULL;
    const char *ignored;

    if (!strcmp(what, "settings"))
        return settings_patch(u, text, &ignored, err);
    if (strcmp(what, "INTERACTION_CREATE") != 0 && strncmp(what, "result ", 7) != 0)
        return dispatch_event(u, what, text, err);
    TRY(json_parse(text, strlen(text), &d, err));
    if (!strcmp(what, "INTERACTION_CREATE"))
        return interact(u, d, err);
    struct action_result result = { .code = (int)json_int(d, "code", 0),
                                    .body = json_object_get(d, "body"),
                                    .state = json_str(d, "state") };
    return dispatch_result(u, what + 7, &result, err);
}

static void check_idle(struct store *store)
{
    sqlite3 *db = sqlite3_db_handle(store_sql(store, "BEGIN"));

    for (sqlite3_stmt *q = sqlite3_next_stmt(db, NULL); q; q = sqlite3_next_stmt(db, q))
        must(!sqlite3_stmt_busy(q));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct unit u = { .guild_id = GUILD,
                      .now_ms = INT64_C(1773144000000),
                      .arena = arena,
                      .store = store_once(),
                      .application_id = "900",
                      .portal_url = "" };
    char *what = xcalloc(size + 1, 1), *text;
    struct err err = { 0 };

    if (size)
        memcpy(what, data, size);
    text = strchr(what, '\n');
    if (text) {
        *text++ = 0;
        store_unit_begin(u.store, u.guild_id);
        enum status status = feed(&u, what, text, &err);
        must(status == STATUS_OK || err.code == status);
        if (status == STATUS_OK)
            check_idle(u.store);
        store_unit_undo(u.store);
    }
    free(what);
    return 0;
}
