/* shards_world.h - real parts around the shards: a nats-server, the simulated Discord, and pods in
 * this process.
 *
 * Conditions are waited for by running the loop and asking again; what was stored is compared with
 * what Discord sent. */
#ifndef TESTS_UNIT_GATEWAY_SHARDS_WORLD_H
#define TESTS_UNIT_GATEWAY_SHARDS_WORLD_H

/* Each test program uses a part of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/xmem.h"
#include "gateway/shard_record.h"
#include "gateway/shards.h"
#include "messages/codec.h"
#include "messages/streams.h"
#include "messages/subjects.h"
#include "tests/unit/messages/nats_process.h"

enum { PATIENCE_MS = 60000, ASK_EACH_MS = 20, SHARD_COUNT = 2, SIM_TOKEN_MAX = 64 };

struct pod {
    struct world *world;
    const char *name;
    struct bus *bus;
    struct discord_rest *rest;
    struct shards *shards; /* NULL: not running */
    bool stopped;
};
struct world {
    struct nats_process nats;
    pid_t sim;
    int port, admin_port;
    struct loop *loop;
    struct http_client *client;
    struct loop_timer *timer;
    bool (*until)(struct world *w);
    int64_t give_up_ms;
    bool plain; /* without zlib-stream */
    struct pod a, b;
    /* of conditions */
    uint64_t want;
    const struct pod *whose;
    uint32_t count; /* of the shards that publish */
    int64_t until_ms;
};

/* ---- the simulated Discord ---- */

static void sim_exec(const char *folder)
{
    char path[512], file[128];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
    int log = open("/dev/null", O_WRONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log, STDOUT_FILENO);
    while (n > 0 && path[n - 1] != '/')
        n--;
    (void)snprintf(path + (n > 0 ? n : 0), 32,
                   "guildbus-discord-sim"); /* it stands beside this test */
    (void)snprintf(file, sizeof(file), "SIM_PORT_FILE=%s/sim.json", folder);
    char *const environment[] = { file,
                                  (char[]){ "SIM_SHARDS=2" },
                                  (char[]){ "SIM_GUILDS=8" },
                                  (char[]){ "SIM_HEARTBEAT_MS=400" },
                                  (char[]){ "SIM_IDENTIFY_WINDOW_MS=0" },
                                  NULL };
    execle(path, "guildbus-discord-sim", NULL, environment);
    _exit(127);
}

static bool sim_read_ports(struct world *w)
{
    char path[128], text[512] = "";
    CLEANUP(json_decref) json_t *root = NULL;

    (void)snprintf(path, sizeof(path), "%s/sim.json", w->nats.folder);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    size_t size = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    assert_int_equal(json_parse(text, size, &root, NULL), STATUS_OK);
    w->port = (int)json_int(root, "port", 0);
    w->admin_port = (int)json_int(root, "admin_port", 0);
    return true;
}

static void sim_start(struct world *w)
{
    static const struct timespec pause = { 0, 10000000 };

    w->sim = fork();
    if (w->sim == 0)
        sim_exec(w->nats.folder);
    while (!sim_read_ports(w)) {
        if (w->sim < 0 || waitpid(w->sim, NULL, WNOHANG) != 0)
            fail_msg("guildbus-discord-sim does not start: is it built?");
        (void)nanosleep(&pause, NULL);
    }
}

/* A call of the admin port; body NULL: GET. */
static char *sim_call(struct world *w, const char *path, const char *body)
{
    char url[256];
    char *answer = NULL;
    int code = 0;

    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", w->admin_port, path);
    const struct http_call call = { .method = body ? "POST" : "GET",
                                    .url = url,
                                    .body = body,
                                    .size = body ? strlen(body) : 0,
                                    .max_answer = 64 << 20 };
    assert_int_equal(http_client_wait(w->client, &call, &code, &answer, NULL), STATUS_OK);
    if (code != 200)
        fail_msg("%s: %d %s", path, code, answer);
    return answer;
}

static void sim_tell(struct world *w, const char *path, const char *body)
{
    free(sim_call(w, path, body));
}

