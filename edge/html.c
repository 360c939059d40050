#include "edge/html.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "edge/paths.h"

static void put(struct html *h, const char *text, size_t size)
{
    if (h->bytes.size + size > HTML_LIMIT) {
        h->cut = true;
        return;
    }
    bytes_append(&h->bytes, text, size);
}

/* Length of the UTF-8 sequence at s, 0 when it is none: overlong, surrogate, too high or broken
 * off. */
static size_t utf8_length(const unsigned char *s)
{
    static const struct {
        unsigned char first, last, low, high; /* lead byte range; range of the second byte */
        size_t length;
    } forms[] = {
        { 0xC2, 0xDF, 0x80, 0xBF, 2 }, { 0xE0, 0xE0, 0xA0, 0xBF, 3 }, { 0xE1, 0xEC, 0x80, 0xBF, 3 },
        { 0xED, 0xED, 0x80, 0x9F, 3 }, { 0xEE, 0xEF, 0x80, 0xBF, 3 }, { 0xF0, 0xF0, 0x90, 0xBF, 4 },
        { 0xF1, 0xF3, 0x80, 0xBF, 4 }, { 0xF4, 0xF4, 0x80, 0x8F, 4 },
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last)
            continue;
        if (s[1] < forms[i].low || s[1] > forms[i].high)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((s[k] & 0xC0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static const char *entity_of(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void put_escaped(struct html *h, const char *text)
{
    const unsigned char *s = (const unsigned char *)(text ? text : "");

    while (*s) {
        const char *entity = entity_of(*s);
        bool plain = (*s >= 0x20 && *s < 0x7F) || *s == '\n' || *s == '\t';
        size_t length = plain ? 1 : utf8_length(s);

        if (entity)
            put(h, entity, strlen(entity));
        else if (length)
            put(h, (const char *)s, length);
        else
            put(h, "\xEF\xBF\xBD", 3); /* U+FFFD for what is no text */
        s += length ? length : 1;
    }
}

/* One conversion of format, at '%'. Returns where it ends. */
static const char *put_conversion(struct html *h, const char *at, va_list *args)
{
    char text[64];
    int n = -1;

    static const struct {
        const char *spelling;
        int kind;
    } known[] = { { "%%", '%' },  { "%s", 's' },  { "%d", 'd' },   { "%u", 'u' },  { "%zu", 'z' },
                  { "%lu", 'L' }, { "%ld", 'l' }, { "%.1f", 'f' }, { "%02u", '2' } };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t length = strlen(known[i].spelling);
        if (strncmp(at, known[i].spelling, length) != 0)
            continue;
        switch (known[i].kind) {
        case 's':
            put_escaped(h, va_arg(*args, const char *));
            return at + length;
        case '%':
            n = snprintf(text, sizeof(text), "%%");
            break;
        case 'd':
            n = snprintf(text, sizeof(text), "%d", va_arg(*args, int));
            break;
        case 'u':
            n = snprintf(text, sizeof(text), "%u", va_arg(*args, unsigned));
            break;
        case '2':
            n = snprintf(text, sizeof(text), "%02u", va_arg(*args, unsigned));
            break;
        case 'z':
            n = snprintf(text, sizeof(text), "%zu", va_arg(*args, size_t));
            break;
        case 'L':
            n = snprintf(text, sizeof(text), "%lu", va_arg(*args, unsigned long));
            break;
        case 'l':
            n = snprintf(text, sizeof(text), "%ld", va_arg(*args, long));
            break;
        default:
            n = snprintf(text, sizeof(text), "%.1f", va_arg(*args, double));
            break;
        }
        must(n >= 0 && (size_t)n < sizeof(text));
        put(h, text, (size_t)n);
        return at + length;
    }
    must(false && "a conversion that html_add knows");
    return at + 1;
}

void html_add(struct html *h, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    while (*format) {
        size_t plain = strcspn(format, "%");
        put(h, format, plain);
        format += plain;
        if (*format)
            format = put_conversion(h, format, &args);
    }
    va_end(args);
}

void html_release(struct html *h)
{
    bytes_release(&h->bytes);
}

bool html_is_whole(const struct html *h)
{
    return !h->cut;
}

const char *url_or_nothing(const char *url)
{
    bool web = strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;

    return web || path_is_local(url) ? url : "#";
}

char *url_encode(struct arena *a, const char *text)
{
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    char *encoded = arena_alloc(a, 3 * strlen(text) + 1);
    size_t n = 0;

    if (!encoded)
        return NULL;
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (strchr(kept, *s)) {
            encoded[n++] = (char)*s;
            continue;
        }
        encoded[n++] = '%';
        encoded[n++] = digits[*s >> 4];
        encoded[n++] = digits[*s & 15];
    }
    encoded[n] = '\0';
    return encoded;
}
