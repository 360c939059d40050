#include "edge/paths.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/macros.h"

static const struct {
    enum http_method method;
    const char *verb, *pattern;
} routes[] = {
#define ROUTE(name, method, path, gate, handler) { HTTP_##method, #method, path },
#include "edge/routes.def"
#undef ROUTE
};

/* Reads the path's next segment into the hole that pattern names; false: it does not fit. */
static bool fill_hole(const char *hole, size_t hole_size, const char *segment, size_t size,
                      struct route_match *m)
{
    char text[PATH_REST_SIZE];

    if (size == 0 || size >= sizeof(text))
        return false;
    memcpy(text, segment, size);
    text[size] = '\0';
    if (hole_size == strlen(":guild") && memcmp(hole, ":guild", hole_size) == 0)
        return id_parse(text, &m->guild_id);
    memcpy(m->rest, text, size + 1);
    return true;
}

static bool path_fits(const char *pattern, const char *path, struct route_match *m)
{
    while (*pattern == '/' && *path == '/') {
        size_t want = strcspn(++pattern, "/"), got = strcspn(++path, "/");
        bool fits = *pattern == ':' ? fill_hole(pattern, want, path, got, m)
                                    : want == got && memcmp(pattern, path, got) == 0;
        if (!fits)
            return false;
        pattern += want;
        path += got;
    }
    return !*pattern && !*path;
}

static void allow_also(struct route_match *m, const char *verb)
{
    size_t used = strlen(m->allow);

    snprintf(m->allow + used, sizeof(m->allow) - used, "%s%s", used ? ", " : "", verb);
}

struct route_match route_find(enum http_method method, const char *path)
{
    struct route_match wrong = { .route = ROUTE_NONE };

    if (method == HTTP_HEAD)
        method = HTTP_GET;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        struct route_match m = { .route = (enum route)i };
        if (!path_fits(routes[i].pattern, path, &m))
            continue;
        if (routes[i].method == method)
            return m;
        wrong.route = ROUTE_WRONG_METHOD;
        allow_also(&wrong, routes[i].verb);
    }
    return wrong;
}

bool path_is_local(const char *path)
{
    if (path[0] != '/' || path[1] == '/' || strlen(path) > 512)
        return false;
    for (const char *c = path; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '\\' || *c == '"' || *c == '<' || *c == '>')
            return false;
    return true;
}
