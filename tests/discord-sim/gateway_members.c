/* gateway_members.c - op 8, REQUEST_GUILD_MEMBERS: chunks of a thousand, and its own limit.
 *
 * Sources: Discord's documentation, "Request Guild Members": one guild a request, all its members
 * once in 30 s, at most 100 users by id, limit at most 100 with a query, a nonce of at most 32
 * bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xmem.h"
#include "tests/discord-sim/gateway_internal.h"
#include "tests/discord-sim/objects.h"

enum { CHUNK = 1000, MAX_IDS = 100, MAX_LIMIT = 100, MAX_NONCE = 32, WHOLE_GUILD_MS = 30000 };

struct request {
    struct gw_conn *c;
    const struct guild *g;
    const json_t *ids; /* NULL: by query */
    const char *query, *nonce;
    const struct member **found;
    size_t count;
};

static void push_text(struct request *r, enum event_type type, const char *name, const char *body)
{
    struct event *e = event_new(type, name, body, NULL);

    session_push(r->c->session, e);
    event_unref(e);
}

static void push_limited(struct request *r, int64_t wait_ms)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    char seconds[32];

    (void)snprintf(seconds, sizeof(seconds), "%.3f", (double)wait_ms / 1000);
    out_json(&o, "{'opcode':8,'retry_after':%r,'meta':{'guild_id':%I,'nonce':%S}}", seconds,
             r->g->id, r->nonce);
    push_text(r, EVENT_OTHER, "RATE_LIMITED", o.text);
}

static bool id_at(const json_t *ids, size_t i, uint64_t *ret)
{
    const json_t *id = json_is_array(ids) ? json_array_get(ids, i) : ids;

    return json_is_string(id) && id_parse(json_string_value(id), ret);
}

static size_t id_count(const json_t *ids)
{
    size_t n = json_is_array(ids) ? json_array_size(ids) : 1;

    return n < MAX_IDS ? n : MAX_IDS;
}

static void find_by_ids(struct request *r)
{
    uint64_t id = 0;

    for (size_t i = 0; i < id_count(r->ids); i++) {
        const struct member *m = id_at(r->ids, i, &id) ? guild_member(r->g, id) : NULL;
        if (member_is_here(m))
            r->found[r->count++] = m;
    }
}

static void find_by_query(struct request *r, size_t limit)
{
    for (size_t i = 0; i < r->g->member_count && r->count < limit; i++) {
        const struct member *m = &r->g->members[i];
        if (member_is_here(m) && !strncmp(m->user->username, r->query, strlen(r->query)))
            r->found[r->count++] = m;
    }
}

static void add_not_found(struct request *r, struct out *o)
{
    uint64_t id = 0;

    if (!r->ids)
        return;
    out_text(o, ",\"not_found\":[");
    for (size_t i = 0; i < id_count(r->ids); i++)
        if (id_at(r->ids, i, &id) && !member_is_here(guild_member(r->g, id)))
            out_json(o, "%I,", id);
    out_drop(o, ',');
    out_text(o, "]");
}

static void push_chunk(struct request *r, size_t index, size_t chunks)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    size_t from = index * CHUNK, to = from + CHUNK < r->count ? from + CHUNK : r->count;

    out_json(&o, "{'guild_id':%I,'chunk_index':%d,'chunk_count':%d,", r->g->id, (int)index,
             (int)chunks);
    if (*r->nonce)
        out_json(&o, "'nonce':%S,", r->nonce);
    out_text(&o, "\"members\":[");
    for (size_t i = from; i < to; i++) {
        object_member(&o, r->g, r->found[i], true, false);
        out_text(&o, ",");
    }
    out_drop(&o, ',');
    out_text(&o, "]");
    if (index == 0)
        add_not_found(r, &o);
    out_text(&o, "}");
    push_text(r, EVENT_GUILD_MEMBERS_CHUNK, NULL, o.text);
    r->c->gw->counts.member_chunks++;
}

/* False: all members of a guild were asked for twice in 30 s. */
static bool may_have_all(struct request *r)
{
    struct session *s = r->c->session;
    int64_t now = r->c->gw->now_ms;

    if (s->members_guild_id == r->g->id && now - s->members_ms < WHOLE_GUILD_MS) {
        push_limited(r, s->members_ms + WHOLE_GUILD_MS - now);
        return false;
    }
    s->members_guild_id = r->g->id;
    s->members_ms = now;
    return true;
}

static void answer(struct request *r, const json_t *d)
{
    int64_t limit = json_int(d, "limit", 0);
    bool all = !r->ids && !*r->query && limit == 0;

    if (all && (!(r->c->session->intents >> INTENT_GUILD_MEMBERS & 1) || !may_have_all(r)))
        return;
    r->found = xcalloc(r->g->member_count + MAX_IDS, sizeof(struct member *));
    if (r->ids)
        find_by_ids(r);
    else
        find_by_query(r, all                              ? SIZE_MAX
                         : limit > 0 && limit < MAX_LIMIT ? (size_t)limit
                                                          : MAX_LIMIT);
    size_t chunks = r->count ? (r->count + CHUNK - 1) / CHUNK : 1;
    for (size_t i = 0; i < chunks; i++)
        push_chunk(r, i, chunks);
    free(r->found);
}

void conn_request_members(struct gw_conn *c, const json_t *d)
{
    struct request r = { .c = c,
                         .g = world_guild(c->gw->config.world, json_id(d, "guild_id")),
                         .ids = json_object_get(d, "user_ids"),
                         .query = json_str(d, "query"),
                         .nonce = json_str(d, "nonce") };

    if (strlen(r.nonce) > MAX_NONCE)
        r.nonce = "";
    if (r.g && session_wants(c->session, r.g->id, EVENT_GUILD_MEMBERS_CHUNK))
        answer(&r, d);
}
