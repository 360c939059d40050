/* api_print.h - the coordinator's answers as tables.
 *
 * THREAD: any. */
#ifndef COORDINATOR_CTL_API_PRINT_H
#define COORDINATOR_CTL_API_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { PRINT_COLUMNS = 12 };

/* Which members of the rows are shown, in order, and under which titles. */
struct print_column {
    const char *title, *key; /* title NULL: the end */
};
struct print_table {
    const struct print_column *columns;
    size_t widths[PRINT_COLUMNS]; /* grow from page to page */
    bool begun;
};

/* Rows of one page; the first page brings the titles. */
void print_rows(struct print_table *table, const json_t *rows, FILE *out);
/* One line per member: "pods_active  3". */
void print_members(json_t *object, FILE *out);
/* Text from elsewhere: control characters become '?', a terminal must not obey them. */
void print_safely(const char *text, FILE *out);

#endif
