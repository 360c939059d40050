/* cluster.h - the real coordinator beside pods that this test plays, over a real nats-server
 * (NATS_URL).
 *
 *     guildbus-coordinator (one or two processes) ◀──bus──▶ fake pods: register, beat, claim, warm,
 * take
 *
 * A fake pod does what guildbus.proto asks for unless a test tells it not to. Every epoch that any
 * pod is given is remembered, and a second pod that gets the same one fails the test. Nothing
 * sleeps: cluster_until turns the cluster until a condition holds.
 *
 * THREAD: the test's. */
#ifndef TESTS_COORDINATOR_CLUSTER_H
#define TESTS_COORDINATOR_CLUSTER_H

/* Each test program uses a part of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/idmap.h"
#include "base/json.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "messages/codec.h"
#include "messages/subjects.h"

#define OK(call) assert_int_equal((call), STATUS_OK)

enum {
    PODS = 5,
    COORDINATORS = 2,
    LEASE_MS = 1000,
    BEAT_MS = 200,
    PATIENCE_MS = 60000, /* a hang, not a measure */
};

struct cluster;

struct fake_pod {
    struct cluster *cluster;
    char id[16];
    uint64_t incarnation;
    bool registered, beats, draining;
    /* what it does with orders */
    bool ignores_own, ignores_warm, ignores_take, fails_warm, hides_claims;
    int loses_owns;       /* that many are not answered */
    uint64_t knows_epoch; /* refuses Owns below it, as a pod does whose log is ahead */
    struct bus_sub *sub;
    int64_t next_beat_ms;
    bool beat_in_flight;
    /* what it heard */
    uint32_t capacity, schema, load, recommended_shards;
    Guildbus__V1__HeartbeatReply reply; /* scalars of the last one */
    uint32_t shards[64], refused_beats;
    int owns, warms, takes, drops, claims_refused;
    uint64_t last_move, last_take_epoch, last_unseal_epoch, last_own_epoch;
    uint32_t last_own_reason;
    struct idmap *epochs; /* guild → highest epoch claimed here + 1 */
};

struct cluster {
    struct bus *bus;
    struct mailbox *box;
    struct http_client *http;
    pid_t pids[COORDINATORS];
    int ports[COORDINATORS];
    char dir[64], log[COORDINATORS][96];
    char database_url[512]; /* "": SQLite */
    struct fake_pod pods[PODS];
    struct idmap *epoch_owners; /* hash of guild and epoch → pod */
    int starts;
};

/* ---- processes ---- */

static void cluster_environment(struct cluster *w)
{
    char lease[16];

    (void)snprintf(lease, sizeof(lease), "%d", LEASE_MS);
    setenv("DATA_DIR", w->dir, 1);
    setenv("API_PORT", "0", 1);
    setenv("ADMIN_PORT", "0", 1);
    setenv("COORDINATOR_TOKEN", "sesame", 1);
    setenv("LEASE_MS", lease, 1);
    setenv("LOG_LEVEL", "debug", 1);
    if (*w->database_url)
        setenv("DATABASE_URL", w->database_url, 1);
    else
        unsetenv("DATABASE_URL");
}

