/* handlers.h - declares every handler that a row of a .def file names, so that a row and its
 * function must agree. */
#ifndef GATEWAY_FEATURES_HANDLERS_H
#define GATEWAY_FEATURES_HANDLERS_H

#include "gateway/unit.h"

#define EVENT(type, handler, members)                                                              \
    enum status handler(struct unit *u, const json_t *d, struct err *err);
#include "gateway/events.def"
#undef EVENT

#define ANSWERS(handler)                                                                           \
    enum status handler(struct unit *u, const struct interaction *in, const char **ret_callback,   \
                        struct err *err);
#define COMMAND(name, type, permissions, description, options, handler) ANSWERS(handler)
#include "messages/commands.def"
#undef COMMAND
#define COMPONENT(custom_id, handler) ANSWERS(handler)
#include "gateway/components.def"
#undef COMPONENT
#undef ANSWERS

#define CONTINUATION(name, handler)                                                                \
    enum status handler(struct unit *u, const struct action_result *result, struct err *err);
#include "gateway/continuations.def"
#undef CONTINUATION

#define QUERY(which, handler, writes)                                                              \
    enum status handler(struct unit *u, const Guildbus__V1__PortalRequest *request,                \
                        Guildbus__V1__PortalReply *ret, struct err *err);
#include "gateway/queries.def"
#undef QUERY

#endif
