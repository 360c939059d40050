#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"
#include "gateway/features/message_text.h"

#define FAMILY                                                                                     \
    "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7\xe2\x80\x8d\xf0\x9f\x91\xa6"

static struct span span(const char *text)
{
    return (struct span){ text, strlen(text) };
}

static void test_words_and_characters_are_counted_as_unicode_says(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t words, chars;
    } rows[] = {
        { "", 0, 0 },
        { "hello world", 2, 11 },
        { "don't stop", 2, 10 },
        { "don't can't won't", 3, 17 },
        { "it’s", 1, 4 },
        { "e-mail foo_bar 3.14 1,000", 5, 25 },
        { "👍 nice " FAMILY, 1, 8 },
        { "🇩🇪🇫🇷", 0, 2 },
        { "日本語テキスト", 2, 7 },
        { "สวัสดีครับ", 2, 7 },
        { "한국어 단어", 2, 6 },
        { "Привет мир", 2, 10 },
        { "مرحبا بالعالم", 2, 13 },
        { "naïve café", 2, 10 },
        { "e\xcc\x81", 1, 1 },
        { "\r\n", 0, 1 },
        { "C++ and C#", 3, 10 },
        { "https://a.b/c?d=e", 5, 17 },
        { "12:30", 2, 5 },
        { "x=y+z;", 3, 6 },
        { "foo.bar()", 1, 9 },
        { "snake_case camelCase", 2, 20 },
        { "<@123456>", 1, 9 },
        { ":smile:", 1, 7 },
        { "@user#1234", 2, 10 },
        { "hello, world!", 2, 13 },
        { "a  b\n\nc", 3, 7 },
        { "a\r\nb\r\n", 2, 4 },
        { "\n\r\n\r", 0, 3 },
        { "\xff\xfe broken", 1, 9 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t words = text_count_words(span(rows[i].text));
        size_t chars = text_count_chars(span(rows[i].text));
        if (words != rows[i].words || chars != rows[i].chars)
            fail_msg("%s: %zu words, %zu characters", rows[i].text, words, chars);
    }
}

/* T{text} L{url} L{url|label} I{code} F{lang|lines|code} */
static const char *describe(const char *content)
{
    static char out[4096];
    size_t n = 0;
    struct text_blocks blocks;
    struct text_block b;

    out[0] = 0;
    text_blocks_init(&blocks, span(content));
    while (text_block_next(&blocks, &b)) {
        int size = (int)b.body.size, label = (int)b.label.size;
        char *to = out + n;
        size_t left = sizeof(out) - n;
        if (b.kind == BLOCK_TEXT)
            n += (size_t)snprintf(to, left, "T{%.*s}", size, b.body.at);
        else if (b.kind == BLOCK_INLINE_CODE)
            n += (size_t)snprintf(to, left, "I{%.*s}", size, b.body.at);
        else if (b.kind == BLOCK_FENCED_CODE)
            n += (size_t)snprintf(to, left, "F{%.*s|%zu|%.*s}", label, b.label.at, b.lines, size,
                                  b.body.at);
        else if (label)
            n += (size_t)snprintf(to, left, "L{%.*s|%.*s}", size, b.body.at, label, b.label.at);
        else
            n += (size_t)snprintf(to, left, "L{%.*s}", size, b.body.at);
    }
    return out;
}

