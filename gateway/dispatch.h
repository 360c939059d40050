/* dispatch.h - from Discord's names to handlers, by the .def tables.
 *
 * THREAD: confined to the owner's. */
#ifndef GATEWAY_DISPATCH_H
#define GATEWAY_DISPATCH_H

#include <stdbool.h>

#include "gateway/unit.h"

/* Runs the handlers of the type in order; d is the dispatch's JSON. Of types without one it is not
 * read. */
enum status dispatch_event(struct unit *u, const char *type, const char *d, struct err *err)
    MUST_CHECK;
/* What the handlers of a type read of d: for dispatch_event, and for tests. */
enum status dispatch_select(const char *type, const char *d, struct arena *arena, json_t **ret,
                            struct err *err) MUST_CHECK;
/* What dispatch_parse and the handlers of interactions read of one. */
enum status dispatch_select_interaction(const char *text, struct arena *arena, json_t **ret,
                                        struct err *err) MUST_CHECK;
/* INVALID: not an interaction; what *ret points to lives as long as root. */
enum status dispatch_parse(const json_t *root, struct interaction *ret, struct err *err) MUST_CHECK;
/* NOT_FOUND: no such command or component. */
enum status dispatch_interaction(struct unit *u, const struct interaction *in,
                                 const char **ret_callback, struct err *err) MUST_CHECK;
enum status dispatch_result(struct unit *u, const char *name, const struct action_result *result,
                            struct err *err) MUST_CHECK;
enum status dispatch_query(struct unit *u, const Guildbus__V1__PortalRequest *request,
                           Guildbus__V1__PortalReply *ret, struct err *err) MUST_CHECK;
/* false also for a query that does not exist. */
bool dispatch_query_writes(const Guildbus__V1__PortalRequest *request);

#endif
