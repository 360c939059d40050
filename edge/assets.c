#include "edge/assets.h"

#include <stdio.h>
#include <string.h>

#include "base/sign.h"
#include "edge/edge.h"

/* Made from edge/assets/ at build time. */
extern const unsigned char asset_style_css[], asset_icon_svg[];
extern const size_t asset_style_css_size, asset_icon_svg_size;

enum { ASSET_COUNT = 2 };

static const struct asset *all_assets(void)
{
    static struct asset assets[ASSET_COUNT];

    if (assets[0].name)
        return assets;
    assets[0] = (struct asset){ .name = "style.css",
                                .type = "text/css; charset=utf-8",
                                .data = asset_style_css,
                                .size = asset_style_css_size };
    assets[1] = (struct asset){ .name = "icon.svg",
                                .type = "image/svg+xml",
                                .data = asset_icon_svg,
                                .size = asset_icon_svg_size };
    for (int i = 0; i < ASSET_COUNT; i++) {
        struct asset *a = &assets[i];
        uint8_t sum[32];
        char hash[sizeof(a->hash)];
        sign_sha256(a->data, a->size, sum);
        sign_hex(sum, (sizeof(hash) - 1) / 2, hash);
        snprintf(a->path, sizeof(a->path), "/assets/%s-%s", hash, a->name);
        memcpy(a->hash, hash, sizeof(hash));
    }
    return assets;
}

const char *asset_path(const char *name)
{
    const struct asset *assets = all_assets();

    for (int i = 0; i < ASSET_COUNT; i++)
        if (strcmp(assets[i].name, name) == 0)
            return assets[i].path;
    must(false && "an asset");
    return "";
}

const struct asset *asset_find(const char *file)
{
    const struct asset *assets = all_assets();

    for (int i = 0; i < ASSET_COUNT; i++)
        if (strcmp(assets[i].path + strlen("/assets/"), file) == 0)
            return &assets[i];
    return NULL;
}

void asset_get(struct visit *v)
{
    const struct asset *a = asset_find(v->match.rest);
    char tag[24];

    if (!a) {
        visit_problem(v, 404, "Not found", "There is nothing at this address.");
        return;
    }
    snprintf(tag, sizeof(tag), "\"%s\"", a->hash);
    const char *known = http_header(v->x, "if-none-match");
    http_answer_header(v->x, "etag", tag);
    http_answer_header(v->x, "cache-control", "public, max-age=31536000, immutable");
    if (known && strstr(known, tag))
        visit_respond(v, 304, NULL, "", 0);
    else
        visit_respond(v, 200, a->type, a->data, a->size);
}

void asset_favicon(struct visit *v)
{
    const struct asset *icon = asset_find(asset_path("icon.svg") + strlen("/assets/"));

    http_answer_header(v->x, "cache-control", "public, max-age=86400");
    visit_respond(v, 200, icon->type, icon->data, icon->size);
}
