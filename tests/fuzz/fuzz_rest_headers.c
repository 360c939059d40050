/* fuzz: links gateway_core
 *
 * An answer of Discord's REST API: the first line is its code, then lines "name: value" of what is
 * read of its headers, an empty line, the body. Whatever comes, waits and counts have bounds, and a
 * bucket that was told is a lane's afterwards. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/xmem.h"
#include "gateway/rest_facts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_line(struct rest_headers *h, char *line)
{
    static const struct {
        const char *name;
        size_t offset;
    } known[] = {
        { "x-ratelimit-bucket", offsetof(struct rest_headers, bucket) },
        { "x-ratelimit-remaining", offsetof(struct rest_headers, remaining) },
        { "x-ratelimit-reset-after", offsetof(struct rest_headers, reset_after) },
        { "x-ratelimit-scope", offsetof(struct rest_headers, scope) },
        { "x-ratelimit-global", offsetof(struct rest_headers, global) },
        { "retry-after", offsetof(struct rest_headers, retry_after) },
    };
    char *colon = strstr(line, ": ");

    if (!colon)
        return;
    *colon = '\0';
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].name, line) == 0)
            *(const char **)(void *)((char *)h + known[i].offset) = colon + 2;
}

static void check_limits(const struct rest_facts *f)
{
    enum { NOW_MS = 1000000 };
    struct rest_limits *limits = rest_limits_new();
    struct rest_key key;

    rest_key_read("POST", "/channels/1/messages", &key);
    struct rest_lane *lane = rest_limits_lane(limits, &key);
    must(rest_limits_wait(limits, lane, NOW_MS) == 0);
    rest_limits_sent(limits, lane, NOW_MS);
    must(rest_limits_wait(limits, lane, NOW_MS) == INT64_MAX);
    rest_limits_answered(limits, lane, f, NOW_MS);
    int64_t wait = rest_limits_wait(limits, lane, NOW_MS);
    must(wait >= 0 && wait <= REST_WAIT_MAX_MS);
    must(rest_limits_wait(limits, lane, NOW_MS + REST_WAIT_MAX_MS) == 0);
    must(!f->bucket || lane->bucket);
    rest_limits_free(limits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmemdup(data, size), *rest = text;
    struct rest_headers headers = { .bucket = NULL };
    struct rest_facts facts;

    char *line = strsep(&rest, "\n");
    int code = (int)(strtol(line, NULL, 10) % 1000);
    while (rest && (line = strsep(&rest, "\n")) != NULL && *line)
        take_line(&headers, line);
    const char *body = rest ? rest : "";
    rest_facts_read(code, &headers, body, strlen(body), &facts);
    must(facts.remaining >= -1);
    must(facts.reset_after_ms >= 0 && facts.reset_after_ms <= REST_WAIT_MAX_MS);
    must(facts.retry_after_ms >= 0 && facts.retry_after_ms <= REST_WAIT_MAX_MS);
    must(facts.code == 429 || (!facts.global && !facts.shared && facts.retry_after_ms == 0));
    check_limits(&facts);
    free(text);
    return 0;
}
