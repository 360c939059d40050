#include "tests/discord-sim/traffic.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xmem.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/publish.h"

enum {
    TICK_MS = 1,
    EVENTS_A_TICK = 256,
    INTERACTIONS_A_TICK = 64,
    MAX_UNSENT = 512, /* events that may wait at a socket before the traffic waits for it */
    TRIES = 16,
};
/* While nothing can be sent, look again that often. */
enum { WAIT_MS = 20 };

static const struct {
    const char *name;
    uint32_t weight;
} kinds[TRAFFIC_KINDS] = {
    [TRAFFIC_CREATE] = { "create", 60 },  [TRAFFIC_UPDATE] = { "update", 8 },
    [TRAFFIC_DELETE] = { "delete", 4 },   [TRAFFIC_REACT] = { "react", 16 },
    [TRAFFIC_UNREACT] = { "unreact", 4 }, [TRAFFIC_JOIN] = { "join", 1 },
    [TRAFFIC_TYPING] = { "typing", 4 },   [TRAFFIC_REPORT] = { "report", 4 },
    [TRAFFIC_TRACK] = { "track", 3 },     [TRAFFIC_MODREPORT] = { "modreport", 3 },
};
static const char *const emoji[] = { "\xf0\x9f\x91\x8d", "\xf0\x9f\x8e\x89", "\xf0\x9f\xa6\xa6",
                                     "blob:412345678901234567" };

struct traffic {
    struct sim *sim;
    struct loop_timer *timer;
    struct traffic_order order;
    uint64_t events_sent, interactions_sent, answered, failed, in_flight, tried_in_vain;
    int64_t started_us, finished_us; /* finished: the last interaction was answered */
    bool running, waits_for_sessions;
};

static void on_tick(void *ctx);

struct traffic *traffic_new(struct sim *s)
{
    struct traffic *t = xcalloc(1, sizeof(*t));

    t->sim = s;
    t->timer = loop_timer_new(s->loop, on_tick, t);
    return t;
}

void traffic_free(struct traffic *t)
{
    if (!t)
        return;
    loop_timer_free(t->timer);
    free(t);
}

bool traffic_read_mix(const json_t *mix, uint32_t weights[TRAFFIC_KINDS])
{
    size_t known = 0;

    for (size_t i = 0; i < TRAFFIC_KINDS; i++) {
        const json_t *weight = json_object_get(mix, kinds[i].name);
        weights[i] = kinds[i].weight;
        if (!weight)
            continue;
        json_int_t value = json_is_integer(weight) ? json_integer_value(weight) : -1;
        if (value < 0 || value > 1000000)
            return false;
        weights[i] = (uint32_t)value;
        known++;
    }
    return known == json_object_size(mix);
}

/* ---- one event ---- */

static struct guild *pick_guild(struct traffic *t)
{
    return t->sim->world->guilds[rng_below(&t->sim->rng, t->order.guilds)];
}

/* Everyone keeps to one channel of a guild, as people do; who hops looks like a spammer. */
static struct channel *home_of(const struct guild *g, const struct user *u)
{
    struct channel *texts[8];
    size_t count = 0;

    for (size_t i = 0; i < g->channel_count && count < ARRAY_LEN(texts); i++)
        if (g->channels[i]->type == CHANNEL_TEXT && g->channels[i] != g->mod_log &&
            g->channels[i]->id - g->id < 256) /* not what the bot made */
            texts[count++] = g->channels[i];
    return count ? texts[(u->id >> 22) % count] : NULL;
}

static struct message *pick_message(struct traffic *t, const struct guild *g)
{
    size_t kept = g->recent_next < GUILD_RECENT ? g->recent_next : GUILD_RECENT;

    for (size_t i = 0; kept && i < TRIES; i++) {
        struct message *m = store_get(t->sim->store, g->recent[rng_below(&t->sim->rng, kept)]);
        if (m)
            return m;
    }
    return NULL;
}

static bool send_create(struct traffic *t, struct guild *g)
{
    const struct member *m = guild_pick(g, &t->sim->rng);
    struct channel *c = m ? home_of(g, m->user) : NULL;

    if (!c)
        return false;
    CLEANUP(xfree) char *content = content_make(&t->sim->rng);
    json_t *extra = *content ? NULL
                             : json_pack("{s:[{s:s,s:s,s:i,s:s}]}", "attachments", "id",
                                         "412345678901234568", "filename", "photo.png", "size",
                                         48213, "url", "https://cdn.example.org/photo.png");
    return publish_message(t->sim, c, m->user, content, extra, NULL);
}

