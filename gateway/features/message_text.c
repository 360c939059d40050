#include "gateway/features/message_text.h"

#include <jansson.h>
#include <string.h>

#include "base/json.h"

/* JavaScript's \s, which ends a bare link. 0: no space here, else its length in bytes. */
static size_t space_size(const char *at, size_t left)
{
    static const char *const wide[] = { "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8",
                                        "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f",
                                        "\xe3\x80\x80", "\xef\xbb\xbf" };
    unsigned char c = (unsigned char)at[0];

    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    for (size_t i = 0; i < ARRAY_LEN(wide); i++) {
        size_t n = strlen(wide[i]);
        if (left >= n && !memcmp(at, wide[i], n))
            return n;
    }
    /* U+2000 to U+200A */
    return left >= 3 && !memcmp(at, "\xe2\x80", 2) && (unsigned char)at[2] <= 0x8a ? 3 : 0;
}

/* The first place at or behind from where needle stands; the text's size when there is none. Each
 * search asks with growing from, so all of them together read the text once. */
static size_t search_next(struct text_search *search, struct span text, size_t from,
                          const char *needle)
{
    if (search->done && from >= search->from && from <= search->found)
        return search->found;
    const char *hit = NULL;
    if (from < text.size)
        hit = memmem(text.at + from, text.size - from, needle, strlen(needle));
    *search = (struct text_search){ from, hit ? (size_t)(hit - text.at) : text.size, true };
    return search->found;
}

void text_blocks_init(struct text_blocks *blocks, struct span text)
{
    *blocks = (struct text_blocks){ .text = text };
}

static struct span span_of(struct span text, size_t from, size_t to)
{
    return (struct span){ text.at + from, to - from };
}

/* What follows the opening ``` up to the newline is the language, the rest are lines. */
static void fenced_block(struct span inside, struct text_block *ret)
{
    const char *newline = inside.size ? memchr(inside.at, '\n', inside.size) : NULL;

    *ret =
        (struct text_block){ .kind = BLOCK_FENCED_CODE, .body = { inside.at, 0 }, .label = inside };
    if (!newline)
        return;
    ret->label.size = (size_t)(newline - inside.at);
    ret->body = (struct span){ newline + 1, inside.size - ret->label.size - 1 };
    ret->lines = 1;
    for (size_t i = 0; i < ret->body.size; i++)
        ret->lines += ret->body.at[i] == '\n';
}

/* Each match_ function returns the size of what it matched at `at`, or 0. */
static size_t match_code(struct text_blocks *b, size_t at, struct text_block *ret)
{
    struct span t = b->text;

    if (t.size - at >= 3 && !memcmp(t.at + at, "```", 3)) {
        /* at least one character stands before the newline of the closing fence */
        size_t end = search_next(&b->fence, t, at + 4, "\n```");
        if (end < t.size) {
            fenced_block(span_of(t, at + 3, end), ret);
            return end + 4 - at;
        }
        fenced_block(span_of(t, at + 3, at + 3), ret);
        return 3;
    }
    for (size_t i = at + 1; i < t.size && t.at[i] != '\n'; i++) {
        if (i == at + 1 || t.at[i] != '`')
            continue;
        *ret = (struct text_block){ .kind = BLOCK_INLINE_CODE,
                                    .body = span_of(t, at + 1, i),
                                    .lines = 1 };
        return i + 1 - at;
    }
    return 0;
}

static size_t match_labelled_link(struct text_blocks *b, size_t at, struct text_block *ret)
{
    struct span t = b->text;
    size_t close = search_next(&b->bracket, t, at + 1, "]");

    if (close == at + 1 || close + 1 >= t.size || t.at[close + 1] != '(')
        return 0;
    size_t target = close + 2, end = search_next(&b->paren, t, target, ")");
    if (end >= t.size || end == target)
        return 0;
    *ret = (struct text_block){ .kind = BLOCK_LINK,
                                .body = span_of(t, target, end),
                                .label = span_of(t, at + 1, close) };
    if (ret->body.size > 2 && ret->body.at[0] == '<' && ret->body.at[ret->body.size - 1] == '>')
        ret->body = span_of(t, target + 1, end - 1);
    return end + 1 - at;
}

