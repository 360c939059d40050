#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"

enum { MAX_VALUE = 64 * 1024 };

/* Where a row's value came from. text NULL: unset. */
struct found {
    char *text;
    char *path; /* of NAME_FILE; NULL: not from a file */
    bool is_fallback;
};

static void found_release(struct found *f)
{
    free(f->text);
    free(f->path);
}
#define CLEANUP_FOUND __attribute__((cleanup(found_release)))

static void *field_of(const struct config_row *row, void *config)
{
    return (char *)config + row->offset;
}

static const void *value_of(const struct config_row *row, const void *config)
{
    return (const char *)config + row->offset;
}

static bool is_text_kind(enum config_kind kind)
{
    return kind == CONFIG_STRING || kind == CONFIG_ID || kind == CONFIG_URL ||
           kind == CONFIG_HEX32 || kind == CONFIG_GUILDS || kind == CONFIG_SNOWFLAKE;
}

/* --- reading --- */

static const char *env_get(const char *name)
{
    const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): before start */

    return value && *value ? value : NULL;
}

static enum status read_secret_file(const char *path, char **ret_text, struct err *err)
{
    FILE *file = fopen(path, "re");

    if (!file)
        return err_set(err, STATUS_INVALID, "cannot read %s (%m): give a readable file", path);
    char *text = xcalloc(1, MAX_VALUE + 2);
    size_t n = fread(text, 1, MAX_VALUE + 1, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    if (n > 0 && text[n - 1] == '\r')
        text[--n] = '\0';
    if (failed || n > MAX_VALUE || strlen(text) != n || n == 0) {
        free(text);
        return err_set(err, STATUS_INVALID,
                       "%s is %s: give a file that holds the value and no more", path,
                       failed   ? "not readable"
                       : n == 0 ? "empty"
                                : "too long or not text");
    }
    *ret_text = text;
    return STATUS_OK;
}

static enum status find_value(const struct config_row *row, struct found *f, struct err *err)
{
    CLEANUP(xfree) char *file_name = xasprintf("%s_FILE", row->name);
    const char *value = env_get(row->name);
    const char *path = row->secret ? env_get(file_name) : NULL;

    if (value && path)
        return err_set(err, STATUS_INVALID, "is set, and so is %s: unset one of them", file_name);
    if (path) {
        f->path = xstrdup(path);
        return read_secret_file(path, &f->text, err);
    }
    if (value) {
        f->text = xstrdup(value);
    } else if (row->fallback) {
        f->text = xstrdup(row->fallback);
        f->is_fallback = true;
    }
    return STATUS_OK;
}

/* --- checking --- */

static bool is_one_of(const char *value, const char *choices)
{
    size_t len = strlen(value);

    for (const char *c = choices; *c; c += *c == '|') {
        size_t n = strcspn(c, "|");
        if (n == len && memcmp(c, value, n) == 0)
            return true;
        c += n;
    }
    return false;
}

static bool is_id(const char *value)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t n = strspn(value, allowed);

    return n >= 1 && n <= 64 && !value[n];
}

static bool has_blank_or_control(const char *value)
{
    for (const char *c = value; *c; c++) {
        if ((unsigned char)*c <= 0x20 || *c == 0x7f)
            return true;
    }
    return false;
}

static bool is_url(const char *value)
{
    static const char *const schemes[] = { "http://", "https://",    "nats://",       "tls://",
                                           "ws://",   "postgres://", "postgresql://", "wss://" };
    const char *rest = NULL;

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (strncmp(value, schemes[i], strlen(schemes[i])) == 0)
            rest = value + strlen(schemes[i]);
    }
    if (!rest || has_blank_or_control(value))
        return false;
    /* A PostgreSQL URI may name a socket folder in its query instead of a host. */
    if (value[0] == 'p' && strstr(rest, "host="))
        return true;
    const char *at = memchr(rest, '@', strcspn(rest, "/?#"));
    const char *host = at ? at + 1 : rest;
    return *host && !strchr("/?#:,", *host);
}

