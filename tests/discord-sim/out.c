#include "tests/discord-sim/out.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/xmem.h"

enum { FIRST_CAP = 512 };

void out_release(struct out *o)
{
    free(o->text);
    *o = OUT_EMPTY;
}

void out_clear(struct out *o)
{
    o->size = 0;
    if (o->text)
        o->text[0] = '\0';
}

static void out_reserve(struct out *o, size_t more)
{
    size_t need = o->size + more + 1;
    if (need <= o->cap)
        return;

    size_t cap = o->cap ? o->cap : FIRST_CAP;
    while (cap < need)
        cap *= 2;
    o->text = xrealloc(o->text, cap);
    o->cap = cap;
}

void out_bytes(struct out *o, const void *data, size_t size)
{
    out_reserve(o, size);
    if (size)
        memcpy(o->text + o->size, data, size);
    o->size += size;
    o->text[o->size] = '\0';
}

void out_text(struct out *o, const char *text)
{
    out_bytes(o, text, strlen(text));
}

void out_drop(struct out *o, char c)
{
    if (o->size && o->text[o->size - 1] == c)
        o->text[--o->size] = '\0';
}

static const char *json_escape(unsigned char c, char scratch[8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        (void)snprintf(scratch, 8, "\\u%04x", c);
        return scratch;
    }
}

void out_string(struct out *o, const char *text)
{
    char scratch[8];

    if (!text) {
        out_text(o, "null");
        return;
    }
    out_bytes(o, "\"", 1);
    while (*text) {
        size_t plain = 0;
        while (text[plain] && text[plain] != '"' && text[plain] != '\\' &&
               (unsigned char)text[plain] >= 0x20)
            plain++;
        out_bytes(o, text, plain);
        text += plain;
        if (*text)
            out_text(o, json_escape((unsigned char)*text++, scratch));
    }
    out_bytes(o, "\"", 1);
}

void out_html(struct out *o, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            out_text(o, "&lt;");
            break;
        case '>':
            out_text(o, "&gt;");
            break;
        case '&':
            out_text(o, "&amp;");
            break;
        case '"':
            out_text(o, "&quot;");
            break;
        case '\'':
            out_text(o, "&#39;");
            break;
        default:
            out_bytes(o, text, 1);
        }
    }
}

PRINTF(2, 3) static void out_number(struct out *o, const char *fmt, ...)
{
    char digits[48];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(digits, sizeof(digits), fmt, ap);
    va_end(ap);
    if (n > 0)
        out_bytes(o, digits, (size_t)n);
}

static void out_time(struct out *o, int64_t wall_ms)
{
    time_t seconds = wall_ms / 1000;
    struct tm tm;

    if (!wall_ms || !gmtime_r(&seconds, &tm)) {
        out_text(o, "null");
        return;
    }
    out_number(o, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03d000+00:00\"", tm.tm_year + 1900,
               tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
}

static void out_id(struct out *o, uint64_t id, bool nullable)
{
    if (!id && nullable)
        out_text(o, "null");
    else
        out_number(o, "\"%" PRIu64 "\"", id);
}

static void out_value(struct out *o, char kind, va_list *ap)
{
    switch (kind) {
    case 'I':
    case 'N':
        out_id(o, va_arg(*ap, uint64_t), kind == 'N');
        break;
    case 'S':
        out_string(o, va_arg(*ap, const char *));
        break;
    case 'r':
        out_text(o, va_arg(*ap, const char *));
        break;
    case 'd':
        out_number(o, "%d", va_arg(*ap, int));
        break;
    case 'l':
        out_number(o, "%" PRId64, va_arg(*ap, int64_t));
        break;
    case 'u':
        out_number(o, "%" PRIu64, va_arg(*ap, uint64_t));
        break;
    case 'b':
        out_text(o, va_arg(*ap, int) ? "true" : "false");
        break;
    case 'T':
        out_time(o, va_arg(*ap, int64_t));
        break;
    default:
        abort();
    }
}

void out_json(struct out *o, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    while (*fmt) {
        size_t plain = strcspn(fmt, "'%");
        out_bytes(o, fmt, plain);
        fmt += plain;
        if (*fmt == '\'') {
            out_bytes(o, "\"", 1);
            fmt++;
        } else if (*fmt == '%') {
            out_value(o, fmt[1], &ap);
            fmt += 2;
        }
    }
    va_end(ap);
}

char *out_take(struct out *o)
{
    out_bytes(o, "", 0);
    char *text = o->text;
    *o = OUT_EMPTY;
    return text;
}
