/* floors.c - what the parts can do when they do nothing else, each in one thread. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/macros.h"
#include "base/mailbox.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "bench/load/load.h"
#include "messages/streams.h"

enum { BODY_MAX = 65536, LETTERS = 65536, WAIT_MS = 10000 };

/* ---- Ed25519 ---- */

struct verify {
    struct sign_key *own, *public;
    char hex[65], signature[129];
    uint8_t body[BODY_MAX];
    size_t size;
    bool failed;
};

static void verify_once(void *ctx)
{
    struct verify *v = ctx;

    v->failed |= !sign_verify(v->public, v->signature, "1700000000", v->body, v->size);
}

enum status load_verify(const struct load_options *o, struct err *err)
{
    static struct verify v;
    const uint8_t seed[32] = { 7 };

    v.size = (size_t)(o->size && o->size < BODY_MAX ? o->size : 700);
    TRY(sign_private_key_new(seed, &v.own, err));
    sign_public_hex(v.own, v.hex);
    TRY(sign_public_key_new(v.hex, &v.public, err));
    TRY(sign_make(v.own, "1700000000", v.body, v.size, v.signature, err));
    enum status status = load_repeat(o->seconds, verify_once, &v, 1);
    sign_key_free(v.own);
    sign_key_free(v.public);
    return v.failed ? err_set(err, STATUS_CORRUPT, "a signature was not accepted") : status;
}

/* ---- SQLite ---- */

struct commit {
    sqlite3 *db;
    sqlite3_stmt *insert;
    int64_t group, id;
    bool failed;
};

static void commit_once(void *ctx)
{
    struct commit *c = ctx;

    c->failed |= sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK;
    for (int64_t i = 0; i < c->group; i++) {
        sqlite3_bind_int64(c->insert, 1, c->id % 200);
        sqlite3_bind_int64(c->insert, 2, ++c->id);
        c->failed |= sqlite3_step(c->insert) != SQLITE_DONE;
        sqlite3_reset(c->insert);
    }
    c->failed |= sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK;
}

static enum status commit_open(struct commit *c, const struct load_options *o, struct err *err)
{
    CLEANUP(xfree) char *path = xasprintf("%s/floor.sqlite3", o->folder ? o->folder : ".");
    const char *full = o->full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";