static bool is_guild_list(const char *value)
{
    char digits[24];

    for (const char *c = value;; c++) {
        size_t n = strcspn(c, ",");
        uint64_t id;
        if (n >= sizeof(digits))
            return false;
        memcpy(digits, c, n);
        digits[n] = '\0';
        if (!id_parse(digits, &id))
            return false;
        c += n;
        if (!*c)
            return true;
    }
}

static enum status check_text(const struct config_row *row, const char *value, struct err *err)
{
    if (row->one_of && !is_one_of(value, row->one_of))
        return err_set(err, STATUS_INVALID, "is none of the allowed values: set one of %s",
                       row->one_of);
    if (row->kind == CONFIG_ID && !is_id(value))
        return err_set(err, STATUS_INVALID,
                       "is not a name: use 1 to 64 of A-Z a-z 0-9 _ - and nothing else");
    if (row->kind == CONFIG_URL && !is_url(value))
        return err_set(err, STATUS_INVALID,
                       "is not a URL: give scheme://host[:port] without blanks");
    if (row->kind == CONFIG_HEX32 &&
        (strlen(value) != 64 || strspn(value, "0123456789abcdefABCDEF") != 64))
        return err_set(err, STATUS_INVALID, "is not a public key: give its 64 hex digits");
    if (row->kind == CONFIG_SNOWFLAKE && (strchr(value, ',') || !is_guild_list(value)))
        return err_set(err, STATUS_INVALID, "is not one id of Discord's: give its decimal digits");
    if (row->kind == CONFIG_GUILDS && !is_guild_list(value))
        return err_set(err, STATUS_INVALID,
                       "is not a list of guild ids: give decimal ids with commas between");
    return STATUS_OK;
}

static enum status parse_int(const struct config_row *row, const char *value, int64_t *ret_number,
                             struct err *err)
{
    bool port = row->kind == CONFIG_PORT, any = !port && row->min == 0 && row->max == 0;
    int64_t min = port ? 0 : any ? INT64_MIN : row->min;
    int64_t max = port ? 65535 : any ? INT64_MAX : row->max;
    char *end;

    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno || end == value || *end || strchr(" \t\n\v\f\r+", *value) || number < min ||
        number > max)
        return any ? err_set(err, STATUS_INVALID, "is not a number: give a whole number")
                   : err_set(err, STATUS_INVALID,
                             "is not a number in range: give %" PRId64 " to %" PRId64, min, max);
    *ret_number = number;
    return STATUS_OK;
}

static enum status parse_bool(const char *value, bool *ret_bool, struct err *err)
{
    if (is_one_of(value, "1|true|yes|on"))
        *ret_bool = true;
    else if (is_one_of(value, "0|false|no|off"))
        *ret_bool = false;
    else
        return err_set(err, STATUS_INVALID, "is neither true nor false: give true or false");
    return STATUS_OK;
}

static enum status store_value(const struct config_row *row, const char *value, void *field,
                               struct err *err)
{
    enum log_level level;

    switch (row->kind) {
    case CONFIG_STRING:
    case CONFIG_ID:
    case CONFIG_URL:
    case CONFIG_HEX32:
    case CONFIG_GUILDS:
    case CONFIG_SNOWFLAKE:
        TRY(check_text(row, value, err));
        *(const char **)field = xstrdup(value);
        return STATUS_OK;
    case CONFIG_INT:
    case CONFIG_PORT:
        return parse_int(row, value, field, err);
    case CONFIG_BOOL:
        return parse_bool(value, field, err);
    case CONFIG_LEVEL:
        if (!log_level_parse(value, &level))
            return err_set(err, STATUS_INVALID,
                           "is not a level: set one of debug, info, warn, error");
        *(int64_t *)field = (int64_t)level;
        return STATUS_OK;
    }
    must_failed(__FILE__, __LINE__, "a known kind");
}

static enum status load_row(const struct config_row *row, void *into, struct err *err)
{
    CLEANUP_FOUND struct found f = { 0 };
    void *field = field_of(row, into);

    if (is_text_kind(row->kind))
        *(const char **)field = NULL;
    else if (row->kind == CONFIG_BOOL)
        *(bool *)field = false;
    else
        *(int64_t *)field = 0;