static size_t match_bare_link(const struct text_blocks *b, size_t at, struct text_block *ret)
{
    struct span t = b->text;
    size_t left = t.size - at, scheme = 0;

    if (left > 7 && !memcmp(t.at + at, "http://", 7))
        scheme = 7;
    else if (left > 8 && !memcmp(t.at + at, "https://", 8))
        scheme = 8;
    else
        return 0;
    size_t end = at + scheme;
    while (end < t.size && t.at[end] != '>' && t.at[end] != ')' &&
           !space_size(t.at + end, t.size - end))
        end++;
    if (end == at + scheme)
        return 0;
    *ret = (struct text_block){ .kind = BLOCK_LINK, .body = span_of(t, at, end) };
    return end - at;
}

static size_t match_at(struct text_blocks *b, size_t at, struct text_block *ret)
{
    switch (b->text.at[at]) {
    case '`':
        return match_code(b, at, ret);
    case '[':
        return match_labelled_link(b, at, ret);
    case 'h':
        return match_bare_link(b, at, ret);
    default:
        return 0;
    }
}

bool text_block_next(struct text_blocks *b, struct text_block *ret)
{
    size_t from = b->at;

    if (b->has_pending) {
        b->has_pending = false;
        *ret = b->pending;
        return true;
    }
    for (size_t at = from; at < b->text.size; at++) {
        struct text_block block;
        size_t size = match_at(b, at, &block);
        if (!size)
            continue;
        b->at = at + size;
        b->has_pending = at > from;
        b->pending = block;
        *ret = at > from ? (struct text_block){ .body = span_of(b->text, from, at) } : block;
        return true;
    }
    b->at = b->text.size;
    *ret = (struct text_block){ .body = span_of(b->text, from, b->text.size) };
    return ret->body.size > 0;
}

/* At most MESSAGE_TEXT_MAX bytes, and whole characters. */
static struct span bounded(const char *content)
{
    struct span text = { content, strnlen(content, MESSAGE_TEXT_MAX + 1) };

    if (text.size > MESSAGE_TEXT_MAX) {
        text.size = MESSAGE_TEXT_MAX;
        while (text.size && ((unsigned char)content[text.size] & 0xc0) == 0x80)
            text.size--;
    }
    return text;
}

static void add_link(json_t **links, struct span url)
{
    if (!*links)
        *links = json_array();
    if (json_array_size(*links) < MESSAGE_LIST_MAX)
        json_array_append_new(*links, json_stringn(url.at, url.size));
}

static void add_code(json_t **codes, const struct text_block *block)
{
    if (!*codes)
        *codes = json_array();
    if (json_array_size(*codes) >= MESSAGE_LIST_MAX)
        return;
    json_t *one = json_object();
    json_object_set_new(one, "chars", json_integer((json_int_t)text_count_chars(block->body)));
    json_object_set_new(one, "words", json_integer((json_int_t)text_count_words(block->body)));
    json_object_set_new(one, "lines", json_integer((json_int_t)block->lines));
    if (block->kind == BLOCK_FENCED_CODE)
        json_object_set_new(one, "lang", json_stringn(block->label.at, block->label.size));
    json_array_append_new(*codes, one);
}

static const char *list_text(struct arena *arena, const json_t *list)
{
    if (!list)
        return "[]";
    char *text = json_text(list);
    const char *copy = arena_printf(arena, "%s", text);
    free(text);
    return copy ? copy : "[]";
}

void message_text_measure(struct arena *arena, const char *content, struct message_measure *ret)
{
    CLEANUP(json_decref) json_t *links = NULL;
    CLEANUP(json_decref) json_t *codes = NULL;
    struct text_blocks blocks;
    struct text_block block;

    *ret = (struct message_measure){ 0 };
    text_blocks_init(&blocks, bounded(content));
    while (text_block_next(&blocks, &block)) {
        struct span counted = block.kind == BLOCK_LINK ? block.label : block.body;
        if (block.kind == BLOCK_LINK) {
            add_link(&links, block.body);
            ret->links++;
        }
        if (block.kind == BLOCK_INLINE_CODE || block.kind == BLOCK_FENCED_CODE) {
            add_code(&codes, &block);
            ret->code_lines += (int64_t)block.lines;
            continue;
        }
        ret->words += (int64_t)text_count_words(counted);
        ret->chars += (int64_t)text_count_chars(counted);
    }
    ret->code_stats = list_text(arena, codes);
    ret->link_stats = list_text(arena, links);
}