static int64_t sim_count(struct world *w, const char *of, const char *name)
{
    CLEANUP(xfree) char *text = sim_call(w, "/state", NULL);
    CLEANUP(json_decref) json_t *root = NULL;
    assert_int_equal(json_parse(text, strlen(text), &root, NULL), STATUS_OK);
    const json_t *o = json_object_get(root, of);
    if (json_is_boolean(json_object_get(o, name)))
        return json_bool(o, name);
    return json_int(o, name, -1);
}

static void sim_fault(struct world *w, const char *how, int code)
{
    char body[128];
    (void)snprintf(body, sizeof(body), "{\"how\":\"%s\",\"code\":%d,\"shard\":-1}", how, code);
    sim_tell(w, "/disconnect", body);
}

static void sim_traffic(struct world *w, int events, int events_per_s)
{
    char body[128];
    (void)snprintf(body, sizeof(body), "{\"events\":%d,\"events_per_s\":%d}", events, events_per_s);
    sim_tell(w, "/traffic", body);
}

/* ---- waiting ---- */

static void on_ask(void *ctx)
{
    struct world *w = ctx;

    if (w->until(w)) {
        loop_stop(w->loop);
        return;
    }
    if (clock_now_ms() > w->give_up_ms)
        fail_msg("waited in vain");
    loop_timer_start(w->timer, ASK_EACH_MS);
}

static void wait_for(struct world *w, bool (*until)(struct world *w))
{
    w->until = until;
    w->give_up_ms = clock_now_ms() + PATIENCE_MS;
    loop_timer_start(w->timer, 0);
    loop_run(w->loop);
}

static bool are_all_live(struct world *w)
{
    return sim_count(w, "gateway", "live") == SHARD_COUNT;
}

static bool is_traffic_over(struct world *w)
{
    return sim_count(w, "traffic", "running") == 0;
}

static bool is_half_sent(struct world *w)
{
    return sim_count(w, "traffic", "events_sent") >= (int64_t)w->want;
}

static bool has_stopped(struct world *w)
{
    return w->whose->stopped;
}

static bool holds_nothing(struct world *w)
{
    uint32_t ids[4];
    return shards_held(w->whose->shards, ids, 4) == 0;
}

static bool holds_all(struct world *w)
{
    uint32_t ids[4];
    return shards_held(w->whose->shards, ids, 4) == SHARD_COUNT;
}

/* ---- pods ---- */

