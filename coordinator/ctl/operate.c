/* The verbs for pods and for all guilds together. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "coordinator/ctl/request.h"

enum { POLL_MS = 200, DEFAULT_HISTORY = 50 };

void pause_between_polls(void)
{
    static const struct timespec pause = { 0, POLL_MS * 1000000L };

    (void)nanosleep(&pause, NULL);
}

/* ---- drain ---- */

static enum ctl_exit post_pod(const struct request *r, const char *path, json_t **ret_answer)
{
    if (r->word_count != 1)
        return usage(r->verb, " takes POD");
    CLEANUP(json_decref) json_t *body = json_pack("{s:s}", "pod_id", r->words[0]);
    if (!body)
        return usage("not a pod's name: ", r->words[0]);
    return api_post(r->api, path, body, ret_answer);
}

/* Whether a guild is on it still, by the list that pages are made of: the pod's name went through
 * the API before, so it needs no escape. */
static enum ctl_exit has_guilds(const struct request *r, bool *ret_has)
{
    char path[128];
    json_t *answer = NULL;

    (void)snprintf(path, sizeof(path), "/guild-assignments?limit=1&pod=%s", r->words[0]);
    enum ctl_exit code = api_get(r->api, path, &answer);
    if (code == CTL_DONE)
        *ret_has = json_array_size(json_object_get(answer, "assignments")) > 0;
    json_decref(answer);
    return code;
}

static enum ctl_exit wait_until_empty(const struct request *r)
{
    int64_t began_ms = clock_now_ms(), deadline_ms = began_ms + r->timeout_s * 1000;
    bool has = true;

    for (;;) {
        enum ctl_exit code = has_guilds(r, &has);
        if (code != CTL_DONE)
            return code;
        if (!has || clock_now_ms() > deadline_ms)
            break;
        pause_between_polls();
    }
    if (has) {
        (void)fprintf(stderr,
                      "guildbusctl: pod %s still has guilds after %" PRId64
                      " s; see guildbusctl moves\n",
                      r->words[0], r->timeout_s);
        return CTL_FAILED;
    }
    if (!r->json)
        (void)printf("pod %s is empty, it took %.1f s\n", r->words[0],
                     (double)(clock_now_ms() - began_ms) / 1000);
    return CTL_DONE;
}

static enum ctl_exit say_pod(const struct request *r, json_t *answer)
{
    if (r->json)
        return print_json(answer);
    print_members(answer, stdout);
    return CTL_DONE;
}

enum ctl_exit on_drain(const struct request *r)
{
    json_t *answer = NULL;
    enum ctl_exit code = post_pod(r, "/drain-pod", &answer);

    if (code == CTL_DONE && (r->json || !r->wait))
        code = say_pod(r, answer);
    json_decref(answer);
    return code == CTL_DONE && r->wait ? wait_until_empty(r) : code;
}

enum ctl_exit on_undrain(const struct request *r)
{
    json_t *answer = NULL;
    enum ctl_exit code = post_pod(r, "/undrain-pod", &answer);

    if (code == CTL_DONE)
        code = say_pod(r, answer);
    json_decref(answer);
    return code;
}

/* ---- rebalance ---- */

static double ratio(const json_t *answer, const char *when, const char *what)
{
    return json_number_value(json_object_get(json_object_get(answer, when), what));
}

static void say_outcome(const json_t *answer)
{
    static const struct print_column columns[] = {
        { "GUILD", "guild_id" }, { "FROM", "source" },   { "TO", "target" }, { "WEIGHT", "weight" },
        { "MOVE", "move_id" },   { "REASON", "reason" }, { NULL, NULL },
    };
    struct print_table table = { .columns = columns };
    const json_t *moves = json_object_get(answer, "moves");
    bool is_dry = json_is_true(json_object_get(answer, "dry_run"));

    if (json_array_size(moves))
        print_rows(&table, moves, stdout);
    (void)printf("%zu %s%s: the heaviest pod carries %.2f of the mean, %.2f afterwards; the "
                 "lightest %.2f, %.2f afterwards\n",
                 json_array_size(moves), is_dry ? "moves would be made" : "moves begin",
                 json_is_true(json_object_get(answer, "more")) ? " at first" : "",
                 ratio(answer, "skew_before", "most"), ratio(answer, "skew_after", "most"),
                 ratio(answer, "skew_before", "least"), ratio(answer, "skew_after", "least"));
    if (!*json_str(answer, "frozen"))
        return;
    (void)fputs("by itself nothing moves now: ", stdout);
    print_safely(json_str(answer, "frozen"), stdout);
    (void)fputc('\n', stdout);
}

