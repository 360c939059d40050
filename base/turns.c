#include "base/turns.h"

#include <stddef.h>

void turns_init(struct turns *t, int at_once)
{
    *t = (struct turns){ .at_once = at_once };
    t->end = &t->first;
}

bool turns_enter(struct turns *t)
{
    if (t->first || t->under_way >= t->at_once)
        return false;
    t->under_way++;
    return true;
}

void turns_wait(struct turns *t, struct turn *item)
{
    item->next = NULL;
    *t->end = item;
    t->end = &item->next;
}

struct turn *turns_give_up(struct turns *t)
{
    struct turn *item = t->first;

    if (!item)
        return NULL;
    t->first = item->next;
    if (!t->first)
        t->end = &t->first;
    return item;
}

struct turn *turns_next(struct turns *t)
{
    if (t->under_way >= t->at_once || !t->first)
        return NULL;
    t->under_way++;
    return turns_give_up(t);
}

void turns_leave(struct turns *t)
{
    must(t->under_way > 0);
    t->under_way--;
}
