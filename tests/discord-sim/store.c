#include "tests/discord-sim/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/idmap.h"
#include "base/xmem.h"

struct store {
    struct idmap *by_id;
    uint64_t *order; /* ring of ids, so that the oldest is known */
    size_t capacity, next;
};

struct message *message_new(uint64_t id, const struct channel *c, struct user *author,
                            const char *content)
{
    struct message *m = xcalloc(1, sizeof(*m));

    m->id = id;
    m->channel_id = c->id;
    m->guild_id = c->guild ? c->guild->id : 0;
    m->author = author;
    m->content = xstrdup(content);
    m->had_content = *content != '\0';
    return m;
}

void message_free(struct message *m)
{
    if (!m)
        return;
    json_decref(m->extra);
    free(m->content);
    free(m->reactions);
    free(m);
}

/* Discord: an embed that an application makes is of type rich. */
static json_t *typed_embeds(json_t *embeds)
{
    size_t i;
    json_t *embed;

    json_array_foreach(embeds, i, embed)
    {
        if (json_is_object(embed) && !json_object_get(embed, "type"))
            (void)json_object_set_new(embed, "type", json_string("rich"));
    }
    return embeds;
}

json_t *message_extra_of(const json_t *body)
{
    static const char *const kept[] = { "embeds",      "components", "flags", "message_reference",
                                        "attachments", "nonce",      "poll" };
    json_t *extra = NULL;

    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        json_t *value = json_object_get(body, kept[i]);
        if (!value || json_is_null(value))
            continue;
        if (!extra)
            extra = json_object();
        (void)json_object_set_new(
            extra, kept[i], i == 0 ? typed_embeds(json_deep_copy(value)) : json_deep_copy(value));
    }
    return extra;
}

static struct reaction *find_reaction(const struct message *m, uint64_t user_id, const char *emoji)
{
    for (size_t i = 0; i < m->reaction_count; i++)
        if (m->reactions[i].user_id == user_id && !strcmp(m->reactions[i].emoji, emoji))
            return &m->reactions[i];
    return NULL;
}

bool message_react(struct message *m, uint64_t user_id, const char *emoji)
{
    size_t size = strlen(emoji);

    if (m->reaction_count == MESSAGE_MAX_REACTIONS || size >= sizeof(m->reactions->emoji) ||
        find_reaction(m, user_id, emoji))
        return false;
    if (!m->reactions)
        m->reactions = xcalloc(MESSAGE_MAX_REACTIONS, sizeof(*m->reactions));
    struct reaction *r = &m->reactions[m->reaction_count++];
    r->user_id = user_id;
    memcpy(r->emoji, emoji, size + 1);
    return true;
}

bool message_unreact(struct message *m, uint64_t user_id, const char *emoji)
{
    struct reaction *r = find_reaction(m, user_id, emoji);

    if (!r)
        return false;
    *r = m->reactions[--m->reaction_count];
    return true;
}

struct store *store_new(size_t capacity)
{
    struct store *s = xcalloc(1, sizeof(*s));

    s->by_id = idmap_new();
    s->capacity = capacity;
    s->order = xcalloc(capacity, sizeof(*s->order));
    return s;
}

static void free_message(void *ctx, uint64_t id, void *message)
{
    (void)ctx;
    (void)id;
    message_free(message);
}

void store_free(struct store *s)
{
    if (!s)
        return;
    idmap_each(s->by_id, free_message, NULL);
    idmap_free(s->by_id);
    free(s->order);
    free(s);
}

static void list_message(struct channel *c, uint64_t id)
{
    if (c->message_count == CHANNEL_MAX_LISTED) {
        c->message_count /= 2;
        memmove(c->messages, c->messages + c->message_count,
                c->message_count * sizeof(*c->messages));
    }
    if (c->message_count == c->message_cap) {
        c->message_cap = c->message_cap ? c->message_cap * 2 : 16;
        c->messages = xrealloc(c->messages, c->message_cap * sizeof(*c->messages));
    }
    c->messages[c->message_count++] = id;
}

struct message *store_add(struct store *s, struct channel *c, struct message **m)
{
    struct message *added = TAKE(*m);
    uint64_t *place = &s->order[s->next++ % s->capacity];

    if (*place)
        store_remove(s, *place);
    *place = added->id;
    (void)idmap_put(s->by_id, added->id, added);
    if (c)
        list_message(c, added->id);
    return added;
}

struct message *store_get(const struct store *s, uint64_t id)
{
    return idmap_get(s->by_id, id);
}

void store_remove(struct store *s, uint64_t id)
{
    message_free(idmap_remove(s->by_id, id));
}

size_t store_count(const struct store *s)
{
    return idmap_count(s->by_id);
}
