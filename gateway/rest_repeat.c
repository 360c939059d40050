#include "gateway/rest_repeat.h"

#include <string.h>

#include "base/json.h"

static bool has_enforced_nonce(const char *body)
{
    CLEANUP(json_decref) json_t *root = NULL;

    if (!body || json_parse(body, strlen(body), &root, NULL) != STATUS_OK)
        return false;
    return json_bool(root, "enforce_nonce") && json_object_get(root, "nonce");
}

enum rest_safety rest_safety_of(const char *method, const char *body_json)
{
    if (strcmp(method, "POST") != 0)
        return REST_IDEMPOTENT;
    return has_enforced_nonce(body_json) ? REST_BY_NONCE : REST_UNSAFE;
}

static int64_t backoff(const struct rest_tries *t)
{
    int64_t wait = REST_BACKOFF_MS;

    for (unsigned n = 1; n < t->tries && wait < REST_BACKOFF_MAX_MS; n++)
        wait *= 2;
    return wait;
}

static bool is_over(const struct rest_tries *t, int64_t now_ms)
{
    if (t->doubtful_ms && t->safety == REST_UNSAFE)
        return true;
    if (!t->is_kept)
        return t->tries >= REST_TRIES_MAX;
    return t->doubtful_ms &&
           now_ms - t->doubtful_ms >= (t->safety == REST_BY_NONCE ? REST_NONCE_MS : REST_REPEAT_MS);
}

int64_t rest_repeat_wait(struct rest_tries *t, bool unsent, int64_t now_ms)
{
    t->unsent += unsent;
    if (!unsent && !t->doubtful_ms)
        t->doubtful_ms = now_ms;
    return is_over(t, now_ms) ? REST_GIVE_UP : backoff(t);
}

bool rest_is_untouched(const struct rest_tries *t)
{
    return t->tries == t->limited + t->unsent;
}
