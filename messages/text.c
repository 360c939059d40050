#include "messages/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed sequence at p (n bytes are there), 0 when there is none. Unicode 15,
 * table 3-7. */
static size_t sequence_length(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t more;

    if (p[0] < 0x80)
        return p[0] ? 1 : 0;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    more = p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (n <= more || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return more + 1;
}

/* Eight bytes of 0x01 … 0x7f at once: most of all text. */
static bool is_plain_word(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return !(((word - UINT64_C(0x0101010101010101)) | word) & UINT64_C(0x8080808080808080));
}

bool text_is_clean(const void *data, size_t size)
{
    const uint8_t *p = data;

    while (size > 0) {
        if (size >= 8 && is_plain_word(p)) {
            p += 8;
            size -= 8;
            continue;
        }
        size_t n = sequence_length(p, size);
        if (n == 0)
            return false;
        p += n;
        size -= n;
    }
    return true;
}

static bool make_room(struct text *text, size_t more)
{
    if (text->full)
        return false;
    if (more <= text->size - text->used)
        return true;

    size_t size = text->size ? text->size * 2 : 512;
    while (size - text->used < more)
        size *= 2;
    char *at = arena_alloc(text->arena, size);
    if (!at) {
        text->full = true;
        return false;
    }
    if (text->used)
        memcpy(at, text->at, text->used);
    text->at = at;
    text->size = size;
    return true;
}

void text_put(struct text *text, const void *data, size_t size)
{
    if (size == 0 || !make_room(text, size))
        return;
    memcpy(text->at + text->used, data, size);
    text->used += size;
}

void text_puts(struct text *text, const char *s)
{
    text_put(text, s, strlen(s));
}

void text_putc(struct text *text, char c)
{
    text_put(text, &c, 1);
}

void text_printf(struct text *text, const char *fmt, ...)
{
    char buf[512];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof(buf), fmt, ap);
    va_end(ap);
    if (n > 0)
        text_put(text, buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

char *text_end(struct text *text)
{
    if (!make_room(text, 1))
        return NULL;
    text->at[text->used] = '\0';
    return text->at;
}

static void put_escaped(struct text *text, char c)
{
    static const char names[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    const char *found = strchr(names, c);

    if (found)
        text_printf(text, "\\%c", letters[found - names]);
    else
        text_printf(text, "\\u%04x", (unsigned)c);
}

void text_put_json_string(struct text *text, const char *data, size_t size)
{
    size_t start = 0;

    text_putc(text, '"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        text_put(text, data + start, i - start);
        put_escaped(text, data[i]);
        start = i + 1;
    }
    text_put(text, data + start, size - start);
    text_putc(text, '"');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Length of the string literal or run of other characters that stands at json[0]. */
static size_t token_length(const char *json, size_t size)
{
    size_t n = 1;

    if (json[0] == '"') {
        while (n < size && json[n] != '"')
            n += json[n] == '\\' && n + 1 < size ? 2 : 1;
        return n < size ? n + 1 : size;
    }
    if (strchr("{}[],:", json[0]))
        return 1;
    while (n < size && !is_blank(json[n]) && !strchr("{}[],:\"", json[n]))
        n++;
    return n;
}

static void new_line(struct text *text, size_t depth)
{
    text_putc(text, '\n');
    for (size_t i = 0; i < depth; i++)
        text_puts(text, "  ");
}

/* previous: the punctuation or first character of the token before. */
static void put_pretty(struct text *text, const char *token, size_t size, char previous,
                       size_t *depth)
{
    char c = token[0];
    bool closes = c == '}' || c == ']', opened = previous == '{' || previous == '[';

    if (closes && *depth > 0)
        (*depth)--;
    if (previous == ',' || (closes ? !opened : opened))
        new_line(text, *depth);
    text_put(text, token, size);
    if (c == ':')
        text_putc(text, ' ');
    if (c == '{' || c == '[')
        (*depth)++;
}

void text_put_json(struct text *text, const char *json, size_t size, bool pretty)
{
    size_t depth = 0;
    char previous = 0;

    for (size_t i = 0; i < size && !text->full;) {
        if (is_blank(json[i])) {
            i++;
            continue;
        }
        size_t n = token_length(json + i, size - i);
        if (pretty)
            put_pretty(text, json + i, n, previous, &depth);
        else
            text_put(text, json + i, n);
        previous = json[i];
        i += n;
    }
}

void text_put_base64(struct text *text, const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t three = (uint32_t)p[i] << 16;
        three |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        three |= left > 2 ? p[i + 2] : 0;
        char four[4] = { digits[three >> 18], digits[three >> 12 & 63], '=', '=' };
        if (left > 1)
            four[2] = digits[three >> 6 & 63];
        if (left > 2)
            four[3] = digits[three & 63];
        text_put(text, four, sizeof(four));
    }
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool text_read_base64(const char *text, size_t size, uint8_t *ret_data, size_t *ret_size)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t used = 0;

    for (int padding = 0;
         padding < 2 && size > 0 && size % 4 == (padding ? 3U : 0U) && text[size - 1] == '=';
         padding++)
        size--;
    if (size % 4 == 1)
        return false;
    for (size_t i = 0; i < size; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            ret_data[used++] = (uint8_t)(bits >> have);
        }
    }
    *ret_size = used;
    return (bits & ((1U << have) - 1)) == 0;
}
