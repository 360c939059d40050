/* What an operator may change: parsed from the body, done by the leader. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"
#include "coordinator/api_call.h"
#include "coordinator/rebalance.h"
#include "coordinator/state.h"

static void put(json_t *object, const char *key, json_t *value)
{
    must(value && !json_object_set_new(object, key, value));
}

char *api_error_json(const struct err *err)
{
    CLEANUP(json_decref)
    json_t *root =
        json_pack("{s:{ss ss}}", "error", "status", status_name(err->code), "text", err->text);

    return json_text(root);
}

/* ---- bodies ---- */

bool api_parse_number(const char *text, uint64_t *ret)
{
    if (!*text || strspn(text, "0123456789") != strlen(text))
        return false;
    errno = 0;
    *ret = strtoull(text, NULL, 10);
    return !errno;
}

static enum status parse_guild(const json_t *body, struct api_call *call, struct err *err)
{
    const json_t *id = json_object_get(body, "guild_id");

    if (json_is_string(id) && api_parse_number(json_string_value(id), &call->id))
        return STATUS_OK;
    if (json_is_integer(id) && json_integer_value(id) >= 0) {
        call->id = (uint64_t)json_integer_value(id);
        return STATUS_OK;
    }
    return err_set(err, STATUS_INVALID, "guild_id must be a guild id: a string of decimal digits");
}

static enum status parse_pod(const json_t *body, struct api_call *call, struct err *err)
{
    if (!pod_id_is_valid(json_str(body, "pod_id")))
        return err_set(err, STATUS_INVALID,
                       "pod_id must be a pod's id: 1 to 64 of A-Z a-z 0-9 _ -");
    text_copy(call->pod, sizeof(call->pod), json_str(body, "pod_id"));
    return STATUS_OK;
}

static enum status parse_reassign(const json_t *body, struct api_call *call, struct err *err)
{
    TRY(parse_guild(body, call, err));
    return parse_pod(body, call, err);
}

static enum status parse_flag(const json_t *body, const char *key, bool *ret, struct err *err)
{
    const json_t *value = json_object_get(body, key);

    if (value && !json_is_boolean(value))
        return err_set(err, STATUS_INVALID, "%s must be true or false", key);
    *ret = json_is_true(value);
    return STATUS_OK;
}

static enum status parse_rebalance(const json_t *body, struct api_call *call, struct err *err)
{
    const json_t *limit = json_object_get(body, "limit");

    TRY(parse_flag(body, "dry_run", &call->dry_run, err));
    TRY(parse_flag(body, "force", &call->force, err));
    if (!limit)
        return STATUS_OK;
    if (!json_is_integer(limit) || json_integer_value(limit) < 1 ||
        json_integer_value(limit) > REBALANCE_MOST)
        return err_set(err, STATUS_INVALID, "limit must be 1 … %d", REBALANCE_MOST);
    call->limit = (uint32_t)json_integer_value(limit);
    return STATUS_OK;
}

static enum status parse_reshard(const json_t *body, struct api_call *call, struct err *err)
{
    const json_t *count = json_object_get(body, "shard_count");

    TRY(parse_flag(body, "dry_run", &call->dry_run, err));
    TRY(parse_flag(body, "cancel", &call->cancel, err));
    if (call->cancel && !count && !call->dry_run)
        return STATUS_OK;
    if (!call->cancel && !strcmp(json_str(body, "shard_count"), "auto"))
        return STATUS_OK;
    if (call->cancel || !json_is_integer(count) || json_integer_value(count) < 1 ||
        json_integer_value(count) > MOST_SHARDS)
        return err_set(err, STATUS_INVALID,
                       "either shard_count, 1 … %d or \"auto\", or \"cancel\":true", MOST_SHARDS);
    call->shard_count = (uint32_t)json_integer_value(count);
    return STATUS_OK;
}

static enum status parse_nothing(const json_t *body UNUSED, struct api_call *call UNUSED,
                                 struct err *err UNUSED)
{
    return STATUS_OK;
}

