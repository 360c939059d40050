#include "gateway/frame.h"

#include <string.h>

/* A reader over bytes from outside; every helper leaves at <= end and returns false on what is not
 * JSON. */
struct reader {
    const char *at, *end;
};

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static bool take_char(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at >= r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take_escape(struct reader *r)
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
static bool take_utf8(struct reader *r)
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
static bool take_string(struct reader *r, struct span *ret)
{
    if (!take_char(r, '"'))
        return false;
    const char *start = r->at;
    while (r->at < r->end) {
        unsigned char c = (unsigned char)*r->at;
        if (c == '"') {
            *ret = (struct span){ start, (size_t)(r->at - start) };
            r->at++;
            return true;
        }
        if (c < 0x20)
            return false;
        if (c >= 0x80) {
            if (!take_utf8(r))
                return false;
            continue;
        }
        r->at++;
        if (c == '\\' && !take_escape(r))
            return false;
    }
    return false;
}

static bool take_digits(struct reader *r)
{
    const char *start = r->at;
    while (r->at < r->end && is_digit(*r->at))
        r->at++;
    return r->at > start;
}

static bool take_number(struct reader *r)
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

static bool take_word(struct reader *r, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return false;
    r->at += size;
    return true;
}

static bool take_scalar(struct reader *r)
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

static bool take_key(struct reader *r, struct span *ret_key)
{
    return take_string(r, ret_key) && take_char(r, ':');
}

/* Skips a value without recursion: open[] remembers what each level is. */
static bool skip_value(struct reader *r)
{
    char open[FRAME_DEPTH];
    struct span key;
    int depth = 0;

    for (;;) {
        skip_blanks(r);
        if (r->at >= r->end)
            return false;
        char c = *r->at;
        bool opened = false;
        if (c == '{' || c == '[') {
            if (depth == FRAME_DEPTH)
                return false;
            r->at++;
            open[depth++] = c == '{' ? '}' : ']';
            opened = !take_char(r, open[depth - 1]);
            depth -= !opened;
        } else if (!take_scalar(r)) {
            return false;
        }
        while (!opened && depth > 0) { /* a value has ended: what follows it? */
            if (take_char(r, ','))
                break;
            if (!take_char(r, open[depth - 1]))
                return false;
            depth--;
        }
        if (depth == 0)
            return true;
        if (open[depth - 1] == '}' && !take_key(r, &key))
            return false;
    }
}

static bool take_value(struct reader *r, struct span *ret)
{
    skip_blanks(r);
    const char *start = r->at;
    if (!skip_value(r))
        return false;
    *ret = (struct span){ start, (size_t)(r->at - start) };
    return true;
}

static bool span_is(struct span s, const char *text)
{
    return s.size == strlen(text) && memcmp(s.at, text, s.size) == 0;
}

static bool read_uint(struct span s, uint64_t *ret)
{
    uint64_t value = 0;
    if (s.size == 0 || s.size > 20)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        if (!is_digit(s.at[i]))
            return false;
        unsigned digit = (unsigned)(s.at[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

uint64_t frame_id(struct span value)
{
    uint64_t id;
    if (value.size >= 2 && value.at[0] == '"')
        value = (struct span){ value.at + 1, value.size - 2 };
    return read_uint(value, &id) ? id : 0;
}

bool frame_text(struct span value, char *buf, size_t size)
{
    if (value.size < 2 || value.at[0] != '"' || value.size - 2 >= size ||
        memchr(value.at, '\\', value.size))
        return false;
    memcpy(buf, value.at + 1, value.size - 2);
    buf[value.size - 2] = '\0';
    return true;
}

bool frame_is_true(struct span value)
{
    return span_is(value, "true");
}

/* One walk over d finds both ids and validates it. */
static bool take_d(struct reader *r, struct frame *f)
{
    struct span key, value;

    skip_blanks(r);
    const char *start = r->at;
    f->guild_id = f->id = 0;
    if (r->at >= r->end || *r->at != '{')
        return take_value(r, &f->d);
    r->at++;
    if (!take_char(r, '}')) {
        do {
            if (!take_key(r, &key) || !take_value(r, &value))
                return false;
            if (span_is(key, "guild_id"))
                f->guild_id = frame_id(value);
            else if (span_is(key, "id"))
                f->id = frame_id(value);
        } while (take_char(r, ','));
        if (!take_char(r, '}'))
            return false;
    }
    f->d = (struct span){ start, (size_t)(r->at - start) };
    return true;
}

static bool set_op(struct frame *f, struct span value)
{
    uint64_t op;
    if (!read_uint(value, &op) || op > 255)
        return false;
    f->op = (int)op;
    return true;
}

static bool set_seq(struct frame *f, struct span value)
{
    f->has_seq = !span_is(value, "null");
    f->seq = 0;
    return !f->has_seq || read_uint(value, &f->seq);
}

static bool set_type(struct frame *f, struct span value)
{
    f->type[0] = '\0';
    return span_is(value, "null") || frame_text(value, f->type, sizeof(f->type));
}

static bool take_member(struct reader *r, struct frame *f)
{
    struct span key, value;

    if (!take_key(r, &key))
        return false;
    if (span_is(key, "d"))
        return take_d(r, f);
    if (!take_value(r, &value))
        return false;
    if (span_is(key, "op"))
        return set_op(f, value);
    if (span_is(key, "s"))
        return set_seq(f, value);
    if (span_is(key, "t"))
        return set_type(f, value);
    return true;
}

static bool take_frame(struct reader *r, struct frame *f)
{
    if (!take_char(r, '{'))
        return false;
    do {
        if (!take_member(r, f))
            return false;
    } while (take_char(r, ','));
    if (!take_char(r, '}'))
        return false;
    skip_blanks(r);
    return r->at == r->end;
}

enum status frame_parse(const char *text, size_t size, struct frame *ret_frame, struct err *err)
{
    struct reader r = { text, text + size };
    struct frame f = { .op = -1 };

    if (!take_frame(&r, &f))
        return err_set(err, STATUS_INVALID, "not a gateway payload at byte %zu of %zu",
                       (size_t)(r.at - text), size);
    if (f.op < 0)
        return err_set(err, STATUS_INVALID, "gateway payload without op");
    *ret_frame = f;
    return STATUS_OK;
}

bool frame_walk_start(struct span value, struct frame_walk *ret_walk)
{
    if (value.size < 2 || (value.at[0] != '{' && value.at[0] != '['))
        return false;
    *ret_walk =
        (struct frame_walk){ value.at + 1, value.at + value.size - 1, value.at[0] == '{', false };
    return true;
}

bool frame_walk_next(struct frame_walk *walk, struct span *ret_key, struct span *ret_value)
{
    struct reader r = { walk->at, walk->end };

    *ret_key = (struct span){ NULL, 0 };
    if (walk->begun && !take_char(&r, ','))
        return false;
    skip_blanks(&r);
    if (r.at >= r.end || (walk->object && !take_key(&r, ret_key)) || !take_value(&r, ret_value))
        return false;
    walk->at = r.at;
    walk->begun = true;
    return true;
}

bool frame_walk_is_over(const struct frame_walk *walk)
{
    struct reader r = { walk->at, walk->end };

    skip_blanks(&r);
    return r.at == walk->end && *walk->end == (walk->object ? '}' : ']');
}

struct span frame_member(struct span object, const char *key)
{
    struct span found = { NULL, 0 }, k, v;
    struct frame_walk walk;

    if (!frame_walk_start(object, &walk) || !walk.object)
        return found;
    while (frame_walk_next(&walk, &k, &v))
        if (span_is(k, key))
            found = v;
    return found;
}

uint64_t frame_guild(const struct frame *frame)
{
    static const char *const own_id[] = { "GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE" };

    for (size_t i = 0; i < ARRAY_LEN(own_id); i++)
        if (strcmp(frame->type, own_id[i]) == 0)
            return frame->id;
    return frame->guild_id;
}

static bool is_cut(struct span key, struct span value)
{
    return value.size > 2 && value.at[0] == '[' &&
           (span_is(key, "members") || span_is(key, "presences") || span_is(key, "voice_states"));
}

size_t frame_cut_guild(struct span d, char *into)
{
    const char *from = d.at;
    struct frame_walk walk;
    struct span key, value;
    char *out = into;

    if (d.size == 0)
        return 0;
    if (!frame_walk_start(d, &walk))
        walk = (struct frame_walk){ d.at, d.at, false, false };
    while (frame_walk_next(&walk, &key, &value)) {
        if (!is_cut(key, value))
            continue;
        size_t before = (size_t)(value.at - from);
        memcpy(out, from, before);
        out += before;
        *out++ = '[';
        *out++ = ']';
        from = value.at + value.size;
    }
    size_t rest = (size_t)(d.at + d.size - from);
    memcpy(out, from, rest);
    return (size_t)(out - into) + rest;
}
