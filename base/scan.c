#include "base/scan.h"

#include <string.h>

void scan_blanks(struct scan *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

bool scan_char(struct scan *r, char c)
{
    scan_blanks(r);
    if (r->at >= r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Printable ASCII but the quote and the backslash: nearly all of a string. */
static bool is_plain(char c)
{
    return (unsigned char)c - 0x20u < 0x60u && c != '"' && c != '\\';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take_escape(struct scan *r)
{
    if (r->at >= r->end)
        return false;
    char c = *r->at++;
    if (c != 'u')
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
    if (r->end - r->at < 4)
        return false;
    for (int i = 0; i < 4; i++)
        if (!is_hex(r->at[i]))
            return false;
    r->at += 4;
    return true;
}

/* One UTF-8 sequence beyond ASCII: no overlong forms, no surrogates, nothing over U+10FFFF. */
static bool take_utf8(struct scan *r)
{
    const unsigned char *p = (const unsigned char *)r->at;
    size_t left = (size_t)(r->end - r->at), more;
    unsigned char low = 0x80, high = 0xBF;

    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        more = 1;
    else if (p[0] >= 0xE0 && p[0] <= 0xEF)
        more = 2;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        more = 3;
    else
        return false;
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    if (left <= more || p[1] < low || p[1] > high)
        return false;
    for (size_t i = 2; i <= more; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return false;
    r->at += 1 + more;
    return true;
}

/* ret: between the quotes, escapes as they are. */
static bool take_string(struct scan *r, struct span *ret)
{
    if (!scan_char(r, '"'))
        return false;
    const char *start = r->at;
    for (;;) {
        while (r->at < r->end && is_plain(*r->at))
            r->at++;
        if (r->at >= r->end || (unsigned char)*r->at < 0x20)
            return false;
        if (*r->at == '"') {
            *ret = (struct span){ start, (size_t)(r->at - start) };
            r->at++;
            return true;
        }
        bool escape = *r->at == '\\';
        r->at += escape;
        if (escape ? !take_escape(r) : !take_utf8(r))
            return false;
    }
}

static bool take_digits(struct scan *r)
{
    const char *start = r->at;
    while (r->at < r->end && is_digit(*r->at))
        r->at++;
    return r->at > start;
}

static bool take_number(struct scan *r)
{
    if (r->at < r->end && *r->at == '-')
        r->at++;
    if (r->at < r->end && *r->at == '0')
        r->at++;
    else if (!take_digits(r))
        return false;
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!take_digits(r))
            return false;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
            r->at++;
        if (!take_digits(r))
            return false;
    }
    return true;
}

static bool take_word(struct scan *r, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return false;
    r->at += size;
    return true;
}

static bool take_scalar(struct scan *r)
{
    struct span text;
    switch (*r->at) {
    case '"':
        return take_string(r, &text);
    case 't':
        return take_word(r, "true");
    case 'f':
        return take_word(r, "false");
    case 'n':
        return take_word(r, "null");
    default:
        return take_number(r);
    }
}

bool scan_key(struct scan *r, struct span *ret_key)
{
    return take_string(r, ret_key) && scan_char(r, ':');
}

/* Skips a value without recursion: open[] remembers what each level is. */
static bool skip_value(struct scan *r)
{
    char open[SCAN_DEPTH];
    struct span key;
    int depth = 0;

    for (;;) {
        scan_blanks(r);
        if (r->at >= r->end)
            return false;
        char c = *r->at;
        bool opened = false;
        if (c == '{' || c == '[') {
            if (depth == SCAN_DEPTH)
                return false;
            r->at++;
            open[depth++] = c == '{' ? '}' : ']';
            opened = !scan_char(r, open[depth - 1]);
            depth -= !opened;
        } else if (!take_scalar(r)) {
            return false;
        }
        while (!opened && depth > 0) { /* a value has ended: what follows it? */
            if (scan_char(r, ','))
                break;
            if (!scan_char(r, open[depth - 1]))
                return false;
            depth--;
        }
        if (depth == 0)
            return true;
        if (open[depth - 1] == '}' && !scan_key(r, &key))
            return false;
    }
}

bool scan_value(struct scan *r, struct span *ret)
{
    scan_blanks(r);
    const char *start = r->at;
    if (!skip_value(r))
        return false;
    *ret = (struct span){ start, (size_t)(r->at - start) };
    return true;
}

bool scan_is(struct span value, const char *text)
{
    return value.size == strlen(text) && memcmp(value.at, text, value.size) == 0;
}

bool scan_uint(struct span value, uint64_t *ret)
{
    uint64_t number = 0;
    if (value.size == 0 || value.size > 20)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (!is_digit(value.at[i]))
            return false;
        unsigned digit = (unsigned)(value.at[i] - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret = number;
    return true;
}

uint64_t scan_id(struct span value)
{
    uint64_t id;
    if (value.size >= 2 && value.at[0] == '"')
        value = (struct span){ value.at + 1, value.size - 2 };
    return scan_uint(value, &id) ? id : 0;
}

bool scan_text(struct span value, char *buf, size_t size)
{
    if (value.size < 2 || value.at[0] != '"' || value.size - 2 >= size ||
        memchr(value.at, '\\', value.size))
        return false;
    memcpy(buf, value.at + 1, value.size - 2);
    buf[value.size - 2] = '\0';
    return true;
}

bool scan_is_true(struct span value)
{
    return scan_is(value, "true");
}

bool scan_walk_start(struct span value, struct scan_walk *ret_walk)
{
    if (value.size < 2 || (value.at[0] != '{' && value.at[0] != '['))
        return false;
    *ret_walk =
        (struct scan_walk){ value.at + 1, value.at + value.size - 1, value.at[0] == '{', false };
    return true;
}

bool scan_walk_next(struct scan_walk *walk, struct span *ret_key, struct span *ret_value)
{
    struct scan r = { walk->at, walk->end };

    *ret_key = (struct span){ NULL, 0 };
    if (walk->begun && !scan_char(&r, ','))
        return false;
    scan_blanks(&r);
    if (r.at >= r.end || (walk->object && !scan_key(&r, ret_key)) || !scan_value(&r, ret_value))
        return false;
    walk->at = r.at;
    walk->begun = true;
    return true;
}

bool scan_walk_is_over(const struct scan_walk *walk)
{
    struct scan r = { walk->at, walk->end };

    scan_blanks(&r);
    return r.at == walk->end && *walk->end == (walk->object ? '}' : ']');
}

struct span scan_member(struct span object, const char *key)
{
    struct span found = { NULL, 0 }, k, v;
    struct scan_walk walk;

    if (!scan_walk_start(object, &walk) || !walk.object)
        return found;
    while (scan_walk_next(&walk, &k, &v))
        if (scan_is(k, key))
            found = v;
    return found;
}