    if (sqlite3_open(path, &c->db) != SQLITE_OK ||
        sqlite3_exec(c->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(c->db, full, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(c->db,
                     "CREATE TABLE rows(guild_id INTEGER, id INTEGER, author INTEGER DEFAULT 1,"
                     " chars INTEGER DEFAULT 40, words INTEGER DEFAULT 8, at INTEGER DEFAULT 1,"
                     " code TEXT DEFAULT '[]', links TEXT DEFAULT '[]',"
                     " PRIMARY KEY(guild_id, id)) WITHOUT ROWID",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(c->db, "INSERT INTO rows(guild_id, id) VALUES(?1, ?2)", -1, &c->insert,
                           NULL) != SQLITE_OK)
        return err_set(err, STATUS_UNAVAILABLE, "%s: %s", path, sqlite3_errmsg(c->db));
    return STATUS_OK;
}

enum status load_commit(const struct load_options *o, struct err *err)
{
    struct commit c = { .group = o->group ? o->group : 1 };
    enum status status = commit_open(&c, o, err);

    if (status == STATUS_OK)
        status = load_repeat(o->seconds, commit_once, &c, (size_t)c.group);
    if (status == STATUS_OK && c.failed)
        status = err_set(err, STATUS_CORRUPT, "%s", sqlite3_errmsg(c.db));
    sqlite3_finalize(c.insert);
    sqlite3_close(c.db);
    return status;
}

/* ---- NATS ---- */

struct line {
    struct bus *bus;
    struct mailbox *box;
    const char *subject;
    char id[24];
    uint8_t body[BODY_MAX];
    size_t size;
    int64_t in_flight, most;
    uint64_t serial;
    size_t failed, answered;
    bool with_id; /* of JetStream */
};

static void on_answer(void *ctx, uint64_t tag, enum status status, const struct bus_in *in)
{
    struct line *l = ctx;

    (void)tag;
    l->in_flight--;
    l->answered++;
    l->failed += status != STATUS_OK || memmem(in->data, in->size, "\"error\"", 7);
}

static void ask_one(struct line *l)
{
    const struct bus_header header = { "Nats-Msg-Id", l->id };
    const struct bus_out out = { l->subject, NULL, l->body, l->size, l->with_id ? &header : NULL,
                                 l->with_id };

    (void)snprintf(l->id, sizeof(l->id), "%" PRIu64, ++l->serial);
    l->in_flight++;
    bus_request(l->bus, &out, &(struct bus_waiter){ l->box, on_answer, l, 0, WAIT_MS });
}

/* As many in flight as may be, until the time is over and all are answered. */
static enum status line_run(struct line *l, int64_t seconds, struct err *err)
{
    int64_t from_us = clock_now_us(), cpu_us = load_cpu_us(), took_us;

    do {
        took_us = clock_now_us() - from_us;
        while (took_us < seconds * 1000000 && l->in_flight < l->most)
            ask_one(l);
        if (!mailbox_drain(l->box, NULL))
            usleep(20);
    } while (l->in_flight);
    cpu_us = load_cpu_us() - cpu_us;
    if (l->failed)
        return err_set(err, STATUS_UNAVAILABLE, "%zu of %zu failed", l->failed, l->answered);
    (void)printf("{\"per_s\":%" PRId64 ",\"in_flight\":%" PRId64 ",\"cpu_us_each\":%.3f}\n",
                 (int64_t)l->answered * 1000000 / took_us, l->most,
                 (double)cpu_us / (double)l->answered);
    return STATUS_OK;
}

static enum status line_open(struct line *l, const struct load_options *o, struct err *err)
{
    const struct bus_config config = { .url = o->url ? o->url : "nats://127.0.0.1:4222",
                                       .name = "guildbus-bench" };

    l->most = o->connections ? o->connections : 1;
    l->size = (size_t)(o->size && o->size < BODY_MAX ? o->size : 700);
    TRY(mailbox_new(LETTERS, &l->box, err));
    return bus_open(&config, &l->bus, err);
}

static void line_close(struct line *l)
{
    bus_close(l->bus);
    mailbox_free(l->box);
}

static void on_echo(void *ctx, uint64_t tag, const struct bus_in *in)
{
    struct err err;

    (void)tag;
    if (bus_respond(ctx, in, in->data, in->size, false, &err) != STATUS_OK)
        (void)fprintf(stderr, "respond: %s\n", err.text);
}

/* Asked over one connection, answered over another, both in this process. */
enum status load_request(const struct load_options *o, struct err *err)
{
    static struct line asks = { .subject = "bench.echo" }, answers;
    struct bus_sub *sub = NULL;

    TRY(line_open(&asks, o, err));
    TRY(line_open(&answers, o, err));
    const struct bus_subscription echo = {
        "bench.echo", "bench", asks.box, on_echo, answers.bus, 0
    };
    TRY(bus_subscribe(answers.bus, &echo, &sub, err));
    TRY(bus_flush(answers.bus, WAIT_MS, err));
    enum status status = line_run(&asks, o->seconds, err);
    bus_unsubscribe(&sub);
    line_close(&asks);
    line_close(&answers);
    return status;
}

enum status load_publish(const struct load_options *o, struct err *err)
{
    static struct line l = { .subject = "event.1", .with_id = true };
    const struct streams_config streams = { .replicas = 1, .events_hours = 1 };

    TRY(line_open(&l, o, err));
    TRY(streams_ensure(l.bus, &streams, err));
    enum status status = line_run(&l, o->seconds, err);
    line_close(&l);
    return status;
}
