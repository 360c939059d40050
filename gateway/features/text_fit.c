/* text_fit.c - texts made to fit what Discord accepts and shows. */
#include <ctype.h>
#include <string.h>

#include "gateway/features/message_text.h"

/* The size in bytes of the first units UTF-16 units of text, of whole characters. */
static size_t prefix_size(const char *text, size_t size, size_t units)
{
    size_t at = 0;

    while (at < size && units) {
        size_t wide = (unsigned char)text[at] >= 0xf0 ? 2 : 1, next = at + 1;
        if (wide > units)
            break;
        while (next < size && ((unsigned char)text[next] & 0xc0) == 0x80)
            next++;
        units -= wide;
        at = next;
    }
    return at;
}

static struct span trimmed(const char *text)
{
    struct span s = { text, strlen(text) };

    while (s.size && isspace((unsigned char)s.at[0]))
        s.at++, s.size--;
    while (s.size && isspace((unsigned char)s.at[s.size - 1]))
        s.size--;
    return s;
}

char *text_truncate(struct arena *arena, const char *text, size_t max)
{
    size_t size = strlen(text);

    if (prefix_size(text, size, max) == size)
        return arena_printf(arena, "%s", text);
    struct span s = trimmed(text);
    size_t fits = prefix_size(s.at, s.size, max);
    if (fits == s.size)
        return arena_printf(arena, "%.*s", (int)s.size, s.at);
    fits = prefix_size(s.at, s.size, max - 1);
    return arena_printf(arena, "%.*s\xe2\x80\xa6", (int)fits, s.at);
}

char *text_quote(struct arena *arena, const char *text)
{
    char *out = arena_alloc(arena, 3 * strlen(text) + 4), *to = out;
    bool escaped = false;

    if (!out)
        return NULL;
    *to++ = '>';
    *to++ = ' ';
    for (const char *c = text; *c; c++) {
        if (*c == '`' && !escaped) {
            *to++ = '\\';
            escaped = true;
        }
        *to++ = *c;
        if (*c == '\n') {
            *to++ = '>';
            *to++ = ' ';
        }
    }
    *to = 0;
    return out;
}

static bool is_word_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* The size of the link at text, which ends with a letter or digit; 0: none. */
static size_t link_size(const char *text)
{
    static const char *const starts[] = { "https://", "http://", "discord.gg/" };
    size_t start = 0;

    for (size_t i = 0; i < ARRAY_LEN(starts) && !start; i++)
        if (!strncmp(text, starts[i], strlen(starts[i])))
            start = strlen(starts[i]);
    if (!start)
        return 0;
    size_t end = start + strcspn(text + start, " \t\r\n\v\f<>");
    while (end > start && !is_word_byte(text[end - 1]))
        end--;
    return end > start ? end : 0;
}

char *text_quiet_links(struct arena *arena, const char *text)
{
    /* the shortest link has 8 characters and grows by 2 */
    char *out = arena_alloc(arena, strlen(text) / 4 + strlen(text) + 4), *to = out;

    for (const char *c = text; out && *c;) {
        size_t size = link_size(c);
        bool wrap = size && (c == text || c[-1] != '<');
        if (wrap)
            *to++ = '<';
        size = size ? size : 1;
        memcpy(to, c, size);
        to += size;
        c += size;
        if (wrap)
            *to++ = '>';
    }
    return out;
}
