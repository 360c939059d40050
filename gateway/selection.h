/* selection.h - the members of a JSON object that somebody reads, written as in GraphQL:
 *
 *     "id author{id bot} channels{id name}"
 *
 * A dispatch of Discord has a dozen times what our handlers read, and building a tree of all of it
 * costs more than everything else that is done with it. What is not selected is only skipped.
 *
 * THREAD: any, once it is complete. */
#ifndef GATEWAY_SELECTION_H
#define GATEWAY_SELECTION_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/frame.h"

struct selection;

/* Ends the process when the text is no selection: it is written by us. */
struct selection *selection_new(const char *text) __attribute__((warn_unused_result));
/* Selects more. */
void selection_add(struct selection *selection, const char *text);
void selection_free(struct selection *selection);

/* d's selected members, as JSON; of an array of objects, those of each. What is selected with
 * members of its own and is neither, is copied. into must have d.size bytes. False: d is neither, or
 * is not JSON as far as it was read; what into has is worth nothing then. */
bool selection_cut(const struct selection *selection, struct span d, char *into, size_t *ret_size);

#endif