/* It holds nothing yet. */
static void pod_open(struct pod *p, bool ask_coordinator)
{
    static uint64_t incarnation = 1;
    char url[64];
    struct err err;

    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/api/v10", p->world->port);
    const struct bus_config bus = { .url = p->world->nats.url, .name = p->name };
    assert_int_equal(bus_open(&bus, &p->bus, NULL), STATUS_OK);
    const struct discord_rest_config rest = { .api_url = url, .token = "simulated-token" };
    assert_int_equal(discord_rest_new(&rest, &p->rest, NULL), STATUS_OK);
    const struct shards_config config = { .loop = p->world->loop,
                                          .bus = p->bus,
                                          .rest = p->rest,
                                          .token = "simulated-token",
                                          .pod = p->name,
                                          .incarnation = incarnation,
                                          .compress = !p->world->plain,
                                          .ask_coordinator = ask_coordinator };
    if (shards_new(&config, &p->shards, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    p->stopped = false;
    incarnation++;
}

static void pod_start(struct pod *p, bool ask_coordinator)
{
    static const uint32_t ids[] = { 0, 1 };

    pod_open(p, ask_coordinator);
    shards_want(p->shards,
                &(struct shards_wish){ .count = SHARD_COUNT, .ids = ids, .id_count = SHARD_COUNT });
}

/* As a crash: nothing is saved or released. The loop goes on, so answers on their way are read
 * before what they are for is gone. */
static void pod_kill(struct pod *p)
{
    discord_rest_free(TAKE(p->rest));
    mailbox_drain(loop_mailbox(p->world->loop), p->world->loop);
    shards_free(TAKE(p->shards));
    bus_close(TAKE(p->bus));
    mailbox_drain(loop_mailbox(p->world->loop), p->world->loop);
}

static void on_stopped(void *ctx)
{
    struct pod *p = ctx;
    p->stopped = true;
}

static void pod_stop(struct pod *p)
{
    shards_stop(p->shards, on_stopped, p);
    p->world->whose = p;
    wait_for(p->world, has_stopped);
    pod_kill(p);
}

/* ---- the whole ---- */

static int world_start(void **state)
{
    static const struct streams_config streams = { .replicas = 1, .events_hours = 1 };
    struct world *w = xcalloc(1, sizeof(*w));
    struct bus *bus;

    nats_start(&w->nats, true);
    sim_start(w);
    assert_int_equal(loop_new(&w->loop, NULL), STATUS_OK);
    assert_int_equal(http_client_new("test", &w->client, NULL), STATUS_OK);
    w->timer = loop_timer_new(w->loop, on_ask, w);
    w->count = SHARD_COUNT;
    w->a = (struct pod){ .world = w, .name = "gw-a" };
    w->b = (struct pod){ .world = w, .name = "gw-b" };
    const struct bus_config config = { .url = w->nats.url, .name = "set-up" };
    assert_int_equal(bus_open(&config, &bus, NULL), STATUS_OK);
    assert_int_equal(streams_ensure(bus, &streams, NULL), STATUS_OK);
    bus_close(bus);
    *state = w;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    if (w->a.shards)
        pod_kill(&w->a);
    if (w->b.shards)
        pod_kill(&w->b);
    http_client_free(w->client);
    loop_timer_free(w->timer);
    loop_free(w->loop);
    kill(w->sim, SIGKILL);
    waitpid(w->sim, NULL, 0);
    nats_stop(&w->nats);
    free(w);
    return 0;
}

/* ---- what was stored ---- */

static json_t *js_ask(struct bus *bus, const char *subject, const char *body)
{
    const struct bus_out out = { .subject = subject, .data = body, .size = strlen(body) };
    CLEANUP(xfree) char *data = NULL;
    size_t size;
    json_t *root;

    assert_int_equal(bus_request_wait(bus, &out, 5000, &data, &size, NULL), STATUS_OK);
    assert_int_equal(json_parse(data, size, &root, NULL), STATUS_OK);
    return root;
}

/* The shard's record, as an operator reads it; the first set of shards has plain keys. False: it is
 * deleted. */
static bool read_record(struct bus *bus, uint32_t count, uint32_t shard, struct shard_record *ret)
{
    const struct subject key =
        count == SHARD_COUNT ? subject_shard(shard) : subject_shard_of(count, shard);
    char subject[256];
    CLEANUP(xfree) char *data = NULL;
    size_t size;

    (void)snprintf(subject, sizeof(subject), "$JS.API.DIRECT.GET.KV_SHARDS.%s", key.text);
    const struct bus_out out = { .subject = subject };
    assert_int_equal(bus_request_wait(bus, &out, 5000, &data, &size, NULL), STATUS_OK);
    if (!size)
        return false;
    assert_int_equal(shard_record_parse(data, size, ret, NULL), STATUS_OK);
    return ret->session.id[0] || !ret->released; /* else the mark of its deletion */
}

/* The records have reached what Discord has for the sessions: all was published. They never pass
 * it. */
static bool is_all_saved(struct world *w)
{
    CLEANUP(xfree) char *text = sim_call(w, "/gateway", NULL);
    CLEANUP(json_decref) json_t *root = NULL;
    size_t i;
    json_t *s;
    unsigned saved = 0;

    assert_int_equal(json_parse(text, strlen(text), &root, NULL), STATUS_OK);
    json_array_foreach(json_object_get(root, "sessions"), i, s)
    {
        const json_t *of = json_object_get(s, "shard");
        uint32_t shard = (uint32_t)json_integer_value(json_array_get(of, 0));
        struct shard_record record;
        if ((uint32_t)json_integer_value(json_array_get(of, 1)) != w->count)
            continue;
        assert_true(read_record(w->whose->bus, w->count, shard, &record));
        if (strcmp(record.session.id, json_str(s, "session_id")) != 0)
            continue; /* one that was given up */
        assert_true((int64_t)record.session.seq <= json_int(s, "seq", 0));
        assert_string_equal(record.pod, w->whose->name);
        saved += (int64_t)record.session.seq == json_int(s, "seq", 0) && json_bool(s, "connected");
    }
    return saved == w->count;
}

static uint64_t stored_count(struct bus *bus)
{
    CLEANUP(json_decref) json_t *info = js_ask(bus, "$JS.API.STREAM.INFO.EVENTS", "");
    return (uint64_t)json_int(json_object_get(info, "state"), "last_seq", 0);
}

/* The message an event is about, as the record names it; 0: none. */
static uint64_t message_of(const char *type, const char *payload)
{
    CLEANUP(json_decref) json_t *d = NULL;
    assert_int_equal(json_parse(payload, strlen(payload), &d, NULL), STATUS_OK);
    if (strncmp(type, "MESSAGE_REACTION_", 17) == 0)
        return json_id(d, "message_id");
    return strncmp(type, "MESSAGE_", 8) == 0 ? json_id(d, "id") : 0;
}

static bool is_compared(const char *type)
{
    return strncmp(type, "MESSAGE_", 8) == 0 || strcmp(type, "GUILD_MEMBER_ADD") == 0;
}

static void add_line(json_t *guilds, uint64_t guild_id, const char *type, uint64_t message_id)
{
    char key[24], line[128];

    (void)snprintf(key, sizeof(key), "%" PRIu64, guild_id);
    (void)snprintf(line, sizeof(line), "%s %" PRIu64, type, message_id);
    if (!json_object_get(guilds, key))
        json_object_set_new(guilds, key, json_array());
    json_array_append_new(json_object_get(guilds, key), json_string(line));
}

/* Each guild's sequence numbers of a session only grow: order, and no event twice. */
static void check_order(json_t *last, const Guildbus__V1__Event *e)
{
    char key[160];

    (void)snprintf(key, sizeof(key), "%" PRIu64 " %s", e->guild_id, e->session);
    if ((int64_t)e->seq <= json_int(last, key, 0))
        fail_msg("guild %" PRIu64 " seq %" PRIu64 " after %" PRId64, e->guild_id, e->seq,
                 json_int(last, key, 0));
    json_object_set_new(last, key, json_integer((json_int_t)e->seq));
}

/* guild id → ["TYPE message", …] in the order stored. */
static json_t *stored_events(struct bus *bus)
{
    CLEANUP(json_decref) json_t *last = json_object();
    json_t *guilds = json_object();

    for (uint64_t n = 1, count = stored_count(bus); n <= count; n++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        CLEANUP(xfree) char *data = NULL;
        char body[48];
        size_t size;
        Guildbus__V1__Envelope *e = NULL;
        (void)snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", n);
        const struct bus_out out = { .subject = "$JS.API.DIRECT.GET.EVENTS",
                                     .data = body,
                                     .size = strlen(body) };
        assert_int_equal(bus_request_wait(bus, &out, 5000, &data, &size, NULL), STATUS_OK);
        assert_int_equal(codec_decode(data, size, arena, &e, NULL), STATUS_OK);
        check_order(last, e->event);
        if (is_compared(e->event->type))
            add_line(guilds, e->event->guild_id, e->event->type,
                     message_of(e->event->type, e->event->payload_json));
    }
    return guilds;
}

static json_t *sent_events(struct world *w)
{
    CLEANUP(xfree) char *text = sim_call(w, "/record?kind=event", NULL);
    json_t *guilds = json_object();
    char *rest = text;

    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line;) {
        CLEANUP(json_decref) json_t *e = NULL;
        assert_int_equal(json_parse(line, strlen(line), &e, NULL), STATUS_OK);
        if (is_compared(json_str(e, "type")))
            add_line(guilds, json_id(e, "guild_id"), json_str(e, "type"), json_id(e, "message_id"));
    }
    return guilds;
}

static size_t line_count(json_t *guilds)
{
    size_t n = 0;
    const char *key;
    json_t *lines;
    json_object_foreach(guilds, key, lines) n += json_array_size(lines);
    return n;
}

/* Every event that Discord sent is stored once, each guild's in Discord's order. Returns how many.
 */
static size_t check_all_stored(struct world *w, struct bus *bus)
{
    CLEANUP(json_decref) json_t *sent = sent_events(w);
    CLEANUP(json_decref) json_t *stored = stored_events(bus);
    const char *guild;
    json_t *lines;

    json_object_foreach(sent, guild, lines)
    {
        const json_t *there = json_object_get(stored, guild);
        if (json_array_size(lines) != json_array_size(there))
            fail_msg("guild %s: sent %zu, stored %zu", guild, json_array_size(lines),
                     json_array_size(there));
        if (!json_equal(lines, there))
            fail_msg("guild %s: another order", guild);
    }
    assert_int_equal(line_count(sent), line_count(stored));
    return line_count(sent);
}

static bool are_lines_equal(const json_t *a, size_t from_a, const json_t *b, size_t from_b,
                            size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!json_equal(json_array_get(a, from_a + i), json_array_get(b, from_b + i)))
            return false;
    return true;
}