static void cluster_exec(struct cluster *w, int at)
{
    char self[512], program[600];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    cluster_environment(w);
    int fd = open(w->log[at], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (n <= 0 || fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    (void)snprintf(program, sizeof(program), "%s/guildbus-coordinator", self);
    execl(program, program, (char *)NULL);
    _exit(127);
}

static char *cluster_log(const struct cluster *w, int at)
{
    int fd = open(w->log[at], O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0)
            close(fd);
        return xstrdup("");
    }
    char *text = xcalloc(1, (size_t)st.st_size + 1);
    ssize_t n = read(fd, text, (size_t)st.st_size);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static bool cluster_logged(const struct cluster *w, int at, const char *what)
{
    CLEANUP(xfree) char *text = cluster_log(w, at);

    return strstr(text, what);
}

static void cluster_give_up(const struct cluster *w, const char *what)
{
    for (int i = 0; i < COORDINATORS; i++) {
        CLEANUP(xfree) char *text = w->pids[i] ? cluster_log(w, i) : xstrdup("");
        size_t size = strlen(text);
        fprintf(stderr, "---- coordinator %d ----\n%s\n", i,
                size > 12000 ? text + size - 12000 : text);
    }
    fail_msg("%s did not happen", what);
}

static void cluster_turn(struct cluster *w);

#define cluster_until(w, condition)                                                                \
    do {                                                                                           \
        int64_t end_ = clock_now_ms() + PATIENCE_MS;                                               \
        while (!(condition)) {                                                                     \
            if (clock_now_ms() > end_)                                                             \
                cluster_give_up((w), #condition);                                                  \
            cluster_turn(w);                                                                       \
        }                                                                                          \
    } while (0)

static bool cluster_find_port(struct cluster *w, int at)
{
    CLEANUP(xfree) char *text = cluster_log(w, at);
    const char *line = strstr(text, "event=api_listening"),
               *port = line ? strstr(line, " port=") : NULL;

    if (!port || !strchr(port + 6, '\n'))
        return false;
    w->ports[at] = (int)strtol(port + 6, NULL, 10);
    return true;
}

/* Waits for its API only: whether it leads is for the test. */
static void cluster_start(struct cluster *w, int at)
{
    (void)snprintf(w->log[at], sizeof(w->log[at]), "%s/log.%d", w->dir, w->starts++);
    w->pids[at] = fork();
    assert_true(w->pids[at] >= 0);
    if (!w->pids[at])
        cluster_exec(w, at);
    cluster_until(w, cluster_find_port(w, at));
}

static void cluster_lead(struct cluster *w, int at)
{
    cluster_start(w, at);
    cluster_until(w, cluster_logged(w, at, "event=leading"));
}

/* Returns the exit status, or minus the signal. */
static int cluster_stop(struct cluster *w, int at, int signal_number)
{
    int how = 0;

    if (!w->pids[at])
        return 0;
    kill(w->pids[at], signal_number);
    while (waitpid(w->pids[at], &how, WNOHANG) == 0)
        cluster_turn(w);
    w->pids[at] = 0;
    return WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
}

/* ---- HTTP ---- */

struct answered {
    int code;
    json_t *root;
};

static void answered_release_at(struct answered *a)
{
    json_decref(a->root);
}
#define ANSWERED __attribute__((cleanup(answered_release_at))) struct answered

static struct answered cluster_call(struct cluster *w, int at, const char *method, const char *path,
                                    const char *body, const char *authorization)
{
    char url[256], header[128];
    const char *headers[] = { header, NULL };
    CLEANUP(xfree) char *text = NULL;
    struct answered a = { 0 };
    struct err err = { 0 };

    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", w->ports[at], path);
    (void)snprintf(header, sizeof(header), "Authorization: %s", authorization ? authorization : "");
    const struct http_call call = {
        .method = method,
        .url = url,
        .headers = authorization ? headers : NULL,
        .body = body,
        .size = body ? strlen(body) : 0,
    };
    if (http_client_wait(w->http, &call, &a.code, &text, &err) != STATUS_OK)
        fail_msg("%s %s: %s", method, url, err.text);
    a.root = json_loads(text, 0, NULL);
    return a;
}

static struct answered cluster_get(struct cluster *w, const char *path)
{
    return cluster_call(w, 0, "GET", path, NULL, NULL);
}

static json_int_t cluster_status(struct cluster *w, const char *key)
{
    ANSWERED a = cluster_get(w, "/status");
    const json_t *value = json_object_get(a.root, key);

    assert_int_equal(a.code, 200);
    return json_is_boolean(value) ? json_is_true(value) : json_integer_value(value);
}

static bool cluster_pod_is(struct cluster *w, const char *pod, const char *status)
{
    ANSWERED a = cluster_get(w, "/pod-health");
    size_t i;
    json_t *row;

    json_array_foreach(json_object_get(a.root, "pods"), i, row)
    {
        if (!strcmp(json_str(row, "pod_id"), pod))
            return !strcmp(json_str(row, "status"), status);
    }
    return false;
}

/* The move's id; the call must be accepted. */
static uint64_t cluster_reassign(struct cluster *w, uint64_t guild_id, const char *pod)
{
    char body[128];

    (void)snprintf(body, sizeof(body), "{\"guild_id\":\"%" PRIu64 "\",\"pod_id\":\"%s\"}", guild_id,
                   pod);
    ANSWERED a = cluster_call(w, 0, "POST", "/reassign-guild", body, "Bearer sesame");
    if (a.code != 202) {
        CLEANUP(xfree) char *text = json_text(a.root);
        fail_msg("POST /reassign-guild %s: %d %s", body, a.code, text);
    }
    return json_id(a.root, "move_id");
}

static bool cluster_move_is(struct cluster *w, uint64_t id, const char *state)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/moves/%" PRIu64, id);
    ANSWERED a = cluster_get(w, path);
    return !strcmp(json_str(a.root, "state"), state);
}

/* "pod/state", as the API says. */
static bool cluster_guild_is(struct cluster *w, uint64_t guild_id, const char *pod,
                             const char *state)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/guild-assignments/%" PRIu64, guild_id);
    ANSWERED a = cluster_get(w, path);
    return a.code == 200 && !strcmp(json_str(a.root, "pod_id"), pod) &&
           !strcmp(json_str(a.root, "state"), state);
}

static uint64_t cluster_epoch(struct cluster *w, uint64_t guild_id)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/guild-assignments/%" PRIu64, guild_id);
    ANSWERED a = cluster_get(w, path);
    return json_id(a.root, "epoch");
}

