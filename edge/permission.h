/* permission.h - who may do what in the portal, from Discord's permission bits.
 *
 * THREAD: any. */
#ifndef EDGE_PERMISSION_H
#define EDGE_PERMISSION_H

#include <stdbool.h>
#include <stdint.h>

/* discord-api-docs topics/Permissions.md */
#define PERMISSION_KICK_MEMBERS     (UINT64_C(1) << 1)
#define PERMISSION_BAN_MEMBERS      (UINT64_C(1) << 2)
#define PERMISSION_ADMINISTRATOR    (UINT64_C(1) << 3)
#define PERMISSION_MANAGE_GUILD     (UINT64_C(1) << 5)
#define PERMISSION_MANAGE_MESSAGES  (UINT64_C(1) << 13)
#define PERMISSION_MODERATE_MEMBERS (UINT64_C(1) << 40)

/* May read what the portal shows of the guild. */
static inline bool permission_moderates(bool owner, uint64_t bits)
{
    return owner || (bits & (PERMISSION_ADMINISTRATOR | PERMISSION_MANAGE_GUILD |
                             PERMISSION_MANAGE_MESSAGES | PERMISSION_KICK_MEMBERS |
                             PERMISSION_BAN_MEMBERS | PERMISSION_MODERATE_MEMBERS)) != 0;
}

/* May change the guild's settings. */
static inline bool permission_manages(bool owner, uint64_t bits)
{
    return owner || (bits & (PERMISSION_ADMINISTRATOR | PERMISSION_MANAGE_GUILD)) != 0;
}

#endif
