/* world.h - the guilds, channels, roles and people that this Discord consists of.
 *
 * Made from a seed: the same seed and sizes give the same ids and names. What happens later
 * (channels and threads made by the bot, bans, joins) changes it in place. Members are drawn from
 * one pool of users, so that a user is in several guilds.
 *
 * THREAD: confined. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/idmap.h"
#include "base/macros.h"
#include "tests/discord-sim/rng.h"

/* Discord's epoch: 2015-01-01 in ms since 1970. */
#define SNOWFLAKE_EPOCH_MS INT64_C(1420070400000)

#define PERM(bit)             (UINT64_C(1) << (bit))
#define PERM_ADMINISTRATOR    PERM(3)
#define PERM_MANAGE_GUILD     PERM(5)
#define PERM_VIEW_CHANNEL     PERM(10)
#define PERM_MANAGE_MESSAGES  PERM(13)
#define PERM_MODERATE_MEMBERS PERM(40)
#define PERM_ALL              (PERM(53) - 1)

enum { MEMBER_MAX_ROLES = 8, GUILD_RECENT = 128, GUILD_MAX_CHANNELS = 5000 };
enum channel_type {
    CHANNEL_TEXT = 0,
    CHANNEL_DM = 1,
    CHANNEL_CATEGORY = 4,
    CHANNEL_PUBLIC_THREAD = 11,
    CHANNEL_PRIVATE_THREAD = 12,
};

struct user {
    uint64_t id;
    char *username, *global_name;
    bool bot;
};
struct role {
    uint64_t id, permissions;
    char *name;
    int position;
    bool managed;
};
struct member {
    struct user *user;
    uint64_t roles[MEMBER_MAX_ROLES];
    uint8_t role_count;
    bool banned,
        gone; /* a banned or gone member keeps its place, so that a rejoin is the same person */
    int64_t joined_ms, timeout_until_ms;
};
struct channel {
    uint64_t id, parent_id, owner_id; /* owner: of a thread */
    struct guild *guild;              /* NULL: a DM */
    struct user *recipient;           /* of a DM */
    char *name, *overwrites;          /* overwrites: JSON array */
    char *topic;                      /* NULL: none */
    int type;
    bool locked, archived;
    uint64_t *messages; /* ids, oldest first; may name messages that are gone */
    size_t message_count, message_cap;
};
struct guild {
    uint64_t id, owner_id;
    uint32_t index;
    char *name;
    size_t emojis; /* of a large one */
    struct role *roles;
    size_t role_count;
    struct channel **channels; /* threads too */
    size_t channel_count, channel_cap;
    struct member *members;
    size_t member_count, member_cap;
    uint64_t next_child_id;
    struct channel *mod_log;
    uint64_t moderator_role_id, bot_role_id;
    uint64_t recent[GUILD_RECENT]; /* ids of the newest messages by people */
    size_t recent_next;
};

struct world_config {
    uint64_t seed, application_id;
    size_t guilds, members;
    size_t large_guilds, large_bytes; /* so many, the first ones, have so large a GUILD_CREATE */
};
struct world {
    struct guild **guilds;
    size_t guild_count;
    struct user *users;
    size_t user_count;
    struct user bot;
    struct idmap *guild_by_id, *channel_by_id, *user_by_id;
    uint64_t last_id;
};

struct world *world_new(const struct world_config *config);
void world_free(struct world *w);
DEFINE_CLEANUP(struct world *, world_free)

struct guild *world_guild(const struct world *w, uint64_t id);
struct channel *world_channel(const struct world *w, uint64_t id);
struct user *world_user(const struct world *w, uint64_t id);
/* A new snowflake of now; each is larger than the one before. */
uint64_t world_new_id(struct world *w);

/* NULL when the guild has its 5000th channel. name and overwrites are copied; overwrites may be
 * NULL. */
struct channel *world_channel_add(struct world *w, struct guild *g, int type, const char *name);
struct channel *world_dm(struct world *w, struct user *with);
void world_channel_remove(struct world *w, struct channel *c);
struct role *guild_role_add(struct guild *g, const char *name, uint64_t permissions);
struct role *guild_role(const struct guild *g, uint64_t id);
/* Also those who left; look at gone and banned. */
struct member *guild_member(const struct guild *g, uint64_t user_id);
struct member *guild_member_add(struct guild *g, struct user *u, int64_t now_ms);
bool member_is_here(const struct member *m);
bool member_has_role(const struct member *m, uint64_t role_id);
/* False: it has MEMBER_MAX_ROLES already. */
bool member_role_add(struct member *m, uint64_t role_id);
void member_role_remove(struct member *m, uint64_t role_id);
uint64_t member_permissions(const struct guild *g, const struct member *m);
/* A member of the guild who is a person and there; NULL: nobody is. */
struct member *guild_pick(const struct guild *g, struct rng *r);
/* A member by what it may do: owner, moderator, plain. NULL: nobody is. */
struct member *guild_first_moderator(const struct guild *g);
struct member *guild_first_plain(const struct guild *g);

/* names.c */
char *name_of_guild(struct rng *r, size_t index);
char *name_of_user(struct rng *r, size_t index);
/* What a user calls itself; hostile now and then. */
char *name_to_show(struct rng *r, size_t index);
/* What people write: words, code, links, emoji, several lines, right-to-left, markup, and empty now
 * and then. malloc'd. Never trips a word filter, so that traffic alone starts no moderation. */
char *content_make(struct rng *r);

#endif
