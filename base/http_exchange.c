#include "base/http_exchange.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/json.h"
#include "base/xmem.h"

/* --- the request --- */

enum http_method http_method(const struct http_exchange *x)
{
    return x->head.method;
}

const char *http_path(const struct http_exchange *x)
{
    return x->head.path;
}

const char *http_query_raw(const struct http_exchange *x)
{
    return x->head.query;
}

const char *http_header(struct http_exchange *x, const char *name)
{
    return http_head_field(&x->head, name);
}

const char *http_peer(const struct http_exchange *x)
{
    return x->peer;
}

const void *http_body(const struct http_exchange *x, size_t *ret_size)
{
    *ret_size = x->body_size;
    return x->body ? x->body : "";
}

struct arena *http_arena(struct http_exchange *x)
{
    return x->arena;
}

/* A copy from the arena; NULL also when the arena is at its limit. */
static char *copy_text(struct http_exchange *x, const char *text, size_t size)
{
    char *copy = arena_alloc(x->arena, size + 1);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* A field's name may be encoded too ("a%5B%5D"), so it is decoded before it is compared. */
static const char *find_field(struct http_exchange *x, const char *fields, const char *name)
{
    for (const char *at = fields; *at; at += *at == '&') {
        size_t size = strcspn(at, "&");
        size_t name_size = strcspn(at, "=&");
        const char *value = name_size < size ? at + name_size + 1 : at + size;
        bool plain = !memchr(at, '%', name_size) && !memchr(at, '+', name_size);
        if (plain && (strlen(name) != name_size || memcmp(at, name, name_size) != 0)) {
            at += size;
            continue;
        }
        char *key = copy_text(x, at, name_size);
        char *text = copy_text(x, value, (size_t)(at + size - value));
        if (!key || !text)
            return NULL;
        if (http_decode(key, true) && strcmp(key, name) == 0)
            return http_decode(text, true) ? text : NULL;
        at += size;
    }
    return NULL;
}

const char *http_query(struct http_exchange *x, const char *name)
{
    return find_field(x, x->head.query, name);
}

const char *http_form(struct http_exchange *x, const char *name)
{
    static const char form_type[] = "application/x-www-form-urlencoded";
    const char *type = http_header(x, "content-type");

    if (!type || strncasecmp(type, form_type, sizeof(form_type) - 1) != 0 || !x->body ||
        strlen(x->body) != x->body_size)
        return NULL;
    return find_field(x, x->body, name);
}

const char *http_cookie(struct http_exchange *x, const char *name)
{
    const char *at = http_header(x, "cookie");
    size_t len = strlen(name);

    while (at && *at) {
        at += strspn(at, " \t;");
        size_t size = strcspn(at, ";");
        if (size > len && memcmp(at, name, len) == 0 && at[len] == '=')
            return copy_text(x, at + len + 1, size - len - 1);
        at += size;
    }
    return NULL;
}

/* --- the answer --- */

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 413, "Content Too Large" },
        { 415, "Unsupported Media Type" },
        { 421, "Misdirected Request" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i].status == status)
            return known[i].text;
    }
    return "Status";
}

/* RFC 9110 §6.6.1; made once a second. */
static const char *date_now(void)
{
    static _Thread_local char text[40];
    static _Thread_local time_t when;
    struct timespec now;
    struct tm utc;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != when || !text[0]) {
        when = now.tv_sec;
        gmtime_r(&when, &utc);
        (void)strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    }
    return text;
}

char *http_answer_bytes(const struct http_answer *a, size_t *ret_size)
{
    bool bodiless = a->status == 204 || a->status == 304;
    char length[48] = "";
    char head[512];

    if (!bodiless)
        (void)snprintf(length, sizeof(length), "content-length: %zu\r\n", a->size);
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %d %s\r\ndate: %s\r\n%s%s%.200s%s%s", a->status,
                     reason(a->status), date_now(), length, a->type ? "content-type: " : "",
                     a->type ? a->type : "", a->type ? "\r\n" : "",
                     a->keep_alive ? "" : "connection: close\r\n");
    must(n > 0 && (size_t)n < sizeof(head));
    size_t head_size = (size_t)n, body_size = bodiless || a->head_only ? 0 : a->size;
    size_t total = head_size + a->extra_size + 2 + body_size;
    char *bytes = xcalloc(1, total), *at = bytes;
    at = mempcpy(at, head, head_size);
    if (a->extra_size)
        at = mempcpy(at, a->extra, a->extra_size);
    at = mempcpy(at, "\r\n", 2);
    if (body_size)
        memcpy(at, a->body, body_size);
    *ret_size = total;
    return bytes;
}

void http_answer_header(struct http_exchange *x, const char *name, const char *value)
{
    must(!strpbrk(name, "\r\n: ") && !strpbrk(value, "\r\n"));
    size_t size = strlen(name) + strlen(value) + 4;
    x->answer_headers = xrealloc(x->answer_headers, x->answer_headers_size + size + 1);
    (void)snprintf(x->answer_headers + x->answer_headers_size, size + 1, "%s: %s\r\n", name, value);
    x->answer_headers_size += size;
}

void http_respond(struct http_exchange *x, int status, const char *content_type, const void *body,
                  size_t size)
{
    struct http_conn *conn = x->conn;
    struct http_answer a = { .status = status,
                             .type = content_type,
                             .body = body,
                             .size = size,
                             .head_only = x->head.method == HTTP_HEAD,
                             .keep_alive = x->head.keep_alive,
                             .extra = x->answer_headers,
                             .extra_size = x->answer_headers_size };
    size_t total = 0;
    bool muted = x->muted;
    char *bytes = conn && !muted ? http_answer_bytes(&a, &total) : NULL;

    http_exchange_free(x);
    if (conn && muted)
        http_conn_cut(conn);
    else if (conn)
        http_conn_answer(conn, bytes, total);
}

void http_mute(struct http_exchange *x)
{
    x->muted = true;
}

void http_respond_text(struct http_exchange *x, int status, const char *text)
{
    http_respond(x, status, "text/plain; charset=utf-8", text, strlen(text));
}

void http_respond_json(struct http_exchange *x, int status, const char *json)
{
    http_respond(x, status, "application/json", json, strlen(json));
}

void http_respond_err(struct http_exchange *x, const struct err *err)
{
    /* A text that is not UTF-8 has no place in JSON. */
    json_t *text = json_string(err->text);
    CLEANUP(json_decref)
    json_t *root = json_pack("{s:{s:s, s:o}}", "error", "status", status_name(err->code), "text",
                             text ? text : json_string(""));
    CLEANUP(xfree) char *body = json_text(root);

    http_respond_json(x, status_http(err->code), body);
}

void http_redirect(struct http_exchange *x, const char *location)
{
    http_answer_header(x, "location", location);
    http_respond(x, 303, NULL, NULL, 0);
}
