#include "tests/discord-sim/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/xmem.h"
#include "tests/discord-sim/out.h"

/* Between one guild and the next, in ms. One more than a multiple of 5040: neighbours fall on
 * neighbouring shards for every shard count up to ten, so that a small world uses all of them. */
enum { GUILD_STEP_MS = 5040 * 200 + 1, USER_STEP_MS = 7919 };
enum { GUILD_CHILD_IDS = 256, USER_ID_MARK = 0x1000 };

#define EVERYONE_PERMISSIONS                                                                       \
    (PERM(6) | PERM_VIEW_CHANNEL | PERM(11) | PERM(14) | PERM(15) | PERM(16) | PERM(18) |          \
     PERM(20) | PERM(21) | PERM(31) | PERM(35) | PERM(38))
#define BOT_PERMISSIONS                                                                            \
    (PERM(1) | PERM(2) | PERM(4) | PERM_MANAGE_GUILD | PERM(7) | PERM_VIEW_CHANNEL | PERM(11) |    \
     PERM_MANAGE_MESSAGES | PERM(14) | PERM(15) | PERM(16) | PERM(28) | PERM(34) | PERM(35) |      \
     PERM(38) | PERM_MODERATE_MEMBERS)

struct guild *world_guild(const struct world *w, uint64_t id)
{
    return idmap_get(w->guild_by_id, id);
}

struct channel *world_channel(const struct world *w, uint64_t id)
{
    return idmap_get(w->channel_by_id, id);
}

struct user *world_user(const struct world *w, uint64_t id)
{
    return idmap_get(w->user_by_id, id);
}

uint64_t world_new_id(struct world *w)
{
    uint64_t now = (uint64_t)(clock_wall_ms() - SNOWFLAKE_EPOCH_MS) << 22;

    w->last_id = now > w->last_id ? now : w->last_id + 1;
    return w->last_id;
}

static struct channel *channel_new(struct world *w, uint64_t id, int type, const char *name)
{
    struct channel *c = xcalloc(1, sizeof(*c));

    c->id = id;
    c->type = type;
    c->name = xstrdup(name);
    c->overwrites = xstrdup("[]");
    (void)idmap_put(w->channel_by_id, id, c);
    return c;
}

static void channel_free(struct channel *c)
{
    free(c->name);
    free(c->overwrites);
    free(c->topic);
    free(c->messages);
    free(c);
}

static struct channel *guild_attach(struct guild *g, struct channel *c)
{
    if (g->channel_count == g->channel_cap) {
        size_t cap = g->channel_cap ? g->channel_cap * 2 : 8;
        struct channel **grown = xcalloc(cap, sizeof(struct channel *));
        if (g->channel_count)
            memcpy(grown, g->channels, g->channel_count * sizeof(struct channel *));
        free(g->channels);
        g->channels = grown;
        g->channel_cap = cap;
    }
    c->guild = g;
    g->channels[g->channel_count++] = c;
    return c;
}

struct channel *world_channel_add(struct world *w, struct guild *g, int type, const char *name)
{
    if (g->channel_count >= GUILD_MAX_CHANNELS)
        return NULL;
    return guild_attach(g, channel_new(w, world_new_id(w), type, name));
}

struct channel *world_dm(struct world *w, struct user *with)
{
    /* One DM channel per person: its id is derived, so that it need not be looked for. */
    uint64_t id = with->id + 1;
    struct channel *c = world_channel(w, id);

    if (!c) {
        c = channel_new(w, id, CHANNEL_DM, "");
        c->recipient = with;
    }
    return c;
}

void world_channel_remove(struct world *w, struct channel *c)
{
    struct guild *g = c->guild;

    for (size_t i = 0; g && i < g->channel_count; i++) {
        if (g->channels[i] == c) {
            memmove(g->channels + i, g->channels + i + 1,
                    (g->channel_count - i - 1) * sizeof(struct channel *));
            g->channel_count--;
            break;
        }
    }
    if (g && g->mod_log == c)
        g->mod_log = NULL;
    (void)idmap_remove(w->channel_by_id, c->id);
    channel_free(c);
}

struct role *guild_role_add(struct guild *g, const char *name, uint64_t permissions)
{
    struct role *grown = xcalloc(g->role_count + 1, sizeof(*grown));

    if (g->role_count)
        memcpy(grown, g->roles, g->role_count * sizeof(*grown));
    free(g->roles);
    g->roles = grown;
    struct role *role = &g->roles[g->role_count];
    *role = (struct role){ .id = g->role_count ? g->next_child_id++ : g->id,
                           .permissions = permissions,
                           .name = xstrdup(name),
                           .position = (int)g->role_count };
    g->role_count++;
    return role;
}

struct role *guild_role(const struct guild *g, uint64_t id)
{
    for (size_t i = 0; i < g->role_count; i++)
        if (g->roles[i].id == id)
            return &g->roles[i];
    return NULL;
}

struct member *guild_member(const struct guild *g, uint64_t user_id)
{
    for (size_t i = 0; i < g->member_count; i++)
        if (g->members[i].user->id == user_id)
            return &g->members[i];
    return NULL;
}

