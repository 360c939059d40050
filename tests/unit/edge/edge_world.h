/* edge_world.h - a real guildbus-edge between a real nats-server and stand-ins for Discord and a
 * guild's owner.
 *
 *     test thread ──HTTP──▶ guildbus-edge ──NATS──▶ owner (world thread) ; ──HTTP──▶ Discord (world
 * thread)
 *
 * The test thread sets the world's fields before a request and reads them after its answer, under
 * the lock. */
#ifndef TESTS_EDGE_WORLD_H
#define TESTS_EDGE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/http_server.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "messages/codec.h"
#include "messages/streams.h"
#include "messages/subjects.h"
#include "tests/unit/nats_auth.h"

enum { OWNED = 8138, UNOWNED = 9999, FOREIGN = 7777, PLAIN_MEMBER = 6666, KICKER = 5555 };
enum { WAIT_MS = 20000, DEFER_MS = 400, REPEAT_MS = 50 };
static const char TOKEN[] = "visitor-token", CODE[] = "the-code";

struct world {
    pthread_mutex_t mu;
    pthread_t thread;
    struct loop *loop;
    struct bus *bus;
    struct http_server *discord;
    /* the owner */
    bool is_silent;
    enum status refuse; /* answered instead of a reply */
    int refuse_times;   /* so often; -1: always */
    const char *name;   /* of the guild, of its authors */
    int interactions, portals;
    char payload[64 * 1024], traceparent[80], request_id[80], patch[1024];
    uint64_t actor_id;
    /* Discord */
    bool is_revoked;
    int revocations, guild_reads;
    char token_form[2048];
    /* the test's side */
    struct http_client *http;
    struct mailbox *box;
    struct sign_key *key;
    pid_t edge;
    bool is_stopping; /* the edge was told to stop */
    char dir[64], url[64];
};

static struct world world = { .mu = PTHREAD_MUTEX_INITIALIZER };

static inline void world_lock(void)
{
    pthread_mutex_lock(&world.mu);
}
static inline void world_unlock(void)
{
    pthread_mutex_unlock(&world.mu);
}

/* --- the owner --- */

static inline void answer(const struct bus_in *in, Guildbus__V1__Envelope *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    void *data;
    size_t size;

    assert_int_equal(codec_encode(e, a, &data, &size, NULL), STATUS_OK);
    assert_int_equal(bus_respond(world.bus, in, data, size, false, NULL), STATUS_OK);
}

/* True: the request was answered with an error, or is not to be answered. */
static inline bool owner_declines(const struct bus_in *in)
{
    Guildbus__V1__Envelope e;
    Guildbus__V1__Error error;

    guildbus__v1__envelope__init(&e);
    guildbus__v1__error__init(&error);
    if (world.is_silent)
        return true;
    if (world.refuse == STATUS_OK || world.refuse_times == 0)
        return false;
    if (world.refuse_times > 0)
        world.refuse_times--;
    error.status = world.refuse;
    e.body_case = GUILDBUS__V1__ENVELOPE__BODY_ERROR;
    e.error = &error;
    answer(in, &e);
    return true;
}

static inline void on_interaction(void *ctx UNUSED, uint64_t tag UNUSED, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    Guildbus__V1__Envelope *e, out;
    Guildbus__V1__InteractionReply reply;
    static char callback[] = "{\"type\":4,\"data\":{\"content\":\"from the owner\"}}";

    guildbus__v1__envelope__init(&out);
    guildbus__v1__interaction_reply__init(&reply);
    world_lock();
    assert_int_equal(codec_decode(in->data, in->size, a, &e, NULL), STATUS_OK);
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_INTERACTION);
    world.interactions++;
    snprintf(world.payload, sizeof(world.payload), "%s", e->interaction->payload_json);
    const char *trace = bus_header_get(in, "traceparent");
    snprintf(world.traceparent, sizeof(world.traceparent), "%s", trace ? trace : "");
    if (!owner_declines(in)) {
        reply.id = e->interaction->id;
        reply.callback_json = callback;
        out.body_case = GUILDBUS__V1__ENVELOPE__BODY_INTERACTION_REPLY;
        out.interaction_reply = &reply;
        answer(in, &out);
    }
    world_unlock();
}

static inline void answer_activity(const struct bus_in *in, Guildbus__V1__Envelope *out,
                                   Guildbus__V1__PortalReply *reply)
{
    static char first[] = "2026-11-22", second[] = "2026-11-23";
    Guildbus__V1__ActivityReply activity;
    Guildbus__V1__ActivityDay a, b;
    Guildbus__V1__ActivityDay *days[] = { &a, &b };

    guildbus__v1__activity_reply__init(&activity);
    guildbus__v1__activity_day__init(&a);
    guildbus__v1__activity_day__init(&b);
    a.day = first;
    a.messages = 12;
    b.day = second;
    b.messages = 30;
    activity.days = days;
    activity.n_days = 2;
    reply->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_ACTIVITY;
    reply->activity = &activity;
    answer(in, out);
}

