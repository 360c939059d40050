/* rest_webhooks.c - answers to interactions by their token. */
#include <string.h>

#include "base/json.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/publish.h"
#include "tests/discord-sim/rest.h"

enum {
    UNKNOWN_MESSAGE = 10008,
    UNKNOWN_WEBHOOK = 10015,
    UNKNOWN_INTERACTION = 10062,
    ALREADY_ACKNOWLEDGED = 40060,
    INVALID_TOKEN = 50027,
    INVALID_FORM = 50035,
};

/* ?with_response=true */
static void answer_callback(struct rest_call *c, const struct interaction *i)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct message *m = store_get(c->s->store, i->original_id);

    out_json(&o,
             "{'interaction':{'id':%I,'type':%d,'response_message_id':%N,"
             "'response_message_loading':%b,'response_message_ephemeral':%b,'channel_id':%N,"
             "'guild_id':%N}",
             i->id, (int)i->type, m ? m->id : UINT64_C(0), i->callback == CALLBACK_DEFERRED_MESSAGE,
             i->ephemeral, i->channel_id, i->guild_id);
    out_json(&o, ",'resource':{'type':%d", i->callback);
    if (m) {
        out_text(&o, ",\"message\":");
        object_message(&o, c->s->world, m, MESSAGE_REST);
    }
    out_text(&o, "}}");
    rest_answer(c, 200, &o);
}

void on_interaction_callback(struct rest_call *c)
{
    const char *with_response = http_query(c->x, "with_response");
    struct interaction *i = interactions_by_token(c->s->interactions, c->part[1]);

    if (!i || i->id != c->id[0] || !interactions_in_time(c->s->interactions, i) ||
        i->fate == FATE_FAILED) {
        rest_error(c, 404, UNKNOWN_INTERACTION, "Unknown interaction");
        return;
    }
    if (i->fate != FATE_PENDING) {
        rest_error(c, 400, ALREADY_ACKNOWLEDGED, "Interaction has already been acknowledged.");
        return;
    }
    const char *why = interactions_callback(c->s->interactions, i, c->body);
    if (why)
        rest_error(c, 400, INVALID_FORM, why);
    else if (with_response && !strcmp(with_response, "true"))
        answer_callback(c, i);
    else
        rest_done(c);
}

/* NULL: answered. A token is good once the interaction was answered. */
static struct interaction *answered(struct rest_call *c)
{
    struct interaction *i = interactions_by_token(c->s->interactions, c->part[1]);

    if (!i || c->id[0] != c->s->application_id) {
        rest_error(c, 401, INVALID_TOKEN, "Invalid Webhook Token");
        return NULL;
    }
    if (i->fate == FATE_PENDING || i->fate == FATE_FAILED) {
        /* What Discord says when the deferral itself is not through yet. */
        rest_error(c, 404, UNKNOWN_WEBHOOK, "Unknown Webhook");
        return NULL;
    }
    return i;
}

static void answer_message(struct rest_call *c, const struct message *m)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    object_message(&o, c->s->world, m, MESSAGE_REST);
    rest_answer(c, 200, &o);
}

static struct message *make_message(struct rest_call *c, const struct interaction *i, bool hidden)
{
    struct channel *channel = world_channel(c->s->world, i->channel_id);
    json_t *extra = message_extra_of(c->body);
    struct message *m = NULL;

    if (!channel) {
        json_decref(extra);
        return NULL;
    }
    if (!extra)
        extra = json_object();
    (void)json_object_set_new(extra, "interaction_metadata", interactions_about(c->s, i));
    if (hidden)
        return publish_hidden(c->s, channel, json_str(c->body, "content"), extra);
    (void)publish_message(c->s, channel, &c->s->world->bot, json_str(c->body, "content"), extra,
                          &m);
    return m;
}

static void answer_or_unknown(struct rest_call *c, const struct message *m)
{
    if (m)
        answer_message(c, m);
    else
        rest_error(c, 404, UNKNOWN_MESSAGE, "Unknown Message");
}

static void patch_message(struct rest_call *c, struct interaction *i, struct message *m)
{
    CLEANUP(json_decref) json_t *patch = message_extra_of(c->body);

    (void)publish_edit(c->s, m, json_string_value(json_object_get(c->body, "content")), patch);
    interactions_completed(c->s->interactions, i);
    answer_message(c, m);
}

void on_get_original(struct rest_call *c)
{
    const struct interaction *i = answered(c);

    if (i)
        answer_or_unknown(c, store_get(c->s->store, i->original_id));
}

/* A deferred answer appears with its first PATCH. */
static void complete(struct rest_call *c, struct interaction *i)
{
    struct message *m = make_message(c, i, i->ephemeral);

    if (m)
        i->original_id = m->id;
    interactions_completed(c->s->interactions, i);
    answer_or_unknown(c, m);
}

void on_patch_original(struct rest_call *c)
{
    struct interaction *i = answered(c);
    struct message *m = i ? store_get(c->s->store, i->original_id) : NULL;

    if (!i || !rest_check_message(c, c->body, m != NULL))
        return;
    if (m)
        patch_message(c, i, m);
    else if (i->fate == FATE_DEFERRED)
        complete(c, i);
    else
        rest_error(c, 404, UNKNOWN_MESSAGE, "Unknown Message");
}

static void delete_one(struct rest_call *c, struct message *m)
{
    if (!m) {
        rest_error(c, 404, UNKNOWN_MESSAGE, "Unknown Message");
        return;
    }
    (void)publish_delete(c->s, m);
    rest_done(c);
}

void on_delete_original(struct rest_call *c)
{
    struct interaction *i = answered(c);

    if (!i)
        return;
    if (i->fate == FATE_DEFERRED && !i->original_id) {
        interactions_completed(c->s->interactions, i);
        rest_done(c);
        return;
    }
    delete_one(c, store_get(c->s->store, i->original_id));
}

void on_follow_up(struct rest_call *c)
{
    struct interaction *i = answered(c);

    if (!i || !rest_check_message(c, c->body, false))
        return;
    /* Discord: the first follow-up to a deferral becomes its answer. */
    if (i->fate == FATE_DEFERRED && i->callback == CALLBACK_DEFERRED_MESSAGE) {
        complete(c, i);
        return;
    }
    bool hidden = json_int(c->body, "flags", 0) & MESSAGE_FLAG_EPHEMERAL;
    struct message *m = make_message(c, i, hidden);
    interactions_completed(c->s->interactions, i);
    answer_or_unknown(c, m);
}

static struct message *follow_up(struct rest_call *c, const struct interaction *i)
{
    struct message *m = store_get(c->s->store, c->id[2]);

    return m && m->channel_id == i->channel_id && m->author->bot ? m : NULL;
}

void on_get_follow_up(struct rest_call *c)
{
    const struct interaction *i = answered(c);

    if (i)
        answer_or_unknown(c, follow_up(c, i));
}

void on_patch_follow_up(struct rest_call *c)
{
    struct interaction *i = answered(c);
    struct message *m = i ? follow_up(c, i) : NULL;

    if (!i || !rest_check_message(c, c->body, true))
        return;
    if (m)
        patch_message(c, i, m);
    else
        answer_or_unknown(c, NULL);
}

void on_delete_follow_up(struct rest_call *c)
{
    const struct interaction *i = answered(c);

    if (i)
        delete_one(c, follow_up(c, i));
}
