/* list.h - a ring of links inside the objects that it connects.
 *
 * THREAD: confined, as the objects. */
#ifndef COORDINATOR_LIST_H
#define COORDINATOR_LIST_H

#include <stdbool.h>

struct link {
    struct link *prev, *next; /* both NULL: in no list */
};

static inline void list_init(struct link *list)
{
    list->prev = list->next = list;
}
static inline bool list_is_empty(const struct link *list)
{
    return list->next == list;
}
static inline bool link_is_in_list(const struct link *l)
{
    return l->next;
}
static inline void link_remove(struct link *l)
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = 0;
}
/* At the end; leaves the list that it was in. */
static inline void list_append(struct link *list, struct link *l)
{
    link_remove(l);
    l->prev = list->prev;
    l->next = list;
    list->prev->next = l;
    list->prev = l;
}

#endif