static const struct change {
    const char *path;
    enum api_kind kind;
    bool needs_body;
    enum status (*parse)(const json_t *body, struct api_call *call, struct err *err);
    const char *example;
} changes[] = {
    { "/reassign-guild", API_REASSIGN, true, parse_reassign,
      "{\"guild_id\":\"…\",\"pod_id\":\"…\"}" },
    { "/drain-pod", API_DRAIN, true, parse_pod, "{\"pod_id\":\"…\"}" },
    { "/undrain-pod", API_UNDRAIN, true, parse_pod, "{\"pod_id\":\"…\"}" },
    { "/rebalance", API_REBALANCE, false, parse_rebalance, "{\"dry_run\":true}" },
    { "/reshard", API_RESHARD, true, parse_reshard, "{\"shard_count\":4,\"dry_run\":true}" },
    { "/unfreeze", API_UNFREEZE, false, parse_nothing, "{}" },
};

enum status api_parse_change(const char *path, const char *body, struct api_call *call,
                             struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    const struct change *change = NULL;

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        if (!strcmp(path, changes[i].path))
            change = &changes[i];
    }
    if (!change)
        return err_set(err, STATUS_NOT_FOUND, "nothing is changed by %.64s", path);
    call->kind = change->kind;
    call->path = change->path;
    if (!*body && !change->needs_body)
        return STATUS_OK;
    TRY(json_parse(body, strlen(body), &root, err));
    if (!json_is_object(root))
        return err_set(err, STATUS_INVALID, "the body must be like %s", change->example);
    return change->parse(root, call, err);
}

/* ---- doing it ---- */

/* A failure of the store ends the leadership; what is wrong with the wish is the caller's. */
static enum status settle(struct coordinator *c, enum status stored, const struct err *lost,
                          const struct err *refused, struct err *err)
{
    if (stored != STATUS_OK) {
        step_down(c, lost);
        return err_set(err, STATUS_UNAVAILABLE,
                       "the database does not answer: nobody knows whether this was stored");
    }
    if (refused->code != STATUS_OK)
        *err = *refused;
    return refused->code;
}

static enum status reassign(struct coordinator *c, struct api_call *call, struct err *err)
{
    struct err refused = { 0 }, lost = { 0 };
    uint64_t move_id = 0;

    enum status stored = handoff_wish(c, call->id, call->pod, &move_id, &refused, &lost);
    TRY(settle(c, stored, &lost, &refused, err));
    log_info("move_wished", "move=%" PRIu64 " guild=%" PRIu64 " to=%s", move_id, call->id,
             call->pod);
    CLEANUP(json_decref) json_t *root = json_object();
    put(root, "move_id", json_from_id(move_id));
    api_finish(call, 202, root);
    return STATUS_OK;
}

static enum status unfreeze(struct coordinator *c, struct api_call *call)
{
    CLEANUP(json_decref) json_t *root = json_object();

    put(root, "was_held", json_boolean(c->held));
    pods_unfreeze(c);
    api_finish(call, 200, root);
    return STATUS_OK;
}

static enum status drain(struct coordinator *c, struct api_call *call, struct err *err)
{
    CLEANUP(json_decref) json_t *root = json_object();
    struct err refused = { 0 }, lost = { 0 };

    enum status stored = pods_wish_drain(c, call->pod, call->kind == API_DRAIN, &refused, &lost);
    TRY(settle(c, stored, &lost, &refused, err));
    const struct mirror_pod *pod = mirror_pod(c->mirror, call->pod);
    put(root, "pod_id", json_string(call->pod));
    put(root, "status", json_string(pod_status_text(pod->row.status)));
    put(root, "guilds_assigned", json_integer(pod->assigned));
    api_finish(call, 202, root);
    return STATUS_OK;
}

/* ---- rebalance ---- */

/* Three digits are enough to see by. */
static json_t *json_from_ratio(double value)
{
    return json_real((double)(int64_t)(value * 1000 + 0.5) / 1000);
}

static json_t *json_from_skew(struct balance_skew skew)
{
    json_t *o = json_object();

    put(o, "most", json_from_ratio(skew.most));
    put(o, "least", json_from_ratio(skew.least));
    return o;
}

