/* guildbusctl-api - the verbs of guildbusctl that ask the coordinator or Discord, or need libraries. Started by
 * guildbusctl. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "coordinator/ctl/api.h"
#include "coordinator/ctl/api_print.h"
#include "coordinator/ctl/nats_keys.h"
#include "coordinator/ctl/request.h"

enum {
    PAGE = 1000,
    DEFAULT_MOVES = 20,
};

enum ctl_exit usage(const char *what, const char *value)
{
    (void)fprintf(stderr, "guildbusctl: %s%s\nguildbusctl: see guildbusctl --help\n", what, value);
    return CTL_USAGE;
}

enum ctl_exit print_json(const json_t *value)
{
    int failed = json_dumpf(value, stdout, JSON_INDENT(2));

    return failed || fputc('\n', stdout) < 0 ? CTL_FAILED : CTL_DONE;
}

/* ---- one verb each ---- */

static enum ctl_exit on_status(const struct request *r)
{
    json_t *answer = NULL;
    enum ctl_exit code = api_get(r->api, "/status", &answer);

    if (code != CTL_DONE)
        return code;
    if (r->json)
        code = print_json(answer);
    else
        print_members(answer, stdout);
    json_decref(answer);
    return code;
}

/* A page's rows, or all of its answer as JSON. */
enum ctl_exit show_list(const struct request *r, const char *path, const char *key,
                        const struct print_column *columns)
{
    struct print_table table = { .columns = columns };
    json_t *answer = NULL;
    enum ctl_exit code = api_get(r->api, path, &answer);

    if (code != CTL_DONE)
        return code;
    if (r->json)
        code = print_json(answer);
    else
        print_rows(&table, json_object_get(answer, key), stdout);
    json_decref(answer);
    return code;
}

static enum ctl_exit on_pods(const struct request *r)
{
    static const struct print_column columns[] = {
        { "POD", "pod_id" },
        { "STATUS", "status" },
        { "GUILDS", "guild_count" },
        { "CAPACITY", "capacity" },
        { "LOAD", "load" },
        { "LEASE MS", "lease_ms_left" },
        { "VERSION", "version" },
        { "SCHEMA", "schema" },
        { "SHARDS", "shards" },
        { "NEXT SHARDS", "next_shards" },
        { "STANDBY", "standbys" },
        { "LAST HEARTBEAT", "last_heartbeat" },
        { NULL, NULL },
    };

    return show_list(r, "/pod-health", "pods", columns);
}

static enum ctl_exit on_moves(const struct request *r)
{
    static const struct print_column columns[] = {
        { "ID", "id" },
        { "GUILD", "guild_id" },
        { "FROM", "source" },
        { "TO", "target" },
        { "STATE", "state" },
        { "REASON", "reason" },
        { "PAUSE US", "pause_us" },
        { "CREATED", "created_at" },
        { "FINISHED", "finished_at" },
        { "ERROR", "error" },
        { NULL, NULL },
    };
    char path[64];

    (void)snprintf(path, sizeof(path), "/moves?limit=%" PRId64,
                   r->limit < 0 ? (int64_t)DEFAULT_MOVES : r->limit);
    return show_list(r, path, "moves", columns);
}

/* The guilds come in pages; a million of them must not be held at once. */
struct guild_list {
    const struct request *request;
    struct print_table table;
    int64_t left; /* rows still wanted */
    uint64_t after;
    bool has_after, is_first, is_done;
};

static void print_elements(struct guild_list *list, const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        (void)fputs(list->is_first ? "{\"assignments\": [\n  " : ",\n  ", stdout);
        (void)json_dumpf(json_array_get(rows, i), stdout, JSON_COMPACT);
        list->is_first = false;
    }
}

static enum ctl_exit show_page(struct guild_list *list)
{
    int64_t limit = list->left < PAGE ? list->left : PAGE;
    char path[96], after[32] = "";
    json_t *answer = NULL;