/* What stands there is all that was sent up to some event, then all from that one or an earlier one
 * on: one set of shards after the other. */
static bool is_sent_and_replayed(const json_t *sent, const json_t *there)
{
    size_t n = json_array_size(sent), m = json_array_size(there), again = m - n;

    if (m < n)
        return false;
    for (size_t from = 0; from + again <= n; from++)
        if (are_lines_equal(there, 0, sent, 0, from + again) &&
            are_lines_equal(there, from + again, sent, from, n - from))
            return true;
    return false;
}

/* line → how often */
static json_t *counted(const json_t *lines)
{
    json_t *counts = json_object();
    size_t i;
    json_t *line;

    json_array_foreach(lines, i, line)
    {
        const char *text = json_string_value(line);
        json_object_set_new(counts, text, json_integer(json_int(counts, text, 0) + 1));
    }
    return counts;
}

/* Whatever the order and however often. */
static void check_nothing_lost(struct world *w, struct bus *bus)
{
    CLEANUP(json_decref) json_t *sent = sent_events(w);
    CLEANUP(json_decref) json_t *stored = stored_events(bus);
    const char *guild, *line;
    json_t *lines, *count;

    json_object_foreach(sent, guild, lines)
    {
        CLEANUP(json_decref) json_t *wanted = counted(lines);
        CLEANUP(json_decref) json_t *there = counted(json_object_get(stored, guild));
        json_object_foreach(wanted, line, count)
        {
            if (json_int(there, line, 0) < json_integer_value(count))
                fail_msg("guild %s: %s is not stored", guild, line);
        }
    }
}