static inline void answer_reports(const struct bus_in *in, Guildbus__V1__Envelope *out,
                                  Guildbus__V1__PortalReply *reply)
{
    static char hostile[] = "</td><script>alert(1)</script>", when[] = "2026-11-23T10:00:00.000Z";
    Guildbus__V1__ReportsReply reports;
    Guildbus__V1__Report report;
    Guildbus__V1__Report *list[] = { &report };

    guildbus__v1__reports_reply__init(&reports);
    guildbus__v1__report__init(&report);
    report.reason = hostile;
    report.staff_id = 5;
    report.staff_username = hostile;
    report.created_at = when;
    report.user_id = 77;
    reports.reports = list;
    reports.n_reports = 1;
    reports.total = 1;
    reply->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_REPORTS;
    reply->reports = &reports;
    answer(in, out);
}

static inline void answer_settings(const struct bus_in *in, Guildbus__V1__Envelope *out,
                                   Guildbus__V1__PortalReply *reply)
{
    static char stored[] = "{\"modLog\":\"4711\",\"moderator\":\"42\"}";
    Guildbus__V1__SettingsReply settings;

    guildbus__v1__settings_reply__init(&settings);
    settings.settings_json = stored;
    reply->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_SETTINGS;
    reply->settings = &settings;
    answer(in, out);
}

static inline void answer_overview(const struct bus_in *in, Guildbus__V1__Envelope *out,
                                   Guildbus__V1__PortalReply *reply)
{
    Guildbus__V1__OverviewReply overview;

    guildbus__v1__overview_reply__init(&overview);
    overview.messages = 4242;
    overview.authors = 17;
    reply->reply_case = GUILDBUS__V1__PORTAL_REPLY__REPLY_OVERVIEW;
    reply->overview = &overview;
    answer(in, out);
}

static inline void on_portal(void *ctx UNUSED, uint64_t guild_id, const struct bus_in *in)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    Guildbus__V1__Envelope *e, out;
    Guildbus__V1__PortalReply reply;
    static char pod[] = "gw-0";

    guildbus__v1__envelope__init(&out);
    guildbus__v1__portal_reply__init(&reply);
    world_lock();
    assert_int_equal(codec_decode(in->data, in->size, a, &e, NULL), STATUS_OK);
    assert_int_equal(e->body_case, GUILDBUS__V1__ENVELOPE__BODY_PORTAL);
    assert_int_equal(e->portal->guild_id, guild_id);
    world.portals++;
    world.actor_id = e->portal->actor_id;
    reply.guild_id = guild_id;
    reply.pod = pod;
    out.body_case = GUILDBUS__V1__ENVELOPE__BODY_PORTAL_REPLY;
    out.portal_reply = &reply;
    if (owner_declines(in)) {
        /* done */
    } else if (e->portal->query_case == GUILDBUS__V1__PORTAL_REQUEST__QUERY_ACTIVITY) {
        answer_activity(in, &out, &reply);
    } else if (e->portal->query_case == GUILDBUS__V1__PORTAL_REQUEST__QUERY_REPORTS) {
        answer_reports(in, &out, &reply);
    } else if (e->portal->query_case == GUILDBUS__V1__PORTAL_REQUEST__QUERY_OVERVIEW) {
        answer_overview(in, &out, &reply);
    } else {
        if (e->portal->query_case == GUILDBUS__V1__PORTAL_REQUEST__QUERY_CHANGE_SETTINGS) {
            snprintf(world.patch, sizeof(world.patch), "%s",
                     e->portal->change_settings->patch_json);
            snprintf(world.request_id, sizeof(world.request_id), "%s", e->portal->request_id);
        }
        answer_settings(in, &out, &reply);
    }
    world_unlock();
}

static inline void own_guild(uint64_t guild_id)
{
    static struct bus_sub *subs[8];
    static size_t count;
    struct subject interaction = subject_interaction(guild_id), portal = subject_portal(guild_id);
    struct err err;

    assert_true(count + 2 <= ARRAY_LEN(subs));
    const struct bus_subscription listen[] = {
        { interaction.text, "owner", loop_mailbox(world.loop), on_interaction, NULL, guild_id },
        { portal.text, "owner", loop_mailbox(world.loop), on_portal, NULL, guild_id },
    };
    for (size_t i = 0; i < ARRAY_LEN(listen); i++)
        if (bus_subscribe(world.bus, &listen[i], &subs[count++], &err) != STATUS_OK)
            fail_msg("%s", err.text);
}

/* --- Discord --- */

