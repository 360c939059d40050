#include "edge/visitors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/idmap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "edge/permission.h"

enum { CALL_TIMEOUT_MS = 5000, WAITERS_LIMIT = 100, ANSWER_LIMIT = 1024 * 1024 };

struct waiter {
    struct waiter *next;
    visitors_on_guilds on_guilds;
    void *ctx;
};

struct visitor {
    uint64_t key;
    struct visitor *newer, *older;
    bool is_asking;
    int64_t read_ms; /* monotonic; 0: never */
    struct membership *guilds;
    size_t count, waiting;
    struct waiter *waiters;
};

struct visitors {
    struct loop *loop;
    struct http_client *http;
    char *url;
    struct idmap *by_key;
    struct visitor *newest, *oldest;
};

static struct metric lookups =
    METRIC_COUNTER("guildbus_edge_discord_guild_reads_total", "guild lists read from Discord");

struct visitors *visitors_new(struct loop *loop, struct http_client *http, const char *api_url)
{
    struct visitors *v = xcalloc(1, sizeof(*v));

    v->loop = loop;
    v->http = http;
    v->url = xasprintf("%s/users/@me/guilds?limit=%d", api_url, VISITOR_GUILDS_LIMIT);
    v->by_key = idmap_new();
    return v;
}

/* --- the list, newest first --- */

static void unlink_visitor(struct visitors *v, struct visitor *one)
{
    if (one->newer)
        one->newer->older = one->older;
    else
        v->newest = one->older;
    if (one->older)
        one->older->newer = one->newer;
    else
        v->oldest = one->newer;
    one->newer = one->older = NULL;
}

static void link_newest(struct visitors *v, struct visitor *one)
{
    one->older = v->newest;
    if (v->newest)
        v->newest->newer = one;
    else
        v->oldest = one;
    v->newest = one;
}

static void answer_waiters(struct visitor *one, enum status status)
{
    struct waiter *w = TAKE(one->waiters);

    one->waiting = 0;
    for (struct waiter *next; w; w = next) {
        next = w->next;
        w->on_guilds(w->ctx, status, status == STATUS_OK ? one->guilds : NULL,
                     status == STATUS_OK ? one->count : 0);
        free(w);
    }
}

static void drop_visitor(struct visitors *v, struct visitor *one)
{
    unlink_visitor(v, one);
    idmap_remove(v->by_key, one->key);
    for (struct waiter *w = one->waiters, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    free(one->guilds);
    free(one);
}

void visitors_free(struct visitors *v)
{
    if (!v)
        return;
    while (v->oldest)
        drop_visitor(v, v->oldest);
    idmap_free(v->by_key);
    free(v->url);
    free(v);
}

/* Keeps the bound; those who wait for Discord stay. */
static bool make_room(struct visitors *v)
{
    struct visitor *one = v->oldest;

    if (idmap_count(v->by_key) < VISITORS_LIMIT)
        return true;
    while (one && one->is_asking)
        one = one->newer;
    if (one)
        drop_visitor(v, one);
    return one != NULL;
}

/* A session's key in the cache; sessions cannot be forged, so neither can their keys. */
static uint64_t key_of(const struct session *s)
{
    uint8_t hash[32];
    uint64_t key;

    sign_sha256(s->id, strlen(s->id), hash);
    memcpy(&key, hash, sizeof(key));
    return key ? key : 1;
}

/* --- Discord's answer --- */

static int by_name(const void *a, const void *b)
{
    const struct membership *x = a, *y = b;
    int order = strcasecmp(x->name, y->name);

    return order ? order : (x->guild_id > y->guild_id) - (x->guild_id < y->guild_id);
}

static bool read_membership(const json_t *guild, struct membership *m)
{
    const json_t *owner = json_object_get(guild, "owner");

    m->guild_id = json_id(guild, "id");
    m->permissions = json_id(guild, "permissions");
    m->owner = json_is_true(owner);
    m->name = json_str(guild, "name");
    return m->guild_id && permission_moderates(m->owner, m->permissions);
}

/* One block: the array, then the names. */
static struct membership *copy_memberships(const struct membership *from, size_t count)
{
    size_t names = 0;

    for (size_t i = 0; i < count; i++)
        names += strlen(from[i].name) + 1;
    struct membership *copy = xcalloc(1, count * sizeof(*copy) + names + 1);
    char *name = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(from[i].name) + 1;
        copy[i] = from[i];
        copy[i].name = memcpy(name, from[i].name, size);
        name += size;
    }
    return copy;
}

