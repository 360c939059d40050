#include "gateway/gateway_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/xmem.h"

enum { LEAST_BETWEEN_MS = 5000, RETRY_MS = 1000, RETRY_MAX_MS = 60000, SHARDS_MAX = 1 << 20 };

struct gateway_info {
    struct loop *loop;
    struct discord_rest *rest;
    struct loop_timer *timer;
    bool known, under_way, wanted;
    int64_t asked_ms, answered_ms, retry_ms;
    struct gateway_facts facts;
};

static int64_t bounded(const json_t *object, const char *key, int64_t least, int64_t most)
{
    int64_t value = json_int(object, key, least);
    if (value < least)
        return least;
    return value > most ? most : value;
}

enum status gateway_facts_parse(const char *body, size_t size, struct gateway_facts *ret_facts,
                                struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct gateway_facts f = { .shards = 0 };

    TRY(json_parse(body, size, &root, err));
    const char *url = json_str(root, "url");
    const json_t *limit = json_object_get(root, "session_start_limit");
    if (url[0] == '\0' || strlen(url) >= sizeof(f.url))
        return err_set(err, STATUS_INVALID, "no url in the answer of /gateway/bot");
    memcpy(f.url, url, strlen(url) + 1);
    f.shards = (uint32_t)bounded(root, "shards", 1, SHARDS_MAX);
    f.total = bounded(limit, "total", 0, INT32_MAX);
    f.remaining = limit ? bounded(limit, "remaining", 0, INT32_MAX) : 1;
    f.reset_after_ms = bounded(limit, "reset_after", 0, 7 * 86400000LL);
    f.max_concurrency = (uint32_t)bounded(limit, "max_concurrency", 1, SHARDS_MAX);
    *ret_facts = f;
    return STATUS_OK;
}

static void ask(struct gateway_info *info);

static void ask_later(struct gateway_info *info, int code, const char *why)
{
    log_warn("gateway_bot_unavailable", "code=%d retry_ms=%" PRId64 " error=%s", code,
             info->retry_ms, LOG_QUOTE(why));
    loop_timer_start(info->timer, info->retry_ms);
    info->retry_ms = info->retry_ms * 2 < RETRY_MAX_MS ? info->retry_ms * 2 : RETRY_MAX_MS;
}

static void on_answer(void *ctx, uint64_t tag UNUSED, const struct discord_answer *answer)
{
    struct gateway_info *info = ctx;
    struct err err = { .text = "" };

    info->under_way = false;
    if (answer->code != 200 ||
        gateway_facts_parse(answer->body, answer->size, &info->facts, &err) != STATUS_OK) {
        ask_later(info, answer->code, err.text);
        return;
    }
    info->known = true;
    info->wanted = false;
    info->answered_ms = clock_now_ms();
    info->retry_ms = RETRY_MS;
    log_info("gateway_bot", "shards=%u max_concurrency=%u identifies_left=%" PRId64 "/%" PRId64,
             info->facts.shards, info->facts.max_concurrency, info->facts.remaining,
             info->facts.total);
}

static void ask(struct gateway_info *info)
{
    const struct discord_call call = { .method = "GET",
                                       .path = "/gateway/bot",
                                       .box = loop_mailbox(info->loop),
                                       .on_done = on_answer,
                                       .ctx = info };
    info->under_way = true;
    info->asked_ms = clock_now_ms();
    discord_rest_send(info->rest, &call);
}

static void on_timer(void *ctx)
{
    struct gateway_info *info = ctx;
    if (!info->under_way)
        ask(info);
}

struct gateway_info *gateway_info_new(struct loop *loop, struct discord_rest *rest)
{
    struct gateway_info *info = xcalloc(1, sizeof(*info));

    *info =
        (struct gateway_info){ .loop = loop, .rest = rest, .retry_ms = RETRY_MS, .wanted = true };
    info->timer = loop_timer_new(loop, on_timer, info);
    ask(info);
    return info;
}

void gateway_info_free(struct gateway_info *info)
{
    if (!info)
        return;
    loop_timer_free(info->timer);
    free(info);
}

const struct gateway_facts *gateway_info_facts(const struct gateway_info *info)
{
    return info->known ? &info->facts : NULL;
}

int64_t gateway_info_age_ms(const struct gateway_info *info)
{
    return info->known ? clock_now_ms() - info->answered_ms : INT64_MAX;
}

void gateway_info_refresh(struct gateway_info *info)
{
    if (info->under_way || info->wanted)
        return;
    info->wanted = true;
    int64_t wait = info->asked_ms + LEAST_BETWEEN_MS - clock_now_ms();
    loop_timer_start(info->timer, wait);
}

void gateway_info_spend(struct gateway_info *info)
{
    if (info->known && info->facts.remaining > 0)
        info->facts.remaining--;
}