static json_t *json_from_planned(const struct rebalance_outcome *outcome, size_t at)
{
    const struct balance_move *move = &outcome->moves[at];
    const struct balance_guild *guild = &outcome->b.guilds[move->guild];
    const char *from = outcome->b.pods[move->from].id, *to = outcome->b.pods[move->to].id;
    json_t *o = json_object();
    char why[256];

    (void)snprintf(why, sizeof(why), "%s carries %.2f of the mean, %s %.2f%s", from,
                   move->from_carries, to, move->to_carries,
                   move->to_standby ? ", and stands by for the guild" : "");
    put(o, "guild_id", json_from_id(guild->guild_id));
    put(o, "source", json_string(from));
    put(o, "target", json_string(to));
    put(o, "weight", json_from_ratio(guild->weight / 1000));
    put(o, "reason", json_string(why));
    put(o, "move_id", outcome->move_ids[at] ? json_from_id(outcome->move_ids[at]) : json_null());
    return o;
}

static json_t *json_from_outcome(const struct api_call *call,
                                 const struct rebalance_outcome *outcome)
{
    json_t *root = json_object(), *moves = json_array();

    put(root, "dry_run", json_boolean(call->dry_run));
    put(root, "frozen", *outcome->frozen ? json_string(outcome->frozen) : json_null());
    put(root, "skew_before", json_from_skew(outcome->before));
    put(root, "skew_after", json_from_skew(outcome->after));
    put(root, "more", json_boolean(outcome->has_more));
    put(root, "moves", moves);
    for (size_t i = 0; i < outcome->count; i++)
        must(!json_array_append_new(moves, json_from_planned(outcome, i)));
    return root;
}

static enum status rebalance(struct coordinator *c, struct api_call *call, struct err *err)
{
    __attribute__((cleanup(rebalance_outcome_release_at))) struct rebalance_outcome outcome;
    const struct rebalance_wish wish = { call->dry_run, call->force, call->limit };
    struct err refused = { 0 }, lost = { 0 };

    enum status stored = rebalance_run(c, &wish, &outcome, &refused, &lost);
    TRY(settle(c, stored, &lost, &refused, err));
    CLEANUP(json_decref) json_t *root = json_from_outcome(call, &outcome);
    api_finish(call, call->dry_run ? 200 : 202, root);
    return STATUS_OK;
}

/* ---- reshard ---- */

static enum status reshard(struct coordinator *c, struct api_call *call, struct err *err)
{
    const struct reshard_wish wish = { call->shard_count, call->cancel, call->dry_run };
    struct err refused = { 0 }, lost = { 0 };
    struct reshard_case r;

    enum status stored = reshards_wish(c, &wish, &r, &refused, &lost);
    TRY(settle(c, stored, &lost, &refused, err));
    CLEANUP(json_decref) json_t *root = json_object();
    put(root, "dry_run", json_boolean(call->dry_run));
    put(root, "cancelled", json_boolean(call->cancel));
    put(root, "from", json_integer(r.current));
    put(root, "to", json_integer(call->cancel ? r.under_way : r.to));
    put(root, "sessions_left", json_integer(r.sessions));
    put(root, "stage", json_string(reshard_stage_text(c->reshard.stage)));
    api_finish(call, call->dry_run ? 200 : 202, root);
    return STATUS_OK;
}

enum status api_change(struct coordinator *c, struct api_call *call, struct err *err)
{
    if (!c->leads)
        return err_set(err, STATUS_UNAVAILABLE,
                       "no coordinator leads at the moment: ask again in a second");
    switch (call->kind) {
    case API_REASSIGN:
        return reassign(c, call, err);
    case API_UNFREEZE:
        return unfreeze(c, call);
    case API_DRAIN:
    case API_UNDRAIN:
        return drain(c, call, err);
    case API_REBALANCE:
        return rebalance(c, call, err);
    case API_RESHARD:
        return reshard(c, call, err);
    case API_ASSIGNMENTS:
    case API_ASSIGNMENT:
    case API_PODS:
    case API_MOVES:
    case API_MOVE:
    case API_HISTORY:
    case API_STATUS:
        break;
    }
    return err_set(err, STATUS_INTERNAL, "no such change");
}
