/* guild_cut.h - a GUILD_CREATE small enough for the bus.
 *
 *     d ─▶ without members, presences, voice states ─▶ over the bound? ─▶ only what owners read
 *
 * Guilds have been seen with 4 MB; NATS takes 1 MB. What grows with a guild and nobody reads goes
 * first. If that is not enough, what stays is the guild's own plain fields, and of its roles,
 * channels and threads id, type, name, parent and the like: 500 channels and 1,000 threads with the
 * longest names fit.
 *
 * THREAD: any. */
#ifndef GATEWAY_GUILD_CUT_H
#define GATEWAY_GUILD_CUT_H

#include <stddef.h>

#include "gateway/frame.h"

/* d: of an accepted frame. into must have d.size bytes; returns how many were written, which can
 * still be over most. */
size_t guild_cut(struct span d, size_t most, char *into);

#endif
