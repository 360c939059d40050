#include "tests/discord-sim/storm.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xmem.h"
#include "tests/discord-sim/faults.h"
#include "tests/discord-sim/interactions.h"
#include "tests/discord-sim/rng.h"

enum { KEPT = 1000, SLOW_BYTES = 64 * 1024, FRAGMENT = 700, SPLIT = 300, LIMIT_MS = 700 };

static const char *const names[TROUBLE_COUNT] = {
    "reconnect",       "close",          "drop",       "invalid_session_resumable",
    "heartbeat",       "stall",          "unknown_op", "outage",
    "early_reconnect", "refused_resume", "refuse",     "no_acks",
    "resume_host",     "slow",           "fragments",  "rest_500",
    "rest_limit",      "rest_shared",    "rest_cut",   "probe",
};
/* Codes that keep the session. */
static const int codes[] = { 4000, 4001, 4002, 4008, 4009 };

struct done {
    enum trouble what;
    int64_t shard;
    size_t met;
};
struct storm {
    struct sim *sim;
    struct loop_timer *timer;
    struct storm_order order;
    struct rng rng;
    uint64_t left;
    bool running;
    struct done done[KEPT];
    size_t done_count;
};

static void on_tick(void *ctx);

struct storm *storm_new(struct sim *s)
{
    struct storm *storm = xcalloc(1, sizeof(*storm));

    storm->sim = s;
    storm->timer = loop_timer_new(s->loop, on_tick, storm);
    return storm;
}

void storm_free(struct storm *storm)
{
    if (!storm)
        return;
    loop_timer_free(storm->timer);
    free(storm);
}

static enum trouble by_name(const char *name)
{
    size_t i = 0;

    while (i < TROUBLE_COUNT && strcmp(names[i], name) != 0)
        i++;
    return (enum trouble)i;
}

const char *storm_read_kinds(const json_t *list, bool kinds[TROUBLE_COUNT])
{
    size_t i;
    const json_t *name;

    for (i = 0; i < TROUBLE_COUNT; i++)
        kinds[i] = !json_is_array(list);
    json_array_foreach(list, i, name)
    {
        const char *text = json_is_string(name) ? json_string_value(name) : "";
        enum trouble what = by_name(text);
        if (what == TROUBLE_COUNT)
            return json_is_string(name) ? text : "kinds: strings";
        kinds[what] = true;
    }
    return NULL;
}

/* ---- troubles ---- */

static size_t fault(struct storm *storm, enum gateway_fault what, int64_t shard)
{
    int code = codes[rng_below(&storm->rng, ARRAY_LEN(codes))];

    return gateway_fault(storm->sim->gateway, shard, what, code, clock_now_ms());
}

static size_t rest(struct storm *storm, enum rest_fault_how how, enum rate_scope scope)
{
    struct rest_fault f = { .path = "/channels/*",
                            .how = how,
                            .scope = scope,
                            .status = 500,
                            .ms = LIMIT_MS,
                            .times = 1 + rng_below(&storm->rng, 3),
                            .percent = 100 };

    return faults_add(storm->sim->faults, &f);
}

/* One that lasts: on, and off when it comes again. */
static size_t toggle(int64_t *value, int64_t on)
{
    *value = *value ? 0 : on;
    return *value != 0;
}

static size_t toggle_bool(bool *value)
{
    *value = !*value;
    return *value;
}

static size_t strike_gateway(struct storm *storm, enum trouble what, int64_t shard)
{
    struct gateway_tricks *tricks = gateway_tricks(storm->sim->gateway);

    if (what <= TROUBLE_UNKNOWN_OP) {
        static const enum gateway_fault faults[] = { [TROUBLE_RECONNECT] = FAULT_RECONNECT,
                                                     [TROUBLE_CLOSE] = FAULT_CLOSE,
                                                     [TROUBLE_DROP] = FAULT_DROP,
                                                     [TROUBLE_RESUMABLE] = FAULT_INVALID_RESUMABLE,
                                                     [TROUBLE_HEARTBEAT] = FAULT_HEARTBEAT,
                                                     [TROUBLE_STALL] = FAULT_STALL,
                                                     [TROUBLE_UNKNOWN_OP] = FAULT_UNKNOWN_OP };
        return fault(storm, faults[what], shard);
    }
    if (what == TROUBLE_OUTAGE)
        return gateway_outage(storm->sim->gateway, shard, clock_now_ms());
    if (what == TROUBLE_EARLY_RECONNECT)
        tricks->early_reconnects++;
    else if (what == TROUBLE_REFUSED_RESUME)
        tricks->refused_resumes++;
    else
        return toggle_bool(&tricks->no_acks);
    return 1;
}

