/* fuzz: links edge_core
 *
 * An interaction's body: what is taken must be routable, and everything the edge answers itself
 * must be JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/macros.h"
#include "messages/interaction.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_json(const char *text)
{
    CLEANUP(json_decref) json_t *root = NULL;

    must(text && json_parse(text, strlen(text), &root, NULL) == STATUS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    struct interaction_head head;
    struct err err;

    if (interaction_parse((const char *)data, size, &head, &err) != STATUS_OK)
        return 0;
    must(head.type >= INTERACTION_PING && head.type <= INTERACTION_MODAL);
    must(head.id || head.type == INTERACTION_PING);
    must(!memchr(data, 0, size)); /* the body travels on as a C string */
    must_be_json(interaction_deferral(head.type));
    must_be_json(interaction_message(head.type, "x", a));
    return 0;
}
