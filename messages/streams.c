#include "messages/streams.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/log.h"
#include "messages/subjects.h"

enum {
    API_TIMEOUT_MS = 10 * 1000, /* a replicated stream waits for its leader's election */
    DEDUPE_SECONDS = 120,
    NOT_FOUND = 10059, /* nats-server's errors.json: JSStreamNotFoundErr */
    NAME_IN_USE = 10058,
    SUBJECTS_OVERLAP = 10065, /* with a stream that is being made, the same one perhaps */
    NO_PEERS = 10005,         /* a cluster that lacks a server just now */
    OFFLINE = 10118,          /* the servers that have the stream are away */
    ATTEMPTS = 10,
    LOWEST_REPLICATED = 2 * 1000000 + 10 * 1000 + 23,
};
DEFINE_CLEANUP(char *, free)

static const json_int_t ns_per_s = 1000000000;

/* What is wanted, and what the server can do. */
struct wish {
    const struct streams_config *config;
    int version[3];
    unsigned better; /* streams found with more copies than wanted: left as they are */
};

/* What one stream must look like. */
struct plan {
    char name[32];
    struct subject takes, republishes; /* republishes "": it does not */
    int64_t max_age_s;                 /* 0: for ever */
    int last_per_subject;              /* 0: all */
    bool is_bucket, rollup;
};

static struct subject subject_all(enum subject_kind kind)
{
    struct subject s;

    (void)snprintf(s.text, sizeof(s.text), "%s", subject_wildcard(kind));
    return s;
}

static struct plan plan_events(const struct streams_config *config)
{
    return (struct plan){
        .name = STREAM_EVENTS,
        .takes = subject_all(SUBJECT_EVENT),
        .republishes = subject_all(SUBJECT_FEED),
        .max_age_s = config->events_hours * 3600,
    };
}

static struct plan plan_log(uint32_t part)
{
    struct plan p = {
        .takes = subject_of_part(SUBJECT_LOG, part),
        .republishes = subject_of_part(SUBJECT_TAIL, part),
        .rollup = true,
    };

    (void)snprintf(p.name, sizeof(p.name), "LOG_%u", part);
    return p;
}

static struct plan plan_snapshots(void)
{
    return (struct plan){ .name = STREAM_SNAPSHOTS, .takes = subject_all(SUBJECT_SNAPSHOT) };
}

static struct plan plan_assignments(void)
{
    return (struct plan){
        .name = STREAM_ASSIGNMENTS,
        .takes = subject_all(SUBJECT_ASSIGNMENT),
        .last_per_subject = 1,
    };
}

/* As `nats kv add SHARDS --history 1` makes it. */
static struct plan plan_shards(void)
{
    return (struct plan){
        .name = STREAM_SHARDS,
        .takes = subject_all(SUBJECT_SHARD),
        .last_per_subject = 1,
        .is_bucket = true,
        .rollup = true,
    };
}

static json_t *plan_json(const struct plan *p, int replicas)
{
    json_t *config = json_pack(
        "{s:s, s:[s], s:s, s:s, s:s, s:I, s:i, s:i, s:b, s:b, s:b, s:I}", /* as STREAM.CREATE takes
                                                                             it */
        "name", p->name, "subjects", p->takes.text, "retention", "limits", "storage", "file",
        "discard", p->is_bucket ? "new" : "old", "max_age", p->max_age_s * ns_per_s,
        "max_msgs_per_subject", p->last_per_subject ? p->last_per_subject : -1, "num_replicas",
        replicas, "allow_direct", 1, "allow_rollup_hdrs", p->rollup, "deny_delete", p->is_bucket,
        "duplicate_window", DEDUPE_SECONDS * ns_per_s);

    if (*p->republishes.text)
        json_object_set_new(
            config, "republish",
            json_pack("{s:s, s:s}", "src", p->takes.text, "dest", p->republishes.text));
    return config;
}

/* One call of JetStream's API. *ret_error: the answer's err_code, 0: it succeeded. */
static enum status api_call(struct bus *bus, const char *verb, const char *stream,
                            const json_t *body, json_t **ret_answer, struct err *err)
{
    char subject[96];
    CLEANUP(free) char *text = body ? json_text(body) : NULL;
    CLEANUP(free) char *answer = NULL;
    size_t size;

    (void)snprintf(subject, sizeof(subject), "$JS.API.STREAM.%s.%s", verb, stream);
    struct bus_out out = { .subject = subject, .data = text, .size = text ? strlen(text) : 0 };
    struct err why = { 0 };
    if (bus_request_wait(bus, &out, API_TIMEOUT_MS, &answer, &size, &why) != STATUS_OK)
        return err_set(err, STATUS_UNAVAILABLE,
                       "stream %s: JetStream is off or away (start nats-server with -js): %.80s",
                       stream, why.text);
    return json_parse(answer, size, ret_answer, err);
}

static int64_t error_of(const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");

    if (!error)
        return 0;
    int64_t code = json_int(error, "err_code", 0);
    return code ? code : -1;
}

static enum status api_refused(const struct plan *p, const json_t *answer, struct err *err)
{
    const json_t *error = json_object_get(answer, "error");
    int64_t code = json_int(error, "code", 0);

    int64_t detail = json_int(error, "err_code", 0);

    /* 503: not enabled, or no leader now; other 400 and 500: what was asked for does not fit what
     * is there */
    bool passing = code == 503 || detail == NO_PEERS || detail == OFFLINE;
    return err_set(err, passing ? STATUS_UNAVAILABLE : STATUS_CONFLICT, "stream %s: %.160s",
                   p->name, json_str(error, "description"));
}