struct member *guild_member_add(struct guild *g, struct user *u, int64_t now_ms)
{
    struct member *known = guild_member(g, u->id);

    if (known) {
        known->gone = known->banned = false;
        known->role_count = 0;
        known->joined_ms = now_ms;
        return known;
    }
    if (g->member_count == g->member_cap) {
        g->member_cap = g->member_cap * 2 + 8;
        struct member *grown = xcalloc(g->member_cap, sizeof(*grown));
        if (g->member_count)
            memcpy(grown, g->members, g->member_count * sizeof(*grown));
        free(g->members);
        g->members = grown;
    }
    g->members[g->member_count] = (struct member){ .user = u, .joined_ms = now_ms };
    return &g->members[g->member_count++];
}

bool member_is_here(const struct member *m)
{
    return m && !m->gone && !m->banned;
}

bool member_has_role(const struct member *m, uint64_t role_id)
{
    for (size_t i = 0; i < m->role_count; i++)
        if (m->roles[i] == role_id)
            return true;
    return false;
}

bool member_role_add(struct member *m, uint64_t role_id)
{
    if (member_has_role(m, role_id))
        return true;
    if (m->role_count == MEMBER_MAX_ROLES)
        return false;
    m->roles[m->role_count++] = role_id;
    return true;
}

void member_role_remove(struct member *m, uint64_t role_id)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->role_count; i++)
        if (m->roles[i] != role_id)
            m->roles[kept++] = m->roles[i];
    m->role_count = (uint8_t)kept;
}

uint64_t member_permissions(const struct guild *g, const struct member *m)
{
    uint64_t all = 0;

    if (m->user->id == g->owner_id)
        return PERM_ALL;
    for (size_t i = 0; i < g->role_count; i++)
        if (g->roles[i].id == g->id || member_has_role(m, g->roles[i].id))
            all |= g->roles[i].permissions;
    return all & PERM_ADMINISTRATOR ? PERM_ALL : all;
}

struct member *guild_pick(const struct guild *g, struct rng *r)
{
    size_t start = rng_below(r, g->member_count);

    for (size_t i = 0; i < g->member_count; i++) {
        struct member *m = &g->members[(start + i) % g->member_count];
        if (!m->user->bot && member_is_here(m))
            return m;
    }
    return NULL;
}

struct member *guild_first_moderator(const struct guild *g)
{
    for (size_t i = 0; i < g->member_count; i++)
        if (member_is_here(&g->members[i]) && g->members[i].user->id != g->owner_id &&
            member_has_role(&g->members[i], g->moderator_role_id))
            return &g->members[i];
    return NULL;
}

struct member *guild_first_plain(const struct guild *g)
{
    for (size_t i = 0; i < g->member_count; i++)
        if (member_is_here(&g->members[i]) && !g->members[i].user->bot &&
            g->members[i].user->id != g->owner_id && !g->members[i].role_count)
            return &g->members[i];
    return NULL;
}

/* ---- making it ---- */

static struct channel *make_channel(struct world *w, struct guild *g, int type, const char *name)
{
    return guild_attach(g, channel_new(w, g->next_child_id++, type, name));
}

static void make_roles(struct guild *g)
{
    uint64_t moderator = PERM_MANAGE_MESSAGES | PERM_MODERATE_MEMBERS;

    if (g->index % 3 != 2) /* in the rest moderators may not configure the bot */
        moderator |= PERM_MANAGE_GUILD;
    (void)guild_role_add(g, "@everyone", EVERYONE_PERMISSIONS);
    g->moderator_role_id = guild_role_add(g, "Moderator", moderator)->id;
    struct role *bot = guild_role_add(g, "Guildbus", BOT_PERMISSIONS);
    bot->managed = true;
    g->bot_role_id = bot->id;
    (void)guild_role_add(g, "Restricted", 0);
}

static void hide(struct guild *g, struct channel *c)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_json(&o,
             "[{'id':%I,'type':0,'allow':'0','deny':'1024'},"
             "{'id':%I,'type':0,'allow':'1024','deny':'0'},"
             "{'id':%I,'type':0,'allow':'1024','deny':'0'}]",
             g->id, g->moderator_role_id, g->bot_role_id);
    free(c->overwrites);
    c->overwrites = out_take(&o);
}

static void make_channels(struct world *w, struct guild *g)
{
    static const char *const names[] = { "general", "chat", "off-topic", "help", "showcase" };
    struct channel *category = make_channel(w, g, CHANNEL_CATEGORY, "Text Channels");

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        make_channel(w, g, CHANNEL_TEXT, names[i])->parent_id = category->id;
    g->mod_log = make_channel(w, g, CHANNEL_TEXT, "mod-log");
    hide(g, g->mod_log);
}