static size_t strike_transport(struct storm *storm, enum trouble what)
{
    struct sim *s = storm->sim;

    if (what == TROUBLE_REFUSE) {
        s->ws.refuse++;
        return 1;
    }
    if (what == TROUBLE_RESUME_HOST)
        return toggle_bool(&s->ws.resume_refused);
    if (what == TROUBLE_SLOW)
        return toggle(&s->ws.bytes_per_s, SLOW_BYTES);
    s->ws.split = s->ws.split ? 0 : SPLIT;
    return toggle(&s->ws.fragment, FRAGMENT);
}

static size_t strike(struct storm *storm, enum trouble what, int64_t shard)
{
    switch (what) {
    case TROUBLE_REFUSE:
    case TROUBLE_RESUME_HOST:
    case TROUBLE_SLOW:
    case TROUBLE_FRAGMENTS:
        return strike_transport(storm, what);
    case TROUBLE_REST_500:
        return rest(storm, REST_FAULT_STATUS, RATE_USER);
    case TROUBLE_REST_LIMIT:
        return rest(storm, REST_FAULT_LIMIT, rng_below(&storm->rng, 2) ? RATE_USER : RATE_GLOBAL);
    case TROUBLE_REST_SHARED:
        return rest(storm, REST_FAULT_LIMIT, RATE_SHARED);
    case TROUBLE_REST_CUT:
        return rest(storm, rng_below(&storm->rng, 2) ? REST_FAULT_CUT : REST_FAULT_LOSE, RATE_USER);
    case TROUBLE_PROBE:
        interactions_probe(storm->sim->interactions, rng_below(&storm->rng, 5));
        return 1;
    case TROUBLE_RECONNECT:
    case TROUBLE_CLOSE:
    case TROUBLE_DROP:
    case TROUBLE_RESUMABLE:
    case TROUBLE_HEARTBEAT:
    case TROUBLE_STALL:
    case TROUBLE_UNKNOWN_OP:
    case TROUBLE_OUTAGE:
    case TROUBLE_EARLY_RECONNECT:
    case TROUBLE_REFUSED_RESUME:
    case TROUBLE_NO_ACKS:
    case TROUBLE_COUNT:
        break;
    }
    return strike_gateway(storm, what, shard);
}

/* ---- its course ---- */

static void clear_weather(struct sim *s)
{
    *gateway_tricks(s->gateway) =
        (struct gateway_tricks){ .shuffle_guilds = gateway_tricks(s->gateway)->shuffle_guilds };
    s->ws.resume_refused = false;
    s->ws.refuse = s->ws.bytes_per_s = s->ws.fragment = s->ws.split = 0;
    faults_clear(s->faults);
}

static bool pick(struct storm *storm, enum trouble *ret)
{
    enum trouble list[TROUBLE_COUNT];
    size_t count = 0;

    for (size_t i = 0; i < TROUBLE_COUNT; i++)
        if (storm->order.kinds[i])
            list[count++] = (enum trouble)i;
    if (count)
        *ret = list[rng_below(&storm->rng, count)];
    return count > 0;
}

/* One in four hits all shards. */
static int64_t pick_shard(struct storm *storm)
{
    if (rng_below(&storm->rng, 4) == 0)
        return -1;
    return (int64_t)rng_below(&storm->rng, (size_t)storm->sim->config.shards);
}

static void on_tick(void *ctx)
{
    struct storm *storm = ctx;
    enum trouble what;

    if (!storm->left || !pick(storm, &what)) {
        storm_stop(storm);
        log_info("storm", "finished=1 troubles=%zu", storm->done_count);
        return;
    }
    storm->left--;
    int64_t shard = pick_shard(storm);
    size_t met = strike(storm, what, shard);
    log_info("storm", "kind=%s shard=%lld met=%zu", names[what], (long long)shard, met);
    if (storm->done_count < KEPT)
        storm->done[storm->done_count++] = (struct done){ what, shard, met };
    loop_timer_start(storm->timer, storm->order.every_ms);
}

void storm_start(struct storm *storm, const struct storm_order *order)
{
    storm->order = *order;
    storm->rng.state = order->seed + 6;
    storm->left = order->count;
    storm->done_count = 0;
    storm->running = true;
    loop_timer_start(storm->timer, order->every_ms);
}

void storm_stop(struct storm *storm)
{
    if (storm->running)
        clear_weather(storm->sim);
    storm->running = false;
    loop_timer_stop(storm->timer);
}

bool storm_is_running(const struct storm *storm)
{
    return storm->running;
}

void storm_describe(const struct storm *storm, struct out *o)
{
    out_json(o, "{'running':%b,'left':%u,'done':[", storm->running, storm->left);
    for (size_t i = 0; i < storm->done_count; i++)
        out_json(o, "{'kind':%S,'shard':%l,'met':%d},", names[storm->done[i].what],
                 storm->done[i].shard, (int)storm->done[i].met);
    out_drop(o, ',');
    out_text(o, "]}");
}
