/* fuzz: links edge_core
 *
 * What a browser may send: a cookie's value, a path to go back to, a request's path; and text that
 * becomes HTML. */
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/xmem.h"
#include "edge/html.h"
#include "edge/paths.h"
#include "edge/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_html(const char *text)
{
    struct html h = { 0 };

    html_add(&h, "%s", text);
    must(!h.bytes.size || !memchr(h.bytes.data, '<', h.bytes.size));
    must(!h.bytes.size || !memchr(h.bytes.data, '"', h.bytes.size));
    html_release(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = arena_new(0);
    CLEANUP(xfree) char *text = xmemdup(data, size);
    struct session_keys keys;
    struct session s;
    struct login l;

    session_keys_init(&keys, "a secret that the fuzzer does not know", true);
    must(!session_open(&keys, text, 1900000000, a, &s));
    must(!login_open(&keys, text, 1900000000, a, &l));
    must(!session_csrf_fits(&keys, &(struct session){ .id = "x" }, text));
    if (path_is_local(text))
        must(text[0] == '/' && text[1] != '/' && !strpbrk(text, "\\\r\n"));
    struct route_match m = route_find(HTTP_GET, text);
    must(m.route <= ROUTE_WRONG_METHOD);
    check_html(text);
    return 0;
}
