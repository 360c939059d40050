/* rest_channels.c - channels, messages, reactions, threads. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/xmem.h"
#include "tests/discord-sim/objects.h"
#include "tests/discord-sim/publish.h"
#include "tests/discord-sim/rest.h"

enum {
    UNKNOWN_MESSAGE = 10008,
    CANNOT_EDIT = 50005,
    INVALID_FORM = 50035,
    THREAD_EXISTS = 160004,
    REFERENCE_INVALID = 50035,
};
enum { MAX_NONCE = 25, MAX_NONCES = 1 << 20, MAX_NAME_BYTES = 4 * 100, MAX_PAGE = 100 };

static void answer_message(struct rest_call *c, int status, const struct message *m)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    object_message(&o, c->s->world, m, MESSAGE_REST);
    rest_answer(c, status, &o);
}

static void answer_channel(struct rest_call *c, int status, const struct channel *channel)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    object_channel(&o, channel);
    rest_answer(c, status, &o);
}

static bool is_thread(const struct channel *c)
{
    return c->type == CHANNEL_PUBLIC_THREAD || c->type == CHANNEL_PRIVATE_THREAD;
}

void on_get_channel(struct rest_call *c)
{
    const struct channel *channel = rest_channel(c, 0);

    if (channel)
        answer_channel(c, 200, channel);
}

void on_patch_channel(struct rest_call *c)
{
    struct channel *channel = rest_channel(c, 0);
    const char *name = json_str(c->body, "name");
    const json_t *overwrites = json_object_get(c->body, "permission_overwrites");

    if (!channel)
        return;
    if (*name && strlen(name) <= MAX_NAME_BYTES) {
        free(channel->name);
        channel->name = xstrdup(name);
    }
    if (json_is_array(overwrites)) {
        free(channel->overwrites);
        channel->overwrites = json_text(overwrites);
    }
    if (json_object_get(c->body, "archived"))
        channel->archived = json_bool(c->body, "archived");
    if (json_object_get(c->body, "locked"))
        channel->locked = json_bool(c->body, "locked");
    (void)publish_channel(c->s, channel,
                          is_thread(channel) ? EVENT_THREAD_UPDATE : EVENT_CHANNEL_UPDATE);
    answer_channel(c, 200, channel);
}

void on_delete_channel(struct rest_call *c)
{
    struct channel *channel = rest_channel(c, 0);

    if (!channel)
        return;
    (void)publish_channel(c->s, channel,
                          is_thread(channel) ? EVENT_THREAD_DELETE : EVENT_CHANNEL_DELETE);
    answer_channel(c, 200, channel);
    world_channel_remove(c->s->world, channel);
}

/* ---- messages ---- */

void on_get_messages(struct rest_call *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    const struct channel *channel = rest_channel(c, 0);
    const char *before_text = http_query(c->x, "before"), *limit_text = http_query(c->x, "limit");
    uint64_t before = UINT64_MAX, limit = 50;
    size_t listed = 0;

    if (!channel)
        return;
    if (before_text)
        (void)id_parse(before_text, &before);
    if (limit_text)
        (void)id_parse(limit_text, &limit);
    out_text(&o, "[");
    for (size_t i = channel->message_count; i-- > 0 && listed < limit && listed < MAX_PAGE;) {
        const struct message *m = store_get(c->s->store, channel->messages[i]);
        if (!m || m->id >= before)
            continue;
        object_message(&o, c->s->world, m, MESSAGE_REST);
        out_text(&o, ",");
        listed++;
    }
    out_drop(&o, ',');
    out_text(&o, "]");
    rest_answer(c, 200, &o);
}

/* Discord: with enforce_nonce the same nonce of the same author gives the same message for a few
 * minutes. */
static uint64_t nonce_key(uint64_t channel_id, const char *nonce)
{
    uint64_t hash = 14695981039346656037U ^ channel_id;

    for (; *nonce; nonce++)
        hash = (hash ^ (unsigned char)*nonce) * 1099511628211U;
    return hash ? hash : 1;
}

static struct message *find_by_nonce(struct rest_call *c, const char *nonce)
{
    /* The map keeps message ids in place of pointers. */
    uint64_t id = (uintptr_t)idmap_get(c->s->nonces, nonce_key(c->id[0], nonce));
    struct message *m = id ? store_get(c->s->store, id) : NULL;

    if (!m || m->channel_id != c->id[0] || strcmp(json_str(m->extra, "nonce"), nonce) != 0)
        return NULL;
    return m;
}

static void remember_nonce(struct rest_call *c, const char *nonce, const struct message *m)
{
    if (idmap_count(c->s->nonces) >= MAX_NONCES) {
        idmap_free(c->s->nonces);
        c->s->nonces = idmap_new();
    }
    (void)idmap_put(c->s->nonces, nonce_key(c->id[0], nonce), (void *)(uintptr_t)m->id); // NOLINT
}

/* False: answered. A reference must point to a message that is there, unless fail_if_not_exists is
 * false. */