/* ---- fake pods ---- */

static void pod_send(struct fake_pod *p, const char *subject, const Guildbus__V1__Envelope *e,
                     bus_on_reply on_reply)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    void *data;
    size_t size;

    OK(codec_encode(e, arena, &data, &size, NULL));
    const struct bus_out out = { .subject = subject, .data = data, .size = size };
    bus_request(p->cluster->bus, &out, 2000, p->cluster->box, on_reply, p, 0);
}

static Guildbus__V1__Envelope *pod_reply(enum status status, const struct bus_in *in,
                                         struct arena *arena)
{
    Guildbus__V1__Envelope *e = NULL;

    if (status != STATUS_OK)
        return NULL;
    OK(codec_decode(in->data, in->size, arena, &e, NULL));
    return e;
}

static void pod_on_registered(void *ctx, uint64_t tag UNUSED, enum status status,
                              const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    const Guildbus__V1__Envelope *e = pod_reply(status, in, arena);

    if (e && e->body_case == GUILDBUS__V1__ENVELOPE__BODY_REGISTER_REPLY &&
        !e->register_reply->status)
        p->registered = true;
    p->beat_in_flight = false;
}

static void pod_register(struct fake_pod *p)
{
    const struct subject subject = subject_coordinator("register");
    Guildbus__V1__Envelope e;
    Guildbus__V1__Register r;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__register__init(&r);
    r.pod = p->id;
    r.incarnation = p->incarnation;
    r.capacity = p->capacity;
    r.schema = p->schema;
    r.version = (char[]){ "0.0.0" };
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_REGISTER_POD;
    e.register_pod = &r;
    p->beat_in_flight = true;
    pod_send(p, subject.text, &e, pod_on_registered);
}

