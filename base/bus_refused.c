#include "base/bus_refused.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

static struct metric violations_total =
    METRIC_COUNTER("guildbus_nats_permission_violations_total",
                   "messages and subscriptions that NATS did not allow this program");

static _Atomic bool is_refused; /* the last attempt to connect was, for who we are */

/* Lets so many lines through in a while, and counts those that it leaves out. */
struct seldom {
    int64_t most, each_ms;
    _Atomic int64_t ends_ms, said, left_out;
};

static bool may_say(struct seldom *s, int64_t *ret_left_out)
{
    int64_t now_ms = clock_now_ms(), ends_ms = atomic_load(&s->ends_ms);

    if (now_ms >= ends_ms &&
        atomic_compare_exchange_strong(&s->ends_ms, &ends_ms, now_ms + s->each_ms))
        atomic_store(&s->said, 0);
    if (atomic_fetch_add(&s->said, 1) >= s->most) {
        atomic_fetch_add(&s->left_out, 1);
        return false;
    }
    *ret_left_out = atomic_exchange(&s->left_out, 0);
    return true;
}

void bus_refused_init(void)
{
    metric_add(&violations_total, 0);
}

/* text: Permissions Violation for Publish to "log.3.7" */
static void tell_violation(const char *text)
{
    /* a forbidden publish comes as often as the program wants to send */
    static struct seldom seldom = { .most = 10, .each_ms = 1000 };
    const char *open = strchr(text, '"'), *end = open ? strchr(open + 1, '"') : NULL;
    char subject[LOG_QUOTE_SIZE];
    int64_t left_out;

    if (!may_say(&seldom, &left_out))
        return;
    (void)snprintf(subject, sizeof(subject), "%.*s", end ? (int)(end - open - 1) : 0,
                   end ? open + 1 : "");
    log_error("nats_permission_violation", "action=%s subject=%s more=%" PRId64 " text=%s next=%s",
              strstr(text, "Subscription") ? "subscribe" : "publish", LOG_QUOTE(subject), left_out,
              LOG_QUOTE(text),
              LOG_QUOTE("see that NATS_NKEY_SEED is this program's own, and that the servers have "
                        "this version's auth.conf"));
}

bool bus_refused_note(natsStatus s)
{
    natsStatus told;
    const char *text = nats_GetLastError(&told);

    if (s != NATS_NOT_PERMITTED)
        return false;
    metric_add(&violations_total, 1);
    tell_violation(told == s && text ? text : "");
    return true;
}

void bus_refused_connect(natsStatus s)
{
    static struct seldom seldom = { .most = 1, .each_ms = 10000 };
    int64_t left_out;
    natsStatus told;

    atomic_store(&is_refused, s == NATS_CONNECTION_AUTH_FAILED);
    if (s != NATS_CONNECTION_AUTH_FAILED || !may_say(&seldom, &left_out))
        return;
    log_error(
        "nats_key_refused", "more=%" PRId64 " text=%s next=%s", left_out,
        LOG_QUOTE(nats_GetLastError(&told)),
        LOG_QUOTE("set NATS_NKEY_SEED to a key that the servers know: its public half must be "
                  "in their environment"));
}

const char *bus_why_away(void)
{
    return atomic_load(&is_refused) ? "NATS refuses this program's key" : "NATS is away";
}
