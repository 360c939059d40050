#include "coordinator/ctl/decode.h"

#include <stdbool.h>
#include <string.h>

#include "coordinator/ctl/wire_dump.h"
#include "messages/codec.h"
#include "messages/json.h"
#include "messages/subjects.h"
#include "messages/text.h"

/* A body is at most 64 MB (nats-server's bound for max_payload); its JSON can be several times
 * that. */
enum { HEX_AT_MOST = 4096, ARENA_LIMIT = 1 << 30 };

/* Each way of showing a body; false: not of this kind (or too large), nothing is written. */
struct body {
    const char *data;
    size_t size;
    const char *subject;
};
typedef bool (*show)(const struct body *body, struct arena *arena, FILE *out);

static bool print(const char *text, FILE *out)
{
    return text && fputs(text, out) >= 0 && fputc('\n', out) >= 0;
}

static bool show_envelope(const struct body *body, struct arena *arena, FILE *out)
{
    Guildbus__V1__Envelope *envelope;
    char *text;

    return codec_decode(body->data, body->size, arena, &envelope, NULL) == STATUS_OK &&
           codec_to_json(envelope, true, arena, &text, NULL) == STATUS_OK && print(text, out);
}

static bool show_json(const struct body *body, struct arena *arena, FILE *out)
{
    struct text text = { .arena = arena };

    if (!json_is_valid(body->data, body->size))
        return false;
    text_put_json(&text, body->data, body->size, true);
    return print(text_end(&text), out);
}

/* What a server or a person says: +ACK, an error's text. */
static bool show_text(const struct body *body, struct arena *arena, FILE *out)
{
    struct text text = { .arena = arena };

    if (!wire_is_readable(body->data, body->size))
        return false;
    text_put_json_string(&text, body->data, body->size);
    return print(text_end(&text), out);
}

/* {"subject":…,"expected":…, as far as they are known */
static void open_unknown(struct text *text, const char *subject)
{
    enum subject_kind kind;

    text_putc(text, '{');
    if (!subject || !text_is_clean(subject, strlen(subject)))
        return;
    text_puts(text, "\"subject\":");
    text_put_json_string(text, subject, strlen(subject));
    text_putc(text, ',');
    if (subject_kind(subject, &kind)) {
        text_puts(text, "\"expected\":");
        text_put_json_string(text, subject_body(kind), strlen(subject_body(kind)));
        text_putc(text, ',');
    }
}

static bool close_unknown(struct text *text, FILE *out)
{
    struct text laid_out = { .arena = text->arena };

    text_putc(text, '}');
    const char *json = text_end(text);
    if (!json)
        return false;
    text_put_json(&laid_out, json, text->used, true);
    return print(text_end(&laid_out), out);
}

static bool show_wire(const struct body *body, struct arena *arena, FILE *out)
{
    struct text text = { .arena = arena };

    if (!wire_is_protobuf(body->data, body->size))
        return false;
    open_unknown(&text, body->subject);
    text_puts(&text, "\"wire\":");
    wire_dump(&text, body->data, body->size);
    return close_unknown(&text, out);
}

static bool show_hex(const struct body *body, struct arena *arena, FILE *out)
{
    struct text text = { .arena = arena };
    size_t shown = body->size > HEX_AT_MOST ? HEX_AT_MOST : body->size;

    open_unknown(&text, body->subject);
    text_printf(&text, "\"size\":%zu,\"%s\":", body->size,
                shown < body->size ? "hexOfBegin" : "hex");
    wire_dump_hex(&text, body->data, shown);
    return close_unknown(&text, out);
}

void decode_body(const void *data, size_t size, const char *subject, FILE *out)
{
    static const show ways[] = { show_envelope, show_json, show_text, show_wire, show_hex };
    const struct body body = { data, size, subject };
    bool shown = false;

    if (size == 0) {
        (void)fputs("(empty)\n", out);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(ways) && !shown; i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new(ARENA_LIMIT);
        shown = ways[i](&body, arena, out);
    }
}
