#include "gateway/rest_facts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* At least one ms when it is positive; 0: no such number. */
static int64_t to_ms(double seconds)
{
    if (!(seconds > 0))
        return 0;
    if (seconds * 1000 >= (double)REST_WAIT_MAX_MS)
        return REST_WAIT_MAX_MS;
    return (int64_t)(seconds * 1000) + 1;
}

static int64_t seconds_to_ms(const char *text)
{
    return text ? to_ms(strtod(text, NULL)) : 0;
}

/* -1: it is none. */
static int64_t count_of(const char *text)
{
    return text && isdigit((unsigned char)text[0]) ? strtoll(text, NULL, 10) : -1;
}

/* The body is more exact than the header; one without JSON comes from Cloudflare, not from Discord. */
static void read_limited(const struct rest_headers *h, const char *body, size_t size,
                         struct rest_facts *f)
{
    CLEANUP(json_decref) json_t *root = NULL;

    f->retry_after_ms = seconds_to_ms(h->retry_after);
    f->shared = h->scope && strcmp(h->scope, "shared") == 0;
    f->global = (h->scope && strcmp(h->scope, "global") == 0) || h->global;
    if (json_parse(body, size, &root, NULL) != STATUS_OK || !json_is_object(root)) {
        f->global = true;
        f->shared = false;
        if (f->retry_after_ms < REST_BANNED_MS)
            f->retry_after_ms = REST_BANNED_MS;
        return;
    }
    f->global = f->global || json_bool(root, "global");
    int64_t exact = to_ms(json_number_value(json_object_get(root, "retry_after")));
    if (exact > f->retry_after_ms)
        f->retry_after_ms = exact;
}

void rest_facts_read(int code, const struct rest_headers *h, const char *body, size_t size,
                     struct rest_facts *ret_facts)
{
    *ret_facts = (struct rest_facts){ .code = code, .remaining = -1 };
    if (code == 0)
        return;
    ret_facts->bucket = h->bucket;
    ret_facts->remaining = count_of(h->remaining);
    ret_facts->reset_after_ms = seconds_to_ms(h->reset_after);
    if (code == 429)
        read_limited(h, body, size, ret_facts);
}