static bool check_reference(struct rest_call *c)
{
    const json_t *ref = json_object_get(c->body, "message_reference");
    const json_t *strict = json_object_get(ref, "fail_if_not_exists");

    if (!json_is_object(ref) || json_is_false(strict) ||
        store_get(c->s->store, json_id(ref, "message_id")))
        return true;
    rest_error(c, 400, REFERENCE_INVALID, "Invalid Form Body: MESSAGE_REFERENCE_UNKNOWN_MESSAGE");
    return false;
}

void on_create_message(struct rest_call *c)
{
    struct channel *channel = rest_channel(c, 0);
    const char *nonce = json_str(c->body, "nonce");
    bool enforced = *nonce && json_bool(c->body, "enforce_nonce");
    struct message *m = NULL;

    if (!channel || !rest_check_message(c, c->body, false) || !check_reference(c))
        return;
    if (strlen(nonce) > MAX_NONCE) {
        rest_error(c, 400, INVALID_FORM, "Invalid Form Body: nonce");
        return;
    }
    if (enforced && (m = find_by_nonce(c, nonce))) {
        c->s->rest.nonce_repeats++;
        answer_message(c, 200, m);
        return;
    }
    (void)publish_message(c->s, channel, &c->s->world->bot, json_str(c->body, "content"),
                          message_extra_of(c->body), &m);
    if (enforced)
        remember_nonce(c, nonce, m);
    answer_message(c, 200, m);
}

void on_get_message(struct rest_call *c)
{
    const struct message *m = rest_channel(c, 0) ? rest_message(c, 0) : NULL;

    if (m)
        answer_message(c, 200, m);
}

void on_patch_message(struct rest_call *c)
{
    struct message *m = rest_channel(c, 0) ? rest_message(c, 0) : NULL;

    if (!m || !rest_check_message(c, c->body, true))
        return;
    if (!m->author->bot) {
        rest_error(c, 403, CANNOT_EDIT, "Cannot edit a message authored by another user");
        return;
    }
    CLEANUP(json_decref) json_t *patch = message_extra_of(c->body);
    (void)publish_edit(c->s, m, json_string_value(json_object_get(c->body, "content")), patch);
    answer_message(c, 200, m);
}

void on_delete_message(struct rest_call *c)
{
    struct message *m = rest_channel(c, 0) ? rest_message(c, 0) : NULL;

    if (!m)
        return;
    (void)publish_delete(c->s, m);
    rest_done(c);
}

void on_bulk_delete(struct rest_call *c)
{
    const json_t *ids = json_object_get(c->body, "messages"), *id;
    size_t i;

    if (!rest_channel(c, 0))
        return;
    if (json_array_size(ids) < 2 || json_array_size(ids) > 100) {
        rest_error(c, 400, INVALID_FORM, "You must provide at least 2 and fewer than 100 messages");
        return;
    }
    json_array_foreach(ids, i, id)
    {
        uint64_t one = 0;
        if (!json_is_string(id) || !id_parse(json_string_value(id), &one))
            continue;
        struct message *m = store_get(c->s->store, one);
        if (m && m->channel_id == c->id[0])
            (void)publish_delete(c->s, m);
    }
    rest_done(c);
}

static void react(struct rest_call *c, bool add)
{
    struct message *m = rest_channel(c, 0) ? rest_message(c, 0) : NULL;

    if (!m)
        return;
    (void)publish_reaction(c->s, m, &c->s->world->bot, c->part[2], add);
    rest_done(c);
}

void on_add_reaction(struct rest_call *c)
{
    react(c, true);
}

void on_remove_reaction(struct rest_call *c)
{
    react(c, false);
}

/* ---- threads ---- */

static void make_thread(struct rest_call *c, struct channel *parent, uint64_t from_message_id)
{
    const char *name = json_str(c->body, "name");
    int type = from_message_id ? CHANNEL_PUBLIC_THREAD
                               : (int)json_int(c->body, "type", CHANNEL_PRIVATE_THREAD);

    if (!parent->guild || !*name || strlen(name) > MAX_NAME_BYTES ||
        (type != CHANNEL_PUBLIC_THREAD && type != CHANNEL_PRIVATE_THREAD)) {
        rest_error(c, 400, INVALID_FORM, "Invalid Form Body");
        return;
    }
    struct channel *t = world_channel_add(c->s->world, parent->guild, type, name);
    if (!t) {
        rest_error(c, 400, 160006, "Maximum number of active threads reached");
        return;
    }
    t->parent_id = parent->id;
    t->owner_id = c->s->world->bot.id;
    (void)publish_channel(c->s, t, EVENT_THREAD_CREATE);
    struct message *first = store_get(c->s->store, from_message_id);
    if (first)
        first->thread_id = t->id;
    answer_channel(c, 201, t);
}

void on_create_thread(struct rest_call *c)
{
    struct channel *parent = rest_channel(c, 0);

    if (parent)
        make_thread(c, parent, 0);
}

void on_create_message_thread(struct rest_call *c)
{
    struct channel *parent = rest_channel(c, 0);
    const struct message *m = parent ? rest_message(c, 0) : NULL;

    if (!m)
        return;
    if (m->thread_id)
        rest_error(c, 400, THREAD_EXISTS, "A thread has already been created for this message");
    else
        make_thread(c, parent, m->id);
}

void on_thread_member(struct rest_call *c)
{
    if (rest_channel(c, 0))
        rest_done(c);
}
