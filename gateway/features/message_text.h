/* message_text.h - what a message's text consists of: words and characters, code, links.
 *
 *     content ─▶ text_block_next: text · [label](link) · bare link · `inline` · ```fenced``` ─▶
 * message_text_measure
 *
 * The blocks follow the markdown rules that existing message_stats rows were computed with, quirks
 * included: an unterminated or one-line ``` is an empty fenced block, ) ends a bare link, a comma
 * does not. Words are UAX #29 word segments with a letter, number, kana or ideograph in them
 * (dictionary words where a script has no spaces), characters are extended grapheme clusters. Both
 * depend on ICU's version, slightly.
 *
 * THREAD: any; each thread keeps ICU iterators of its own until it ends. */
#ifndef GATEWAY_FEATURES_MESSAGE_TEXT_H
#define GATEWAY_FEATURES_MESSAGE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"

enum {
    MESSAGE_TEXT_MAX = 16384, /* Discord: 4000 code points; what is beyond is not looked at */
    MESSAGE_LIST_MAX =
        200, /* most entries of code_stats and of link_stats: a row must stay small */
};

enum text_block_kind { BLOCK_TEXT, BLOCK_LINK, BLOCK_INLINE_CODE, BLOCK_FENCED_CODE };
struct text_block {
    enum text_block_kind kind;
    struct span body;  /* the text, the URL, the code; lines of fenced code are joined by \n */
    struct span label; /* BLOCK_LINK: empty for a bare link. BLOCK_FENCED_CODE: the language */
    size_t lines;      /* of code */
};

/* Where the search for a delimiter got to, so that no part of the text is searched twice for the
 * same one. */
struct text_search {
    size_t from, found;
    bool done;
};
struct text_blocks {
    struct span text;
    size_t at;
    bool has_pending;
    struct text_block pending;
    struct text_search fence, bracket, paren;
};
void text_blocks_init(struct text_blocks *blocks, struct span text);
/* false: no more. Spans point into the text. */
bool text_block_next(struct text_blocks *blocks, struct text_block *ret_block);

size_t text_count_words(struct span text);
size_t text_count_chars(struct span text);

struct message_measure {
    int64_t words, chars;
    int64_t links, code_lines;
    const char
        *code_stats; /* JSON array of {chars, words, lines, lang?}; "[]" when there is none */
    const char *link_stats; /* JSON array of URLs */
};
/* content: NUL-terminated UTF-8. Lists come from the arena, or are the constant "[]". */
void message_text_measure(struct arena *arena, const char *content, struct message_measure *ret);

/* Fit text into Discord's limits, which count UTF-16 units here. At most max units, the last one an
 * ellipsis when something was cut; NULL only when the arena is full. */
char *text_truncate(struct arena *arena, const char *text, size_t max);
/* "> " before each line and the first backtick escaped. */
char *text_quote(struct arena *arena, const char *text);
/* Links in <…>, so that Discord shows no preview. */
char *text_quiet_links(struct arena *arena, const char *text);

#endif