    if (list->has_after) /* guild 0 is before none, so the first page names none */
        (void)snprintf(after, sizeof(after), "&after=%" PRIu64, list->after);
    (void)snprintf(path, sizeof(path), "/guild-assignments?limit=%" PRId64 "%s", limit, after);
    enum ctl_exit code = api_get(list->request->api, path, &answer);
    if (code != CTL_DONE)
        return code;
    const json_t *rows = json_object_get(answer, "assignments");
    size_t count = json_array_size(rows);
    if (list->request->json)
        print_elements(list, rows);
    else
        print_rows(&list->table, rows, stdout);
    list->left -= (int64_t)count;
    /* a server that does not go forward would keep us here for ever */
    uint64_t next = json_id(answer, "next");
    list->is_done = next <= list->after || list->left <= 0;
    list->after = next;
    list->has_after = true;
    json_decref(answer);
    return CTL_DONE;
}

static enum ctl_exit on_guilds(const struct request *r)
{
    static const struct print_column columns[] = {
        { "GUILD", "guild_id" },
        { "POD", "pod_id" },
        { "EPOCH", "epoch" },
        { "STATE", "state" },
        { "ASSIGNED", "assigned_at" },
        { "LAST HEARTBEAT", "last_heartbeat" },
        { NULL, NULL },
    };
    struct guild_list list = {
        .request = r,
        .table = { .columns = columns },
        .left = r->limit < 0 ? INT64_MAX : r->limit,
        .after = r->after,
        .has_after = r->after != 0,
        .is_first = true,
    };
    enum ctl_exit code = CTL_DONE;

    while (code == CTL_DONE && !list.is_done)
        code = show_page(&list);
    if (r->json && code == CTL_DONE)
        (void)fputs(list.is_first ? "{\"assignments\": []}\n" : "\n]}\n", stdout);
    return code;
}

static bool is_finished(const json_t *move)
{
    return *json_str(move, "finished_at") != '\0';
}

static enum ctl_exit say_result(const struct request *r, const json_t *move)
{
    bool is_done = !strcmp(json_str(move, "state"), "done");

    if (r->json) {
        enum ctl_exit code = print_json(move);
        return is_done ? code : CTL_FAILED;
    }
    FILE *out = is_done ? stdout : stderr;
    (void)fprintf(out, "guild %s ", r->words[0]);
    (void)fputs(is_done ? "is now with pod " : "was not moved to pod ", out);
    print_safely(r->words[1], out);
    if (is_done) {
        (void)fprintf(out, ", it paused for %" PRId64 " us\n", json_int(move, "pause_us", 0));
        return CTL_DONE;
    }
    (void)fputs(": ", out);
    print_safely(json_str(move, "state"), out);
    (void)fputs(*json_str(move, "error") ? ": " : "", out);
    print_safely(json_str(move, "error"), out);
    (void)fputc('\n', out);
    return CTL_FAILED;
}

static enum ctl_exit wait_for_move(const struct request *r, const char *id)
{
    int64_t deadline_ms = clock_now_ms() + r->timeout_s * 1000;
    char path[64];

    (void)snprintf(path, sizeof(path), "/moves/%s", id);
    for (;;) {
        json_t *move = NULL;
        enum ctl_exit code = api_get(r->api, path, &move);
        bool is_over = code != CTL_DONE || is_finished(move);
        if (code == CTL_DONE && is_over)
            code = say_result(r, move);
        json_decref(move);
        if (is_over)
            return code;
        if (clock_now_ms() > deadline_ms)
            break;
        pause_between_polls();
    }
    (void)fprintf(stderr,
                  "guildbusctl: move %s goes on after %" PRId64 " s; see guildbusctl moves\n", id,
                  r->timeout_s);
    return CTL_FAILED;
}

static enum ctl_exit on_reassign(const struct request *r)
{
    uint64_t guild_id, move_id;
    json_t *answer = NULL;
    char id[24];

    if (r->word_count != 2)
        return usage("reassign takes GUILD and POD", "");
    if (!id_parse(r->words[0], &guild_id))
        return usage("not a guild's id: ", r->words[0]);
    CLEANUP(json_decref)
    json_t *body = json_pack("{s:s, s:s}", "guild_id", r->words[0], "pod_id", r->words[1]);
    if (!body)
        return usage("not a pod's name: ", r->words[1]);
    enum ctl_exit code = api_post(r->api, "/reassign-guild", body, &answer);
    if (code != CTL_DONE)
        return code;
    move_id = json_id(answer, "move_id");
    (void)snprintf(id, sizeof(id), "%" PRIu64, move_id);
    if (r->wait && move_id)
        code = wait_for_move(r, id);
    else if (r->json)
        code = print_json(answer);
    else
        (void)printf("move %s\n", id);
    json_decref(answer);
    return code;
}

