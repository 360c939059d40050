#include "gateway/thread_search.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "messages/snowflake.h"

static const char channels[] = "/channels/", threads[] = "/threads";

bool thread_search_fits(const char *method, const char *path)
{
    size_t size = strlen(path), end = sizeof(threads) - 1;

    return !strcmp(method, "POST") && !strncmp(path, channels, sizeof(channels) - 1) &&
           size > end && !strcmp(path + size - end, threads);
}

char *thread_search(const struct thread_wish *wish, const char *active, size_t size)
{
    CLEANUP(json_decref) json_t *answer = NULL, *body = NULL;
    uint64_t parent = strtoull(wish->path + sizeof(channels) - 1, NULL, 10);
    const json_t *thread, *all;
    size_t at;

    if (!wish->body_json ||
        json_parse(wish->body_json, strlen(wish->body_json), &body, NULL) != STATUS_OK ||
        json_parse(active, size, &answer, NULL) != STATUS_OK)
        return NULL;
    all = json_object_get(answer, "threads");
    json_array_foreach(all, at, thread)
    {
        if (json_id(thread, "parent_id") == parent &&
            !strcmp(json_str(thread, "name"), json_str(body, "name")) &&
            snowflake_ms(json_id(thread, "id")) >= wish->wished_ms - THREAD_SEARCH_SKEW_MS)
            return json_dumps(thread, JSON_COMPACT);
    }
    return NULL;
}
