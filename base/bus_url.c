#include "base/bus_url.h"

#include <stdio.h>
#include <string.h>

const char *bus_url_show(const char *urls, char *buf, size_t size)
{
    size_t used = 0;

    buf[0] = '\0';
    while (*urls && used < size) {
        size_t length = strcspn(urls, ",");
        const char *end = urls + length, *scheme = memmem(urls, length, "://", 3);
        const char *host = scheme ? scheme + 3 : urls;
        const char *at = memrchr(host, '@', (size_t)(end - host));
        int n = snprintf(buf + used, size - used, "%.*s%.*s%s", (int)(host - urls), urls,
                         (int)(end - (at ? at + 1 : host)), at ? at + 1 : host, *end ? "," : "");
        used += n > 0 ? (size_t)n : 0;
        urls = *end ? end + 1 : end;
    }
    return buf;
}