enum ctl_exit on_rebalance(const struct request *r)
{
    json_t *answer = NULL;
    CLEANUP(json_decref)
    json_t *body = json_pack("{s:b, s:b}", "dry_run", r->dry_run, "force", r->force);

    if (body && r->limit > 0 && json_object_set_new(body, "limit", json_integer(r->limit)))
        return CTL_FAILED;
    enum ctl_exit code = api_post(r->api, "/rebalance", body, &answer);
    if (code != CTL_DONE)
        return code;
    if (r->json)
        code = print_json(answer);
    else
        say_outcome(answer);
    json_decref(answer);
    return code;
}

/* ---- reshard ---- */

static void say_reshard(const json_t *answer)
{
    int64_t from = json_int(answer, "from", 0), to = json_int(answer, "to", 0);

    if (json_is_true(json_object_get(answer, "cancelled"))) {
        (void)printf("the reshard to %" PRId64 " shards is given up: there are %" PRId64 "\n", to,
                     from);
        return;
    }
    (void)printf("from %" PRId64 " to %" PRId64 " shards: %s; Discord allows %" PRId64
                 " session starts beside the reserve today\n",
                 from, to,
                 json_is_true(json_object_get(answer, "dry_run"))
                     ? "it could begin now"
                     : "it has begun, guildbusctl status shows how far it is",
                 json_int(answer, "sessions_left", 0));
}

static json_t *reshard_body(const struct request *r)
{
    char *end = NULL;

    if (r->cancel)
        return r->word_count || r->dry_run ? NULL : json_pack("{s:b}", "cancel", 1);
    if (r->word_count != 1)
        return NULL;
    if (!strcmp(r->words[0], "auto"))
        return json_pack("{s:s, s:b}", "shard_count", "auto", "dry_run", r->dry_run);
    long long count = strtoll(r->words[0], &end, 10);
    if (*r->words[0] < '1' || *r->words[0] > '9' || *end)
        return NULL;
    return json_pack("{s:I, s:b}", "shard_count", (json_int_t)count, "dry_run", r->dry_run);
}

enum ctl_exit on_reshard(const struct request *r)
{
    json_t *answer = NULL;
    CLEANUP(json_decref) json_t *body = reshard_body(r);

    if (!body)
        return usage("reshard takes COUNT, auto or --cancel", "");
    enum ctl_exit code = api_post(r->api, "/reshard", body, &answer);
    if (code != CTL_DONE)
        return code;
    if (r->json)
        code = print_json(answer);
    else
        say_reshard(answer);
    json_decref(answer);
    return code;
}

/* ---- history ---- */

enum ctl_exit on_history(const struct request *r)
{
    static const struct print_column columns[] = {
        { "AT", "at" },     { "GUILD", "guild_id" }, { "POD", "pod_id" },   { "EPOCH", "epoch" },
        { "WHAT", "what" }, { "REASON", "reason" },  { "MOVE", "move_id" }, { NULL, NULL },
    };
    char path[96], guild[40] = "";
    uint64_t guild_id = 0;

    if (r->word_count && strcmp(r->words[0], "0") != 0 && !id_parse(r->words[0], &guild_id))
        return usage("not a guild's id: ", r->words[0]);
    if (r->word_count)
        (void)snprintf(guild, sizeof(guild), "&guild_id=%" PRIu64, guild_id);
    (void)snprintf(path, sizeof(path), "/history?limit=%" PRId64 "%s",
                   r->limit < 0 ? (int64_t)DEFAULT_HISTORY : r->limit, guild);
    return show_list(r, path, "history", columns);
}
