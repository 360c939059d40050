#include "tests/discord-sim/mischief.h"

#include <stdlib.h>

#include "base/xmem.h"
#include "tests/discord-sim/rng.h"

enum { MAX_KEPT = 16 };

struct kept {
    struct record_event what;
    char *body, *blanked;
};
struct mischief {
    struct rng rng;
    struct mischief_rates rates;
    struct kept kept[MAX_KEPT];
    unsigned count;
    uint64_t repeated, omitted;
};

struct mischief *mischief_new(uint64_t seed)
{
    struct mischief *m = xcalloc(1, sizeof(*m));

    mischief_seed(m, seed);
    return m;
}

void mischief_seed(struct mischief *m, uint64_t seed)
{
    m->rng.state = seed + 4;
}

static void drop(struct kept *k)
{
    free(TAKE(k->body));
    free(TAKE(k->blanked));
}

void mischief_free(struct mischief *m)
{
    if (!m)
        return;
    for (unsigned i = 0; i < m->count; i++)
        drop(&m->kept[i]);
    free(m);
}

void mischief_set(struct mischief *m, struct mischief_rates rates)
{
    m->rates = rates;
}

struct mischief_rates mischief_rates(const struct mischief *m)
{
    return m->rates;
}

struct mischief_counts mischief_count(const struct mischief *m)
{
    return (struct mischief_counts){ m->repeated, m->omitted, m->count };
}

static bool chance(struct mischief *m, int64_t permille)
{
    return permille > 0 && (int64_t)rng_below(&m->rng, 1000) < permille;
}

bool mischief_omits(struct mischief *m)
{
    bool omits = chance(m, m->rates.omit_permille);

    m->omitted += omits;
    return omits;
}

void mischief_sent(struct mischief *m, const struct record_event *what, const char *body,
                   const char *blanked)
{
    if (m->count == MAX_KEPT || !chance(m, m->rates.repeat_permille))
        return;
    m->kept[m->count++] = (struct kept){ .what = *what,
                                         .body = xstrdup(body),
                                         .blanked = blanked ? xstrdup(blanked) : NULL };
}

static void send_again(struct mischief *m, struct sim *s, struct kept *k)
{
    struct event *e = event_new(k->what.type, k->what.name, k->body, k->blanked);

    m->repeated++;
    k->what.repeated = true;
    if (gateway_dispatch(s->gateway, k->what.guild_id, &e))
        record_add(s->record, k->what, NULL);
    drop(k);
}

static void run(struct mischief *m, struct sim *s, bool all, uint64_t message_id)
{
    unsigned left = 0, count = m->count;

    for (unsigned i = 0; i < count; i++) {
        bool same = message_id && m->kept[i].what.message_id == message_id;
        if (all || same || rng_below(&m->rng, 2))
            send_again(m, s, &m->kept[i]);
        else
            m->kept[left++] = m->kept[i];
    }
    m->count = left;
}

void mischief_run(struct mischief *m, struct sim *s, uint64_t message_id)
{
    run(m, s, false, message_id);
}

void mischief_flush(struct mischief *m, struct sim *s)
{
    run(m, s, true, 0);
}