/* As check_all_stored, after another set of shards has taken over. Returns how many came twice. */
static size_t check_all_stored_over(struct world *w, struct bus *bus)
{
    CLEANUP(json_decref) json_t *sent = sent_events(w);
    CLEANUP(json_decref) json_t *stored = stored_events(bus);
    const char *guild;
    json_t *lines;

    json_object_foreach(sent, guild, lines)
    {
        const json_t *there = json_object_get(stored, guild);
        if (!is_sent_and_replayed(lines, there))
            fail_msg("guild %s: sent %zu, stored %zu, not one set of shards after the other", guild,
                     json_array_size(lines), json_array_size(there));
    }
    return line_count(stored) - line_count(sent);
}

/* ---- what tests begin and end with ---- */

static void start_live(struct world *w)
{
    pod_start(&w->a, false);
    wait_for(w, are_all_live);
}

/* Traffic, with something done to it in the middle. */
static void half_way(struct world *w, int events, int events_per_s)
{
    sim_traffic(w, events, events_per_s);
    w->want = (uint64_t)events / 2;
    wait_for(w, is_half_sent);
}

static void finish(struct world *w, struct pod *p)
{
    wait_for(w, is_traffic_over);
    w->whose = p;
    wait_for(w, is_all_saved);
    assert_true(check_all_stored(w, p->bus) > 0);
}

#endif