static void pod_on_beat(void *ctx, uint64_t tag UNUSED, enum status status, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    const Guildbus__V1__Envelope *e = pod_reply(status, in, arena);

    p->beat_in_flight = false;
    if (!e || e->body_case != GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT_REPLY)
        return;
    p->reply = *e->heartbeat_reply;
    if (p->reply.status) {
        p->refused_beats++;
        p->registered = false; /* begins again */
        return;
    }
    assert_true(p->reply.n_shards <= ARRAY_LEN(p->shards));
    if (p->reply.n_shards)
        memcpy(p->shards, e->heartbeat_reply->shards, p->reply.n_shards * sizeof(p->shards[0]));
}

static void pod_beat(struct fake_pod *p)
{
    const struct subject subject = subject_heartbeat(p->id);
    Guildbus__V1__Envelope e;
    Guildbus__V1__Heartbeat h;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__heartbeat__init(&h);
    h.pod = p->id;
    h.incarnation = p->incarnation;
    h.version = (char[]){ "0.0.0" };
    h.capacity = p->capacity;
    h.schema = p->schema;
    h.units_per_s = p->load;
    h.guild_count = (uint32_t)idmap_count(p->epochs);
    h.draining = p->draining;
    h.recommended_shards = p->recommended_shards;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_HEARTBEAT;
    e.heartbeat = &h;
    p->beat_in_flight = true;
    pod_send(p, subject.text, &e, pod_on_beat);
}

static void pod_on_claimed(void *ctx, uint64_t tag UNUSED, enum status status,
                           const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    const Guildbus__V1__Envelope *e = pod_reply(status, in, arena);

    p->claims_refused += e && e->body_case == GUILDBUS__V1__ENVELOPE__BODY_ERROR;
}

/* Says that its Claim is in the log. */
static void pod_claim(struct fake_pod *p, uint64_t guild_id, uint64_t epoch, uint64_t move_id)
{
    const struct subject subject = subject_coordinator("claimed");
    Guildbus__V1__Envelope e;
    Guildbus__V1__Claimed c;

    if ((uintptr_t)idmap_get(p->epochs, guild_id) < epoch + 1)
        idmap_put(p->epochs, guild_id, (void *)(uintptr_t)(epoch + 1));
    if (p->hides_claims)
        return;
    guildbus__v1__envelope__init(&e);
    guildbus__v1__claimed__init(&c);
    c.guild_id = guild_id;
    c.pod = p->id;
    c.incarnation = p->incarnation;
    c.epoch = epoch;
    c.idx = 1;
    c.move_id = move_id;
    c.pause_us = move_id ? 1500 : 0;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CLAIMED;
    e.claimed = &c;
    pod_send(p, subject.text, &e, pod_on_claimed);
}

static void pod_on_ignored(void *ctx UNUSED, uint64_t tag UNUSED, enum status status UNUSED,
                           const struct bus_in *in UNUSED)
{
}

static void pod_report(struct fake_pod *p, uint64_t guild_id, uint64_t move_id,
                       Guildbus__V1__MoveStep step)
{
    const struct subject subject = subject_coordinator("move");
    Guildbus__V1__Envelope e;
    Guildbus__V1__MoveReport r;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__move_report__init(&r);
    r.move_id = move_id;
    r.guild_id = guild_id;
    r.pod = p->id;
    r.step = step;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_MOVE_REPORT;
    e.move_report = &r;
    pod_send(p, subject.text, &e, pod_on_ignored);
}

static void pod_respond(struct fake_pod *p, const struct bus_in *in, enum status status,
                        uint64_t epoch)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    Guildbus__V1__Envelope e;
    Guildbus__V1__ControlReply r;
    void *data;
    size_t size;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__control_reply__init(&r);
    r.status = (uint32_t)status;
    r.epoch = epoch;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_CONTROL_REPLY;
    e.control_reply = &r;
    OK(codec_encode(&e, arena, &data, &size, NULL));
    OK(bus_respond(p->cluster->bus, in, data, size, false, NULL));
}