static enum status check_existing(const struct plan *p, const json_t *answer, struct err *err)
{
    const json_t *config = json_object_get(answer, "config");
    const json_t *subjects = json_object_get(config, "subjects");
    const char *takes = json_string_value(json_array_get(subjects, 0));
    const char *dest = json_str(json_object_get(config, "republish"), "dest");

    if (json_array_size(subjects) != 1 || !takes || strcmp(takes, p->takes.text) != 0)
        return err_set(err, STATUS_CONFLICT, "stream %s exists with other subjects than %s",
                       p->name, p->takes.text);
    if (strcmp(dest, p->republishes.text) != 0)
        return err_set(err, STATUS_CONFLICT,
                       "stream %s exists and republishes to \"%.60s\", not \"%s\"", p->name, dest,
                       p->republishes.text);
    return STATUS_OK;
}

/* OK as well when another program was faster; err says then what the server said, and the next look
 * shows. */
static enum status create(struct bus *bus, const struct plan *p, int replicas, bool *ret_raced,
                          struct err *err)
{
    CLEANUP(json_decref) json_t *config = plan_json(p, replicas);
    CLEANUP(json_decref) json_t *answer = NULL;

    TRY(api_call(bus, "CREATE", p->name, config, &answer, err));
    int64_t error = error_of(answer);
    enum status status = error ? api_refused(p, answer, err) : STATUS_OK;
    *ret_raced = error == NAME_IN_USE || error == SUBJECTS_OVERLAP;
    return *ret_raced ? STATUS_OK : status;
}

static bool may_replicate(const int v[3])
{
    return v[0] * 1000000 + v[1] * 1000 + v[2] >= LOWEST_REPLICATED;
}

static enum status too_old(const int v[3], int replicas, const char *where, struct err *err)
{
    return err_set(err, STATUS_INVALID,
                   "nats-server %d.%d.%d can accept two writers of a replicated stream: %d "
                   "replicas%s need 2.10.23 or newer",
                   v[0], v[1], v[2], replicas, where);
}

static enum status raise_replicas(struct bus *bus, const struct plan *p, json_t *config,
                                  int replicas, struct err *err)
{
    CLEANUP(json_decref) json_t *answer = NULL;

    json_object_set_new(config, "num_replicas", json_integer(replicas));
    TRY(api_call(bus, "UPDATE", p->name, config, &answer, err));
    if (error_of(answer))
        return api_refused(p, answer, err);
    log_info("stream_replicated", "stream=%s replicas=%d", p->name, replicas);
    return STATUS_OK;
}

/* Copies are added when more are wanted; they are never taken away: that is for an operator. */
static enum status settle_replicas(struct bus *bus, const struct plan *p, json_t *config,
                                   struct wish *wish, struct err *err)
{
    int has = (int)json_int(config, "num_replicas", 1), wanted = wish->config->replicas;

    if (has > 1 && !may_replicate(wish->version)) {
        char where[64];
        (void)snprintf(where, sizeof(where), " of the existing stream %s", p->name);
        return too_old(wish->version, has, where, err);
    }
    wish->better += has > wanted;
    return has < wanted ? raise_replicas(bus, p, config, wanted, err) : STATUS_OK;
}

/* Whether it exists and is right. */
static enum status look(struct bus *bus, const struct plan *p, struct wish *wish, bool *ret_exists,
                        struct err *err)
{
    CLEANUP(json_decref) json_t *answer = NULL;

    TRY(api_call(bus, "INFO", p->name, NULL, &answer, err));
    int64_t error = error_of(answer);
    *ret_exists = !error;
    if (error)
        return error == NOT_FOUND ? STATUS_OK : api_refused(p, answer, err);
    TRY(check_existing(p, answer, err));
    return settle_replicas(bus, p, json_object_get(answer, "config"), wish, err);
}

static enum status ensure(struct bus *bus, const struct plan *p, struct wish *wish, struct err *err)
{
    static const struct timespec pause = { 0, 50000000 };
    struct err refused = { 0 };

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        bool exists, raced = false;
        TRY(look(bus, p, wish, &exists, err));
        if (exists)
            return STATUS_OK;
        enum status status = create(bus, p, wish->config->replicas, &raced, &refused);
        if (status != STATUS_OK)
            return err_set(err, status, "%s", refused.text);
        if (!raced)
            return STATUS_OK;
        (void)nanosleep(&pause, NULL); /* the server refuses before it shows the other one's */
    }
    return err_set(err, refused.code, "%s", refused.text);
}

static enum status check_config(struct bus *bus, struct wish *wish, struct err *err)
{
    const struct streams_config *config = wish->config;

    if (config->replicas < 1 || config->replicas > 5 || config->events_hours < 1)
        return err_set(err, STATUS_INVALID,
                       "%d replicas, events kept %" PRId64 " hours: out of range", config->replicas,
                       config->events_hours);
    TRY(bus_server_version(bus, wish->version, err));
    if (config->replicas > 1 && !may_replicate(wish->version))
        return too_old(wish->version, config->replicas, "", err);
    return STATUS_OK;
}

enum status streams_ensure(struct bus *bus, const struct streams_config *config, struct err *err)
{
    struct wish wish = { .config = config };

    TRY(check_config(bus, &wish, err));
    const struct plan single[] = { plan_events(config), plan_snapshots(), plan_assignments(),
                                   plan_shards() };
    for (size_t i = 0; i < ARRAY_LEN(single); i++)
        TRY(ensure(bus, &single[i], &wish, err));
    for (uint32_t part = 0; part < SUBJECT_PARTITIONS; part++) {
        struct plan p = plan_log(part);
        TRY(ensure(bus, &p, &wish, err));
    }
    if (wish.better)
        log_info("streams_have_more_replicas", "streams=%u wanted=%d next=leave_them", wish.better,
                 config->replicas);
    return STATUS_OK;
}