static inline void discord_guilds(struct http_exchange *x)
{
    world.guild_reads++;
    http_respond_json(
        x, 200,
        "[{\"id\":\"8138\",\"name\":\"<b>Owned & \\\"mine\\\"</b>\",\"owner\":true,\"permissions\":\"0\"},"
        "{\"id\":\"9999\",\"name\":\"Unserved\",\"owner\":false,\"permissions\":\"32\"},"
        "{\"id\":\"5555\",\"name\":\"Kicker\",\"owner\":false,\"permissions\":\"2\"},"
        "{\"id\":\"6666\",\"name\":\"Plain member\",\"owner\":false,\"permissions\":\"2048\"}]");
}

static inline void on_discord(void *ctx UNUSED, struct http_exchange *x)
{
    const char *path = http_path(x), *authorization = http_header(x, "authorization");
    size_t size;
    const char *body = http_body(x, &size);

    world_lock();
    bool known = authorization && strncmp(authorization, "Bearer ", 7) == 0 &&
                 strcmp(authorization + 7, TOKEN) == 0 && !world.is_revoked;
    if (strcmp(path, "/api/v10/oauth2/token") == 0) {
        snprintf(world.token_form, sizeof(world.token_form), "%s", body);
        const char *code = http_form(x, "code");
        if (code && strcmp(code, CODE) == 0)
            http_respond_json(
                x, 200,
                "{\"access_token\":\"visitor-token\",\"token_type\":\"Bearer\",\"expires_in\":604800}");
        else
            http_respond_json(x, 400, "{\"error\":\"invalid_grant\"}");
    } else if (strcmp(path, "/api/v10/oauth2/token/revoke") == 0) {
        world.revocations++;
        world.is_revoked = true;
        http_respond_json(x, 200, "{}");
    } else if (!known) {
        http_respond_json(x, 401, "{\"message\":\"401: Unauthorized\"}");
    } else if (strcmp(path, "/api/v10/users/@me") == 0) {
        http_respond_json(x, 200,
                          "{\"id\":\"31\",\"username\":\"ann\",\"global_name\":\"<i>Ann\"}");
    } else {
        discord_guilds(x);
    }
    world_unlock();
}

/* --- start and stop --- */

static inline void *run_world(void *arg UNUSED)
{
    loop_run(world.loop);
    return NULL;
}

static inline void check(enum status status, const struct err *err)
{
    if (status != STATUS_OK)
        fail_msg("%s", err->text);
}

static inline void start_stand_ins(void)
{
    struct bus_config bus = { .url = test_nats_url(), .name = "test" };
    struct http_server_config discord = {
        .name = "discord", .bind = "127.0.0.1", .max_body = 65536, .on_request = on_discord
    };
    struct streams_config streams = { .replicas = 1, .events_hours = 1 };
    struct err err;

    check(loop_new(&world.loop, &err), &err);
    check(bus_open(&bus, &world.bus, &err), &err);
    check(streams_ensure(world.bus, &streams, &err), &err);
    own_guild(OWNED);
    own_guild(KICKER);
    own_guild(0);
    check(bus_flush(world.bus, WAIT_MS, &err), &err);
    check(http_server_listen(world.loop, &discord, &world.discord, &err), &err);
    assert_int_equal(pthread_create(&world.thread, NULL, run_world, NULL), 0);
}

/* The program stands beside the test. */
static inline void exec_edge(const char *public_hex)
{
    char self[512], program[640], text[128];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0)
        _exit(127);
    self[n] = '\0';
    snprintf(program, sizeof(program), "%s/guildbus-edge", dirname(self));
    snprintf(text, sizeof(text), "http://127.0.0.1:%d/api/v10", http_server_port(world.discord));
    setenv("DISCORD_API_URL", text, 1);
    snprintf(text, sizeof(text), "%s/port", world.dir);
    setenv("HTTP_PORT_FILE", text, 1);
    setenv("HTTP_PORT", "0", 1);
    setenv("DISCORD_PUBLIC_KEY", public_hex, 1);
    setenv("DISCORD_APPLICATION_ID", "1234", 1);
    setenv("DISCORD_CLIENT_SECRET", "client-secret", 1);
    setenv("SESSION_SECRET", "a secret of the test that is long enough", 1);
    snprintf(text, sizeof(text), "%d", DEFER_MS);
    setenv("INTERACTION_DEFER_MS", text, 1);
    snprintf(text, sizeof(text), "%d", REPEAT_MS);
    setenv("INTERACTION_REPEAT_MS", text, 1);
    setenv("LOG_LEVEL", "warn", 1);
    execl(program, program, (char *)NULL);
    _exit(127);
}