/* Discord: 500 channels with topics of 1,024 characters; what is missing then are emojis. */
static void make_large(struct world *w, struct guild *g, size_t bytes)
{
    enum { CHANNELS = 490, TOPIC = 1024, EMOJI_BYTES = 150, CHANNEL_BYTES = 4400 };
    static const char otter[] = "\xf0\x9f\xa6\xa6";
    char topic[4 * TOPIC + 1] = "", name[32];

    for (size_t i = 0; i < TOPIC; i++)
        memcpy(topic + 4 * i, otter, 5);
    for (size_t i = 0; i < CHANNELS && bytes > CHANNEL_BYTES; i++, bytes -= CHANNEL_BYTES) {
        (void)snprintf(name, sizeof(name), "room-%zu", i);
        make_channel(w, g, CHANNEL_TEXT, name)->topic = xstrdup(topic);
    }
    g->emojis = bytes / EMOJI_BYTES;
}

static void make_members(struct world *w, struct guild *g, size_t count, struct rng *r)
{
    size_t start = rng_below(r, w->user_count);
    int64_t joined = (int64_t)(g->id >> 22) + SNOWFLAKE_EPOCH_MS + 86400000;

    g->member_cap = count + 1;
    g->members = xcalloc(g->member_cap, sizeof(*g->members));
    for (size_t i = 0; i < count; i++)
        g->members[g->member_count++] =
            (struct member){ .user = &w->users[(start + i) % w->user_count],
                             .joined_ms = joined + (int64_t)i * 1000 };
    g->owner_id = g->members[0].user->id;
    (void)member_role_add(&g->members[1], g->moderator_role_id);
    if (count > 8)
        (void)member_role_add(&g->members[2], g->moderator_role_id);
    struct member *bot = &g->members[g->member_count++];
    *bot = (struct member){ .user = &w->bot, .joined_ms = joined + 5000 };
    (void)member_role_add(bot, g->bot_role_id);
}

static struct guild *make_guild(struct world *w, const struct world_config *config, size_t index,
                                struct rng *r)
{
    struct guild *g = xcalloc(1, sizeof(*g));
    uint64_t first_ms = UINT64_C(100000000000) + config->seed * 7919 % UINT64_C(40000000000);

    g->index = (uint32_t)index;
    g->id = (first_ms + index * (uint64_t)GUILD_STEP_MS) << 22 | rng_below(r, 8) * GUILD_CHILD_IDS;
    g->next_child_id = g->id + 1;
    g->name = name_of_guild(r, index);
    make_roles(g);
    make_channels(w, g);
    make_members(w, g, config->members, r);
    if (index < config->large_guilds)
        make_large(w, g, config->large_bytes);
    (void)idmap_put(w->guild_by_id, g->id, g);
    return g;
}

static void make_users(struct world *w, const struct world_config *config, struct rng *r)
{
    size_t most = config->guilds * config->members;

    /* Thirty guilds' worth of people at most: then they meet each other in several guilds. */
    w->user_count = config->members * 30 < most ? config->members * 30 : most;
    w->users = xcalloc(w->user_count, sizeof(*w->users));
    for (size_t i = 0; i < w->user_count; i++) {
        uint64_t ms = UINT64_C(50000000000) + config->seed % 9973 + i * (uint64_t)USER_STEP_MS;
        w->users[i].id = ms << 22 | USER_ID_MARK;
        w->users[i].username = name_of_user(r, i);
        w->users[i].global_name = name_to_show(r, i);
        (void)idmap_put(w->user_by_id, w->users[i].id, &w->users[i]);
    }
}

struct world *world_new(const struct world_config *config)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct rng r = { .state = config->seed };

    w->guild_by_id = idmap_new();
    w->channel_by_id = idmap_new();
    w->user_by_id = idmap_new();
    w->bot = (struct user){ .id = config->application_id,
                            .username = xstrdup("guildbus"),
                            .global_name = NULL,
                            .bot = true };
    (void)idmap_put(w->user_by_id, w->bot.id, &w->bot);
    make_users(w, config, &r);
    w->guild_count = config->guilds;
    w->guilds = xcalloc(w->guild_count, sizeof(struct guild *));
    for (size_t i = 0; i < w->guild_count; i++)
        w->guilds[i] = make_guild(w, config, i, &r);
    return w;
}

static void guild_free(struct guild *g)
{
    for (size_t i = 0; i < g->role_count; i++)
        free(g->roles[i].name);
    free(g->roles);
    free(g->channels); /* the channels themselves are freed by their table */
    free(g->members);
    free(g->name);
    free(g);
}

static void user_release(struct user *u)
{
    free(u->username);
    free(u->global_name);
}

static void free_channel(void *ctx, uint64_t id, void *channel)
{
    (void)ctx;
    (void)id;
    channel_free(channel);
}

void world_free(struct world *w)
{
    if (!w)
        return;
    idmap_each(w->channel_by_id, free_channel, NULL);
    for (size_t i = 0; i < w->guild_count; i++)
        guild_free(w->guilds[i]);
    free(w->guilds);
    for (size_t i = 0; i < w->user_count; i++)
        user_release(&w->users[i]);
    free(w->users);
    user_release(&w->bot);
    idmap_free(w->guild_by_id);
    idmap_free(w->channel_by_id);
    idmap_free(w->user_by_id);
    free(w);
}
