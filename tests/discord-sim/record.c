#include "tests/discord-sim/record.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/xmem.h"

enum { CHUNK_EVENTS = 8192 };

struct record {
    struct record_event **chunks;
    size_t chunk_count, max_events;
    uint64_t count;
    struct record_guild *guilds; /* by guild->index */
    const struct world *world;
};

struct record *record_new(const struct world *w, size_t max_events)
{
    struct record *r = xcalloc(1, sizeof(*r));

    r->world = w;
    r->max_events = max_events;
    r->guilds = xcalloc(w->guild_count, sizeof(*r->guilds));
    for (size_t i = 0; i < w->guild_count; i++)
        r->guilds[i].guild_id = w->guilds[i]->id;
    return r;
}

void record_free(struct record *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->chunk_count; i++)
        free(r->chunks[i]);
    free(r->chunks);
    free(r->guilds);
    free(r);
}

static void count_message(struct record_guild *g, const struct message *m, int64_t sign)
{
    if (m->author->bot) {
        g->bot_messages += sign;
        return;
    }
    g->messages += sign;
    if (m->had_content)
        g->messages_with_content += sign;
    /* A message takes its reactions with it. */
    g->reactions += sign * m->reaction_count;
    if (m->had_content)
        g->reactions_with_content += sign * m->reaction_count;
}

static void count_event(struct record_guild *g, const struct record_event *e,
                        const struct message *about)
{
    g->events++;
    if (e->repeated)
        return;
    if (e->type == EVENT_GUILD_MEMBER_ADD)
        g->members_added++;
    if (!about)
        return;
    if (e->type == EVENT_MESSAGE_CREATE)
        count_message(g, about, 1);
    else if (e->type == EVENT_MESSAGE_DELETE)
        count_message(g, about, -1);
    else if (e->delta && !about->author->bot) {
        g->reactions += e->delta;
        g->reactions_with_content += about->had_content ? e->delta : 0;
    }
}

static void keep(struct record *r, const struct record_event *e)
{
    size_t place = (size_t)(r->count - 1);

    if (place >= r->max_events)
        return;
    if (place / CHUNK_EVENTS == r->chunk_count) {
        r->chunks = xrealloc(r->chunks, (r->chunk_count + 1) * sizeof(struct record_event *));
        r->chunks[r->chunk_count++] = xcalloc(CHUNK_EVENTS, sizeof(*e));
    }
    r->chunks[place / CHUNK_EVENTS][place % CHUNK_EVENTS] = *e;
}

void record_event_about(struct record_event *e, const struct message *about)
{
    e->message_id = about->id;
    e->channel_id = about->channel_id;
    e->has_content = about->had_content;
    e->by_bot = about->author->bot;
    if (!e->user_id)
        e->user_id = about->author->id;
}

void record_add(struct record *r, struct record_event e, const struct message *about)
{
    const struct guild *g = world_guild(r->world, e.guild_id);

    e.number = ++r->count;
    e.at_ms = clock_wall_ms();
    if (about)
        record_event_about(&e, about);
    keep(r, &e);
    if (g)
        count_event(&r->guilds[g->index], &e, about);
}

uint64_t record_count(const struct record *r)
{
    return r->count;
}

bool record_is_truncated(const struct record *r)
{
    return r->count > r->max_events;
}

const struct record_event *record_get(const struct record *r, uint64_t number)
{
    if (!number || number > r->count || number > r->max_events)
        return NULL;
    return &r->chunks[(number - 1) / CHUNK_EVENTS][(number - 1) % CHUNK_EVENTS];
}

const struct record_guild *record_of(const struct record *r, const struct guild *g)
{
    return &r->guilds[g->index];
}

void record_line(const struct record_event *e, struct out *o)
{
    out_json(o,
             "{'n':%u,'kind':'event','type':%S,'guild_id':%I,'message_id':%N,'channel_id':%N,"
             "'user_id':%N,'delta':%d,'has_content':%b,'by_bot':%b,'repeated':%b,'at_ms':%l}\n",
             e->number, e->name ? e->name : event_type_name(e->type), e->guild_id, e->message_id,
             e->channel_id, e->user_id, e->delta, e->has_content, e->by_bot, e->repeated, e->at_ms);
}
