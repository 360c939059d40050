/* fuzz: links gateway_core
 *
 * What the scanner takes jansson takes too (but for what only jansson refuses: lone surrogates,
 * \u0000 and numbers out of range), and both read the same; a cut guild is still JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/macros.h"
#include "gateway/frame.h"
#include "gateway/guild_cut.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_against_jansson(const struct frame *f, const char *text, size_t size)
{
    CLEANUP(json_decref) json_t *root = NULL;

    if (memmem(text, size, "\\u", 2)) /* an escaped key is another one here, the same there */
        return;
    if (json_parse(text, size, &root, NULL) != STATUS_OK)
        return;
    const json_t *d = json_object_get(root, "d");
    must(json_is_object(root));
    must(json_int(root, "op", -1) == f->op);
    must((d != NULL) == (f->d.size > 0));
    must(json_is_object(d) == (f->d.size > 0 && f->d.at[0] == '{'));
}

static void check_cut(struct span d)
{
    CLEANUP(json_decref) json_t *before = NULL;
    CLEANUP(json_decref) json_t *after = NULL;
    char *cut = malloc(d.size + 1);

    must(cut);
    size_t size = frame_cut_guild(d, cut);
    must(size <= d.size);
    if (d.size > 0 && d.at[0] == '{' && json_parse(d.at, d.size, &before, NULL) == STATUS_OK) {
        must(json_parse(cut, size, &after, NULL) == STATUS_OK);
        must(json_object_size(before) == json_object_size(after));
    }
    size = guild_cut(d, 0, cut);
    must(size <= d.size);
    if (before) {
        json_t *hard = NULL;
        must(json_parse(cut, size, &hard, NULL) == STATUS_OK && json_is_object(hard));
        must(json_equal(json_object_get(hard, "name"), json_object_get(before, "name")) ||
             !json_is_string(json_object_get(before, "name")));
        json_decref(hard);
    }
    free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct frame f;
    char session[32];

    if (frame_parse(text, size, &f, NULL) != STATUS_OK)
        return 0;
    must(f.op >= 0 && memchr(f.type, 0, sizeof(f.type)));
    must(f.d.size == 0 || (f.d.at >= text && f.d.at + f.d.size <= text + size));
    (void)scan_text(scan_member(f.d, "session_id"), session, sizeof(session));
    check_against_jansson(&f, text, size);
    check_cut(f.d);
    return 0;
}