    TRY(find_value(row, &f, err));
    if (!f.text && row->required)
        return err_set(err, STATUS_INVALID, "is not set: set it to %s%s", row->help,
                       row->secret ? " (or give a path in its _FILE variable)" : "");
    return f.text ? store_value(row, f.text, field, err) : STATUS_OK;
}

enum status config_load(const struct config_row *rows, size_t count, void *into, FILE *errors)
{
    enum status all = STATUS_OK;

    for (size_t i = 0; i < count; i++) {
        struct err err = { .code = STATUS_OK };
        if (load_row(&rows[i], into, &err) != STATUS_OK) {
            fprintf(errors, "%s: %s\n", rows[i].name, err.text);
            all = STATUS_INVALID;
        }
    }
    return all;
}

/* --- showing --- */

/* A password inside a URL is a secret even where the row is none. */
/* Up to the comma before the next URL of a list. */
static size_t url_size(const char *url)
{
    const char *first = strstr(url, "://"), *next = first ? strstr(first + 3, "://") : NULL;

    while (next && isalnum((unsigned char)next[-1]))
        next--;
    return next && next[-1] == ',' ? (size_t)(next - 1 - url) : strlen(url);
}

static void print_one_url(const char *url, size_t size, FILE *out)
{
    const char *start = memmem(url, size, "://", 3);
    const char *rest = start ? start + 3 : url, *end = url + size;
    size_t host = strcspn(rest, "/?#");
    const char *at = memrchr(rest, '@', host < (size_t)(end - rest) ? host : (size_t)(end - rest));
    const char *colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;

    if (colon)
        fprintf(out, "%.*s****%.*s", (int)(colon + 1 - url), url, (int)(end - at), at);
    else
        fprintf(out, "%.*s", (int)size, url);
}

static void print_url(const char *url, FILE *out)
{
    for (;;) {
        size_t size = url_size(url);
        print_one_url(url, size, out);
        if (!url[size])
            return;
        fputc(',', out);
        url += size + 1;
    }
}

static void print_value(const struct config_row *row, const void *from, FILE *out)
{
    static const char *const levels[] = { "debug", "info", "warn", "error" };
    const void *field = value_of(row, from);

    if (is_text_kind(row->kind)) {
        const char *text = *(const char *const *)field;
        if (text && row->secret)
            fputs("****", out);
        else if (text && row->kind == CONFIG_URL)
            print_url(text, out);
        else
            fputs(text ? text : "", out);
    } else if (row->kind == CONFIG_BOOL) {
        fputs(*(const bool *)field ? "true" : "false", out);
    } else if (row->secret) {
        fputs("****", out);
    } else if (row->kind == CONFIG_LEVEL) {
        fputs(levels[*(const int64_t *)field & 3], out);
    } else {
        fprintf(out, "%" PRId64, *(const int64_t *)field);
    }
}

void config_print(const struct config_row *rows, size_t count, const void *from, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP(xfree) char *file_name = xasprintf("%s_FILE", rows[i].name);
        const char *path = rows[i].secret ? env_get(file_name) : NULL;

        fprintf(out, "%s=", rows[i].name);
        print_value(&rows[i], from, out);
        if (path)
            fprintf(out, "  # file %s\n", path);
        else
            fprintf(out, "  # %s\n",
                    env_get(rows[i].name) ? "environment"
                    : rows[i].fallback    ? "default"
                                          : "unset");
    }
}

void config_help(const struct config_row *rows, size_t count, FILE *out)
{
    int widest = 0;

    for (size_t i = 0; i < count; i++) {
        int len = (int)strlen(rows[i].name) + (rows[i].secret ? 8 : 0);
        widest = len > widest ? len : widest;
    }
    for (size_t i = 0; i < count; i++) {
        const struct config_row *row = &rows[i];
        CLEANUP(xfree) char *name = xasprintf("%s%s", row->name, row->secret ? "[_FILE]" : "");
        fprintf(out, "  %-*s  %s", widest, name, row->help ? row->help : "");
        if (row->required)
            fputs(" (required)", out);
        else if (row->fallback && *row->fallback && !row->secret)
            fprintf(out, " (default %s)", row->fallback);
        fputc('\n', out);
    }
}
