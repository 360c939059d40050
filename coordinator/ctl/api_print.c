#include "coordinator/ctl/api_print.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

DEFINE_CLEANUP(char *, free)

void print_safely(const char *text, FILE *out)
{
    for (; *text; text++)
        (void)fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

/* malloc'd: "-" for what is not there, the members of an array with commas between. */
static char *cell_text(const json_t *value)
{
    if (!value || json_is_null(value) || (json_is_string(value) && !json_string_length(value)))
        return strdup("-");
    if (json_is_string(value))
        return strdup(json_string_value(value));
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    size_t n = text ? strlen(text) : 0;
    if (!json_is_array(value) || n < 2)
        return text;
    if (n == 2) {
        free(text);
        return strdup("-");
    }
    memmove(text, text + 1, n - 2);
    text[n - 2] = '\0';
    return text;
}

/* Characters, not bytes, for the width. */
static size_t text_width(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void widen(size_t *width, const char *text)
{
    size_t n = text_width(text);

    if (n > *width)
        *width = n;
}

static void print_cell(const char *text, size_t width, bool is_last, FILE *out)
{
    print_safely(text, out);
    if (is_last)
        (void)fputc('\n', out);
    else
        (void)fprintf(out, "%*s", (int)(width - text_width(text) + 2), "");
}

static void measure(struct print_table *table, const json_t *row)
{
    for (size_t i = 0; table->columns[i].title; i++) {
        CLEANUP(free) char *text = cell_text(json_object_get(row, table->columns[i].key));
        widen(&table->widths[i], table->columns[i].title);
        widen(&table->widths[i], text ? text : "-");
    }
}

static void print_row(const struct print_table *table, const json_t *row, FILE *out)
{
    for (size_t i = 0; table->columns[i].title; i++) {
        CLEANUP(free) char *text = cell_text(json_object_get(row, table->columns[i].key));
        print_cell(text ? text : "-", table->widths[i], !table->columns[i + 1].title, out);
    }
}

void print_rows(struct print_table *table, const json_t *rows, FILE *out)
{
    size_t count = json_array_size(rows);

    for (size_t i = 0; i < count || i == 0; i++)
        measure(table, json_array_get(rows, i));
    for (size_t i = 0; !table->begun && table->columns[i].title; i++)
        print_cell(table->columns[i].title, table->widths[i], !table->columns[i + 1].title, out);
    table->begun = true;
    for (size_t i = 0; i < count; i++)
        print_row(table, json_array_get(rows, i), out);
}

static void print_member(const char *key, size_t width, const json_t *value, FILE *out)
{
    char *text = cell_text(value);

    print_cell(key, width, false, out);
    print_cell(text ? text : "-", 0, true, out);
    free(text);
}

void print_members(json_t *object, FILE *out)
{
    size_t width = 0;
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value) widen(&width, key);
    json_object_foreach(object, key, value) print_member(key, width, value, out);
}
