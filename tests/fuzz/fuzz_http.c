/* fuzz: links base
 *
 * A stranger's HTTP request: its head, and what follows as a chunked body, whole and byte by byte.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_parse.h"
#include "base/xmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_head(const struct http_head *head)
{
    must(head->path && head->path[0] == '/' && head->query);
    for (size_t i = 0; i < head->count; i++)
        must(head->fields[i].name[0] && !strpbrk(head->fields[i].value, "\r\n"));
    must(!(head->chunked && head->has_length));
}

static enum http_chunks_result read_in_steps(const char *bytes, size_t size, size_t step, char *out,
                                             size_t *ret_size)
{
    struct http_chunks c = { 0 };
    enum http_chunks_result r = HTTP_CHUNKS_MORE;
    size_t used, payload;

    *ret_size = 0;
    for (size_t at = 0; at < size && r == HTTP_CHUNKS_MORE; at += used) {
        size_t n = size - at < step ? size - at : step;
        r = http_chunks_read(&c, bytes + at, n, out + *ret_size, &used, &payload);
        must(used <= n && payload <= used);
        *ret_size += payload;
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(xfree) char *text = xmemdup(data, size);
    CLEANUP(xfree) char *whole = xcalloc(1, size), *slow = xcalloc(1, size);
    size_t head_size = http_head_size(text, size), whole_size, slow_size;
    struct http_head head;

    const char *rest = text + head_size;
    enum http_chunks_result a = read_in_steps(rest, size - head_size, size + 1, whole, &whole_size);
    enum http_chunks_result b = read_in_steps(rest, size - head_size, 1, slow, &slow_size);
    must(a == b && whole_size == slow_size && memcmp(whole, slow, slow_size) == 0);
    if (head_size && head_size <= HTTP_MAX_HEAD && http_head_parse(text, head_size, &head) == 0)
        check_head(&head);
    return 0;
}
