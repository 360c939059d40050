#include "base/bus_url.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xmem.h"

const char *bus_url_host(const char *url, size_t size)
{
    const char *scheme = memmem(url, size, "://", 3), *host = scheme ? scheme + 3 : url;
    const char *at = memrchr(host, '@', size - (size_t)(host - url));

    return at ? at + 1 : host;
}

static bool names(const char *urls, const char *host)
{
    for (size_t length; *urls; urls += length + (urls[length] != '\0')) {
        length = strcspn(urls, ",");
        const char *its = bus_url_host(urls, length);
        size_t size = length - (size_t)(its - urls);
        if (size == strlen(host) && memcmp(its, host, size) == 0)
            return true;
    }
    return false;
}

char *bus_url_others(const char *urls, char *const *servers, size_t count)
{
    int before_host = (int)(bus_url_host(urls, strcspn(urls, ",")) - urls);
    char *others = NULL;

    for (size_t i = 0; i < count; i++) {
        const char *host = bus_url_host(servers[i], strlen(servers[i]));
        if (names(urls, host))
            continue;
        char *longer = xasprintf("%s%s%.*s%s", others ? others : "", others ? "," : "", before_host,
                                 urls, host);
        free(others);
        others = longer;
    }
    return others;
}

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