enum status memberships_read(const char *body, size_t size, struct membership **ret_guilds,
                             size_t *ret_count, struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct membership found[VISITOR_GUILDS_LIMIT];
    size_t count = 0, i;
    json_t *guild;

    TRY(json_parse(body, size, &root, err));
    if (!json_is_array(root))
        return err_set(err, STATUS_INVALID, "a guild list is an array");
    json_array_foreach(root, i, guild)
    {
        if (count < ARRAY_LEN(found) && read_membership(guild, &found[count]))
            count++;
    }
    qsort(found, count, sizeof(found[0]), by_name);
    *ret_guilds = copy_memberships(found, count);
    *ret_count = count;
    return STATUS_OK;
}

static enum status status_of(const struct http_result *r)
{
    if (r->status != STATUS_OK)
        return r->status;
    if (r->code == 200)
        return STATUS_OK;
    if (r->code == 401 || r->code == 403)
        return STATUS_DENIED;
    return r->code == 429 ? STATUS_BUSY : STATUS_UNAVAILABLE;
}

static void on_answer(void *ctx, uint64_t key, const struct http_result *r)
{
    struct visitors *v = ctx;
    struct visitor *one = idmap_get(v->by_key, key);
    struct err err = { .code = STATUS_OK };
    enum status status = status_of(r);

    if (!one)
        return;
    one->is_asking = false;
    free(one->guilds);
    one->guilds = NULL;
    one->count = 0;
    one->read_ms = 0;
    if (status == STATUS_OK &&
        memberships_read(r->body, r->size, &one->guilds, &one->count, &err) != STATUS_OK)
        status = STATUS_UNAVAILABLE;
    if (status == STATUS_OK)
        one->read_ms = clock_now_ms();
    else if (status != STATUS_DENIED)
        log_warn("discord_guilds_failed", "code=%d why=%s", r->code,
                 LOG_QUOTE(r->error ? r->error : err.text));
    answer_waiters(one, status);
    if (status != STATUS_OK)
        drop_visitor(v, one);
}

static void ask_discord(struct visitors *v, struct visitor *one, const struct session *s)
{
    CLEANUP(xfree) char *authorization = xasprintf("Authorization: Bearer %s", s->token);
    const char *const headers[] = { authorization, "Accept: application/json", NULL };
    const struct http_call call = {
        .method = "GET",
        .url = v->url,
        .headers = headers,
        .timeout_ms = CALL_TIMEOUT_MS,
        .max_answer = ANSWER_LIMIT,
        .box = loop_mailbox(v->loop),
        .on_done = on_answer,
        .ctx = v,
        .tag = one->key,
    };

    one->is_asking = true;
    metric_add(&lookups, 1);
    http_client_send(v->http, &call);
}

static struct visitor *add_visitor(struct visitors *v, uint64_t key)
{
    if (!make_room(v))
        return NULL;
    struct visitor *one = xcalloc(1, sizeof(*one));
    one->key = key;
    idmap_put(v->by_key, key, one);
    link_newest(v, one);
    return one;
}

void visitors_look(struct visitors *v, const struct session *s, visitors_on_guilds on_guilds,
                   void *ctx)
{
    uint64_t key = key_of(s);
    struct visitor *one = idmap_get(v->by_key, key);

    if (!one)
        one = add_visitor(v, key);
    if (!one || one->waiting >= WAITERS_LIMIT) {
        on_guilds(ctx, STATUS_BUSY, NULL, 0);
        return;
    }
    unlink_visitor(v, one);
    link_newest(v, one);
    if (one->read_ms && clock_now_ms() - one->read_ms < VISITORS_KEEP_MS && !one->is_asking) {
        on_guilds(ctx, STATUS_OK, one->guilds, one->count);
        return;
    }
    struct waiter *w = xcalloc(1, sizeof(*w));
    *w = (struct waiter){ one->waiters, on_guilds, ctx };
    one->waiters = w;
    one->waiting++;
    if (!one->is_asking)
        ask_discord(v, one, s);
}

void visitors_forget(struct visitors *v, const struct session *s)
{
    struct visitor *one = idmap_get(v->by_key, key_of(s));

    if (one && !one->is_asking)
        drop_visitor(v, one);
    else if (one)
        one->read_ms = 0;
}

size_t visitors_count(const struct visitors *v)
{
    return idmap_count(v->by_key);
}
