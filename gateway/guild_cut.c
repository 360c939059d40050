#include "gateway/guild_cut.h"

#include <string.h>

#include "base/macros.h"

static const char *const lists[] = { "channels", "threads", "roles" };
static const char *const item_fields[] = { "id",       "guild_id",  "type",       "name",
                                           "position", "parent_id", "permissions" };

static bool is_one_of(struct span key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (key.size == strlen(names[i]) && memcmp(key.at, names[i], key.size) == 0)
            return true;
    return false;
}

static bool is_plain(struct span value)
{
    return value.at[0] != '{' && value.at[0] != '[';
}

/* All that is written stood in d before, in this order and with at least these separators: so it
 * never overtakes. */
struct cutter {
    char *out;
};

static void put(struct cutter *c, const char *text, size_t size)
{
    memcpy(c->out, text, size);
    c->out += size;
}

static void put_key(struct cutter *c, struct span key, bool first)
{
    if (!first)
        put(c, ",", 1);
    put(c, "\"", 1);
    put(c, key.at, key.size);
    put(c, "\":", 2);
}

static void put_item(struct cutter *c, struct span item)
{
    struct frame_walk walk;
    struct span key, value;
    bool first = true;

    put(c, "{", 1);
    if (frame_walk_start(item, &walk) && walk.object) {
        while (frame_walk_next(&walk, &key, &value)) {
            if (!is_plain(value) || !is_one_of(key, item_fields, ARRAY_LEN(item_fields)))
                continue;
            put_key(c, key, first);
            put(c, value.at, value.size);
            first = false;
        }
    }
    put(c, "}", 1);
}

static void put_list(struct cutter *c, struct span list)
{
    struct frame_walk walk;
    struct span key, item;
    bool first = true;

    put(c, "[", 1);
    if (frame_walk_start(list, &walk) && !walk.object) {
        while (frame_walk_next(&walk, &key, &item)) {
            if (is_plain(item))
                continue;
            if (!first)
                put(c, ",", 1);
            put_item(c, item);
            first = false;
        }
    }
    put(c, "]", 1);
}

static size_t cut_hard(struct span d, char *into)
{
    struct cutter c = { into };
    struct frame_walk walk;
    struct span key, value;
    bool first = true;

    put(&c, "{", 1);
    if (frame_walk_start(d, &walk) && walk.object) {
        while (frame_walk_next(&walk, &key, &value)) {
            bool is_list = value.at[0] == '[' && is_one_of(key, lists, ARRAY_LEN(lists));
            if (!is_list && !is_plain(value))
                continue;
            put_key(&c, key, first);
            if (is_list)
                put_list(&c, value);
            else
                put(&c, value.at, value.size);
            first = false;
        }
    }
    put(&c, "}", 1);
    return (size_t)(c.out - into);
}

size_t guild_cut(struct span d, size_t most, char *into)
{
    size_t size = frame_cut_guild(d, into);

    if (size <= most || d.at[0] != '{')
        return size;
    return cut_hard(d, into);
}
