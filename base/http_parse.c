#include "base/http_parse.h"

#include <string.h>
#include <strings.h>

enum { MAX_CHUNK_DIGITS = 8, MAX_CHUNK_EXTRA = 4096 };

size_t http_head_size(const char *bytes, size_t size)
{
    const char *end = memmem(bytes, size, "\r\n\r\n", 4);

    return end ? (size_t)(end - bytes) + 4 : 0;
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text)
{
    size_t n = 0;

    while (is_token_char(text[n]))
        n++;
    return n > 0 && !text[n];
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool http_decode(char *text, bool form)
{
    char *out = text;

    for (const char *in = text; *in; in++) {
        if (*in == '+' && form) {
            *out++ = ' ';
        } else if (*in == '%') {
            int high = hex_value(in[1]), low = high < 0 ? -1 : hex_value(in[2]);
            if (low < 0 || (high | low) == 0)
                return false;
            *out++ = (char)(high << 4 | low);
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
    return true;
}

/* --- the request line --- */

static int parse_method(const char *text, enum http_method *ret_method)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT", [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE"
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_method = (enum http_method)i;
            return 0;
        }
    }
    return is_token(text) ? 405 : 400;
}

static int parse_version(const char *text, bool *ret_keep_alive)
{
    if (strcmp(text, "HTTP/1.1") == 0)
        *ret_keep_alive = true;
    else if (strcmp(text, "HTTP/1.0") == 0)
        *ret_keep_alive = false;
    else
        return strncmp(text, "HTTP/", 5) == 0 ? 505 : 400;
    return 0;
}

static int parse_target(char *target, struct http_head *head)
{
    for (const char *c = target; *c; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return 400;
    }
    /* http://host/path, as a proxy would send it */
    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        target = strstr(target, "//") + 2;
        target = strchr(target, '/');
    }
    if (!target || *target != '/')
        return 400;
    char *query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    head->path = target;
    head->query = query ? query : "";
    return http_decode(target, false) ? 0 : 400;
}

static int parse_request_line(char *line, struct http_head *head)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;

    if (!version)
        return 400;
    *target++ = '\0';
    *version++ = '\0';
    int bad = parse_method(line, &head->method);
    if (bad == 405 && strcmp(target, "*") == 0)
        return 405;
    int bad_version = parse_version(version, &head->keep_alive);
    int bad_target = bad_version ? 0 : parse_target(target, head);
    return bad_version ? bad_version : bad_target ? bad_target : bad;
}

/* --- the fields --- */

static int parse_field(char *line, struct http_head *head)
{
    char *colon = strchr(line, ':');

    if (!colon)
        return 400;
    *colon = '\0';
    if (!is_token(line))
        return 400;
    for (char *c = line; *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    }

    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    value[len] = '\0';
    for (const char *c = value; *c; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return 400;
    }
    if (head->count == HTTP_MAX_FIELDS)
        return 431;
    head->fields[head->count++] = (struct http_field){ line, value };
    return 0;
}

const char *http_head_field(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++) {
        if (strcmp(head->fields[i].name, name) == 0)
            return head->fields[i].value;
    }
    return NULL;
}

/* Is word one of the comma-separated ones? */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    while (list && *list) {
        list += strspn(list, " \t,");
        size_t n = strcspn(list, ",");
        size_t trimmed = n;
        while (trimmed > 0 && (list[trimmed - 1] == ' ' || list[trimmed - 1] == '\t'))
            trimmed--;
        if (trimmed == len && strncasecmp(list, word, len) == 0)
            return true;
        list += n;
    }
    return false;
}

static int parse_length(const char *text, struct http_head *head)
{
    size_t n = strspn(text, "0123456789");

    if (head->has_length || n == 0 || n > 18 || text[n])
        return 400;
    head->has_length = true;
    for (; *text; text++)
        head->length = head->length * 10 + (uint64_t)(*text - '0');
    return 0;
}

static int note_field(const struct http_field *f, struct http_head *head)
{
    if (strcmp(f->name, "content-length") == 0)
        return parse_length(f->value, head);
    if (strcmp(f->name, "transfer-encoding") == 0) {
        if (head->chunked)
            return 400;
        head->chunked = strcasecmp(f->value, "chunked") == 0;
        return head->chunked ? 0 : 501;
    }
    if (strcmp(f->name, "connection") == 0 && has_word(f->value, "close"))
        head->keep_alive = false;
    if (strcmp(f->name, "expect") == 0)
        head->expects_continue = strcasecmp(f->value, "100-continue") == 0;
    return 0;
}