static bool send_update(struct traffic *t, const struct guild *g)
{
    struct message *m = pick_message(t, g);

    if (!m || !m->had_content)
        return false;
    CLEANUP(xfree) char *content = content_make(&t->sim->rng);
    return *content && publish_edit(t->sim, m, content, NULL);
}

static bool send_reaction(struct traffic *t, const struct guild *g)
{
    const struct member *by = guild_pick(g, &t->sim->rng);
    struct message *m = pick_message(t, g);

    return m && by &&
           publish_reaction(t->sim, m, by->user, emoji[rng_below(&t->sim->rng, ARRAY_LEN(emoji))],
                            true);
}

static bool send_unreaction(struct traffic *t, const struct guild *g)
{
    struct message *m = pick_message(t, g);

    if (!m || !m->reaction_count)
        return false;
    struct reaction r = m->reactions[rng_below(&t->sim->rng, m->reaction_count)];
    struct user *by = world_user(t->sim->world, r.user_id);
    return by && publish_reaction(t->sim, m, by, r.emoji, false);
}

static bool send_join(struct traffic *t, struct guild *g)
{
    struct world *w = t->sim->world;
    struct user *u = &w->users[rng_below(&t->sim->rng, w->user_count)];

    if (guild_member(g, u->id))
        return false;
    return publish_member(t->sim, g, guild_member_add(g, u, clock_wall_ms()),
                          EVENT_GUILD_MEMBER_ADD);
}

static bool send_typing(struct traffic *t, const struct guild *g)
{
    const struct member *m = guild_pick(g, &t->sim->rng);
    struct channel *c = m ? home_of(g, m->user) : NULL;

    return c && publish_typing(t->sim, c, m->user);
}

static bool send_event(struct traffic *t, enum traffic_kind kind, struct guild *g)
{
    switch (kind) {
    case TRAFFIC_CREATE:
        return send_create(t, g);
    case TRAFFIC_UPDATE:
        return send_update(t, g);
    case TRAFFIC_DELETE: {
        struct message *m = pick_message(t, g);
        return m && publish_delete(t->sim, m);
    }
    case TRAFFIC_REACT:
        return send_reaction(t, g);
    case TRAFFIC_UNREACT:
        return send_unreaction(t, g);
    case TRAFFIC_JOIN:
        return send_join(t, g);
    case TRAFFIC_TYPING:
        return send_typing(t, g);
    case TRAFFIC_REPORT:
    case TRAFFIC_TRACK:
    case TRAFFIC_MODREPORT:
    case TRAFFIC_KINDS:
        break;
    }
    return false;
}

/* A kind between first and last by its weight; TRAFFIC_KINDS: all weigh nothing. */
static enum traffic_kind pick_kind(struct traffic *t, enum traffic_kind first,
                                   enum traffic_kind last)
{
    uint32_t sum = 0;

    for (unsigned i = first; i <= (unsigned)last; i++)
        sum += t->order.weights[i];
    if (!sum)
        return TRAFFIC_KINDS;
    size_t at = rng_below(&t->sim->rng, sum);
    for (unsigned i = first; i <= (unsigned)last; i++) {
        if (at < t->order.weights[i])
            return (enum traffic_kind)i;
        at -= t->order.weights[i];
    }
    return last;
}

/* ---- one interaction ---- */

static void on_interaction_done(void *ctx, const struct interaction *i, const char *body)
{
    struct traffic *t = ctx;

    (void)body;
    t->in_flight--;
    if (i->fate == FATE_FAILED)
        t->failed++;
    else
        t->answered++;
    if (t->running)
        loop_timer_start(t->timer, 0); /* there is room for the next */
}

static bool send_interaction(struct traffic *t, enum traffic_kind kind, struct guild *g)
{
    const struct member *moderator = guild_first_moderator(g);
    struct interaction_ask ask = {
        .type = INTERACTION_COMMAND, .guild = g, .on_done = on_interaction_done, .ctx = t
    };
    struct message *m = pick_message(t, g);

    if (!m && send_create(t, g)) /* nothing was said yet that could be reported */
        m = pick_message(t, g);
    if (!m || !moderator)
        return false;
    const struct member *by = kind == TRAFFIC_REPORT ? guild_pick(g, &t->sim->rng) : moderator;
    ask.kind = kind == TRAFFIC_REPORT ? "Report" : kind == TRAFFIC_TRACK ? "Track" : "modreport";
    ask.by = by->user;
    ask.channel = world_channel(t->sim->world, m->channel_id);
    if (kind == TRAFFIC_MODREPORT)
        ask.target_user = m->author;
    else
        ask.target = m;
    if (!ask.channel)
        return false;
    t->in_flight++;
    t->interactions_sent++;
    if (interactions_send(t->sim->interactions, &ask))
        return true;
    t->in_flight--;
    t->interactions_sent--;
    return false;
}

