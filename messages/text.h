/* text.h - text on its way in and out: UTF-8, base64, and a buffer that grows in an arena.
 *
 * THREAD: any; a buffer is its arena's. */
#ifndef MESSAGES_TEXT_H
#define MESSAGES_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Strict UTF-8 (no overlong forms, no surrogates) without NUL. */
bool text_is_clean(const void *data, size_t size);

/* Text under construction. Over the arena's limit it becomes full and swallows the rest: check
 * once, at the end. Embed it with .arena set. */
struct text {
    struct arena *arena;
    char *at;
    size_t used, size;
    bool full;
};
void text_put(struct text *text, const void *data, size_t size);
void text_puts(struct text *text, const char *s);
void text_putc(struct text *text, char c);
void text_printf(struct text *text, const char *fmt, ...) PRINTF(2, 3);
/* NUL-terminated; NULL when full. */
char *text_end(struct text *text) MUST_CHECK;

/* A quoted JSON string; data must be clean. */
void text_put_json_string(struct text *text, const char *data, size_t size);
/* Valid JSON text, laid out anew: pretty or without a blank. Numbers and strings stay as they are.
 */
void text_put_json(struct text *text, const char *json, size_t size, bool pretty);
/* RFC 4648 with padding. */
void text_put_base64(struct text *text, const void *data, size_t size);

/* Both alphabets, padding or none. ret_data: at least size / 4 * 3 + 3 bytes. false: not base64. */
bool text_read_base64(const char *text, size_t size, uint8_t *ret_data, size_t *ret_size);

#endif
