/* cluster.h - the real coordinator beside pods that the test plays, on a real nats-server.
 *
 *     guildbus-coordinator (one or two processes) ◀──NATS_URL──▶ fake pods ◀── the test
 *
 * Nothing sleeps: cluster_until turns the cluster until a condition holds.
 *
 * THREAD: the test's. */
#ifndef TESTS_COORDINATOR_CLUSTER_H
#define TESTS_COORDINATOR_CLUSTER_H

#include "fake_pod.h"
#include "tests/unit/nats_auth.h"

enum {
    PODS = 5,
    COORDINATORS = 2,
    LEASE_MS = 1000,
    PATIENCE_MS = 60000, /* a hang, not a measure */
};

struct cluster {
    struct wire wire;
    struct http_client *http;
    pid_t pids[COORDINATORS];
    int ports[COORDINATORS];
    char dir[64], log[COORDINATORS][96];
    char database_url[512]; /* "": SQLite */
    struct fake_pod pods[PODS];
    const char *settings[8][2]; /* of the coordinators that are started from now on */
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
    for (size_t i = 0; i < ARRAY_LEN(w->settings) && w->settings[i][0]; i++)
        setenv(w->settings[i][0], w->settings[i][1], 1);
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

static void cluster_set(struct cluster *w, const char *name, const char *value)
{
    size_t i = 0;

    while (w->settings[i][0] && strcmp(w->settings[i][0], name) != 0)
        i++;
    assert_true(i < ARRAY_LEN(w->settings));
    w->settings[i][0] = name;
    w->settings[i][1] = value;
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

/* A new process of pod gw-<at + 1>. */
static struct fake_pod *cluster_pod(struct cluster *w, int at)
{
    return pod_start(&w->wire, &w->pods[at], at + 1);
}

static void pods_start(struct cluster *w, int count)
{
    for (int i = 0; i < count; i++)
        (void)cluster_pod(w, i);
    for (int i = 0; i < count; i++)
        cluster_until(w, w->pods[i].registered);
}

static void cluster_turn(struct cluster *w)
{
    struct pollfd box = { .fd = mailbox_fd(w->wire.box), .events = POLLIN };

    for (int i = 0; i < PODS; i++)
        pod_turn(&w->pods[i]);
    (void)poll(&box, 1, 10);
    mailbox_drain(w->wire.box, w);
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
        OK(bus_request_wait(w->wire.bus, &(struct bus_out){ .subject = subject }, 5000, &data,
                            &size, NULL));
        free(TAKE(data));
    }
}

/* A cluster without coordinators or pods; the streams of the test before are gone. */
static int cluster_setup(void **state)
{
    struct cluster *w = xcalloc(1, sizeof(*w));
    const struct bus_config config = { .url = test_nats_url(),
                                       .name = "test",
                                       .inbox_prefix = SUBJECT_INBOX_GATEWAY };

    if (!config.url) {
        fprintf(stderr, "NATS_URL is not set: run it with tests/run_with_nats.sh\n");
        exit(77);
    }
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/guildbus-coordinator.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    OK(mailbox_new(100000, &w->wire.box, NULL));
    OK(bus_open(&config, &w->wire.bus, NULL));
    OK(http_client_new("test", &w->http, NULL));
    w->wire.epoch_owners = idmap_new();
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
        idmap_free(w->pods[i].followed);
    }
    http_client_free(w->http);
    bus_close(w->wire.bus);
    mailbox_drain(w->wire.box, w);
    mailbox_free(w->wire.box);
    idmap_free(w->wire.epoch_owners);
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