/* Waits for the port file; fails when the program ends first. */
static inline int wait_for_port(void)
{
    char path[96];
    int port = 0, code;

    snprintf(path, sizeof(path), "%s/port", world.dir);
    while (port == 0) {
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%d", &port) != 1)
            port = 0;
        if (file)
            fclose(file);
        if (waitpid(world.edge, &code, WNOHANG) == world.edge)
            fail_msg("guildbus-edge ended with %d", code);
        if (port == 0)
            usleep(5000);
    }
    return port;
}

static inline int start_world(void **state UNUSED)
{
    static const uint8_t seed[32] = "a seed for the test's own key.";
    char public_hex[65];
    struct err err;

    if (!getenv("NATS_URL")) {
        fprintf(stderr, "NATS_URL is not set: run it through tests/run_with_nats.sh\n");
        return -1;
    }
    start_stand_ins();
    check(sign_private_key_new(seed, &world.key, &err), &err);
    check(http_client_new("test", &world.http, &err), &err);
    check(mailbox_new(64, &world.box, &err), &err);
    sign_public_hex(world.key, public_hex);
    snprintf(world.dir, sizeof(world.dir), "/tmp/guildbus-edge.XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    world.edge = fork();
    if (world.edge == 0)
        exec_edge(public_hex);
    snprintf(world.url, sizeof(world.url), "http://127.0.0.1:%d", wait_for_port());
    return 0;
}

static inline int stop_world(void **state UNUSED)
{
    char path[96];
    int code = -1;

    if (!world.is_stopping) /* a second signal would end it at once */
        kill(world.edge, SIGTERM);
    waitpid(world.edge, &code, 0);
    snprintf(path, sizeof(path), "%s/port", world.dir);
    unlink(path);
    rmdir(world.dir);
    loop_stop(world.loop);
    pthread_join(world.thread, NULL);
    http_client_free(world.http);
    mailbox_free(world.box);
    bus_close(world.bus);
    loop_free(world.loop);
    sign_key_free(world.key);
    if (code != 0)
        fprintf(stderr, "guildbus-edge ended with %d\n", code);
    return code;
}

/* Before each test: everybody is well. */
static inline int calm_world(void **state UNUSED)
{
    world_lock();
    world.is_silent = world.is_revoked = false;
    world.refuse = STATUS_OK;
    world.refuse_times = -1;
    world.interactions = world.portals = world.revocations = 0;
    world.payload[0] = world.traceparent[0] = world.patch[0] = world.request_id[0] = '\0';
    world_unlock();
    return 0;
}

/* --- HTTP, as the test speaks it --- */

struct answer {
    bool is_done;
    enum status status;
    int code;
    char *body;
    char headers[12][1024]; /* as answer_header names them */
};

static const char *const answer_headers[] = {
    "location",
    "set-cookie",
    "content-security-policy",
    "x-content-type-options",
    "content-type",
    "cache-control",
    "allow",
    "etag",
    "referrer-policy",
    "cross-origin-opener-policy",
};

static inline void answer_release(struct answer *a)
{
    free(a->body);
}

/* "" when it is absent. */
static inline const char *answer_header(const struct answer *a, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(answer_headers); i++)
        if (strcmp(answer_headers[i], name) == 0)
            return a->headers[i];
    fail_msg("%s is not kept", name);
    return "";
}

static inline void keep_answer(void *ctx, uint64_t tag UNUSED, const struct http_result *r)
{
    struct answer *a = ctx;

    a->is_done = true;
    a->status = r->status;
    a->code = r->code;
    a->body = xstrdup(r->body ? r->body : "");
    for (size_t i = 0; i < ARRAY_LEN(answer_headers); i++) {
        const char *value = http_result_header(r, answer_headers[i]);
        snprintf(a->headers[i], sizeof(a->headers[i]), "%s", value ? value : "");
    }
}

static inline void wait_for(bool *done)
{
    struct pollfd p = { .fd = mailbox_fd(world.box), .events = POLLIN };

    while (!*done) {
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        mailbox_drain(world.box, NULL);
    }
}

/* headers: NULL-terminated, may be NULL. a is filled once wait_for(&a->is_done) returns. */
static inline void fetch_begin(struct answer *a, const char *method, const char *path,
                               const char *const *headers, const void *body, size_t size)
{
    CLEANUP(xfree) char *url = xasprintf("%s%s", world.url, path);

    memset(a, 0, sizeof(*a));
    http_client_send(world.http, &(struct http_call){ .method = method,
                                                      .url = url,
                                                      .headers = headers,
                                                      .body = body,
                                                      .size = size,
                                                      .timeout_ms = WAIT_MS,
                                                      .box = world.box,
                                                      .on_done = keep_answer,
                                                      .ctx = a });
}

static inline void fetch(struct answer *a, const char *method, const char *path,
                         const char *const *headers, const void *body, size_t size)
{
    fetch_begin(a, method, path, headers, body, size);
    wait_for(&a->is_done);
    assert_int_equal(a->status, STATUS_OK);
}

#endif
