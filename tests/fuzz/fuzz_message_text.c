/* fuzz: links gateway_core
 * Text of messages: blocks lie one behind the other, lists are JSON, cut text fits. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/xmem.h"
#include "gateway/features/message_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_blocks(const char *content)
{
    struct text_blocks blocks;
    struct text_block b;
    const char *at = content, *end = content + strlen(content);

    text_blocks_init(&blocks, (struct span){ content, strlen(content) });
    while (text_block_next(&blocks, &b)) {
        must(b.body.at >= at && b.body.at + b.body.size <= end);
        must(!b.label.size || (b.label.at >= content && b.label.at + b.label.size <= end));
        must(b.kind != BLOCK_TEXT || b.body.size);
        must(b.kind != BLOCK_LINK || b.body.size);
        at = b.body.at + b.body.size;
    }
    must(blocks.at == blocks.text.size);
}

static void check_list(const char *text)
{
    json_t *list = json_loads(text, 0, NULL);

    must(json_is_array(list) && json_array_size(list) <= MESSAGE_LIST_MAX);
    json_decref(list);
}

static size_t units(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80 ? 1 + ((unsigned char)*text >= 0xf0) : 0;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    char *content = xcalloc(size + 1, 1);
    struct message_measure m;

    if (size)
        memcpy(content, data, size);
    check_blocks(content);
    message_text_measure(arena, content, &m);
    must(m.words >= 0 && m.chars >= m.words && m.chars <= MESSAGE_TEXT_MAX);
    check_list(m.code_stats);
    check_list(m.link_stats);

    size_t max = size % 100 + 1;
    const char *cut = text_truncate(arena, content, max);
    must(!cut || units(cut) <= max);
    must(strlen(text_quote(arena, content)) >= strlen(content) + 2);
    must(strlen(text_quiet_links(arena, content)) >= strlen(content));
    free(content);
    return 0;
}