/* ---- the rate ---- */

/* How many of the order are due by now. */
static uint64_t due(const struct traffic *t, uint64_t total, int64_t per_s)
{
    if (!per_s)
        return total;
    uint64_t so_far = (uint64_t)((clock_now_us() - t->started_us) * per_s / 1000000);
    return so_far < total ? so_far : total;
}

static void send_events(struct traffic *t)
{
    uint64_t until = due(t, t->order.events, t->order.events_per_s);

    for (int n = 0; n < EVENTS_A_TICK && t->events_sent < until; n++) {
        enum traffic_kind kind = pick_kind(t, TRAFFIC_CREATE, TRAFFIC_TYPING);
        if (kind == TRAFFIC_KINDS)
            return;
        /* Nothing to edit yet, or no session wants such events: another one then. */
        if (send_event(t, kind, pick_guild(t)))
            t->events_sent++;
        else
            t->tried_in_vain++;
    }
}

static void send_interactions(struct traffic *t)
{
    uint64_t until = due(t, t->order.interactions, t->order.interactions_per_s);

    for (int n = 0; n < INTERACTIONS_A_TICK && t->interactions_sent < until; n++) {
        if (t->in_flight >= t->order.in_flight)
            return;
        enum traffic_kind kind = pick_kind(t, TRAFFIC_REPORT, TRAFFIC_MODREPORT);
        if (kind == TRAFFIC_KINDS)
            return;
        if (!send_interaction(t, kind, pick_guild(t)))
            t->tried_in_vain++;
    }
}

static bool is_finished(const struct traffic *t)
{
    return t->events_sent == t->order.events && t->interactions_sent == t->order.interactions &&
           !t->in_flight;
}

static void on_tick(void *ctx)
{
    struct traffic *t = ctx;

    if (!t->running)
        return;
    bool wanted_sessions = t->waits_for_sessions;
    t->waits_for_sessions = !gateway_is_covered(t->sim->gateway);
    if (t->waits_for_sessions != wanted_sessions)
        log_info("traffic", "waits_for_sessions=%d", t->waits_for_sessions);
    bool has_room = gateway_has_room(t->sim->gateway, MAX_UNSENT);
    if (!t->waits_for_sessions && has_room)
        send_events(t);
    if (!t->waits_for_sessions)
        send_interactions(t);
    if (is_finished(t)) {
        t->running = false;
        t->finished_us = clock_now_us();
        log_info("traffic", "finished=1 events=%llu interactions=%llu",
                 (unsigned long long)t->events_sent, (unsigned long long)t->interactions_sent);
        return;
    }
    loop_timer_start(t->timer, t->waits_for_sessions ? WAIT_MS : TICK_MS);
}

void traffic_start(struct traffic *t, const struct traffic_order *order)
{
    uint64_t in_flight = t->in_flight; /* of an order that was stopped; they still come back */

    t->order = *order;
    if (!t->order.guilds || t->order.guilds > t->sim->world->guild_count)
        t->order.guilds = t->sim->world->guild_count;
    if (!t->order.in_flight)
        t->order.in_flight = 32;
    t->events_sent = t->interactions_sent = t->answered = t->failed = t->tried_in_vain = 0;
    t->in_flight = in_flight;
    t->started_us = clock_now_us();
    t->finished_us = 0;
    t->running = true;
    t->waits_for_sessions = false;
    loop_timer_start(t->timer, 0);
}

void traffic_stop(struct traffic *t)
{
    t->running = false;
    t->finished_us = clock_now_us();
    loop_timer_stop(t->timer);
}

bool traffic_is_running(const struct traffic *t)
{
    return t->running;
}

void traffic_describe(const struct traffic *t, struct out *o)
{
    int64_t end = t->running ? clock_now_us() : t->finished_us;

    out_json(o,
             "{'running':%b,'waits_for_sessions':%b,'events':%u,'interactions':%u,"
             "'events_sent':%u,'interactions_sent':%u,'answered':%u,'failed':%u,'in_flight':%u,"
             "'tried_in_vain':%u,'elapsed_ms':%l}",
             t->running, t->waits_for_sessions, t->order.events, t->order.interactions,
             t->events_sent, t->interactions_sent, t->answered, t->failed, t->in_flight,
             t->tried_in_vain, t->started_us ? (end - t->started_us) / 1000 : (int64_t)0);
}