/* Each epoch of a guild belongs to one pod process, for ever. */
static void pod_given(struct fake_pod *p, uint64_t guild_id, uint64_t epoch)
{
    uint64_t key = guild_id * 1000003 + epoch;
    void *owner = (void *)(uintptr_t)p->incarnation,
         *before = idmap_get(p->cluster->epoch_owners, key);

    if (before && before != owner)
        fail_msg("epoch %" PRIu64 " of guild %" PRIu64 " was given to two", epoch, guild_id);
    idmap_put(p->cluster->epoch_owners, key, owner);
}

static void pod_on_own(struct fake_pod *p, const Guildbus__V1__Own *own, const struct bus_in *in)
{
    p->owns++;
    p->last_own_epoch = own->epoch;
    p->last_own_reason = own->reason;
    pod_given(p, own->guild_id, own->epoch);
    if (p->loses_owns > 0) {
        p->loses_owns--;
        return;
    }
    bool behind = own->epoch <= p->knows_epoch;
    pod_respond(p, in, behind ? STATUS_CONFLICT : STATUS_OK, behind ? p->knows_epoch : own->epoch);
    if (!behind && !p->ignores_own)
        pod_claim(p, own->guild_id, own->epoch, 0);
}

static void pod_on_control(void *ctx, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct fake_pod *p = ctx;
    Guildbus__V1__Envelope *e = NULL;

    OK(codec_decode(in->data, in->size, arena, &e, NULL));
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_CONTROL);
    const Guildbus__V1__Control *c = e->control;
    if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_OWN) {
        pod_on_own(p, c->own, in);
        return;
    }
    pod_respond(p, in, STATUS_OK, 0);
    if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_DROP) {
        p->drops++;
    } else if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_WARM) {
        p->warms++;
        p->last_move = c->warm->move_id;
        if (!p->ignores_warm)
            pod_report(p, c->warm->guild_id, c->warm->move_id,
                       p->fails_warm ? GUILDBUS__V1__MOVE_STEP__MOVE_FAILED
                                     : GUILDBUS__V1__MOVE_STEP__MOVE_WARM);
    } else if (c->order_case == GUILDBUS__V1__CONTROL__ORDER_TAKE) {
        p->takes++;
        p->last_take_epoch = c->take->epoch;
        p->last_unseal_epoch = c->take->unseal_epoch;
        pod_given(p, c->take->guild_id, c->take->epoch);
        if (!p->ignores_take)
            pod_claim(p, c->take->guild_id, c->take->epoch, c->take->move_id);
    }
}

/* A new process of this pod: it knows nothing, and does as it is told. */
static struct fake_pod *pod_start(struct cluster *w, int at)
{
    struct fake_pod *p = &w->pods[at];
    const struct bus_subscription what = {
        .queue = NULL, .box = w->box, .on_message = pod_on_control, .ctx = p
    };
    struct subject subject;

    bus_unsubscribe(&p->sub);
    idmap_free(p->epochs);
    *p = (struct fake_pod){ .cluster = w,
                            .incarnation = sign_random_u64() >> 1,
                            .beats = true,
                            .capacity = 1000,
                            .schema = 1 };
    (void)snprintf(p->id, sizeof(p->id), "gw-%d", at + 1);
    p->epochs = idmap_new();
    subject = subject_control(p->id);
    struct bus_subscription sub = what;
    sub.subject = subject.text;
    OK(bus_subscribe(w->bus, &sub, &p->sub, NULL));
    OK(bus_flush(w->bus, 5000, NULL));
    return p;
}

/* As SIGKILL: no beats, no answers. */
static void pod_kill(struct fake_pod *p)
{
    p->beats = false;
    bus_unsubscribe(&p->sub);
}

static void pods_start(struct cluster *w, int count)
{
    for (int i = 0; i < count; i++)
        pod_start(w, i);
    for (int i = 0; i < count; i++)
        cluster_until(w, w->pods[i].registered);
}