static int note_fields(struct http_head *head, bool is_1_1)
{
    size_t hosts = 0;
    bool upgrade = false, websocket = false;

    for (size_t i = 0; i < head->count; i++) {
        const struct http_field *f = &head->fields[i];
        int bad = note_field(f, head);
        if (bad)
            return bad;
        hosts += strcmp(f->name, "host") == 0;
        upgrade = upgrade || (strcmp(f->name, "connection") == 0 && has_word(f->value, "upgrade"));
        websocket =
            websocket || (strcmp(f->name, "upgrade") == 0 && has_word(f->value, "websocket"));
    }
    if (hosts > 1 || (is_1_1 && hosts == 0) || (head->chunked && (head->has_length || !is_1_1)))
        return 400;
    head->wants_websocket = upgrade && websocket && head->method == HTTP_GET;
    return 0;
}

int http_head_parse(char *text, size_t size, struct http_head *ret_head)
{
    struct http_head *head = ret_head;
    int bad = 0, bad_line = 0;
    size_t number = 0;

    memset(head, 0, sizeof(*head));
    if (memchr(text, '\0', size))
        return 400;
    /* Up to the empty line; each line ends in CR LF and has neither inside. */
    for (char *line = text, *end = text + size; line < end && !bad; number++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        if (!newline || newline == line || newline[-1] != '\r')
            return 400;
        if (newline == line + 1)
            break;
        newline[-1] = '\0';
        if (strchr(line, '\r'))
            return 400;
        if (number == 0)
            bad_line = parse_request_line(line, head);
        else
            bad = parse_field(line, head);
        line = newline + 1;
    }
    if (number == 0 || bad_line)
        return bad_line ? bad_line : 400;
    /* HTTP/1.0 was noted as not keep-alive before the fields were read. */
    return bad ? bad : note_fields(head, head->keep_alive);
}

/* --- chunked bodies --- */

enum {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_LINE,
    TRAILER_LF,
    LAST_LF
};

static bool step_size(struct http_chunks *c, char b)
{
    int digit = hex_value(b);

    if (digit >= 0) {
        c->left = c->left << 4 | (uint64_t)digit;
        return ++c->digits <= MAX_CHUNK_DIGITS;
    }
    if (c->digits == 0)
        return false;
    c->state = b == '\r' ? SIZE_LF : EXTENSION;
    return b == '\r' || b == ';' || b == ' ' || b == '\t';
}

/* One byte that is no payload. False: it cannot stand here. */
static bool step(struct http_chunks *c, char b, bool *ret_done)
{
    switch (c->state) {
    case SIZE:
        return step_size(c, b);
    case EXTENSION:
        c->state = b == '\r' ? SIZE_LF : EXTENSION;
        return b != '\n' && ++c->extra <= MAX_CHUNK_EXTRA;
    case SIZE_LF:
        c->state = c->left ? DATA : TRAILER;
        c->digits = 0;
        return b == '\n';
    case DATA_CR:
        c->state = DATA_LF;
        return b == '\r';
    case DATA_LF:
        c->state = SIZE;
        return b == '\n';
    case TRAILER: /* at the start of a trailer's line */
        c->state = b == '\r' ? LAST_LF : TRAILER_LINE;
        return b != '\n' && ++c->extra <= MAX_CHUNK_EXTRA;
    case TRAILER_LINE:
        c->state = b == '\r' ? TRAILER_LF : TRAILER_LINE;
        return b != '\n' && ++c->extra <= MAX_CHUNK_EXTRA;
    case TRAILER_LF:
        c->state = TRAILER;
        return b == '\n';
    case LAST_LF:
        *ret_done = b == '\n';
        return *ret_done;
    default:
        return false;
    }
}

enum http_chunks_result http_chunks_read(struct http_chunks *c, const char *bytes, size_t size,
                                         char *out, size_t *ret_used, size_t *ret_payload)
{
    size_t at = 0, payload = 0;
    bool done = false, good = true;

    while (at < size && good && !done) {
        if (c->state == DATA) {
            size_t n = c->left < size - at ? (size_t)c->left : size - at;
            memmove(out + payload, bytes + at, n);
            payload += n;
            at += n;
            c->left -= n;
            c->state = c->left ? DATA : DATA_CR;
        } else {
            good = step(c, bytes[at++], &done);
        }
    }
    *ret_used = at;
    *ret_payload = payload;
    if (!good)
        return HTTP_CHUNKS_BAD;
    return done ? HTTP_CHUNKS_DONE : HTTP_CHUNKS_MORE;
}