static void test_text_splits_into_blocks(void **state UNUSED)
{
    static const struct {
        const char *content, *blocks;
    } rows[] = {
        { "", "" },
        { "bold claim (source https://trustme.bro)",
          "T{bold claim (source }L{https://trustme.bro}T{)}" },
        { "check out this [link](<https://example.com>)",
          "T{check out this }L{https://example.com|link}" },
        { "look `foo bar` at\n```js\na\nb\nc\nd\n```",
          "T{look }I{foo bar}T{ at\n}F{js|4|a\nb\nc\nd}" },
        { "sometimes i write ```sql\nselect 1\n``` things like this",
          "T{sometimes i write }F{sql|1|select 1}T{ things like this}" },
        { "```\nplain\n```", "F{|1|plain}" },
        { "```js\ncode```", "F{|0|}T{js\ncode}F{|0|}" },
        { "``` x ```", "F{|0|}T{ x }F{|0|}" },
        { "text ```js\nunterminated", "T{text }F{|0|}T{js\nunterminated}" },
        { "```ts\n  indented\n  ```\n", "F{|0|}T{ts\n  indented\n  }F{|0|}T{\n}" },
        { "```js\na\n```\n```py\nb\n```", "F{js|1|a}T{\n}F{py|1|b}" },
        { "```\n```", "F{|0|}T{\n}F{|0|}" },
        { "```\n\n```", "F{|1|}" },
        { "``", "T{``}" },
        { "`", "T{`}" },
        { "`a`b`", "I{a}T{b`}" },
        { "``a`", "I{`a}" },
        { "`multi\nline`", "T{`multi\nline`}" },
        { "[a](b)", "L{b|a}" },
        { "[](b)", "T{[](b)}" },
        { "[a]()", "T{[a]()}" },
        { "[a](b", "T{[a](b}" },
        { "[[a](b)", "L{b|[a}" },
        { "[a] (b) [c](d)", "T{[a] (b) }L{d|c}" },
        { "[x](javascript:1)", "L{javascript:1|x}" },
        { "<https://example.com>", "T{<}L{https://example.com}T{>}" },
        { "https://a.b/c_(d)", "L{https://a.b/c_(d}T{)}" },
        { "see https://e.com, ok", "T{see }L{https://e.com,}T{ ok}" },
        { "[l](<https://e.com> 'title')", "L{<https://e.com> 'title'|l}" },
        { "http://x", "L{http://x}" },
        { "http:// x https://", "T{http:// x https://}" },
        { "http://a\xe3\x80\x80"
          "b http://c\xc2\xa0"
          "d",
          "L{http://a}T{\xe3\x80\x80"
          "b }L{http://c}T{\xc2\xa0"
          "d}" },
        { "http://\xc3\xbc.de", "L{http://\xc3\xbc.de}" },
        { "ahttps://b", "T{a}L{https://b}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(describe(rows[i].content), rows[i].blocks);
}

static void test_message_is_measured(void **state UNUSED)
{
    static const struct {
        const char *content;
        int64_t words, chars;
        const char *code, *links;
    } rows[] = {
        { "hello world", 2, 11, "[]", "[]" },
        { "see [the docs](https://e.com/a) ok", 4, 15, "[]", "[\"https://e.com/a\"]" },
        { "https://a.b https://c.d", 0, 1, "[]", "[\"https://a.b\",\"https://c.d\"]" },
        { "use `foo bar` now", 2, 8, "[{\"chars\":7,\"words\":2,\"lines\":1}]", "[]" },
        { "```js\nlet a\nb\n```", 0, 0, "[{\"chars\":7,\"words\":3,\"lines\":2,\"lang\":\"js\"}]",
          "[]" },
        { "``` x ```", 1, 3,
          "[{\"chars\":0,\"words\":0,\"lines\":0,\"lang\":\"\"},"
          "{\"chars\":0,\"words\":0,\"lines\":0,\"lang\":\"\"}]",
          "[]" },
        { "```a\"b\nx\n```", 0, 0, "[{\"chars\":1,\"words\":1,\"lines\":1,\"lang\":\"a\\\"b\"}]",
          "[]" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        struct message_measure m;
        message_text_measure(arena, rows[i].content, &m);
        assert_int_equal(m.words, rows[i].words);
        assert_int_equal(m.chars, rows[i].chars);
        assert_string_equal(m.code_stats, rows[i].code);
        assert_string_equal(m.link_stats, rows[i].links);
    }
}

static void test_links_and_lines_of_code_are_counted(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    struct message_measure m;

    message_text_measure(arena, "`a` http://b [c](d)\n```\n1\n2\n```", &m);
    assert_int_equal(m.links, 2);
    assert_int_equal(m.code_lines, 3);
}

static char *repeated(const char *piece, size_t times)
{
    size_t size = strlen(piece);
    char *text = xcalloc(times * size + 1, 1);

    for (size_t i = 0; i < times * size; i++)
        text[i] = piece[i % size];
    return text;
}

static void test_endless_text_is_cut_and_its_lists_are_bounded(void **state UNUSED)
{
    static const char *const pieces[] = {
        "``` ", "[a](", "[",      "`x` ",          "http://x ",       "]",
        "``",   "h",    "[a](b)", "```\nx\n```\n", "\xf0\x9f\x98\x80"
    };
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(0);
        char *text = repeated(pieces[i], 100000);
        struct message_measure m;
        message_text_measure(arena, text, &m);
        assert_in_range(m.chars, 0, MESSAGE_TEXT_MAX);
        assert_in_range(strlen(m.code_stats), 2, MESSAGE_LIST_MAX * 64);
        assert_in_range(strlen(m.link_stats), 2, MESSAGE_LIST_MAX * 64);
        free(text);
    }
}

static void test_cut_text_ends_with_a_whole_character(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    char *text = repeated("\xf0\x9f\x98\x80", 5000);
    struct message_measure m;

    text[0] = 'a'; /* shifts the rest, so that the cut falls into a character */
    memmove(text + 1, text + 4, strlen(text + 4) + 1);
    message_text_measure(arena, text, &m);
    assert_int_equal(m.chars, 1 + (MESSAGE_TEXT_MAX - 1) / 4);
    free(text);
}

static void *count_in_thread(void *ret)
{
    *(size_t *)ret = text_count_words(span("one two three"));
    return NULL;
}

static void test_each_thread_counts_for_itself(void **state UNUSED)
{
    size_t words[4] = { 0 };
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_thread, &words[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(words[i], 3);
    }
}

static void test_long_text_is_truncated_with_an_ellipsis(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);
    char *exact = repeated("x", 2000), *over = repeated("x", 2001);

    assert_string_equal(text_truncate(arena, "abcdef", 4), "abc…");
    assert_string_equal(text_truncate(arena, "hello world", 5), "hell…");
    assert_string_equal(text_truncate(arena, "  short  ", 20), "  short  ");
    assert_string_equal(text_truncate(arena, "  trimmed  ", 7), "trimmed");
    assert_string_equal(text_truncate(arena, "😀😀😀", 5), "😀😀…");
    assert_string_equal(text_truncate(arena, "😀😀😀", 6), "😀😀😀");
    assert_string_equal(text_truncate(arena, exact, 2000), exact);
    const char *cut = text_truncate(arena, over, 2000);
    assert_int_equal(strlen(cut), 1999 + strlen("…"));
    assert_string_equal(cut + 1999, "…");
    free(exact);
    free(over);
}

static void test_quote_marks_each_line_and_escapes_the_first_backtick(void **state UNUSED)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(0);

    assert_string_equal(text_quote(arena, "a\nb"), "> a\n> b");
    assert_string_equal(text_quote(arena, "`x` `y`"), "> \\`x` `y`");
    assert_string_equal(text_quote(arena, ""), "> ");
    assert_string_equal(text_quote(arena, "\n\n"), "> \n> \n> ");
}