/* ---- the command line ---- */

static const struct {
    const char *name;
    int words;
    enum ctl_exit (*run)(const struct request *r);
    bool is_alone; /* needs no coordinator */
} verbs[] = {
    { "status", 0, on_status, false },
    { "pods", 0, on_pods, false },
    { "guilds", 0, on_guilds, false },
    { "moves", 0, on_moves, false },
    { "reassign", 2, on_reassign, false },
    { "drain", 1, on_drain, false },
    { "undrain", 1, on_undrain, false },
    { "rebalance", 0, on_rebalance, false },
    { "reshard", 1, on_reshard, false },
    { "history", 1, on_history, false },
    { "deploy-commands", 0, on_deploy_commands, true },
    { "nats-keys", 1, on_nats_keys, true },
    { "rotate-nats-key", 2, on_rotate_nats_key, true },
};

static bool read_count(const char *text, int64_t max, int64_t *ret)
{
    char *end;

    if (!text || *text < '0' || *text > '9')
        return false;
    *ret = strtoll(text, &end, 10);
    return !*end && *ret >= 1 && *ret <= max;
}

/* One option and its value; *i moves over both. Takes --name value and --name=value. */
static enum ctl_exit read_option(struct request *r, char **argv, int *i)
{
    char *name = argv[*i], *equals = strchr(name, '=');
    const char *value = equals ? equals + 1 : argv[*i + 1];
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    bool fine;

    if (!equals && !strcmp(name, "--json"))
        return r->json = true, CTL_DONE;
    if (!equals && !strcmp(name, "--no-wait"))
        return r->wait = false, CTL_DONE;
    if (!equals && !strcmp(name, "--dry-run"))
        return r->dry_run = true, CTL_DONE;
    if (!equals && !strcmp(name, "--force"))
        return r->force = true, CTL_DONE;
    if (!equals && !strcmp(name, "--cancel"))
        return r->cancel = true, CTL_DONE;
    if (n == 7 && !strncmp(name, "--limit", n))
        fine = read_count(value, INT32_MAX, &r->limit);
    else if (n == 9 && !strncmp(name, "--timeout", n))
        fine = read_count(value, 86400, &r->timeout_s);
    else if (n == 7 && !strncmp(name, "--after", n))
        fine = value && id_parse(value, &r->after);
    else if (n == 7 && !strncmp(name, "--guild", n))
        fine = value && id_parse(value, &r->guild);
    else
        return usage("no such option: ", name);
    *i += !equals;
    return fine ? CTL_DONE : usage("wrong or missing value of ", name);
}

static enum ctl_exit read_arguments(struct request *r, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        enum ctl_exit code = CTL_DONE;
        if (!strncmp(argv[i], "--", 2))
            code = read_option(r, argv, &i);
        else if (!r->verb)
            r->verb = argv[i];
        else if (r->word_count < 2)
            r->words[r->word_count++] = argv[i];
        else
            code = usage("one word too many: ", argv[i]);
        if (code != CTL_DONE)
            return code;
    }
    return CTL_DONE;
}

static enum ctl_exit run(struct request *r)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!r->verb || strcmp(r->verb, verbs[i].name) != 0)
            continue;
        if (r->word_count > verbs[i].words)
            return usage("one word too many: ", r->words[verbs[i].words]);
        enum ctl_exit code = verbs[i].is_alone ? CTL_DONE : api_open(&r->api);
        if (code == CTL_DONE)
            code = verbs[i].run(r);
        api_close(r->api);
        return code;
    }
    return usage("no such verb: ", r->verb ? r->verb : "");
}

int main(int argc, char **argv)
{
    struct request r = { .wait = true, .limit = -1, .timeout_s = DEFAULT_TIMEOUT_S };
    enum ctl_exit code = read_arguments(&r, argc, argv);

    if (code == CTL_DONE)
        code = run(&r);
    return fflush(stdout) == 0 || code != CTL_DONE ? (int)code : CTL_FAILED;
}
