#include "gateway/frame.h"

#include <string.h>

/* One walk over d finds both ids and validates it. */
static bool take_d(struct scan *r, struct frame *f)
{
    struct span key, value;

    scan_blanks(r);
    const char *start = r->at;
    f->guild_id = f->id = 0;
    if (r->at >= r->end || *r->at != '{')
        return scan_value(r, &f->d);
    r->at++;
    if (!scan_char(r, '}')) {
        do {
            if (!scan_key(r, &key) || !scan_value(r, &value))
                return false;
            if (scan_is(key, "guild_id"))
                f->guild_id = scan_id(value);
            else if (scan_is(key, "id"))
                f->id = scan_id(value);
        } while (scan_char(r, ','));
        if (!scan_char(r, '}'))
            return false;
    }
    f->d = (struct span){ start, (size_t)(r->at - start) };
    return true;
}

static bool set_op(struct frame *f, struct span value)
{
    uint64_t op;
    if (!scan_uint(value, &op) || op > 255)
        return false;
    f->op = (int)op;
    return true;
}

static bool set_seq(struct frame *f, struct span value)
{
    f->has_seq = !scan_is(value, "null");
    f->seq = 0;
    return !f->has_seq || scan_uint(value, &f->seq);
}

static bool set_type(struct frame *f, struct span value)
{
    f->type[0] = '\0';
    return scan_is(value, "null") || scan_text(value, f->type, sizeof(f->type));
}

static bool take_member(struct scan *r, struct frame *f)
{
    struct span key, value;

    if (!scan_key(r, &key))
        return false;
    if (scan_is(key, "d"))
        return take_d(r, f);
    if (!scan_value(r, &value))
        return false;
    if (scan_is(key, "op"))
        return set_op(f, value);
    if (scan_is(key, "s"))
        return set_seq(f, value);
    if (scan_is(key, "t"))
        return set_type(f, value);
    return true;
}

static bool take_frame(struct scan *r, struct frame *f)
{
    if (!scan_char(r, '{'))
        return false;
    do {
        if (!take_member(r, f))
            return false;
    } while (scan_char(r, ','));
    if (!scan_char(r, '}'))
        return false;
    scan_blanks(r);
    return r->at == r->end;
}

enum status frame_parse(const char *text, size_t size, struct frame *ret_frame, struct err *err)
{
    struct scan r = { text, text + size };
    struct frame f = { .op = -1 };

    if (!take_frame(&r, &f))
        return err_set(err, STATUS_INVALID, "not a gateway payload at byte %zu of %zu",
                       (size_t)(r.at - text), size);
    if (f.op < 0)
        return err_set(err, STATUS_INVALID, "gateway payload without op");
    *ret_frame = f;
    return STATUS_OK;
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
           (scan_is(key, "members") || scan_is(key, "presences") || scan_is(key, "voice_states"));
}

size_t frame_cut_guild(struct span d, char *into)
{
    const char *from = d.at;
    struct scan_walk walk;
    struct span key, value;
    char *out = into;

    if (d.size == 0)
        return 0;
    if (!scan_walk_start(d, &walk))
        walk = (struct scan_walk){ d.at, d.at, false, false };
    while (scan_walk_next(&walk, &key, &value)) {
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
