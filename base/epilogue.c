#include "base/epilogue.h"

#include <stddef.h>

#include "base/macros.h"

static _Thread_local unsigned depth;
static _Thread_local struct epilogue *first, *last;

void epilogue_begin(void)
{
    depth++;
}

void epilogue_end(void)
{
    while (depth == 1 && first) { /* one that runs may add another */
        struct epilogue *e = first;
        first = e->next;
        e->added = false;
        e->run(e);
    }
    depth--;
}

bool epilogue_add(struct epilogue *e)
{
    if (!depth)
        return false;
    if (e->added)
        return true;
    e->added = true;
    e->next = NULL;
    if (first)
        last->next = e;
    else
        first = e;
    last = e;
    return true;
}
