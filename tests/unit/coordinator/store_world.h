/* store_world.h - a store of its own for each test, on SQLite and on a real PostgreSQL.
 *
 * THREAD: the test's. */
#ifndef TESTS_COORDINATOR_STORE_WORLD_H
#define TESTS_COORDINATOR_STORE_WORLD_H

/* Each test program uses a part of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/pg.h"
#include "coordinator/store.h"

#define OK(call) assert_int_equal((call), STATUS_OK)

static char dir[] = "/tmp/guildbus-store.XXXXXX";
static int databases;

struct world {
    struct store *store;
    const char *url; /* NULL: SQLite */
    char text[512];  /* the URL's */
    char data_dir[128];
};

/* Beside the one that DATABASE_URL names, which is not touched. */
static void make_database(struct world *w)
{
    const char *url = getenv("DATABASE_URL");
    CLEANUP(pg_free) struct pg *pg = pg_new(url);
    char sql[128];

    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE store_%d_%d", (int)getpid(), databases);
    OK(pg_script(pg, sql, NULL));
    (void)snprintf(w->text, sizeof(w->text), "%.*s/store_%d_%d", (int)(strrchr(url, '/') - url),
                   url, (int)getpid(), databases);
    w->url = w->text;
}

static void drop_database(void)
{
    CLEANUP(pg_free) struct pg *pg = pg_new(getenv("DATABASE_URL"));
    char sql[128];

    (void)snprintf(sql, sizeof(sql), "DROP DATABASE store_%d_%d", (int)getpid(), databases);
    OK(pg_script(pg, sql, NULL));
}

/* A database of its own for each test. */
static void open_world(struct world *w, bool postgres)
{
    struct err err = { 0 };

    *w = (struct world){ 0 };
    (void)snprintf(w->data_dir, sizeof(w->data_dir), "%s/%d", dir, ++databases);
    if (postgres)
        make_database(w);
    if (store_open(w->url, w->data_dir, &w->store, &err) != STATUS_OK)
        fail_msg("store_open: %s", err.text);
}

/* PostgreSQL gives a closed connection's lock free a little later. */
static void lead(struct store *store)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    struct err err;
    bool leads = false;

    for (int tries = 0; !leads && tries < 3000; tries++) {
        OK(store_lead(store, &leads, &err));
        if (!leads)
            (void)nanosleep(&pause, NULL);
    }
    assert_true(leads);
}

static int run_on(bool postgres, void (*test)(struct world *w))
{
    struct world w;

    if (postgres && !getenv("DATABASE_URL"))
        return 1;
    open_world(&w, postgres);
    lead(w.store);
    test(&w);
    store_free(w.store);
    if (w.url)
        drop_database();
    return 0;
}

#define TEST_ON_BOTH(name)                                                                         \
    static void name(struct world *w);                                                             \
    static void name##_sqlite(void **state UNUSED)                                                 \
    {                                                                                              \
        (void)run_on(false, name);                                                                 \
    }                                                                                              \
    static void name##_postgresql(void **state UNUSED)                                             \
    {                                                                                              \
        if (run_on(true, name))                                                                    \
            skip();                                                                                \
    }                                                                                              \
    static void name(struct world *w)

static struct guild_row guild(uint64_t id, const char *pod, uint64_t epoch, enum guild_state state)
{
    struct guild_row row = { .guild_id = id,
                             .epoch = epoch,
                             .next_epoch = epoch + 1,
                             .incarnation = 7,
                             .state = state,
                             .what = "new" };

    text_copy(row.pod, sizeof(row.pod), pod);
    return row;
}

static struct pod_row pod(const char *id, uint64_t incarnation)
{
    struct pod_row row = {
        .status = POD_ACTIVE, .incarnation = incarnation, .capacity = 100, .schema = 3
    };

    text_copy(row.pod, sizeof(row.pod), id);
    text_copy(row.version, sizeof(row.version), "1.2.3");
    return row;
}

static struct move_row move(uint64_t id, uint64_t guild_id, enum move_state state)
{
    struct move_row row = { .id = id, .guild_id = guild_id, .state = state };

    text_copy(row.source, sizeof(row.source), "a");
    text_copy(row.target, sizeof(row.target), "b");
    return row;
}

static enum status commit_guild(struct store *store, const struct guild_row *row)
{
    CLEANUP(plan_release) struct plan plan = { 0 };

    plan_guild(&plan, row);
    return store_commit(store, &plan, NULL);
}

static enum status commit_move(struct store *store, const struct move_row *row)
{
    CLEANUP(plan_release) struct plan plan = { 0 };

    plan_move(&plan, row);
    return store_commit(store, &plan, NULL);
}

struct counted {
    size_t rows;
    char last_pod[POD_ID_SIZE];
    uint64_t last_id;
    struct pod_row pod;
};

static void count_guild(void *ctx, const struct guild_row *row)
{
    struct counted *n = ctx;

    n->rows++;
    n->last_id = row->guild_id;
}

static void count_pod(void *ctx, const struct pod_row *row)
{
    struct counted *n = ctx;

    n->rows++;
    n->pod = *row;
    text_copy(n->last_pod, sizeof(n->last_pod), row->pod);
}

static void count_move(void *ctx, const struct move_row *row)
{
    struct counted *n = ctx;

    n->rows++;
    n->last_id = row->id;
}

static void count_shard(void *ctx, const struct shard_row *row)
{
    struct counted *n = ctx;

    n->rows++;
    text_copy(n->last_pod, sizeof(n->last_pod), row->pod);
}

static int remove_dir(void **state UNUSED)
{
    char path[256];

    for (int i = 1; i <= databases; i++) {
        static const char *const names[] = { "coordinator.sqlite3", "coordinator.sqlite3-wal",
                                             "coordinator.sqlite3-shm",
                                             "coordinator.sqlite3.lock" };
        for (size_t n = 0; n < ARRAY_LEN(names); n++) {
            (void)snprintf(path, sizeof(path), "%s/%d/%s", dir, i, names[n]);
            (void)unlink(path);
        }
        (void)snprintf(path, sizeof(path), "%s/%d", dir, i);
        (void)rmdir(path);
    }
    return rmdir(dir);
}

#define ON_BOTH(name) cmocka_unit_test(name##_sqlite), cmocka_unit_test(name##_postgresql)

#endif
