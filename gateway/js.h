/* js.h - the few JetStream calls that the owner makes, as bus requests.
 *
 * Those that look for one guild's message take turns: thousands of guilds may ask at once, and each
 * look may be through thousands of other guilds' messages.
 *
 * THREAD: any. */
#ifndef GATEWAY_JS_H
#define GATEWAY_JS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bus.h"

enum { JS_TIMEOUT_MS = 2000 };

struct js_message {
    uint64_t seq;
    const void *data;
    size_t size;
};

/* The next message of the subject at or after seq. May be served by a replica that is behind: never
 * decide ownership by it. */
void js_get_next(struct bus *bus, const char *stream, const char *subject, uint64_t seq,
                 const struct bus_waiter *waiter);
/* The subject's last message, for js_parse_next. May be served by a replica that is behind. Cheap
 * however long the stream is, where js_get_next looks through each of its files (nats-server 2.9).
 */
void js_get_head(struct bus *bus, const char *stream, const char *subject,
                 const struct bus_waiter *waiter);
/* The message with this sequence, for js_parse_next. May be served by a replica that is behind. */
void js_get(struct bus *bus, const char *stream, uint64_t seq, const struct bus_waiter *waiter);
/* NOT_FOUND: none (yet). data points into the message. */
enum status js_parse_next(const struct bus_in *in, struct js_message *ret, struct err *err)
    MUST_CHECK;

/* The last message of the subject, from the stream's leader. */
void js_get_last(struct bus *bus, const char *stream, const char *subject,
                 const struct bus_waiter *waiter);
/* NOT_FOUND: none. data is from the arena. */
enum status js_parse_last(const struct bus_in *in, struct arena *arena, struct js_message *ret,
                          struct err *err) MUST_CHECK;

/* The first message of the subject at or after seq, from the stream's leader: for js_parse_last. */
void js_find_next(struct bus *bus, const char *stream, const char *subject, uint64_t seq,
                  const struct bus_waiter *waiter);

/* Removes the subject's messages below seq. */
void js_purge(struct bus *bus, const char *stream, const char *subject, uint64_t seq,
              const struct bus_waiter *waiter);

/* A publish's ack. CONFLICT: refused, the expected sequence was another. INVALID: too large, for
 * good. */
enum status js_parse_ack(const struct bus_in *in, uint64_t *ret_seq, bool *ret_duplicate,
                         struct err *err) MUST_CHECK;

/* Sequences that the server writes on a republished message; false: they are missing. */
bool js_republished(const struct bus_in *in, uint64_t *ret_seq, uint64_t *ret_previous);

#endif
