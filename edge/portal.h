/* portal.h - the portal's pages: what they ask the guild's owner, and what becomes of the answers.
 *
 * THREAD: confined to the loop's. */
#ifndef EDGE_PORTAL_H
#define EDGE_PORTAL_H

#include "edge/edge.h"

/* Fills the edge's portal fields from its settings, once it listens; texts go into the arena. Says
 * in the log when there is no portal. */
void portal_open(struct edge *edge, struct arena *arena);

void portal_landing(struct visit *v);
void portal_guilds(struct visit *v);
void portal_guild(struct visit *v);
void portal_activity(struct visit *v);
void portal_settings(struct visit *v);
void portal_save_settings(struct visit *v);

#endif
