#include "gateway/selection.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/xmem.h"

struct selection {
    char *name; /* of the member; NULL: the outermost */
    size_t size;
    struct selection *inside; /* NULL: all of it */
    struct selection *next;
};

/* ---- reading the text ---- */

static struct selection *member(struct selection *of, const char *name, size_t size)
{
    struct selection **at = &of->inside;

    for (; *at; at = &(*at)->next)
        if ((*at)->size == size && !memcmp((*at)->name, name, size))
            return *at;
    *at = xcalloc(1, sizeof(**at));
    (*at)->name = xmemdup(name, size);
    (*at)->size = size;
    return *at;
}

/* Up to the end or the closing brace; returns what follows. */
static const char *read_members(struct selection *of, const char *text)
{
    for (;;) {
        while (*text == ' ')
            text++;
        if (!*text || *text == '}')
            return text;
        size_t size = 0;
        while (isalnum((unsigned char)text[size]) || text[size] == '_')
            size++;
        must(size);
        struct selection *one = member(of, text, size);
        text += size;
        if (*text == '{') {
            text = read_members(one, text + 1);
            must(*text == '}');
            text++;
        }
    }
}

void selection_add(struct selection *s, const char *text)
{
    must(!*read_members(s, text));
}

struct selection *selection_new(const char *text)
{
    struct selection *s = xcalloc(1, sizeof(*s));

    selection_add(s, text);
    return s;
}

void selection_free(struct selection *s)
{
    for (struct selection *next; s; s = next) {
        next = s->next;
        selection_free(s->inside);
        free(s->name);
        free(s);
    }
}

/* ---- cutting ---- */

/* All that is written stood in d before, in this order and with at least these separators: so it
 * never overtakes. */
struct cut {
    char *out;
};

static void put(struct cut *c, const char *text, size_t size)
{
    memcpy(c->out, text, size);
    c->out += size;
}

static const struct selection *find(const struct selection *of, struct span key)
{
    for (const struct selection *s = of->inside; s; s = s->next)
        if (s->size == key.size && !memcmp(s->name, key.at, key.size))
            return s;
    return NULL;
}

static bool put_value(struct cut *c, const struct selection *s, struct span value);

static bool put_all(struct cut *c, const struct selection *s, struct scan_walk *walk)
{
    struct span key, value;
    const bool object = walk->object;
    bool first = true;

    put(c, object ? "{" : "[", 1);
    while (scan_walk_next(walk, &key, &value)) {
        const struct selection *of = object ? find(s, key) : s;
        if (!of)
            continue;
        if (!first)
            put(c, ",", 1);
        first = false;
        if (object) {
            put(c, key.at - 1, key.size + 2);
            put(c, ":", 1);
        }
        if (!put_value(c, of, value))
            return false;
    }
    put(c, object ? "}" : "]", 1);
    return scan_walk_is_over(walk);
}

static bool put_value(struct cut *c, const struct selection *s, struct span value)
{
    struct scan_walk walk;

    if (s->inside && scan_walk_start(value, &walk))
        return put_all(c, s, &walk);
    put(c, value.at, value.size);
    return true;
}

bool selection_cut(const struct selection *s, struct span d, char *into, size_t *ret_size)
{
    struct cut c = { into };
    struct scan_walk walk;

    if (!scan_walk_start(d, &walk) || !put_all(&c, s, &walk))
        return false;
    *ret_size = (size_t)(c.out - into);
    return true;
}