static void test_links_are_made_quiet(void **state UNUSED)
{
    static const struct {
        const char *text, *quiet;
    } rows[] = {
        { "https://example.com", "<https://example.com>" },
        { "discord.gg/butts", "<discord.gg/butts>" },
        { "a https://e.com/b, discord.gg/c!", "a <https://e.com/b>, <discord.gg/c>!" },
        { "<https://e.com>", "<https://e.com>" },
        { "https:// http://) x", "https:// http://) x" },
        { "http://a http://b http://c", "<http://a> <http://b> <http://c>" },
        { "http://ahttp://b", "<http://ahttp://b>" },
        { "", "" },
    };
    CLEANUP(arena_free) struct arena *arena = arena_new(0);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(text_quiet_links(arena, rows[i].text), rows[i].quiet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_and_characters_are_counted_as_unicode_says),
        cmocka_unit_test(test_text_splits_into_blocks),
        cmocka_unit_test(test_message_is_measured),
        cmocka_unit_test(test_links_and_lines_of_code_are_counted),
        cmocka_unit_test(test_endless_text_is_cut_and_its_lists_are_bounded),
        cmocka_unit_test(test_cut_text_ends_with_a_whole_character),
        cmocka_unit_test(test_each_thread_counts_for_itself),
        cmocka_unit_test(test_long_text_is_truncated_with_an_ellipsis),
        cmocka_unit_test(test_quote_marks_each_line_and_escapes_the_first_backtick),
        cmocka_unit_test(test_links_are_made_quiet),
    };
    return cmocka_run_group_tests_name("message_text", tests, NULL, NULL);
}
