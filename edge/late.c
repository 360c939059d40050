#include "edge/late.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/idmap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/xmem.h"

enum { PACE_MS = 250, ACK_MS = 2000, HEADERS = 2 };

static struct metric waiting =
    METRIC_GAUGE("guildbus_edge_late_waiting", "deferred interactions not in the stream yet");
static struct metric stored = METRIC_COUNTER(
    "guildbus_edge_late_stored_total", "deferred interactions stored after Discord had its answer");
static struct metric lost = METRIC_COUNTER("guildbus_edge_late_lost_total",
                                           "deferred interactions that nobody will finish");

struct late {
    struct lates *lates;
    uint64_t key, id, guild_id;
    int64_t since_ms;
    bool under_way;
    char *subject, *data;
    size_t size, header_count;
    struct bus_header headers[HEADERS];
};

struct lates {
    struct loop_timer *timer;
    struct bus *bus;
    struct mailbox *box;
    struct idmap *all;
    uint64_t last_key;
    size_t bytes;
};

static void on_time(void *ctx);

struct lates *lates_new(struct loop *loop, struct bus *bus)
{
    struct lates *l = xcalloc(1, sizeof(*l));

    l->bus = bus;
    l->box = loop_mailbox(loop);
    l->timer = loop_timer_new(loop, on_time, l);
    l->all = idmap_new();
    return l;
}

static void forget(struct late *one)
{
    struct lates *l = one->lates;

    idmap_remove(l->all, one->key);
    metric_set(&waiting, (int64_t)idmap_count(l->all));
    l->bytes -= one->size;
    for (size_t i = 0; i < one->header_count; i++) {
        free(mutable_text(one->headers[i].key));
        free(mutable_text(one->headers[i].value));
    }
    free(one->subject);
    free(one->data);
    free(one);
}

static void give_up(struct late *one, const char *why)
{
    metric_add(&lost, 1);
    log_error("interaction_lost", "guild=%" PRIu64 " interaction=%" PRIu64 " why=%s", one->guild_id,
              one->id, why);
    forget(one);
}

static void give_up_each(void *ctx UNUSED, uint64_t key UNUSED, void *value)
{
    give_up(value, "stopping");
}

void lates_free(struct lates *l)
{
    if (!l)
        return;
    idmap_each(l->all, give_up_each, NULL);
    idmap_free(l->all);
    loop_timer_free(l->timer);
    free(l);
}

/* ---- storing ---- */

static bool is_stored(enum status status, const struct bus_in *in)
{
    CLEANUP(json_decref) json_t *ack = NULL;

    return status == STATUS_OK && json_parse(in->data, in->size, &ack, NULL) == STATUS_OK &&
           !json_object_get(ack, "error") && json_int(ack, "seq", 0) > 0;
}

static void on_ack(void *ctx, uint64_t key, enum status status, const struct bus_in *in)
{
    struct lates *l = ctx;
    struct late *one = idmap_get(l->all, key);

    if (!one)
        return;
    one->under_way = false;
    if (!is_stored(status, in))
        return; /* the timer tries again */
    metric_add(&stored, 1);
    log_info("interaction_stored_late",
             "guild=%" PRIu64 " interaction=%" PRIu64 " after_ms=%" PRId64, one->guild_id, one->id,
             clock_now_ms() - one->since_ms);
    forget(one);
}

static void try_one(void *ctx UNUSED, uint64_t key, void *value)
{
    struct late *one = value;
    struct lates *l = one->lates;
    const struct bus_out out = { .subject = one->subject,
                                 .data = one->data,
                                 .size = one->size,
                                 .headers = one->headers,
                                 .header_count = one->header_count };

    if (clock_now_ms() - one->since_ms > LATE_KEEP_MS) {
        give_up(one, "too_late");
        return;
    }
    /* Without a connection it would only fill the client's buffer. */
    if (one->under_way || !bus_is_connected(l->bus))
        return;
    one->under_way = true;
    bus_request(l->bus, &out, &(struct bus_waiter){ l->box, on_ack, l, key, ACK_MS });
}

static void on_time(void *ctx)
{
    struct lates *l = ctx;

    idmap_each(l->all, try_one, NULL);
    if (idmap_count(l->all))
        loop_timer_start(l->timer, PACE_MS);
}

bool lates_add(struct lates *l, const struct bus_out *out, uint64_t id, uint64_t guild_id)
{
    if (idmap_count(l->all) >= LATE_LIMIT || out->size > LATE_BYTES_LIMIT - l->bytes)
        return false;
    must(out->header_count <= HEADERS);
    struct late *one = xcalloc(1, sizeof(*one));
    one->lates = l;
    one->key = ++l->last_key;
    one->id = id;
    one->guild_id = guild_id;
    one->since_ms = clock_now_ms();
    one->subject = xstrdup(out->subject);
    one->data = xmemdup(out->data, out->size);
    one->size = out->size;
    one->header_count = out->header_count;
    for (size_t i = 0; i < out->header_count; i++)
        one->headers[i] =
            (struct bus_header){ xstrdup(out->headers[i].key), xstrdup(out->headers[i].value) };
    l->bytes += out->size;
    idmap_put(l->all, one->key, one);
    metric_set(&waiting, (int64_t)idmap_count(l->all));
    loop_timer_start(l->timer, PACE_MS);
    return true;
}

size_t lates_count(const struct lates *l)
{
    return idmap_count(l->all);
}