static void pod_see(struct fake_pod *p, uint64_t first, size_t count)
{
    const struct subject subject = subject_coordinator("guilds-seen");
    CLEANUP(xfree) uint64_t *ids = xcalloc(count, sizeof(*ids));
    Guildbus__V1__Envelope e;
    Guildbus__V1__GuildsSeen s;

    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
    guildbus__v1__envelope__init(&e);
    guildbus__v1__guilds_seen__init(&s);
    s.pod = p->id;
    s.guild_ids = ids;
    s.n_guild_ids = count;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_GUILDS_SEEN;
    e.guilds_seen = &s;
    pod_send(p, subject.text, &e, pod_on_ignored);
}

static void pod_turn(struct fake_pod *p)
{
    if (!p->beats || p->beat_in_flight || clock_now_ms() < p->next_beat_ms)
        return;
    p->next_beat_ms = clock_now_ms() + BEAT_MS;
    if (p->registered)
        pod_beat(p);
    else
        pod_register(p);
}

static void cluster_turn(struct cluster *w)
{
    struct pollfd box = { .fd = mailbox_fd(w->box), .events = POLLIN };

    for (int i = 0; i < PODS; i++)
        pod_turn(&w->pods[i]);
    (void)poll(&box, 1, 10);
    mailbox_drain(w->box, w);
}

/* ---- the whole ---- */

static void cluster_purge(struct cluster *w)
{
    static const char *const streams[] = { "EVENTS", "ASSIGNMENTS", "KV_SHARDS" };
    char subject[64], *data = NULL;
    size_t size;

    for (size_t i = 0; i < ARRAY_LEN(streams) + SUBJECT_PARTITIONS; i++) {
        if (i < ARRAY_LEN(streams))
            (void)snprintf(subject, sizeof(subject), "$JS.API.STREAM.DELETE.%s", streams[i]);
        else
            (void)snprintf(subject, sizeof(subject), "$JS.API.STREAM.DELETE.LOG_%zu",
                           i - ARRAY_LEN(streams));
        OK(bus_request_wait(w->bus, &(struct bus_out){ .subject = subject }, 5000, &data, &size,
                            NULL));
        free(TAKE(data));
    }
}

/* A cluster without coordinators or pods; the streams of the test before are gone. */
static int cluster_setup(void **state)
{
    struct cluster *w = xcalloc(1, sizeof(*w));
    const struct bus_config config = { .url = getenv("NATS_URL"), .name = "test" };

    if (!config.url) {
        fprintf(stderr, "NATS_URL is not set: run it with tests/run_with_nats.sh\n");
        exit(77);
    }
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/guildbus-coordinator.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    OK(mailbox_new(100000, &w->box, NULL));
    OK(bus_open(&config, &w->bus, NULL));
    OK(http_client_new("test", &w->http, NULL));
    w->epoch_owners = idmap_new();
    cluster_purge(w);
    *state = w;
    return 0;
}

static int cluster_teardown(void **state)
{
    struct cluster *w = *state;
    char path[128];

    for (int i = 0; i < COORDINATORS; i++)
        assert_int_equal(cluster_stop(w, i, SIGTERM), 0);
    for (int i = 0; i < PODS; i++) {
        bus_unsubscribe(&w->pods[i].sub);
        idmap_free(w->pods[i].epochs);
    }
    http_client_free(w->http);
    bus_close(w->bus);
    mailbox_drain(w->box, w);
    mailbox_free(w->box);
    idmap_free(w->epoch_owners);
    for (int i = 0; i < w->starts; i++) {
        (void)snprintf(path, sizeof(path), "%s/log.%d", w->dir, i);
        (void)unlink(path);
    }
    static const char *const names[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/coordinator.sqlite3%s", w->dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(w->dir);
    free(w);
    return 0;
}

#define ON_CLUSTER(test) cmocka_unit_test_setup_teardown(test, cluster_setup, cluster_teardown)

#endif
