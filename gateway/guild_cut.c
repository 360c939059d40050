#include "gateway/guild_cut.h"

#include <pthread.h>
#include <string.h>

#include "base/macros.h"
#include "gateway/selection.h"

static const char *const lists[] = { "channels", "threads", "roles" };
static struct selection *item;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_item(void)
{
    item = selection_new("id guild_id type name position parent_id permissions");
}

static bool is_list(struct span key, struct span value)
{
    for (size_t i = 0; value.at[0] == '[' && i < ARRAY_LEN(lists); i++)
        if (key.size == strlen(lists[i]) && memcmp(key.at, lists[i], key.size) == 0)
            return true;
    return false;
}

static bool is_plain(struct span value)
{
    return value.at[0] != '{' && value.at[0] != '[';
}

/* As in selection_cut, what is written never overtakes what is read. */
static size_t cut_hard(struct span d, char *into)
{
    struct scan_walk walk;
    struct span key, value;
    char *out = into;
    size_t size;

    pthread_once(&once, make_item);
    *out++ = '{';
    if (scan_walk_start(d, &walk) && walk.object) {
        while (scan_walk_next(&walk, &key, &value)) {
            if (!is_plain(value) && !is_list(key, value))
                continue;
            if (out > into + 1)
                *out++ = ',';
            memcpy(out, key.at - 1, key.size + 2);
            out += key.size + 2;
            *out++ = ':';
            if (is_plain(value) || !selection_cut(item, value, out, &size))
                memcpy(out, value.at, size = value.size);
            out += size;
        }
    }
    *out++ = '}';
    return (size_t)(out - into);
}

size_t guild_cut(struct span d, size_t most, char *into)
{
    size_t size = frame_cut_guild(d, into);

    if (size <= most || d.at[0] != '{')
        return size;
    return cut_hard(d, into);
}
